// Every load and store of a kernel.
//
// The .cu files are compiled with the instrumentation of ThreadSanitizer and of coverage, but linked with neither: the
// functions that such code calls before each access (__tsan_read4, ...) and at the start of each basic block
// (__sanitizer_cov_trace_pc) are defined here. So kernels need no wrappers around their pointers.
//
// An address is one of: the fibre's own stack (registers and local memory of a GPU's thread), shared memory of its
// block, an operand of the launch (core/cuda/operands.h), a constant of this module. Anything else is a fault.
//
// Races: between two barriers that order them, two threads touch the same byte of shared memory and one writes. Found
// whichever of them runs first. Memory is ordered by block barriers, and within a warp by warp barriers; not by
// shuffles. The same of global memory and the blocks of a cooperative launch, which the grid's barriers order.
#include <link.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "core/cuda/launch.h"
#include "simt/machine.h"

namespace dlkit::simt {
namespace {

constexpr std::size_t kGap = 128;  // between arrays in shared memory: an index that is off by a little hits it

struct Module {
  std::uintptr_t begin = 0, end = 0;
};

// Where this module's code and constants are.
const Module& this_module() {
  static const Module module = [] {
    struct Search {
      Module found;
      std::uintptr_t inside = reinterpret_cast<std::uintptr_t>(&this_module);
    } search;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* data) {
          auto* search = static_cast<Search*>(data);
          Module span{~std::uintptr_t{0}, 0};
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            if (info->dlpi_phdr[i].p_type != PT_LOAD) continue;
            const std::uintptr_t begin = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            span.begin = std::min(span.begin, begin);
            span.end = std::max(span.end, begin + info->dlpi_phdr[i].p_memsz);
          }
          if (search->inside < span.begin || search->inside >= span.end) return 0;
          search->found = span;
          return 1;
        },
        &search);
    return search.found;
  }();
  return module;
}

std::string bytes_text(std::size_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte" : " bytes"); }

}  // namespace

// --- Global memory ---------------------------------------------------------------------------------------------------

bool Machine::is_operand(std::uintptr_t address, std::size_t bytes, bool write) {
  const auto holds = [&](const Operand& o) {
    const auto begin = reinterpret_cast<std::uintptr_t>(o.data);
    return address >= begin && address + bytes <= begin + o.bytes && (o.writable || !write);
  };
  if (last_operand_ != nullptr && holds(*last_operand_)) return true;
  if (launch->operands == nullptr) return false;
  const auto& sorted = launch->operands->sorted;
  auto at = std::upper_bound(sorted.begin(), sorted.end(), address, [](std::uintptr_t a, const Operand& o) {
    return a < reinterpret_cast<std::uintptr_t>(o.data);
  });
  // Views of one array may overlap: not only the nearest that begins before.
  for (int tries = 0; at != sorted.begin() && tries < 16; ++tries) {
    --at;
    if (holds(*at)) {
      last_operand_ = &*at;
      return true;
    }
  }
  return false;
}

void Machine::fail_access(std::uintptr_t address, std::size_t bytes, bool write) {
  const std::string does = (write ? "writes " : "reads ") + bytes_text(bytes);
  if (launch->operands == nullptr || launch->operands->sorted.empty())
    fail(does + " of global memory, but the launch names no operands");
  // The operand that it most likely means.
  const Operand* nearest = nullptr;
  std::uintptr_t distance = ~std::uintptr_t{0};
  for (const Operand& o : launch->operands->sorted) {
    const auto begin = reinterpret_cast<std::uintptr_t>(o.data), end = begin + o.bytes;
    const std::uintptr_t away = address < begin ? begin - address : address >= end ? address - end + 1 : 0;
    if (away < distance) {
      distance = away;
      nearest = &o;
    }
  }
  if (distance == 0 && write && !nearest->writable) fail(does + " to " + nearest->name + ", which it may only read");
  if (distance > (std::uintptr_t{1} << 32)) fail(does + " at an address that is near no operand");
  const auto offset = static_cast<std::intptr_t>(address - reinterpret_cast<std::uintptr_t>(nearest->data));
  fail(does + " at offset " + std::to_string(offset) + " of " + nearest->name + ", which has " +
       bytes_text(nearest->bytes));
}

// Of an operand that may be written, last_operand_.
void Machine::access_global(std::uintptr_t address, std::size_t bytes, bool write, bool atomic) {
  const std::uint32_t me = current->block->number;
  const auto race = [&](const char* did, std::uint32_t who) {
    const std::string other =
        who == kSeveralBlocks ? "other blocks have " : "block " + coordinates(blocks_[who]->index) + " has ";
    fail(std::string("race: ") + (write ? "writes " : "reads ") + bytes_text(bytes) + " at offset " +
         std::to_string(address - reinterpret_cast<std::uintptr_t>(last_operand_->data)) + " of " +
         last_operand_->name + ", which " + other + did + " since the last barrier of the grid");
  };
  for (std::uintptr_t at = address / 2 * 2; at < address + bytes;) {
    auto& line = global_[at / kLine];
    for (const std::uintptr_t end = std::min(at / kLine * kLine + kLine, address + bytes); at < end; at += 2) {
      GlobalCell& cell = line[at % kLine / 2];
      if (cell.write_time == grid_time_ && cell.writer != me && !(atomic && cell.by_atomic))
        race("written", cell.writer);
      if (write) {
        if (cell.read_time == grid_time_ && cell.reader != me && !atomic) race("read", cell.reader);
        cell.write_time = grid_time_;
        cell.writer = me;
        cell.by_atomic = atomic;
      } else {
        cell.reader = cell.read_time == grid_time_ && cell.reader != me ? kSeveralBlocks : me;
        cell.read_time = grid_time_;
      }
    }
  }
}

// --- Shared memory ---------------------------------------------------------------------------------------------------

std::size_t Machine::allocate_shared(Block& block, std::size_t bytes, const char* name, const void* key) {
  const std::size_t begin = (block.shared_end + 127) / 128 * 128;
  block.arrays.push_back({key, name, begin, bytes});
  block.shared_end = begin + bytes + kGap;
  if (launch->mode.check) {
    block.cells.resize(block.shared_end);
    for (std::size_t i = begin; i < begin + bytes; ++i) block.cells[i].allocated = true;
  }
  return begin;
}

void Machine::access_shared(std::uintptr_t offset, std::size_t bytes, bool write, bool atomic) {
  Thread& self = *current;
  Block& block = *self.block;
  const auto where = [&] {
    const SharedArray* nearest = nullptr;
    for (const auto& array : block.arrays)
      if (nearest == nullptr || array.begin <= offset) nearest = &array;
    const auto at = static_cast<std::intptr_t>(offset) - static_cast<std::intptr_t>(nearest->begin);
    return "offset " + std::to_string(at) + " of " + nearest->name + ", shared, " + bytes_text(nearest->bytes);
  };
  const auto race = [&](const char* did, std::uint16_t who) {
    const std::string other = who == kSeveral ? "other threads" : "thread " + coordinates(block.threads[who]->index);
    fail(std::string("race: ") + (write ? "writes " : "reads ") + bytes_text(bytes) + " at " + where() + ", which " +
         other + (who == kSeveral ? " have " : " has ") + did + " since the last barrier");
  };
  const auto me = static_cast<std::uint16_t>(self.number), my_warp = static_cast<std::uint16_t>(self.warp);
  for (std::size_t i = 0; i < bytes; ++i) {
    if (offset + i >= block.cells.size() || !block.cells[offset + i].allocated)
      fail(std::string(write ? "writes " : "reads ") + bytes_text(bytes) + " at " + where() + ": out of bounds");
    Cell& cell = block.cells[offset + i];
    const auto ordered = [&](std::uint32_t time, std::uint16_t warp) {
      return time < block.barrier_time || (warp == my_warp && time < self.warp_time);
    };
    if (!write && !cell.written) fail("reads " + bytes_text(bytes) + " at " + where() + ": nobody has written there");
    if (cell.written && cell.writer != me && !(atomic && cell.by_atomic) &&
        !ordered(cell.write_time, static_cast<std::uint16_t>(cell.writer / 32)))
      race("written", cell.writer);
    if (write) {
      if (cell.ever_read && cell.reader != me && !atomic && !ordered(cell.read_time, cell.reader_warp))
        race("read", cell.reader);
      cell.written = true;
      cell.writer = me;
      cell.write_time = block.clock;
      cell.by_atomic = atomic;
    } else {
      const bool alone = !cell.ever_read || cell.reader == me || ordered(cell.read_time, cell.reader_warp);
      if (alone) {
        cell.reader = me;
        cell.reader_warp = my_warp;
      } else {
        cell.reader = kSeveral;
        if (cell.reader_warp != my_warp) cell.reader_warp = kSeveral;
      }
      cell.ever_read = true;
      cell.read_time = block.clock;
    }
  }
}

// --- Both ------------------------------------------------------------------------------------------------------------

void Machine::access(std::uintptr_t address, std::size_t bytes, bool write, bool atomic, std::uintptr_t place) {
  if (looking) return;
  looking = true;
  look_at(address, bytes, write, atomic, place);
  looking = false;
}

void Machine::look_at(std::uintptr_t address, std::size_t bytes, bool write, bool atomic, std::uintptr_t place) {
  Thread& self = *current;
  if (address - reinterpret_cast<std::uintptr_t>(self.stack) < static_cast<std::size_t>(self.stack_end - self.stack))
    return;
  const Block& block = *self.block;
  const std::uintptr_t offset = address - reinterpret_cast<std::uintptr_t>(block.shared);
  const bool shared = offset < (512u << 10);
  if (!shared) {
    const Module& module = this_module();
    if (address >= module.begin && address < module.end) {
      if (write) fail("writes " + bytes_text(bytes) + " to a constant");
      return;
    }
    const auto context = reinterpret_cast<std::uintptr_t>(launch->context);
    if (address >= context && address < context + launch->context_bytes) return;  // the kernel's arguments
  }
  if (launch->mode.check) {
    if (bytes > 1 && bytes <= 16 && std::has_single_bit(bytes) && address % bytes != 0)
      fail((write ? "writes " : "reads ") + bytes_text(bytes) + " at an address that is no multiple of " +
           std::to_string(bytes));
    if (shared)
      access_shared(offset, bytes, write, atomic);
    else if (!is_operand(address, bytes, write))
      fail_access(address, bytes, write);
    else if (active_ > 1 && last_operand_->writable)
      access_global(address, bytes, write, atomic);
  }
  if (launch->mode.count) {
    const EventKind kind = shared   ? atomic  ? EventKind::shared_atomic
                                      : write ? EventKind::shared_store
                                              : EventKind::shared_load
                           : atomic ? EventKind::global_atomic
                           : write  ? EventKind::global_store
                                    : EventKind::global_load;
    self.log.push_back(
        {address, static_cast<std::uint32_t>(place - this_module().begin), static_cast<std::uint16_t>(bytes), kind});
  }
}

void Machine::enter_basic_block(std::uintptr_t place) {
  if (looking) return;
  looking = true;
  current->log.push_back({0, static_cast<std::uint32_t>(place - this_module().begin), 0, EventKind::basic_block});
  looking = false;
}

void* shared_array(const void* key, std::size_t bytes, const char* name) {
  Machine& machine = running();
  Block& block = *machine.current->block;
  for (const auto& array : block.arrays)
    if (array.key == key) return block.shared + array.begin;
  block.static_bytes += bytes;
  if (block.static_bytes > (48u << 10))
    machine.fail(std::to_string(block.static_bytes) + " bytes of static shared memory; expected at most 49152");
  // What launch() has not told the driver of is bound by 48 KB with the static memory; what it has, by 227 KB.
  const std::size_t dynamic = machine.launch->dynamic_bytes, most = (dynamic > kSharedUntold ? 227u : 48u) << 10;
  if (block.static_bytes + dynamic > most)
    machine.fail(std::to_string(block.static_bytes) + " bytes of static and " + std::to_string(dynamic) +
                 " of dynamic shared memory; expected at most " + std::to_string(most) + " together");
  return block.shared + machine.allocate_shared(block, bytes, name, key);
}

void* dynamic_shared() {
  Machine& machine = running();
  for (const auto& array : machine.current->block->arrays)
    if (array.key == nullptr) return machine.current->block->shared + array.begin;
  machine.fail("asks for dynamic shared memory, but the launch gives none");
}

// --- cp.async: the copy is done where its thread waits for it, so that who reads before finds what was there
// ----------

void async_copy(void* to, const void* from, int bytes, int valid) {
  running().current->copies.push_back({to, from, bytes, valid});
}

void async_commit() {
  Thread& self = *running().current;
  self.groups.push_back(self.copies.size());
}

void Machine::land_copies(Thread& thread, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const PendingCopy& copy = thread.copies[i];
    std::memcpy(copy.to, copy.from, static_cast<std::size_t>(copy.valid));
    std::memset(static_cast<char*>(copy.to) + copy.valid, 0, static_cast<std::size_t>(copy.bytes - copy.valid));
  }
  thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(count));
  for (auto& end : thread.groups) end -= count;
}

void async_wait(int pending) {
  Machine& machine = running();
  Thread& self = *machine.current;
  const std::size_t landed = self.groups.size() > static_cast<std::size_t>(pending)
                                 ? self.groups.size() - static_cast<std::size_t>(pending)
                                 : 0;
  if (landed == 0) return;
  const std::size_t count = self.groups[landed - 1];
  self.groups.erase(self.groups.begin(), self.groups.begin() + static_cast<std::ptrdiff_t>(landed));
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  for (std::size_t i = 0; i < count; ++i) {
    const PendingCopy& copy = self.copies[i];
    const auto from = reinterpret_cast<std::uintptr_t>(copy.from), to = reinterpret_cast<std::uintptr_t>(copy.to);
    if (copy.valid < 0 || copy.valid > copy.bytes)
      machine.fail("cp.async: " + std::to_string(copy.valid) + " valid bytes of " + std::to_string(copy.bytes));
    if (from % static_cast<unsigned>(copy.bytes) != 0)
      machine.fail("cp.async: reads " + bytes_text(static_cast<std::size_t>(copy.bytes)) +
                   " at an address that is no multiple of that");
    // The load and the store of one instruction: two places in the code, in this order.
    if (copy.valid > 0) machine.access(from, static_cast<std::size_t>(copy.valid), false, false, place);
    machine.access(to, static_cast<std::size_t>(copy.bytes), true, false, place + 1);
  }
  machine.land_copies(self, count);
}

// --- Atomic operations -----------------------------------------------------------------------------------------------

namespace {

template <class Word, class Float>
Word apply(Word old, Atomic operation, Word value, Word expected) {
  using Signed = std::make_signed_t<Word>;
  const auto less = [](Word a, Word b) { return static_cast<Signed>(a) < static_cast<Signed>(b); };
  switch (operation) {
    case Atomic::add: return old + value;
    case Atomic::add_float: return std::bit_cast<Word>(std::bit_cast<Float>(old) + std::bit_cast<Float>(value));
    case Atomic::minimum: return std::min(old, value);
    case Atomic::maximum: return std::max(old, value);
    case Atomic::signed_minimum: return less(value, old) ? value : old;
    case Atomic::signed_maximum: return less(old, value) ? value : old;
    case Atomic::exchange: return value;
    case Atomic::compare_and_swap: return old == expected ? value : old;
    case Atomic::bit_and: return old & value;
    case Atomic::bit_or: return old | value;
    default: return old ^ value;
  }
}

// Blocks run on several processor threads.
template <class Word, class Float>
Word atomic_word(void* at, Atomic operation, Word value, Word expected, std::uintptr_t place) {
  running().access(reinterpret_cast<std::uintptr_t>(at), sizeof(Word), true, true, place);
  if (operation == Atomic::add_float) count_operations(1);
  std::atomic_ref<Word> word(*static_cast<Word*>(at));
  Word old = word.load();
  while (!word.compare_exchange_weak(old, apply<Word, Float>(old, operation, value, expected))) {
  }
  return old;
}

}  // namespace

std::uint32_t atomic32(void* at, Atomic operation, std::uint32_t value, std::uint32_t expected) {
  return atomic_word<std::uint32_t, float>(at, operation, value, expected,
                                           reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

std::uint64_t atomic64(void* at, Atomic operation, std::uint64_t value, std::uint64_t expected) {
  return atomic_word<std::uint64_t, double>(at, operation, value, expected,
                                            reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

}  // namespace dlkit::simt

// --- What instrumented code calls ------------------------------------------------------------------------------------

namespace {

inline __attribute__((always_inline)) void seen(void* address, std::size_t bytes, bool write, void* place) {
  dlkit::simt::Machine* machine = dlkit::simt::local.machine;
  if (machine == nullptr || machine->current == nullptr) return;  // host code of a .cu file
  if (!machine->launch->mode.check && !machine->launch->mode.count) return;
  machine->access(reinterpret_cast<std::uintptr_t>(address), bytes, write, false,
                  reinterpret_cast<std::uintptr_t>(place));
}

}  // namespace

extern "C" {

#define DLKIT_SIMT_HOOKS(bytes)                                                                                  \
  void __tsan_read##bytes(void* address) { seen(address, bytes, false, __builtin_return_address(0)); }           \
  void __tsan_write##bytes(void* address) { seen(address, bytes, true, __builtin_return_address(0)); }           \
  void __tsan_unaligned_read##bytes(void* address) { seen(address, bytes, false, __builtin_return_address(0)); } \
  void __tsan_unaligned_write##bytes(void* address) { seen(address, bytes, true, __builtin_return_address(0)); } \
  void __tsan_volatile_read##bytes(void* address) { seen(address, bytes, false, __builtin_return_address(0)); }  \
  void __tsan_volatile_write##bytes(void* address) { seen(address, bytes, true, __builtin_return_address(0)); }
DLKIT_SIMT_HOOKS(1)
DLKIT_SIMT_HOOKS(2)
DLKIT_SIMT_HOOKS(4)
DLKIT_SIMT_HOOKS(8)
DLKIT_SIMT_HOOKS(16)
#undef DLKIT_SIMT_HOOKS

void __tsan_read_range(void* address, std::size_t bytes) { seen(address, bytes, false, __builtin_return_address(0)); }
void __tsan_write_range(void* address, std::size_t bytes) { seen(address, bytes, true, __builtin_return_address(0)); }
void __tsan_vptr_read(void*) {}
void __tsan_vptr_update(void*, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}
void* __tsan_memcpy(void* to, const void* from, std::size_t bytes) { return std::memcpy(to, from, bytes); }
void* __tsan_memset(void* to, int value, std::size_t bytes) { return std::memset(to, value, bytes); }
void* __tsan_memmove(void* to, const void* from, std::size_t bytes) { return std::memmove(to, from, bytes); }

void __sanitizer_cov_trace_pc() {
  dlkit::simt::Machine* machine = dlkit::simt::local.machine;
  if (machine == nullptr || machine->current == nullptr || !machine->launch->mode.count) return;
  machine->enter_basic_block(reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
}

}  // extern "C"
