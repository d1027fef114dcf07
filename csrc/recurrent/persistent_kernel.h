// The kernels of persistent.cu and streamed.cu: all steps of a layer in one launch, of one direction or of both.
//
// A direction has blocks [0, layout.blocks) of a row of the grid. A block owns some of the units: it computes their
// pre-activations and cells for all sequences, from rows of U that it keeps (backward: columns, all gates of a unit's
// one after another). Of other blocks it needs the whole state h' (backward: the gradients by all gates), which they
// put into global memory; a barrier of the grid parts the steps. Two buffers take turns, so that one barrier a step is
// enough; gru_reset_first, whose second product needs all of r h', takes two.
//
// A warp takes tiles of 4 sequences by 8 gates. Its lanes share the sum over k, 16 bytes each, so that rows of U and h'
// are read as they lie; then 31 exchanges leave each lane with one of the 32 sums.
#pragma once

#include <algorithm>
#include <bit>

#include "core/cuda/residence.h"
#include "core/cuda/warp.h"
#include "layers/each_pack.h"
#include "recurrent/device_cell.h"
#include "recurrent/persistent.h"

namespace dlkit::device {
namespace persistent {

constexpr int kTileRows = 4, kTileCols = 8;
// Threads of a block: as many as the registers of a multiprocessor allow, 128 for each of float32.
template <class T>
constexpr int kBlock = sizeof(T) == 4 ? 512 : 256;
template <class T>
constexpr int kWarps = kBlock<T> / kWarp;
// What a warp's lanes take of a row at a time.
template <class T>
constexpr int kChunk = kWarp * kPack<T>;
// Of streamed weights: how many chunks are in shared memory or on their way, and tiles side by side.
constexpr int kStages = 3, kMostAcross = 4;

// Of gru_reset_first the products of a step are two.
template <Cell kCell>
constexpr int kParts = kCell == Cell::gru_reset_first ? 2 : 1;

// The product of a step, or one of the two, as a block sees it.
struct PartLayout {
  int cols;   // rows of U, or columns backward, of a block; of the last one fewer
  int depth;  // elements of each
  int kept;   // so many of them in shared memory; a multiple of kChunk, or all
  // Tiles side by side that all warps work on, and how often that is done. (Streamed weights only.)
  int across, waves;
};

// How the units lie over the blocks.
struct Layout {
  int units, blocks;  // units of a block, and blocks of a direction
  int pitch;          // of a row of h, padded to 16 bytes; backward of each gate
  int parts;
  PartLayout part[2];
  int group, groups;  // tiles of sequences that fill the warps, and how often that is done
  int slot;           // elements of a chunk of streamed weights
  Index rest;         // elements of a block's streamed weights
  std::size_t shared;
  bool fits;
};

template <class T>
Layout layout_of(const RecurrentShape& s, int directions, bool backward, bool streams) {
  const Residence limits = residence();
  Layout l = {};
  const Index most = limits.blocks / directions, hidden = s.hidden, gates = s.gates(), batch = s.batch();
  if (most < 1) return l;
  const Index units = ceil_div<Index>(hidden, most), pitch = persistent_pitch<T>(hidden);
  if (units * gates > (1 << 20) || gates * pitch > (1 << 28)) return l;
  l.units = static_cast<int>(units);
  l.blocks = static_cast<int>(ceil_div<Index>(hidden, units));
  l.pitch = static_cast<int>(pitch);
  l.parts = s.cell == Cell::gru_reset_first ? 2 : 1;
  const Index room = static_cast<Index>(limits.shared / sizeof(T));
  Index all_cols = 0, cells = 0, slot = 0;
  for (int i = 0; i < l.parts; ++i) {
    PartLayout& part = l.part[i];
    // Forward r and z, then n; backward n, then r and z.
    const Index of_part = l.parts == 1 ? gates : backward == (i == 0) ? 1 : 2;
    part.cols = static_cast<int>(backward ? units : of_part * units);
    part.depth = static_cast<int>(backward ? of_part * pitch : pitch);
    part.kept = part.depth;
    all_cols += part.cols;
    cells += static_cast<Index>(part.cols) * part.depth;
    const int row_tiles = static_cast<int>(ceil_div<Index>(batch, kTileRows)), tiles = ceil_div(part.cols, kTileCols);
    const int across = std::min({std::max(kWarps<T> / row_tiles, 1), tiles, kMostAcross});
    part.waves = ceil_div(tiles, across);
    part.across = ceil_div(tiles, part.waves);
    slot = std::max<Index>(slot, static_cast<Index>(part.across) * kTileCols * kChunk<T>);
  }
  // All parts fill the warps with the same sequences.
  const int widest = std::max(l.part[0].across, l.part[1].across);
  l.group = kWarps<T> / widest;
  l.groups = static_cast<int>(ceil_div<Index>(ceil_div<Index>(batch, kTileRows), l.group));
  const Index sums = (backward ? units : all_cols) * batch;
  if (!streams) {
    l.shared = sizeof(T) * static_cast<std::size_t>(cells + sums);
    l.fits = l.shared <= limits.shared;
    return l;
  }
  l.slot = static_cast<int>(slot);
  Index left = room - sums - kStages * slot;
  l.fits = left >= 0;
  if (!l.fits) return l;
  Index kept = 0;
  for (int i = 0; i < l.parts; ++i) {
    PartLayout& part = l.part[i];
    const Index chunks = ceil_div(part.depth, kChunk<T>);
    // The share of a part is that of its weights; the last chunk is always streamed.
    const Index share = i + 1 == l.parts ? left : left * part.cols * part.depth / cells;
    const Index fit = share / (static_cast<Index>(part.cols) * kChunk<T>);
    part.kept = static_cast<int>(std::min(fit, chunks - 1) * kChunk<T>);
    const Index used = static_cast<Index>(part.cols) * part.kept;
    left -= used;
    kept += used;
    l.rest += static_cast<Index>(part.cols) * (part.depth - part.kept);
  }
  l.shared = sizeof(T) * static_cast<std::size_t>(kept + sums + kStages * slot);
  return l;
}

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

// The weights of a product: of each row `kept` elements in shared memory, the rest in global memory.
template <class T>
struct Part {
  T* weights;
  T* rest;
  int cols, depth, kept, across, waves;
};

// A tile of a product: 4 rows of `a` times 8 rows of weights.
template <class T>
struct Tile {
  const T* from[kTileRows];
  T sum[kWarp];

  // Rows beyond the end are the last one again.
  __device__ __forceinline__ Tile(const T* a, int row0, int rows, int pitch) {
#pragma unroll
    for (int r = 0; r < kTileRows; ++r) from[r] = a + static_cast<Index>(row0 + r < rows ? row0 + r : rows - 1) * pitch;
#pragma unroll
    for (int i = 0; i < kWarp; ++i) sum[i] = T(0);
  }

  // `at`: of the lane's elements in rows of a; `with`: the same of each row of weights.
  __device__ __forceinline__ void add(int at, const T* const (&with)[kTileCols], int k) {
    constexpr int N = kPack<T>;
    Pack<T, N> x[kTileRows];
#pragma unroll
    for (int r = 0; r < kTileRows; ++r) x[r] = load_pack<N>(from[r] + at);
#pragma unroll
    for (int c = 0; c < kTileCols; ++c) {
      const Pack<T, N> w = load_pack<N>(with[c] + k);
#pragma unroll
      for (int r = 0; r < kTileRows; ++r)
#pragma unroll
        for (int e = 0; e < N; ++e) sum[r * kTileCols + c] = fma(x[r][e], w[e], sum[r * kTileCols + c]);
    }
  }

  __device__ __forceinline__ void store(T* sums, int sums_pitch, int row0, int rows, int col0, int cols) {
    static_assert(kTileRows * kTileCols == kWarp);
    transposed_sum(sum);
    const int lane = threadIdx.x % kWarp, row = row0 + lane / kTileCols, col = col0 + lane % kTileCols;
    if (row < rows && col < cols) sums[row * sums_pitch + col] = sum[0];
  }
};

// The products of a block with its weights.
template <bool kStreams, int kCount, class T>
class Products {
 public:
  __device__ __forceinline__ Products(const Layout& l, T* shared, T* rest, int units) : groups_(l.groups) {
    group_size_ = l.group;
    slot_ = l.slot;
    rest += static_cast<Index>(blockIdx.x) * l.rest;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const PartLayout& from = l.part[i];
      parts_[i] = {shared, rest, from.cols / l.units * units, from.depth, from.kept, from.across, from.waves};
      shared += static_cast<Index>(from.cols) * from.kept;
      rest += static_cast<Index>(from.cols) * (from.depth - from.kept);
    }
    slots_ = shared;
    sums = shared + (kStreams ? kStages * slot_ : 0);
  }

  T* sums;

  __device__ __forceinline__ int cols(int part) const { return parts_[part].cols; }
  __device__ __forceinline__ int depth(int part) const { return parts_[part].depth; }

  __device__ __forceinline__ void put(int part, int c, int k, T value) {
    const Part<T>& w = parts_[part];
    if (!kStreams || k < w.kept)
      w.weights[c * w.kept + k] = value;
    else
      w.rest[static_cast<Index>(c) * (w.depth - w.kept) + (k - w.kept)] = value;
  }

  // Once all weights are in their places.
  __device__ __forceinline__ void begin() {
    if constexpr (kStreams) {
      k_ = parts_[0].kept;
      for (int i = 0; i < kStages - 1; ++i) issue();
    }
  }
  __device__ __forceinline__ void end() {
    if constexpr (kStreams) cp_async_wait<0>();
  }

  // to[row][col] = a[row] . weights[col], of rows of a in global memory that other blocks have written.
  template <int kPart>
  __device__ __forceinline__ void multiply(const T* a, int rows, int pitch, T* to, int to_pitch) {
    if constexpr (kStreams)
      multiply_streamed(parts_[kPart], a, rows, pitch, to, to_pitch);
    else
      multiply_kept(parts_[kPart], a, rows, pitch, to, to_pitch);
    __syncthreads();
  }

 private:
  static constexpr int N = kPack<T>;

  __device__ __forceinline__ static void multiply_kept(const Part<T>& w, const T* a, int rows, int pitch, T* to,
                                                       int to_pitch) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    const int tiles_across = ceil_div(w.cols, kTileCols), tiles = tiles_across * ceil_div(rows, kTileRows);
    // Warps that run at one time share rows of `a`, which then come from the first-level cache.
    for (int tile = warp; tile < tiles; tile += kWarps<T>) {
      const int row0 = tile / tiles_across * kTileRows, col0 = tile % tiles_across * kTileCols;
      Tile<T> t(a, row0, rows, pitch);
      const T* with[kTileCols];
#pragma unroll
      for (int c = 0; c < kTileCols; ++c) with[c] = w.weights + (col0 + c < w.cols ? col0 + c : w.cols - 1) * w.depth;
      for (int k = lane * N; k < w.depth; k += kWarp * N) t.add(k, with, k);
      t.store(to, to_pitch, row0, rows, col0, w.cols);
    }
  }

  // A tile is multiplied with what is kept, and then with the other chunks of its columns as they come.
  __device__ __forceinline__ void multiply_streamed(const Part<T>& w, const T* a, int rows, int pitch, T* to,
                                                    int to_pitch) {
    const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
    for (int group = 0; group < groups_; ++group)
      for (int wave = 0; wave < w.waves; ++wave) {
        const int of_wave = warp % w.across * kTileCols, col0 = wave * w.across * kTileCols + of_wave;
        const int of_group = warp / w.across, row0 = (group * group_size_ + of_group) * kTileRows;
        const bool active = of_group < group_size_ && row0 < rows && col0 < w.cols;
        Tile<T> t(a, active ? row0 : 0, rows, pitch);
        const int last = w.cols - 1 - col0;
        const T* with[kTileCols];
        if (active && w.kept > 0) {
#pragma unroll
          for (int c = 0; c < kTileCols; ++c) with[c] = w.weights + (col0 + (c < last ? c : last)) * w.kept;
          for (int k = lane * N; k < w.kept; k += kWarp * N) t.add(k, with, k);
        }
        for (int k0 = w.kept; k0 < w.depth; k0 += kChunk<T>) {
          const T* const chunk = take();
          if (!active || k0 + lane * N >= w.depth) continue;
#pragma unroll
          for (int c = 0; c < kTileCols; ++c) with[c] = chunk + (of_wave + (c < last ? c : last)) * kChunk<T>;
          t.add(k0 + lane * N, with, lane * N);
        }
        if (active) t.store(to, to_pitch, row0, rows, col0, w.cols);
      }
  }

  // The next chunk of streamed weights, which all threads wait for.
  __device__ __forceinline__ const T* take() {
    cp_async_wait<kStages - 2>();
    __syncthreads();
    issue();  // into the slot of the chunk that was taken before
    const T* const chunk = slots_ + taken_ * slot_;
    taken_ = taken_ + 1 == kStages ? 0 : taken_ + 1;
    return chunk;
  }

  // Sends for a chunk. They come in the order in which the products take them, the same in every step: so those of the
  // next step are on their way while the blocks wait for each other.
  __device__ __forceinline__ void issue() {
    const int most = now(&Part<T>::across) * kTileCols, kept = now(&Part<T>::kept), depth = now(&Part<T>::depth);
    const int col0 = wave_ * most, lane = threadIdx.x % kWarp;
    const int left = now(&Part<T>::cols) - col0, cols = left < most ? left : most;
    T* const to = slots_ + issued_ * slot_ + lane * N;
    const int pitch = depth - kept, k = k_ - kept + lane * N;
    if (k < pitch)
      for (int c = threadIdx.x / kWarp; c < cols; c += kWarps<T>)
        cp_async<16>(to + c * kChunk<T>, now(&Part<T>::rest) + static_cast<Index>(col0 + c) * pitch + k);
    cp_async_commit();  // an empty group too: their number is what is waited for
    issued_ = issued_ + 1 == kStages ? 0 : issued_ + 1;
    k_ += kChunk<T>;
    if (k_ < depth) return;
    if (++wave_ == now(&Part<T>::waves)) {
      wave_ = 0;
      if (++group_ == groups_) {
        group_ = 0;
        part_ = part_ + 1 == kCount ? 0 : part_ + 1;
      }
    }
    k_ = now(&Part<T>::kept);
  }

  // Of the part whose chunk is sent for: a value, since an address would put the parts into local memory.
  template <class Member>
  __device__ __forceinline__ Member now(Member Part<T>::* member) const {
    return kCount == 1 || part_ == 0 ? parts_[0].*member : parts_[kCount - 1].*member;
  }

  Part<T> parts_[kCount];
  T* slots_;
  int slot_, groups_, group_size_;
  int part_ = 0, group_ = 0, wave_ = 0, k_ = 0;  // of the chunk to send for
  int issued_ = 0, taken_ = 0;                   // slots
};

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

// The columns of the buffers behind `width` of every `pitch` are 0, so that products need not look where they end.
template <class T>
__device__ __forceinline__ void clear_padding(T* exchange, int rows, int width, int pitch) {
  const int padding = pitch - width;
  for (int i = threadIdx.x; i < rows * padding; i += kBlock<T>)
    exchange[static_cast<Index>(i / padding) * pitch + width + i % padding] = T(0);
}

template <class T>
struct Forward {
  Persistent<T> pass[2];
};
template <class T>
struct Backward {
  PersistentBack<T> pass[2];
};

template <Cell kCell, bool kStreams, class T>
__global__ void __launch_bounds__(kBlock<T>, 1)
    forward_kernel(const __grid_constant__ Forward<T> both, const __grid_constant__ Layout layout) {
  constexpr int kGates = CellFacts<kCell>::kGates, kCount = kParts<kCell>;
  constexpr bool kResetFirst = kCell == Cell::gru_reset_first;
  DLKIT_DYNAMIC_SHARED(T, memory);
  const Persistent<T>& p = both.pass[blockIdx.y];
  CellStep<T> cell = p.cell;
  const int hidden = cell.hidden, pitch = layout.pitch, thread = static_cast<int>(threadIdx.x);
  const Share own(layout.units, hidden);
  const int cols = kGates * own.units;
  Products<kStreams, kCount, T> products(layout, memory, p.rest, own.units);
  T* const sums = products.sums;
#pragma unroll
  for (int part = 0; part < kCount; ++part)
    for (int c = thread / kWarp; c < products.cols(part); c += kWarps<T>) {
      const int gate = 2 * part + c / own.units, unit = own.first + c % own.units;
      const T* const from = p.hh + (static_cast<Index>(gate) * hidden + unit) * hidden;
      for (int k = thread % kWarp; k < pitch; k += kWarp) products.put(part, c, k, k < hidden ? from[k] : T(0));
    }
  const Index apart = static_cast<Index>(p.batch) * pitch;
  T* const buffers[2] = {p.exchange, p.exchange + apart};
  T* const reset = p.exchange + 2 * apart;  // r h'
  for (int i = thread; i < p.batch * own.units; i += kBlock<T>) {
    const int row = i / own.units, unit = own.first + i % own.units;
    const Index at = static_cast<Index>(row) * hidden + unit;
    const T seen = cell.mask == nullptr ? cell.h[at] : cell.h[at] * cell.mask[at];
    // Of sequences that begin later, in the direction from the end, either buffer may be the one that is read.
    buffers[0][static_cast<Index>(row) * pitch + unit] = seen;
    buffers[1][static_cast<Index>(row) * pitch + unit] = seen;
  }
  if (blockIdx.x == 0) clear_padding(p.exchange, (kResetFirst ? 3 : 2) * p.batch, hidden, pitch);
  grid_sync();

  products.begin();
  cell.seen_stride = pitch;
  for (Steps steps(p.runs); steps.next();) {
    const bool odd = steps.step() % 2 != 0;
    const int rows = steps.rows();
    cell.gates = p.cell.gates + steps.first() * cell.gates_stride;
    cell.y = p.cell.y + steps.first() * cell.y_stride;
    cell.seen = odd ? buffers[0] : buffers[1];
    products.template multiply<0>(odd ? buffers[1] : buffers[0], rows, pitch, sums, cols);
    const auto of_state = [&](int row, int gate, int of_block) {
      T u = sums[row * cols + gate * own.units + of_block];
      if (p.hh_bias != nullptr) u += p.hh_bias[static_cast<Index>(gate) * hidden + own.first + of_block];
      return u;
    };
    if constexpr (kResetFirst) {
      for (int i = thread; i < rows * own.units; i += kBlock<T>) {
        const int row = i / own.units, of_block = i % own.units, unit = own.first + of_block;
        const T seen = reset_unit(cell, row, unit, of_state(row, 0, of_block), of_state(row, 1, of_block));
        if (cell.keep) cell.gates[row * cell.gates_stride + 3 * static_cast<Index>(hidden) + unit] = seen;
        reset[static_cast<Index>(row) * pitch + unit] = seen;
      }
      grid_sync();
      products.template multiply<kCount - 1>(reset, rows, pitch, sums + 2 * own.units, cols);
    }
    for (int i = thread; i < rows * own.units; i += kBlock<T>) {
      const int row = i / own.units, of_block = i % own.units;
      T u[4];
#pragma unroll
      for (int g = 0; g < kGates; ++g) u[g] = kResetFirst && g < 2 ? T(0) : of_state(row, g, of_block);
      step_unit<kCell>(cell, row, own.first + of_block, u);
    }
    grid_sync();
  }
  products.end();
}

template <Cell kCell, bool kStreams, class T>
__global__ void __launch_bounds__(kBlock<T>, 1)
    backward_kernel(const __grid_constant__ Backward<T> both, const __grid_constant__ Layout layout) {
  constexpr int kGates = CellFacts<kCell>::kGates, kCount = kParts<kCell>;
  constexpr bool kResetFirst = kCell == Cell::gru_reset_first;
  DLKIT_DYNAMIC_SHARED(T, memory);
  const PersistentBack<T>& p = both.pass[blockIdx.y];
  CellStepBack<T> cell = p.cell;
  const int hidden = cell.hidden, pitch = layout.pitch, width = kGates * pitch;
  const int thread = static_cast<int>(threadIdx.x);
  const Share own(layout.units, hidden);
  Products<kStreams, kCount, T> products(layout, memory, p.rest, own.units);
  T* const sums = products.sums;
#pragma unroll
  for (int part = 0; part < kCount; ++part)
    for (int i = thread; i < products.depth(part) * own.units; i += kBlock<T>) {
      const int k = i / own.units, c = i % own.units, unit = k % pitch;
      const int gate = k / pitch + (kResetFirst && part == 0 ? 2 : 0);
      products.put(part, c, k,
                   unit < hidden ? p.hh[(static_cast<Index>(gate) * hidden + unit) * hidden + own.first + c] : T(0));
    }
  const Index apart = static_cast<Index>(p.batch) * width;
  T* const buffers[2] = {p.exchange, p.exchange + apart};
  if (blockIdx.x == 0) clear_padding(p.exchange, 2 * p.batch * kGates, hidden, pitch);
  grid_sync();

  products.begin();
  cell.exchange_stride = width;
  cell.exchange_gate = pitch;
  // What came through U of the step before; of gru_reset_first that from r and z.
  const auto through = [&](bool odd, int rows) {
    products.template multiply<kCount - 1>(odd ? buffers[1] : buffers[0], rows, width, sums, own.units);
  };
  // dh of a row and unit gets its share of that.
  const auto add = [&](int i, int row) {
    const int of_block = i % own.units;
    const Index at = static_cast<Index>(row) * hidden + own.first + of_block;
    const T mask = cell.mask == nullptr ? T(1) : cell.mask[at];
    cell.dh[at] = fma(sums[row * own.units + of_block], mask, cell.dh[at]);
  };
  int before = 0, turn = 0;  // rows of the last step, and where their gradients are
  for (Steps steps(p.runs); steps.next(); turn ^= 1) {
    const int rows = steps.rows();
    if (before > 0) through(turn != 0, before);
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
    grid_sync();
    if constexpr (kResetFirst) {
      products.template multiply<0>(cell.exchange + 2 * pitch, rows, width, sums, own.units);
      for (int i = thread; i < rows * own.units; i += kBlock<T>) {
        const int row = i / own.units, of_block = i % own.units, unit = own.first + of_block;
        cell.exchange[row * cell.exchange_stride + unit] = reset_unit_back(cell, row, unit, sums[i]);
      }
      grid_sync();
    }
    before = rows;
  }
  if (p.by_state) {
    through(turn != 0, before);
    for (int i = thread; i < before * own.units; i += kBlock<T>) add(i, i / own.units);
  }
  products.end();
}

// Of one direction or of two, whose shapes are the same.
template <bool kStreams, class T>
void launch_forward(Stream stream, const RecurrentShape& shape, const Persistent<T>* passes, int directions) {
  const Layout layout = layout_of<T>(shape, directions, false, kStreams);
  const Forward<T> both{{passes[0], passes[directions - 1]}};
  with_cell(shape.cell, [&]<Cell kCell>() {
    launch(
        kStreams ? "streamed" : "persistent", forward_kernel<kCell, kStreams, real<T>>,
        {dim3(static_cast<unsigned>(layout.blocks), static_cast<unsigned>(directions)), kBlock<T>, layout.shared, true},
        stream, std::bit_cast<Forward<real<T>>>(both), layout);
  });
}

template <bool kStreams, class T>
void launch_backward(Stream stream, const RecurrentShape& shape, const PersistentBack<T>* passes, int directions) {
  const Layout layout = layout_of<T>(shape, directions, true, kStreams);
  const Backward<T> both{{passes[0], passes[directions - 1]}};
  with_cell(shape.cell, [&]<Cell kCell>() {
    launch(
        kStreams ? "streamed backward" : "persistent backward", backward_kernel<kCell, kStreams, real<T>>,
        {dim3(static_cast<unsigned>(layout.blocks), static_cast<unsigned>(directions)), kBlock<T>, layout.shared, true},
        stream, std::bit_cast<Backward<real<T>>>(both), layout);
  });
}

}  // namespace persistent
}  // namespace dlkit::device
