#include "simt/hopper.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string>

#include "core/cuda/error.h"
#include "simt/machine.h"

namespace dlkit::simt {
namespace {

constexpr int kRowBytes = 128, kWarpgroup = 128;

// What a barrier's 8 bytes hold here; a GPU does not tell.
struct State {
  std::uint16_t arrivals, pending;
  std::int32_t bytes : 31;
  std::uint32_t parity : 1;
};
static_assert(sizeof(State) == sizeof(Barrier));

State load(const Barrier* barrier) {
  State state;
  std::memcpy(&state, barrier, sizeof state);
  return state;
}

// Ends the phase if nothing is missing, and lets go who waits for that.
void store(Machine& machine, Barrier* barrier, State state) {
  if (state.pending == 0 && state.bytes == 0) {
    state.pending = state.arrivals;
    state.parity ^= 1;
    for (Thread* thread : machine.current->block->threads)
      if (thread->wait == Wait::phase && thread->offer[0] == barrier) machine.wake(*thread);
  }
  std::memcpy(barrier, &state, sizeof state);
}

// The 128-byte swizzle: bits 4 to 6 of an address change by bits 7 to 9.
unsigned swizzle(unsigned address) { return address ^ (address >> 7 & 7) << 4; }

char* at_shared(Machine& machine, unsigned address) {
  Block& block = *machine.current->block;
  const std::size_t offset = address - kSharedWindow;
  if (address < kSharedWindow || offset >= block.shared_end)
    machine.fail("shared address " + std::to_string(address) + " is outside of the block's shared memory");
  return block.shared + offset;
}

void mark_written(Machine& machine, const char* to, std::size_t bytes) {
  if (!machine.launch->mode.check) return;
  Block& block = *machine.current->block;
  const auto offset = static_cast<std::size_t>(to - block.shared);
  for (std::size_t i = offset; i < offset + bytes; ++i) {
    if (i >= block.cells.size() || !block.cells[i].allocated)
      machine.fail("copy engine: writes outside of the block's shared memory");
    block.cells[i].written = true;
  }
}

void check_written(Machine& machine, const char* from) {
  if (!machine.launch->mode.check) return;
  const Block& block = *machine.current->block;
  const auto offset = static_cast<std::size_t>(from - block.shared);
  if (offset >= block.cells.size() || !block.cells[offset].allocated)
    machine.fail("wgmma: reads outside of the block's shared memory");
  if (!block.cells[offset].written)
    machine.fail("wgmma: reads shared address " + std::to_string(offset + kSharedWindow) +
                 ": nobody has written there");
}

void land(Machine& machine, const PendingLoad& load_of) {
  const TensorMap& map = load_of.from;
  const unsigned to = shared_address(load_of.to);
  const int matrix = load_of.at[2];
  const auto inside = [](int i, std::uint64_t extent) { return i >= 0 && static_cast<std::uint64_t>(i) < extent; };
  for (std::uint32_t r = 0; r < map.box[1]; ++r) {
    const int row = load_of.at[1] + static_cast<int>(r), first = load_of.at[0];
    // The part of the row that is inside.
    int count = 0;
    if (inside(row, map.extent[1]) && inside(matrix, map.extent[2]) && inside(first, map.extent[0]))
      count = static_cast<int>(std::min<std::uint64_t>(map.box[0], map.extent[0] - static_cast<unsigned>(first)));
    char line[kRowBytes] = {};
    if (count > 0) {
      const char* from = static_cast<const char*>(map.data) + static_cast<std::size_t>(first) * map.element_bytes +
                         static_cast<std::size_t>(row) * map.stride[0] +
                         static_cast<std::size_t>(matrix) * map.stride[1];
      const std::size_t bytes = static_cast<std::size_t>(count) * map.element_bytes;
      machine.access(reinterpret_cast<std::uintptr_t>(from), bytes, false, false, load_of.place);
      std::memcpy(line, from, bytes);
    }
    if (map.round_to_tf32)
      for (int i = 0; i < count; ++i) {
        float x;
        std::memcpy(&x, line + 4 * i, 4);
        const std::uint32_t bits = to_tf32(x);
        std::memcpy(line + 4 * i, &bits, 4);
      }
    for (int chunk = 0; chunk < kRowBytes; chunk += 16) {
      char* const target = at_shared(machine, swizzle(to + r * kRowBytes + static_cast<unsigned>(chunk)));
      mark_written(machine, target, 16);
      std::memcpy(target, line + chunk, 16);
    }
  }
  State state = load(load_of.barrier);
  state.bytes -= static_cast<std::int32_t>(map.box[1] * kRowBytes);
  store(machine, load_of.barrier, state);
}

// An operand of wgmma, by its descriptor (core/cuda/hopper.h): element k of row i.
class Operand32Bytes {
 public:
  Operand32Bytes(Machine& machine, std::uint64_t descriptor, bool across, WgmmaType type)
      : machine_(machine), across_(across), type_(type), start_(field(descriptor)), leading_(field(descriptor >> 16)),
        stride_(field(descriptor >> 32)) {
    if (descriptor >> 62 != 1 || (descriptor >> 46 & 0xFFFF) != 0 || (descriptor & 0xC000C000ull) != 0)
      machine.fail("wgmma: a descriptor with other bits than those of a 128-byte swizzle, aligned");
    if (across && type == WgmmaType::tf32) machine.fail("wgmma: tf32 operands lie along K");
  }

  float operator()(unsigned i, unsigned k) const {
    const unsigned bytes = type_ == WgmmaType::tf32 ? 4 : 2, per_row = kRowBytes / bytes;
    const unsigned address = across_
                                 ? start_ + i / per_row * leading_ + i % per_row * bytes + k / 8 * stride_ + k % 8 * 128
                                 : start_ + i / 8 * stride_ + i % 8 * 128 + k * bytes;
    const char* from = at_shared(machine_, swizzle(address) & 0x3FFFF);
    check_written(machine_, from);
    std::uint32_t bits = 0;
    std::memcpy(&bits, from, bytes);
    if (type_ == WgmmaType::tf32) return std::bit_cast<float>(bits & ~0x1FFFu);
    return type_ == WgmmaType::half ? to_float(half{static_cast<std::uint16_t>(bits)})
                                    : to_float(bfloat16{static_cast<std::uint16_t>(bits)});
  }

 private:
  static unsigned field(std::uint64_t bits) { return static_cast<unsigned>(bits & 0x3FFF) << 4; }

  Machine& machine_;
  bool across_;
  WgmmaType type_;
  unsigned start_, leading_, stride_;
};

// One thread's share: rows g and g + 8 of its warp's 16, two neighbours of every 8 columns.
void compute(Machine& machine, const PendingProduct& product) {
  const int thread = machine.current->number % kWarpgroup;
  const unsigned depth = product.type == WgmmaType::tf32 ? 8 : 16;
  const unsigned row = static_cast<unsigned>(thread / 32 * 16 + thread % 32 / 4), column = thread % 4 * 2;
  const Operand32Bytes a(machine, product.a, product.a_columns, product.type);
  const Operand32Bytes b(machine, product.b, product.b_rows, product.type);
  double mine[2][16];
  for (unsigned k = 0; k < depth; ++k) {
    mine[0][k] = a(row, k);
    mine[1][k] = a(row + 8, k);
  }
  for (unsigned j = 0; j < static_cast<unsigned>(product.n) / 8; ++j)
    for (unsigned e = 0; e < 2; ++e) {
      Counted<float>& low = product.d[4 * j + e];
      Counted<float>& high = product.d[4 * j + 2 + e];
      double sum[2] = {product.accumulate ? low.value : 0, product.accumulate ? high.value : 0};
      for (unsigned k = 0; k < depth; ++k) {
        const double x = b(8 * j + column + e, k);
        sum[0] += mine[0][k] * x;
        sum[1] += mine[1][k] * x;
      }
      low.value = static_cast<float>(sum[0]);
      high.value = static_cast<float>(sum[1]);
    }
  if (thread == 0) machine.counters.tensor_flops += 2ull * 64 * static_cast<unsigned>(product.n) * depth;
}

}  // namespace

TensorMap make_tensor_map(const void* data, std::size_t element_bytes, bool round_to_tf32,
                          const std::uint64_t (&extent)[3], const std::uint64_t (&stride)[2],
                          const std::uint32_t (&box)[2]) {
  TensorMap map{data, static_cast<std::uint32_t>(element_bytes), round_to_tf32, {}, {}, {}};
  bool valid = reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && box[0] * element_bytes == kRowBytes;
  for (int i = 0; i < 3; ++i) {
    map.extent[i] = extent[i];
    valid &= extent[i] >= 1 && extent[i] <= std::uint64_t{1} << 32;
  }
  for (int i = 0; i < 2; ++i) {
    map.stride[i] = stride[i];
    map.box[i] = box[i];
    valid &= stride[i] % 16 == 0 && stride[i] > 0 && stride[i] < std::uint64_t{1} << 40;
    valid &= box[i] >= 1 && box[i] <= 256;
  }
  if (!valid) throw DeviceError("tensor map: refused (address, extents, strides or box)");
  return map;
}

unsigned shared_address(const void* p) {
  return static_cast<unsigned>(static_cast<const char*>(p) - running().current->block->shared) + kSharedWindow;
}

void barrier_init(Barrier* barrier, unsigned arrivals) {
  Machine& machine = running();
  machine.access(reinterpret_cast<std::uintptr_t>(barrier), sizeof(Barrier), true, false,
                 reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  const State state{static_cast<std::uint16_t>(arrivals), static_cast<std::uint16_t>(arrivals), 0, 0};
  std::memcpy(barrier, &state, sizeof state);
}

void barrier_arrive(Barrier* barrier, unsigned expected_bytes) {
  Machine& machine = running();
  machine.access(reinterpret_cast<std::uintptr_t>(barrier), sizeof(Barrier), true, true,
                 reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  State state = load(barrier);
  if (state.pending == 0) machine.fail("barrier: more threads arrive than it expects");
  state.bytes += static_cast<std::int32_t>(expected_bytes);
  --state.pending;
  store(machine, barrier, state);
}

void barrier_wait(Barrier* barrier, unsigned parity) {
  Machine& machine = running();
  machine.access(reinterpret_cast<std::uintptr_t>(barrier), sizeof(Barrier), true, true,
                 reinterpret_cast<std::uintptr_t>(__builtin_return_address(0)));
  Thread& self = *machine.current;
  auto& loads = self.block->loads;
  for (std::size_t i = 0; i < loads.size();) {
    if (loads[i].barrier != barrier) {
      ++i;
      continue;
    }
    const PendingLoad load_of = loads[i];
    loads.erase(loads.begin() + static_cast<std::ptrdiff_t>(i));
    land(machine, load_of);
  }
  while (load(barrier).parity == parity) {
    self.offer[0] = barrier;
    machine.wait(Wait::phase);
    // A load may have been asked for while it waited.
    for (std::size_t i = 0; i < loads.size(); ++i)
      if (loads[i].barrier == barrier) return barrier_wait(barrier, parity);
  }
}

void copy_tile(void* to, const TensorMap& from, Barrier* barrier, int element, int row, int matrix) {
  Machine& machine = running();
  Block& block = *machine.current->block;
  if (shared_address(to) % 1024 != 0)
    machine.fail("copy engine: a swizzled tile at an address that is no multiple of 1024");
  const PendingLoad load_of{
      to, from, barrier, {element, row, matrix}, reinterpret_cast<std::uintptr_t>(__builtin_return_address(0))};
  // Without a pattern that the kernel's own could keep step with.
  const std::uint32_t number = block.loads_so_far++;
  const bool late = (number * 2654435761u >> 28 & 1) != 0;
  if (!late) return land(machine, load_of);
  block.loads.push_back(load_of);
  // Who waits for it already comes to fetch it.
  for (Thread* thread : block.threads)
    if (thread->wait == Wait::phase && thread->offer[0] == barrier) {
      machine.wake(*thread);
      break;
    }
}

void wgmma(Counted<float>* d, int n, WgmmaType type, std::uint64_t a, bool a_columns, std::uint64_t b, bool b_rows,
           bool accumulate) {
  Thread& self = *running().current;
  if (!self.fenced) running().fail("wgmma: no wgmma_fence before it");
  self.products.push_back({d, n, type, a, b, a_columns, b_rows, accumulate});
}

void wgmma_fence() { running().current->fenced = true; }

void wgmma_commit() {
  Thread& self = *running().current;
  self.fenced = false;
  self.product_groups.push_back(self.products.size());
}

void wgmma_wait(int pending) {
  Machine& machine = running();
  Thread& self = *machine.current;
  if (self.product_groups.size() <= static_cast<std::size_t>(pending)) return;
  const std::size_t groups = self.product_groups.size() - static_cast<std::size_t>(pending);
  const std::size_t count = self.product_groups[groups - 1];
  for (std::size_t i = 0; i < count; ++i) compute(machine, self.products[i]);
  self.products.erase(self.products.begin(), self.products.begin() + static_cast<std::ptrdiff_t>(count));
  self.product_groups.erase(self.product_groups.begin(),
                            self.product_groups.begin() + static_cast<std::ptrdiff_t>(groups));
  for (auto& end : self.product_groups) end -= count;
}

}  // namespace dlkit::simt
