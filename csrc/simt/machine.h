// The machine: a launch, its blocks, and their threads as fibres.
//
// machine.cpp  runs them: fibres, barriers, exchanges between lanes
// memory.cpp   sees every load and store: bounds, alignment, races, shared memory that nobody wrote; and logs them
// counters.cpp makes counts of the logs
// tensor_core.cpp  mma and ldmatrix
// hopper.cpp   barriers that count bytes, the copy engine, wgmma
//
// Blocks of a launch run over the thread pool, each on one processor thread; the fibres of a block take turns on it and
// change only where they wait, so that a kernel runs the same way every time.
#pragma once

#include <array>
#include <atomic>
#include <csetjmp>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "core/cuda/operands.h"
#include "simt/counters.h"
#include "simt/device.h"
#include "simt/hopper.h"

namespace dlkit::simt {

// What is done beside computing. Checks find faults, counts make records.
struct Mode {
  bool check = true, count = false;
};
Mode mode();
void set_mode(Mode mode);

// Records of the launches since the last clear, the oldest first; at most kMostRecords are kept.
constexpr std::size_t kMostRecords = 10000;
std::vector<LaunchRecord> records();
void clear_records();

struct Launch {
  const char* name;
  dim3 grid, block;
  std::size_t dynamic_bytes;
  Mode mode;
  const Operands* operands;
  void (*entry)(const void*);
  const void* context;
  std::size_t context_bytes;

  std::mutex mutex;  // of what follows
  std::atomic<bool> failed{false};
  std::string fault;
  Counters counters;
  std::size_t shared_bytes = 0;
};

// What is known of a byte of shared memory. Times are of Block::clock.
struct Cell {
  std::uint32_t write_time = 0, read_time = 0;
  std::uint16_t writer = 0, reader = 0, reader_warp = 0;
  bool allocated : 1 = false, written : 1 = false, by_atomic : 1 = false, ever_read : 1 = false;
};
constexpr std::uint16_t kSeveral = 0xFFFF;

// What is known of two bytes of global memory, where blocks run at one time. Times count barriers of the grid.
struct GlobalCell {
  std::uint32_t write_time = 0, read_time = 0;
  std::uint32_t writer = 0, reader = 0;  // blocks
  bool by_atomic = false;
};
constexpr std::uint32_t kSeveralBlocks = ~std::uint32_t{0};
constexpr std::size_t kLine = 16;  // bytes

struct SharedArray {
  const void* key;
  const char* name;
  std::size_t begin, bytes;
};

struct Thread;

// A tile that the copy engine has not brought yet.
struct PendingLoad {
  void* to;
  TensorMap from;
  Barrier* barrier;
  int at[3];
  std::uintptr_t place;
};

struct Block {
  uint3 index;
  std::uint32_t number = 0;  // of those that run at one time
  std::vector<Thread*> threads;
  int live = 0, waiting = 0;
  int any = 0, all = 1, count = 0;  // of the values at a barrier that reduces
  std::uint32_t clock = 1, barrier_time = 0;
  // Shared memory, with gaps between arrays that nobody may touch.
  char* shared = nullptr;
  std::size_t shared_end = 0, static_bytes = 0;
  std::vector<Cell> cells;
  std::vector<SharedArray> arrays;
  std::vector<PendingLoad> loads;
  std::uint32_t loads_so_far = 0;
};

struct PendingCopy {
  void* to;
  const void* from;
  int bytes, valid;
};

// One thread's share of a wgmma that it has not waited for.
struct PendingProduct {
  Counted<float>* d;
  int n;
  WgmmaType type;
  std::uint64_t a, b;
  bool a_columns, b_rows, accumulate;
};

enum class Wait : std::uint8_t { nothing, block, warp, grid, phase, end };

struct Thread {
  std::jmp_buf place;
  char *stack = nullptr, *stack_end = nullptr;
  bool started = false;
  Block* block = nullptr;
  uint3 index;
  int number = 0, warp = 0, lane = 0;
  Wait wait = Wait::nothing;
  int line = 0;             // where it waits
  Collective collective{};  // what for
  unsigned mask = 0;
  std::uint64_t value = 0;                  // what it offers to its warp
  const void* offer[3] = {};                // or where that is
  std::uint32_t warp_time = 0;              // of its last warp barrier
  std::vector<PendingCopy> copies;          // cp.async
  std::vector<std::size_t> groups;          // ends of committed groups in `copies`
  std::vector<PendingProduct> products;     // wgmma
  std::vector<std::size_t> product_groups;  // ends of committed groups in `products`
  bool fenced = false;                      // since the last group
  std::vector<Event> log;
};

class Machine {
 public:
  Machine() = default;
  ~Machine();
  Machine(const Machine&) = delete;

  // Blocks [first, last) of the launch, at once.
  void run(Launch& launch, std::uint64_t first, std::uint64_t last);

  Thread* current = nullptr;
  Launch* launch = nullptr;

  // The current thread waits; returns when what it waits for has come.
  void wait(Wait what);
  // Lets a thread go on that waits.
  void wake(Thread& thread);
  // Lets go the threads of `block` that wait at its barrier.
  void release_block(Block& block);
  void at_grid_barrier();
  // The current thread meets the lanes of `mask` at a collective.
  void meet(unsigned mask, Collective collective, int line);
  Thread& peer(int lane) const;

  // Ends the launch with an error, and the current thread if there is one.
  [[noreturn]] void fail(const std::string& what);

  void access(std::uintptr_t address, std::size_t bytes, bool write, bool atomic, std::uintptr_t place);
  void enter_basic_block(std::uintptr_t place);
  std::size_t allocate_shared(Block& block, std::size_t bytes, const char* name, const void* key);
  void land_copies(Thread& thread, std::size_t count);

  Counters counters;
  // Set while an access is looked at: the machine's own code may share instrumented copies of inline functions of the
  // standard library, whichever the linker has kept.
  bool looking = false;

 private:
  void start_blocks(std::uint64_t first, std::uint64_t last);
  void schedule();
  void resume(Thread& thread);
  void check_all_ended();
  void count_block(Block& block);
  void release_grid();
  Thread& thread_of_pool(std::size_t i);
  void look_at(std::uintptr_t address, std::size_t bytes, bool write, bool atomic, std::uintptr_t place);
  void access_shared(std::uintptr_t offset, std::size_t bytes, bool write, bool atomic);
  void access_global(std::uintptr_t address, std::size_t bytes, bool write, bool atomic);
  bool is_operand(std::uintptr_t address, std::size_t bytes, bool write);
  [[noreturn]] void fail_access(std::uintptr_t address, std::size_t bytes, bool write);

  std::vector<Thread*> pool_;
  std::vector<Block*> blocks_;  // in use: the first active_
  std::size_t active_ = 0;
  std::deque<Thread*> ready_;
  std::jmp_buf scheduler_;
  int at_grid_barrier_ = 0;
  std::uint32_t grid_time_ = 1;
  std::unordered_map<std::uintptr_t, std::array<GlobalCell, kLine / 2>> global_;  // by line, of cooperative launches
  const Operand* last_operand_ = nullptr;
};

// Of this processor thread.
struct Local {
  Machine* machine = nullptr;  // while it runs a kernel
  std::uint64_t flops = 0, special = 0;
};
extern thread_local Local local __attribute__((tls_model("initial-exec")));

// The machine, for what only a kernel may call.
Machine& running();

std::string coordinates(uint3 index);

}  // namespace dlkit::simt
