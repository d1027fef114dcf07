// A sequence in one launch: the recurrent weights stay in shared memory from the first step to the last. (Diamos et al.
// 2016, "Persistent RNNs: stashing recurrent weights on-chip".)
//
// Each multiprocessor has one block, which owns some of the units: it keeps their rows of U, all gates (backward: their
// columns), and computes their pre-activations and cells for all sequences. Of other blocks it needs the whole state h'
// (backward: the gradients by all gates), which they put into global memory; a barrier of the grid parts the steps. Two
// buffers take turns, so that one barrier a step is enough.
//
// A warp takes tiles of 4 sequences by 8 gates. Its lanes share the sum over k, 16 bytes each, so that rows of U and h'
// are read as they lie; then 31 exchanges leave each lane with one of the 32 sums.
//
// Of a step and a block, with n = G * units of its rows: 2 B n H FLOPs; 4 B H bytes of h' from the second-level cache
// (3 MB in all blocks together at B = 64, H = 100; 34 MB at H = 1024), and of shared memory (1/4 + 1/8) 4 B n H bytes
// less what the first-level cache gives. U itself, 4 G H^2 bytes, is read once for all steps instead of in each. Bound:
// below some 0.6 MFLOP a multiprocessor (an LSTM of H = 650 at B = 20) the barrier, 1.5 to 2 us; above, shared memory:
// 12 loads of 16 bytes for 128 multiply-adds take 48 cycles of it and 32 of the arithmetic units. That is two thirds of
// the peak.
//
// float32: 128 registers, 512 threads, so that the loads of some warps are on their way while others multiply. LSTMs up
// to H = 1320 on an H100 (227 KB of shared memory in each of 132 multiprocessors, 64 sequences), GRUs up to 1450, tanh
// up to 2640. gru_reset_first has two products a step that wait for each other, and is left to the launches of
// device_sequence.cpp.
#include "recurrent/persistent.h"

#include <algorithm>
#include <bit>

#include "core/cuda/residence.h"
#include "core/cuda/warp.h"
#include "layers/each_pack.h"
#include "recurrent/device_cell.h"

namespace dlkit::device {
namespace {

constexpr int kTileRows = 4, kTileCols = 8;
// Threads of a block: as many as the registers of a multiprocessor allow, 128 for each of float32.
template <class T>
constexpr int kBlock = sizeof(T) == 4 ? 512 : 256;
template <class T>
constexpr int kWarps = kBlock<T> / kWarp;

// How the units lie over the blocks.
template <class T>
struct Layout {
  int units, blocks;  // units of a block
  Index pitch;        // of a row of weights, and of what blocks exchange
  std::size_t shared;

  Layout(const Residence& limits, Index batch, Index hidden, Index gates, bool backward) {
    const Index most = limits.blocks;
    units = static_cast<int>(ceil_div<Index>(hidden, most));
    blocks = static_cast<int>(ceil_div<Index>(hidden, units));
    pitch = persistent_pitch<T>(backward ? gates * hidden : hidden);
    const Index cols = backward ? units : gates * units;
    shared = sizeof(T) * static_cast<std::size_t>(cols * (pitch + batch));
  }
};

// Lane l gets the sum over all lanes of their value l, as value[0]: each exchange halves the values that a lane has. (A
// loop over the halves is not unrolled, and the values would be in local memory.)
template <int kHalf = kWarp / 2, class T>
__device__ __forceinline__ void transposed_sum(T (&value)[kWarp]) {
  const bool upper = (threadIdx.x & kHalf) != 0;
#pragma unroll
  for (int i = 0; i < kHalf; ++i) {
    const T sent = upper ? value[i] : value[i + kHalf], kept = upper ? value[i + kHalf] : value[i];
    value[i] = kept + __shfl_xor_sync(kFullMask, sent, kHalf);
  }
  if constexpr (kHalf > 1) transposed_sum<kHalf / 2>(value);
}

// sums[row][col] = a[row] . weights[col], of rows of a in global memory that other blocks have written.
template <class T>
__device__ __forceinline__ void multiply(const T* a, int rows, const T* weights, int cols, int pitch, T* sums,
                                         int sums_pitch) {
  constexpr int N = kPack<T>;
  static_assert(kTileRows * kTileCols == kWarp);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int tiles_across = ceil_div(cols, kTileCols), tiles = tiles_across * ceil_div(rows, kTileRows);
  // Warps that run at one time share rows of `a`, which then come from the first-level cache.
  for (int tile = warp; tile < tiles; tile += kWarps<T>) {
    const int row0 = tile / tiles_across * kTileRows, col0 = tile % tiles_across * kTileCols;
    const T* from[kTileRows];
    const T* with[kTileCols];
#pragma unroll
    for (int r = 0; r < kTileRows; ++r)  // rows beyond the end are the last one again
      from[r] = a + static_cast<Index>(row0 + r < rows ? row0 + r : rows - 1) * pitch;
#pragma unroll
    for (int c = 0; c < kTileCols; ++c) with[c] = weights + (col0 + c < cols ? col0 + c : cols - 1) * pitch;
    T sum[kWarp];
#pragma unroll
    for (int i = 0; i < kWarp; ++i) sum[i] = T(0);
    for (int k = lane * N; k < pitch; k += kWarp * N) {
      Pack<T, N> x[kTileRows];
#pragma unroll
      for (int r = 0; r < kTileRows; ++r) x[r] = load_pack<N>(from[r] + k);
#pragma unroll
      for (int c = 0; c < kTileCols; ++c) {
        const Pack<T, N> w = load_pack<N>(with[c] + k);
#pragma unroll
        for (int r = 0; r < kTileRows; ++r)
#pragma unroll
          for (int e = 0; e < N; ++e) sum[r * kTileCols + c] = fma(x[r][e], w[e], sum[r * kTileCols + c]);
      }
    }
    transposed_sum(sum);
    const int row = row0 + lane / kTileCols, col = col0 + lane % kTileCols;
    if (row < rows && col < cols) sums[row * sums_pitch + col] = sum[0];
  }
}

// Which rows the next step has.
class Steps {
 public:
  __device__ __forceinline__ explicit Steps(const StepRuns& runs)
      : runs_(runs), first_(runs.from_end ? runs.all_rows : 0) {}
  __device__ __forceinline__ bool next() {
    if (step_ >= 0 && !runs_.from_end) first_ += rows_;
    ++step_;
    while (run_ < runs_.count && step_ >= runs_.until[run_]) ++run_;
    if (run_ == runs_.count) return false;
    rows_ = runs_.rows[run_];
    if (runs_.from_end) first_ -= rows_;
    return true;
  }
  __device__ __forceinline__ int step() const { return step_; }
  __device__ __forceinline__ int rows() const { return rows_; }
  __device__ __forceinline__ Index first() const { return first_; }

 private:
  const StepRuns& runs_;
  Index first_;
  int step_ = -1, run_ = 0, rows_ = 0;
};

// What a block owns.
struct Share {
  int first, units;
  __device__ __forceinline__ Share(int units_per_block, int hidden)
      : first(static_cast<int>(blockIdx.x) * units_per_block),
        units(hidden - first < units_per_block ? hidden - first : units_per_block) {}
};

// The columns of both buffers behind `width` are 0, so that products need not look where they end.
template <class T>
__device__ __forceinline__ void clear_padding(T* exchange, int batch, int width, int pitch) {
  const int padding = pitch - width;
  for (int i = threadIdx.x; i < 2 * batch * padding; i += kBlock<T>)
    exchange[static_cast<Index>(i / padding) * pitch + width + i % padding] = T(0);
}

template <Cell kCell, class T>
__global__ void __launch_bounds__(kBlock<T>, 1)
    forward_kernel(const __grid_constant__ Persistent<T> p, const int units_per_block, const int pitch) {
  constexpr int kGates = CellFacts<kCell>::kGates;
  DLKIT_DYNAMIC_SHARED(T, memory);
  CellStep<T> cell = p.cell;
  const int hidden = cell.hidden, thread = static_cast<int>(threadIdx.x);
  const Share own(units_per_block, hidden);
  const int cols = kGates * own.units;
  T* const weights = memory;
  T* const sums = memory + static_cast<Index>(kGates * units_per_block) * pitch;
  for (int c = thread / kWarp; c < cols; c += kWarps<T>) {
    const int gate = c / own.units, unit = own.first + c % own.units;
    const T* const from = p.hh + (static_cast<Index>(gate) * hidden + unit) * hidden;
    for (int k = thread % kWarp; k < pitch; k += kWarp) weights[c * pitch + k] = k < hidden ? from[k] : T(0);
  }
  T* const buffers[2] = {p.exchange, p.exchange + static_cast<Index>(p.batch) * pitch};
  for (int i = thread; i < p.batch * own.units; i += kBlock<T>) {
    const int row = i / own.units, unit = own.first + i % own.units;
    const Index at = static_cast<Index>(row) * hidden + unit;
    const T seen = cell.mask == nullptr ? cell.h[at] : cell.h[at] * cell.mask[at];
    // Of sequences that begin later, in the direction from the end, either buffer may be the one that is read.
    buffers[0][static_cast<Index>(row) * pitch + unit] = seen;
    buffers[1][static_cast<Index>(row) * pitch + unit] = seen;
  }
  if (blockIdx.x == 0) clear_padding(p.exchange, p.batch, hidden, pitch);
  grid_sync();

  cell.seen_stride = pitch;
  for (Steps steps(p.runs); steps.next();) {
    const bool odd = steps.step() % 2 != 0;
    multiply(odd ? buffers[1] : buffers[0], steps.rows(), weights, cols, pitch, sums, cols);
    __syncthreads();
    cell.gates = p.cell.gates + steps.first() * cell.gates_stride;
    cell.y = p.cell.y + steps.first() * cell.y_stride;
    cell.seen = odd ? buffers[0] : buffers[1];
    for (int i = thread; i < steps.rows() * own.units; i += kBlock<T>) {
      const int row = i / own.units, of_block = i % own.units, unit = own.first + of_block;
      T u[4];
#pragma unroll
      for (int g = 0; g < kGates; ++g) {
        u[g] = sums[row * cols + g * own.units + of_block];
        if (p.hh_bias != nullptr) u[g] += p.hh_bias[static_cast<Index>(g) * hidden + unit];
      }
      step_unit<kCell>(cell, row, unit, u);
    }
    grid_sync();
  }
}

template <Cell kCell, class T>
__global__ void __launch_bounds__(kBlock<T>, 1)
    backward_kernel(const __grid_constant__ PersistentBack<T> p, const int units_per_block, const int pitch) {
  constexpr int kGates = CellFacts<kCell>::kGates;
  DLKIT_DYNAMIC_SHARED(T, memory);
  CellStepBack<T> cell = p.cell;
  const int hidden = cell.hidden, depth = kGates * hidden, thread = static_cast<int>(threadIdx.x);
  const Share own(units_per_block, hidden);
  T* const weights = memory;
  T* const sums = memory + static_cast<Index>(units_per_block) * pitch;
  for (int i = thread; i < pitch * own.units; i += kBlock<T>) {
    const int k = i / own.units, c = i % own.units;
    weights[c * pitch + k] = k < depth ? p.hh[static_cast<Index>(k) * hidden + own.first + c] : T(0);
  }
  T* const buffers[2] = {p.exchange, p.exchange + static_cast<Index>(p.batch) * pitch};
  if (blockIdx.x == 0) clear_padding(p.exchange, p.batch, depth, pitch);
  grid_sync();

  // dh of a row and unit gets its share of what came through U.
  const auto add = [&](int i, int row) {
    const int of_block = i % own.units;
    const Index at = static_cast<Index>(row) * hidden + own.first + of_block;
    const T mask = cell.mask == nullptr ? T(1) : cell.mask[at];
    cell.dh[at] = fma(sums[row * own.units + of_block], mask, cell.dh[at]);
  };
  cell.exchange_stride = pitch;
  int before = 0, turn = 0;  // rows of the last step, and where their gradients are
  for (Steps steps(p.runs); steps.next(); turn ^= 1) {
    const int rows = steps.rows();
    if (before > 0) {
      multiply(turn != 0 ? buffers[1] : buffers[0], before, weights, own.units, pitch, sums, own.units);
      __syncthreads();
    }
    cell.kept = p.cell.kept + steps.first() * cell.kept_stride;
    cell.y = p.cell.y + steps.first() * cell.y_stride;
    if (cell.dy != nullptr) cell.dy = p.cell.dy + steps.first() * cell.dy_stride;
    cell.exchange = turn != 0 ? buffers[0] : buffers[1];
    const int most = rows > before ? rows : before;
    for (int i = thread; i < most * own.units; i += kBlock<T>) {
      const int row = i / own.units, of_block = i % own.units;
      if (row < rows)
        step_unit_back<kCell>(cell, row, own.first + of_block, row < before ? sums[row * own.units + of_block] : T(0));
      else  // its first step is behind it
        add(i, row);
    }
    before = rows;
    grid_sync();
  }
  if (!p.by_state) return;
  multiply(turn != 0 ? buffers[1] : buffers[0], before, weights, own.units, pitch, sums, own.units);
  __syncthreads();
  for (int i = thread; i < before * own.units; i += kBlock<T>) add(i, i / own.units);
}

}  // namespace

template <class T>
Index persistent_pitch(Index width) {
  return ceil_div<Index>(width, kPack<T>) * kPack<T>;
}

template <class T>
bool fits_persistent(const RecurrentShape& s) {
  if (s.cell == Cell::gru_reset_first) return false;
  int runs = 0;
  for (std::size_t t = 0; t < s.batch_sizes.size(); ++t)
    runs += t == 0 || s.batch_sizes[t] != s.batch_sizes[t - 1] ? 1 : 0;
  if (runs > kMostRuns) return false;
  const Residence limits = residence();
  return Layout<T>(limits, s.batch(), s.hidden, s.gates(), false).shared <= limits.shared &&
         Layout<T>(limits, s.batch(), s.hidden, s.gates(), true).shared <= limits.shared;
}

template <class T>
void persistent_forward(Stream stream, const Persistent<T>& p) {
  const Layout<T> layout(residence(), p.batch, p.cell.hidden, traits(p.cell.cell).gates, false);
  with_cell(p.cell.cell, [&]<Cell kCell>() {
    launch("persistent", forward_kernel<kCell, real<T>>,
           {static_cast<unsigned>(layout.blocks), kBlock<T>, layout.shared, true}, stream,
           std::bit_cast<Persistent<real<T>>>(p), layout.units, static_cast<int>(layout.pitch));
  });
}

template <class T>
void persistent_backward(Stream stream, const PersistentBack<T>& p) {
  const Layout<T> layout(residence(), p.batch, p.cell.hidden, traits(p.cell.cell).gates, true);
  with_cell(p.cell.cell, [&]<Cell kCell>() {
    launch("persistent backward", backward_kernel<kCell, real<T>>,
           {static_cast<unsigned>(layout.blocks), kBlock<T>, layout.shared, true}, stream,
           std::bit_cast<PersistentBack<real<T>>>(p), layout.units, static_cast<int>(layout.pitch));
  });
}

#define DLKIT_INSTANTIATE(T)                                      \
  template Index persistent_pitch<T>(Index);                      \
  template bool fits_persistent<T>(const RecurrentShape&);        \
  template void persistent_forward(Stream, const Persistent<T>&); \
  template void persistent_backward(Stream, const PersistentBack<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
