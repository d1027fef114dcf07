// Without this, glibc's hardened longjmp refuses to change stacks.
#undef _FORTIFY_SOURCE

#include "simt/machine.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <utility>

#include "core/cuda/error.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace { thread_local Operands* operands_in_scope = nullptr; }  // namespace

Operands::Operands(const char* operation, std::vector<Operand> operands)
    : operation(operation), sorted(std::move(operands)), outer_(operands_in_scope) {
  std::erase_if(sorted, [](const Operand& o) { return o.data == nullptr || o.bytes == 0; });
  std::sort(sorted.begin(), sorted.end(), [](const Operand& a, const Operand& b) { return a.data < b.data; });
  operands_in_scope = this;
}

Operands::~Operands() { operands_in_scope = outer_; }

namespace simt {

thread_local Local local;

namespace {

constexpr std::size_t kStackBytes = 256 << 10, kGuardBytes = 4096;
constexpr std::size_t kSharedBytes = 227 << 10, kStaticSharedBytes = 48 << 10;  // what a block may have, sm_90
constexpr std::size_t kArenaBytes = 512 << 10;                                  // with the gaps
constexpr std::size_t kMostFibres = 1 << 14;
constexpr int kLanes = 32;

std::mutex records_mutex;
std::deque<LaunchRecord>& all_records() {
  static auto& all = *new std::deque<LaunchRecord>;  // never destroyed: at exit a thread may still run a kernel
  return all;
}

std::atomic<bool> check_mode{true}, count_mode{false};

uint3 unflatten(std::uint64_t i, dim3 extent) {
  return {static_cast<unsigned>(i % extent.x), static_cast<unsigned>(i / extent.x % extent.y),
          static_cast<unsigned>(i / extent.x / extent.y)};
}

Machine& machine_of_this_thread() {
  static thread_local std::unique_ptr<Machine> machine;
  if (!machine) machine = std::make_unique<Machine>();
  return *machine;
}

}  // namespace

Mode mode() { return {check_mode.load(), count_mode.load()}; }

void set_mode(Mode mode) {
  check_mode = mode.check;
  count_mode = mode.count;
}

std::vector<LaunchRecord> records() {
  const std::lock_guard lock(records_mutex);
  return {all_records().begin(), all_records().end()};
}

void clear_records() {
  const std::lock_guard lock(records_mutex);
  all_records().clear();
}

std::string coordinates(uint3 index) {
  return "(" + std::to_string(index.x) + ", " + std::to_string(index.y) + ", " + std::to_string(index.z) + ")";
}

void run(const char* name, dim3 grid, dim3 block, std::size_t shared, bool cooperative, void (*entry)(const void*),
         const void* context, std::size_t context_bytes) {
  const std::uint64_t blocks = std::uint64_t{grid.x} * grid.y * grid.z;
  const std::uint64_t threads = std::uint64_t{block.x} * block.y * block.z;
  if (blocks == 0) return;
  const std::string kernel = std::string("kernel '") + name + "'";
  if (shared > kSharedBytes)
    throw DeviceError(kernel + ": " + std::to_string(shared) + " bytes of dynamic shared memory; expected at most " +
                      std::to_string(kSharedBytes));
  if (cooperative && blocks * threads > kMostFibres)
    throw DeviceError(kernel + ": a cooperative launch of " + std::to_string(blocks * threads) +
                      " threads; expected at most " + std::to_string(kMostFibres));
  Launch launch{.name = name,
                .grid = grid,
                .block = block,
                .dynamic_bytes = shared,
                .mode = mode(),
                .operands = operands_in_scope,
                .entry = entry,
                .context = context,
                .context_bytes = context_bytes,
                .mutex = {},
                .fault = {},
                .counters = {}};
  if (cooperative) {
    machine_of_this_thread().run(launch, 0, blocks);
  } else {
    const auto tasks = static_cast<int>(std::min<std::uint64_t>(blocks, 8u * static_cast<unsigned>(num_threads())));
    const auto cut = [&](int task) {
      return blocks / tasks * task + std::min<std::uint64_t>(blocks % tasks, static_cast<unsigned>(task));
    };
    parallel_for(tasks, [&](int task) {
      for (std::uint64_t i = cut(task); i < cut(task + 1) && !launch.failed; ++i)
        machine_of_this_thread().run(launch, i, i + 1);
    });
  }
  const std::string operation = launch.operands == nullptr ? "" : launch.operands->operation;
  if (launch.failed) throw DeviceError((operation.empty() ? "" : operation + ": ") + launch.fault);
  if (!launch.mode.count) return;
  const std::lock_guard lock(records_mutex);
  if (all_records().size() == kMostRecords) all_records().pop_front();
  all_records().push_back(
      {operation, name, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, launch.shared_bytes, launch.counters});
}

// --- Fibres ----------------------------------------------------------------------------------------------------------
//
// ucontext makes a fibre, which then lives on and runs one thread of a block after another; between fibres _setjmp and
// _longjmp change, as swapcontext would ask the kernel for the signal mask each time.

void fibre_main() {
  for (;;) {
    Machine& machine = *local.machine;
    const char* error = nullptr;
    try {
      machine.launch->entry(machine.launch->context);
    } catch (const std::bad_alloc&) {  // of the machine's own logs
      error = "out of memory";
    }
    if (error != nullptr) machine.fail(error);
    machine.wait(Wait::end);
  }
}

Machine::~Machine() {
  for (Thread* thread : pool_) {
    munmap(thread->stack - kGuardBytes, kStackBytes + kGuardBytes);
    delete thread;
  }
  for (Block* block : blocks_) {
    std::free(block->shared);
    delete block;
  }
}

Thread& Machine::thread_of_pool(std::size_t i) {
  while (pool_.size() <= i) {
    void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    mprotect(memory, kGuardBytes, PROT_NONE);
    auto* thread = new Thread;
    thread->stack = static_cast<char*>(memory) + kGuardBytes;
    thread->stack_end = thread->stack + kStackBytes;
    pool_.push_back(thread);
  }
  return *pool_[i];
}

// Runs until the thread waits or ends.
__attribute__((noinline)) void Machine::resume(Thread& thread) {
  current = &thread;
  if (_setjmp(scheduler_) == 0) {
    if (thread.started) _longjmp(thread.place, 1);
    thread.started = true;
    ucontext_t begin;
    getcontext(&begin);
    begin.uc_stack.ss_sp = thread.stack;
    begin.uc_stack.ss_size = kStackBytes;
    begin.uc_link = nullptr;
    makecontext(&begin, fibre_main, 0);
    setcontext(&begin);
  }
  current = nullptr;
}

void Machine::wait(Wait what) {
  Thread& thread = *current;
  thread.wait = what;
  if (_setjmp(thread.place) == 0) _longjmp(scheduler_, 1);
}

void Machine::fail(const std::string& what) {
  looking = true;
  {
    const std::lock_guard lock(launch->mutex);
    if (!launch->failed) {
      std::string where = std::string("kernel '") + launch->name + "'";
      if (current != nullptr)
        where += ", block " + coordinates(current->block->index) + ", thread " + coordinates(current->index);
      launch->fault = where + ": " + what;
      launch->failed = true;
    }
  }
  // The fibre is left as it stands (what its frames own is lost); the next one on its stack begins anew.
  current->wait = Wait::end;
  current->started = false;
  looking = false;
  _longjmp(scheduler_, 1);
}

// --- Scheduling ------------------------------------------------------------------------------------------------------

void Machine::start_blocks(std::uint64_t first, std::uint64_t last) {
  const auto count = static_cast<std::size_t>(launch->block.x * launch->block.y * launch->block.z);
  active_ = static_cast<std::size_t>(last - first);
  for (std::size_t b = 0; b < active_; ++b) {
    if (blocks_.size() <= b) {
      auto block = std::make_unique<Block>();
      block->shared = static_cast<char*>(std::aligned_alloc(1024, kArenaBytes));
      if (block->shared == nullptr) throw std::bad_alloc();
      blocks_.push_back(block.release());
    }
    Block& block = *blocks_[b];
    block.index = unflatten(first + b, launch->grid);
    block.number = static_cast<std::uint32_t>(b);
    block.live = static_cast<int>(count);
    block.waiting = block.any = block.count = 0;
    block.all = 1;
    block.clock = 1;
    block.barrier_time = 0;
    block.shared_end = block.static_bytes = 0;
    block.arrays.clear();
    block.cells.clear();
    block.loads.clear();
    block.loads_so_far = static_cast<std::uint32_t>(first + b);
    block.threads.clear();
    if (launch->dynamic_bytes > 0) allocate_shared(block, launch->dynamic_bytes, "dynamic shared memory", nullptr);
    for (std::size_t i = 0; i < count; ++i) {
      Thread& thread = thread_of_pool(b * count + i);
      thread.block = &block;
      thread.index = unflatten(i, launch->block);
      thread.number = static_cast<int>(i);
      thread.warp = static_cast<int>(i) / kLanes;
      thread.lane = static_cast<int>(i) % kLanes;
      thread.wait = Wait::nothing;
      thread.warp_time = 0;
      thread.copies.clear();
      thread.groups.clear();
      thread.products.clear();
      thread.product_groups.clear();
      thread.fenced = false;
      thread.log.clear();
      block.threads.push_back(&thread);
      ready_.push_back(&thread);
    }
  }
}

void Machine::run(Launch& of, std::uint64_t first, std::uint64_t last) {
  launch = &of;
  last_operand_ = nullptr;
  at_grid_barrier_ = 0;
  grid_time_ = 1;
  global_.clear();
  ready_.clear();
  counters = {};
  start_blocks(first, last);
  // A kernel may not start another; but where a host function on this thread is inside one, its machine comes back.
  const Local outer = local;
  local = {this, 0, 0};
  schedule();
  counters.flops += local.flops;
  counters.special += local.special;
  local = outer;
  const std::lock_guard lock(of.mutex);
  of.counters += counters;
  const Block& block = *blocks_[0];
  of.shared_bytes = std::max(of.shared_bytes, block.static_bytes + of.dynamic_bytes);
}

void Machine::schedule() {
  while (!ready_.empty() && !launch->failed) {
    Thread& thread = *ready_.front();
    ready_.pop_front();
    resume(thread);
    if (thread.wait == Wait::end) --thread.block->live;
  }
  if (!launch->failed) check_all_ended();
  if (launch->failed) {
    // Whoever still waits is left where it stands.
    for (std::size_t b = 0; b < active_; ++b)
      for (Thread* thread : blocks_[b]->threads)
        if (thread->wait != Wait::end || !thread->started) thread->started = false;
    return;
  }
  for (std::size_t b = 0; b < active_; ++b) count_block(*blocks_[b]);
}

// Nobody can go on. Fine if all have ended; else some wait for others that will not come.
void Machine::check_all_ended() {
  for (std::size_t b = 0; b < active_; ++b) {
    Block& block = *blocks_[b];
    if (block.live == 0) continue;
    const Thread* waits = nullptr;
    const Thread* other = nullptr;
    int at_barrier = 0;
    for (const Thread* thread : block.threads) {
      at_barrier += thread->wait == Wait::block;
      if (thread->wait != Wait::end && waits == nullptr) waits = thread;
    }
    for (const Thread* thread : block.threads)
      if (thread->wait != waits->wait || thread->line != waits->line) other = thread;
    std::string text = std::string("kernel '") + launch->name + "', block " + coordinates(block.index) + ": ";
    if (waits->wait == Wait::block)
      text += std::to_string(at_barrier) + " of " + std::to_string(block.threads.size()) +
              " threads wait at the block barrier of line " + std::to_string(waits->line);
    else if (waits->wait == Wait::warp)
      text += "thread " + coordinates(waits->index) + " waits for its warp at line " + std::to_string(waits->line);
    else if (waits->wait == Wait::phase)
      text += "thread " + coordinates(waits->index) + " waits for a phase of a barrier in shared memory";
    else
      text += "thread " + coordinates(waits->index) + " waits for the grid";
    if (other != nullptr) {
      text += "; thread " + coordinates(other->index);
      if (other->wait == Wait::end)
        text += " has ended";
      else if (other->wait == Wait::block)
        text += " waits at the block barrier of line " + std::to_string(other->line);
      else if (other->wait == Wait::warp)
        text += " waits for its warp at line " + std::to_string(other->line);
      else if (other->wait == Wait::phase)
        text += " waits for a phase of a barrier in shared memory";
      else
        text += " waits for the grid";
    }
    const std::lock_guard lock(launch->mutex);
    if (!launch->failed) launch->fault = text;
    launch->failed = true;
    return;
  }
}

void Machine::count_block(Block& block) {
  if (!launch->mode.count) return;
  const bool outer = std::exchange(looking, true);
  const int count = static_cast<int>(block.threads.size());
  for (int begin = 0; begin < count; begin += kLanes) {
    std::vector<Event>* logs[kLanes];
    const int lanes = std::min(kLanes, count - begin);
    for (int lane = 0; lane < lanes; ++lane) logs[lane] = &block.threads[static_cast<std::size_t>(begin + lane)]->log;
    count_warp(logs, lanes, counters);
  }
  looking = outer;
}

void Machine::wake(Thread& thread) {
  thread.wait = Wait::nothing;
  ready_.push_back(&thread);
}

void Machine::release_block(Block& block) {
  count_block(block);
  ++counters.barriers;
  block.waiting = 0;
  block.barrier_time = ++block.clock;
  for (Thread* thread : block.threads)
    if (thread->wait == Wait::block) {
      thread->wait = Wait::nothing;
      ready_.push_back(thread);
    }
}

void Machine::release_grid() {
  at_grid_barrier_ = 0;
  ++grid_time_;
  for (std::size_t b = 0; b < active_; ++b) {
    Block& block = *blocks_[b];
    count_block(block);
    block.barrier_time = ++block.clock;
    for (Thread* thread : block.threads)
      if (thread->wait == Wait::grid) {
        thread->wait = Wait::nothing;
        ready_.push_back(thread);
      }
  }
}

Machine& running() { return *local.machine; }

Thread& Machine::peer(int lane) const {
  return *current->block->threads[static_cast<std::size_t>(current->warp * kLanes + lane)];
}

void Machine::meet(unsigned mask, Collective collective, int line) {
  Thread& self = *current;
  const int lanes = std::min(kLanes, static_cast<int>(self.block->threads.size()) - self.warp * kLanes);
  const unsigned exist = lanes == kLanes ? ~0u : (1u << lanes) - 1;
  if (!(mask >> self.lane & 1))
    fail("line " + std::to_string(line) + ": the mask of a warp operation leaves out the lane that calls it");
  if ((collective == Collective::mma || collective == Collective::ldmatrix) && exist != ~0u)
    fail("a tensor-core operation in a warp of " + std::to_string(lanes) + " threads; expected 32");
  mask &= exist;  // a last warp that is not full is asked for as if it were
  self.mask = mask;
  self.collective = collective;
  self.line = line;
  bool all_here = true;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(mask >> lane & 1) || lane == self.lane) continue;
    Thread& other = peer(lane);
    if (other.wait == Wait::end)
      fail("line " + std::to_string(line) + ": waits for lane " + std::to_string(lane) +
           " of its warp, which has ended");
    if (other.wait != Wait::warp) {
      all_here = false;
    } else if (other.mask != mask || other.collective != collective) {
      fail("line " + std::to_string(line) + ": lane " + std::to_string(lane) +
           " of its warp is at another warp operation, of line " + std::to_string(other.line));
    }
  }
  if (!all_here) return wait(Wait::warp);
  // Of the collectives only a warp barrier orders memory.
  const bool orders = collective == Collective::sync;
  if (orders) self.warp_time = ++self.block->clock;
  for (int lane = 0; lane < lanes; ++lane) {
    if (!(mask >> lane & 1) || lane == self.lane) continue;
    Thread& other = peer(lane);
    if (orders) other.warp_time = self.warp_time;
    other.wait = Wait::nothing;
    ready_.push_back(&other);
  }
}

// --- What kernels call -----------------------------------------------------------------------------------------------

uint3 thread_index() { return running().current->index; }
uint3 block_index() { return running().current->block->index; }
uint3 block_extent() {
  const dim3 d = running().launch->block;
  return {d.x, d.y, d.z};
}
uint3 grid_extent() {
  const dim3 d = running().launch->grid;
  return {d.x, d.y, d.z};
}

void count_operations(int flops) { local.flops += static_cast<unsigned>(flops); }
void count_special() { ++local.special; }

void block_barrier(int line) {
  Machine& machine = running();
  Thread& self = *machine.current;
  Block& block = *self.block;
  for (const Thread* other : block.threads) {
    if (other->wait == Wait::end)
      machine.fail("waits at the block barrier of line " + std::to_string(line) + ", but thread " +
                   coordinates(other->index) + " has ended without it");
    if (other->wait == Wait::block && other->line != line)
      machine.fail("waits at the block barrier of line " + std::to_string(line) + ", but thread " +
                   coordinates(other->index) + " at that of line " + std::to_string(other->line));
    if (other->wait == Wait::block) break;  // the others that wait were compared with it
  }
  self.line = line;
  if (++block.waiting < static_cast<int>(block.threads.size())) return machine.wait(Wait::block);
  machine.release_block(block);
}

int block_barrier_reduce(int line, Collective operation, int value) {
  Block& block = *running().current->block;
  block.any |= value != 0;
  block.all &= value != 0;
  block.count += value != 0;
  block_barrier(line);
  const int result = operation == Collective::any ? block.any : operation == Collective::all ? block.all : block.count;
  // All have read it before the first begins the next.
  block_barrier(line);
  block.any = block.count = 0;
  block.all = 1;
  return result;
}

void grid_sync() {
  Machine& machine = running();
  machine.at_grid_barrier();
}

void Machine::at_grid_barrier() {
  std::size_t all = 0;
  for (std::size_t b = 0; b < active_; ++b) all += blocks_[b]->threads.size();
  if (static_cast<std::size_t>(++at_grid_barrier_) < all) return wait(Wait::grid);
  release_grid();
}

void warp_barrier(unsigned mask, int line) { running().meet(mask, Collective::sync, line); }

std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source, int line) {
  Machine& machine = running();
  Thread& self = *machine.current;
  self.value = value;
  machine.meet(mask, Collective::shuffle, line);
  if (!(self.mask >> source & 1))
    machine.fail("line " + std::to_string(line) + ": reads lane " + std::to_string(source) +
                 " of its warp, which takes no part in the shuffle");
  const std::uint64_t result = machine.peer(source).value;
  machine.meet(mask, Collective::shuffle, line);  // before a lane offers its next value
  return result;
}

std::uint32_t warp_reduce(unsigned mask, Collective operation, std::uint32_t value, bool is_signed, int line) {
  Machine& machine = running();
  Thread& self = *machine.current;
  self.value = value;
  machine.meet(mask, operation, line);
  std::uint32_t result = operation == Collective::ballot ? 0 : value;
  for (int lane = 0; lane < kLanes; ++lane) {
    if (!(self.mask >> lane & 1) || (lane == self.lane && operation != Collective::ballot)) continue;
    const auto other = static_cast<std::uint32_t>(machine.peer(lane).value);
    const auto less = [&](std::uint32_t a, std::uint32_t b) {
      return is_signed ? static_cast<std::int32_t>(a) < static_cast<std::int32_t>(b) : a < b;
    };
    switch (operation) {
      case Collective::ballot: result |= other << lane; break;
      case Collective::reduce_add: result += other; break;
      case Collective::reduce_min: result = less(other, result) ? other : result; break;
      case Collective::reduce_max: result = less(result, other) ? other : result; break;
      case Collective::reduce_and: result &= other; break;
      case Collective::reduce_or: result |= other; break;
      default: result ^= other; break;
    }
  }
  machine.meet(mask, operation, line);
  return result;
}

}  // namespace simt
}  // namespace dlkit
