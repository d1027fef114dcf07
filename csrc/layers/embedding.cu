// Embedding: rows of a table gathered by index, and their gradients added up again.
//
// Gather: as many lanes as a row has packs of 16 bytes, up to a warp, and four rows at once, since an address must be
// fetched before what it points to. Bytes: 2 elements and the index. Bound: memory; rows of less than 32 bytes cost
// a whole sector.
//
// Gradient: an index may come many times, and floating-point sums depend on their order. So the places of equal indices
// are brought together by a stable sort (least significant digit first, 8 bits a pass: Satish, Harris, Garland,
// "Designing Efficient Sorting Algorithms for Manycore GPUs", 2009), and each row of the result is the sum of its
// places in order; no atomic operations on floats, the same bits every time. Bytes: one element read for each element
// of grad, one written for each of the table, most of them zeros; 32 per index and pass for sorting. Bound: memory
// where the table is large; the launches of the sort (one up to 2048 indices, else three a pass) where it is not; and
// where one index takes most of the batch, the block that adds it up. `atomic` zeroes the table and adds by atomic
// operations: two launches, the order is left to chance.
// float32: gather 56 registers, 1024 threads with 64 bytes each on their way; sum of rows 40, 1536 threads; sort 73.
#include <algorithm>

#include "layers/device.h"
#include "layers/functions.h"
#include "layers/naive_layers.h"
#include "layers/rows.h"

namespace dlkit::device {
namespace {

constexpr int kGathered = 4;  // rows in flight

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    gather_kernel(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out, int lanes) {
  const int lane = threadIdx.x % lanes, groups = kThreads / lanes;
  const Index apart = static_cast<Index>(gridDim.x) * groups;
  for (Index first = static_cast<Index>(blockIdx.x) * groups + threadIdx.x / lanes; first < n;
       first += apart * kGathered) {
    std::int64_t row[kGathered];
#pragma unroll
    for (int j = 0; j < kGathered; ++j) row[j] = first + j * apart < n ? indices[first + j * apart] : 0;
    for (Index col = static_cast<Index>(lane) * N; col < cols; col += static_cast<Index>(lanes) * N) {
      Pack<T, N> v[kGathered];
#pragma unroll
      for (int j = 0; j < kGathered; ++j) {
        if (first + j * apart >= n) continue;
        if (row[j] >= 0 && row[j] < rows) {
          v[j] = load_pack<N>(weight + row[j] * cols + col);
        } else {
#pragma unroll
          for (int k = 0; k < N; ++k) v[j][k] = quiet_nan<T>();
        }
      }
#pragma unroll
      for (int j = 0; j < kGathered; ++j)
        if (first + j * apart < n) store_pack(out + (first + j * apart) * cols + col, v[j]);
    }
  }
}

// --- sorting -----------------------------------------------------------------------------------------------------

constexpr int kDigits = 256;  // as many as threads
constexpr int kRounds = 8;
constexpr int kTile = kThreads * kRounds;
constexpr int kWarps = kThreads / kWarp;
static_assert(kThreads == kDigits);

struct Keys {
  const std::int64_t* indices;  // the first pass reads these; null in others
  const std::uint32_t *key, *place;
  std::uint32_t rows;
  std::int64_t padding_idx;
  Index n;

  // Indices that count for nothing come last.
  __device__ __forceinline__ std::uint32_t key_at(Index i) const {
    if (indices == nullptr) return key[i];
    const std::int64_t index = indices[i];
    return index < 0 || index >= rows || index == padding_idx ? rows : static_cast<std::uint32_t>(index);
  }
  __device__ __forceinline__ std::uint32_t place_at(Index i) const {
    return indices == nullptr ? place[i] : static_cast<std::uint32_t>(i);
  }
};

// The sum of what threads before this one gave; `total` of all. For kThreads threads.
__device__ __forceinline__ std::uint32_t sum_before(std::uint32_t value, std::uint32_t& total) {
  DLKIT_SHARED(std::uint32_t, of_warp, [kWarps]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  std::uint32_t sum = value;
#pragma unroll
  for (int by = 1; by < kWarp; by *= 2) {
    const std::uint32_t other = __shfl_up_sync(kFullMask, sum, by);
    if (lane >= by) sum += other;
  }
  if (lane == kWarp - 1) of_warp[warp] = sum;
  __syncthreads();
  std::uint32_t before = 0;
  total = 0;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    if (w < warp) before += of_warp[w];
    total += of_warp[w];
  }
  __syncthreads();
  return before + sum - value;
}

// How often each digit comes in each tile: counts[digit * tiles + tile].
__global__ void __launch_bounds__(kThreads) count_digits_kernel(const Keys keys, int shift, std::uint32_t* counts) {
  DLKIT_SHARED(unsigned, count, [kDigits]);
  count[threadIdx.x] = 0;
  __syncthreads();
  const Index first = static_cast<Index>(blockIdx.x) * kTile + threadIdx.x;
  for (int round = 0; round < kRounds; ++round) {
    const Index i = first + round * kThreads;
    if (i < keys.n) atomicAdd(&count[keys.key_at(i) >> shift & (kDigits - 1)], 1u);
  }
  __syncthreads();
  counts[static_cast<Index>(threadIdx.x) * gridDim.x + blockIdx.x] = count[threadIdx.x];
}

// Each count becomes the sum of those before it. One block.
__global__ void __launch_bounds__(kThreads) sum_counts_kernel(std::uint32_t* counts, Index n) {
  constexpr int kEach = 8;
  std::uint32_t carry = 0;
  for (Index first = 0; first < n; first += kThreads * kEach) {
    const Index mine = first + static_cast<Index>(threadIdx.x) * kEach;
    std::uint32_t value[kEach], sum = 0, total;
#pragma unroll
    for (int j = 0; j < kEach; ++j) value[j] = mine + j < n ? counts[mine + j] : 0;
#pragma unroll
    for (int j = 0; j < kEach; ++j) sum += value[j];
    sum = carry + sum_before(sum, total);
#pragma unroll
    for (int j = 0; j < kEach; ++j) {
      if (mine + j < n) counts[mine + j] = sum;
      sum += value[j];
    }
    carry += total;
  }
}

// Moves the keys of a tile to where they belong by one digit, in order among equals. `counts`: null where there is but
// one tile. Warps take neighbouring stretches of a tile and go through them 32 keys at a time.
__device__ __forceinline__ void sort_tile(const Keys& keys, int shift, const std::uint32_t* counts,
                                          std::uint32_t* sorted_key, std::uint32_t* sorted_place) {
  DLKIT_SHARED(std::uint32_t, before, [kWarps][kDigits]);  // keys of a digit in earlier rounds; then in earlier warps
  DLKIT_SHARED(std::uint32_t, start, [kDigits]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) before[w][threadIdx.x] = 0;
  __syncthreads();
  const Index first = static_cast<Index>(blockIdx.x) * kTile + warp * (kRounds * kWarp) + lane;
  std::uint32_t key[kRounds], rank[kRounds];
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const Index i = first + round * kWarp;
    const bool valid = i < keys.n;
    key[round] = valid ? keys.key_at(i) : 0;
    const unsigned digit = key[round] >> shift & (kDigits - 1);
    unsigned equals = __ballot_sync(kFullMask, valid);  // lanes with this digit
#pragma unroll
    for (int bit = 0; bit < 8; ++bit) {
      const unsigned ones = __ballot_sync(kFullMask, digit >> bit & 1);
      equals &= digit >> bit & 1 ? ones : ~ones;
    }
    const unsigned earlier = equals & ((1u << lane) - 1);
    rank[round] = before[warp][digit] + __popc(earlier);
    __syncwarp();
    if (valid && earlier == 0) before[warp][digit] += __popc(equals);
    __syncwarp();
  }
  __syncthreads();
  std::uint32_t count = 0, total;
#pragma unroll
  for (int w = 0; w < kWarps; ++w) {
    const std::uint32_t more = before[w][threadIdx.x];
    before[w][threadIdx.x] = count;
    count += more;
  }
  const std::uint32_t smaller = sum_before(count, total);
  start[threadIdx.x] = counts == nullptr ? smaller : counts[static_cast<Index>(threadIdx.x) * gridDim.x + blockIdx.x];
  __syncthreads();
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const Index i = first + round * kWarp;
    if (i >= keys.n) continue;
    const unsigned digit = key[round] >> shift & (kDigits - 1);
    const std::uint32_t to = start[digit] + before[warp][digit] + rank[round];
    sorted_key[to] = key[round];
    sorted_place[to] = keys.place_at(i);
  }
}

__global__ void __launch_bounds__(kThreads) sort_kernel(const Keys keys, int shift, const std::uint32_t* counts,
                                                        std::uint32_t* sorted_key, std::uint32_t* sorted_place) {
  sort_tile(keys, shift, counts, sorted_key, sorted_place);
}

// All passes over one tile; the last one's result is in key[(passes - 1) % 2] and place[(passes - 1) % 2].
struct Buffers {
  std::uint32_t *key[2], *place[2];
};
__global__ void __launch_bounds__(kThreads) sort_small_kernel(Keys keys, const Buffers buffers, int passes) {
  for (int pass = 0; pass < passes; ++pass) {
    sort_tile(keys, 8 * pass, nullptr, buffers.key[pass % 2], buffers.place[pass % 2]);
    keys.indices = nullptr;
    keys.key = buffers.key[pass % 2];
    keys.place = buffers.place[pass % 2];
    __syncthreads();
  }
}

// starts[row]: how many keys are smaller.
__global__ void __launch_bounds__(kThreads)
    starts_kernel(const std::uint32_t* key, Index n, Index rows, std::uint32_t* starts) {
  const Index row = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (row > rows) return;
  Index first = 0, last = n;
  while (first < last) {
    const Index middle = (first + last) / 2;
    if (key[middle] < row)
      first = middle + 1;
    else
      last = middle;
  }
  starts[row] = static_cast<std::uint32_t>(first);
}

constexpr std::uint32_t kLong = 256;  // places from which on a row is for a whole block

// The sum of grad at the places first, first + step, ... before last, in this order.
template <class T, int N>
__device__ __forceinline__ Pack<T, N> sum_places(const T* grad, const std::uint32_t* place, Index cols, Index col,
                                                 std::uint32_t first, std::uint32_t last, std::uint32_t step) {
  Pack<T, N> sum;
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] = T(0);
  for (; first < last; first += kGathered * step) {
    Pack<T, N> v[kGathered];
#pragma unroll
    for (int j = 0; j < kGathered; ++j)
      if (first + j * step < last) v[j] = load_pack<N>(grad + place[first + j * step] * cols + col);
#pragma unroll
    for (int j = 0; j < kGathered; ++j)
      if (first + j * step < last)
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += v[j][k];
  }
  return sum;
}

// A warp for each row of the result and strip of 32 packs; a block for rows that come often.
template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    sum_rows_kernel(const T* grad, const std::uint32_t* place, const std::uint32_t* starts, Index rows, Index cols,
                    T* out) {
  DLKIT_SHARED(T, partial, [kWarps][N][kWarp]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const Index strips = ceil_div<Index>(cols, N * kWarp), tiles = ceil_div<Index>(rows, kWarps);
  for (Index tile = blockIdx.x; tile < tiles * strips; tile += gridDim.x) {
    const Index first_row = tile / strips * kWarps, col = (tile % strips * kWarp + lane) * N;
    const Index row = first_row + warp;
    const bool mine = col < cols && row < rows;
    const std::uint32_t first = mine ? starts[row] : 0, last = mine ? starts[row + 1] : 0;
    if (mine && last - first < kLong)
      store_pack(out + row * cols + col, sum_places<T, N>(grad, place, cols, col, first, last, 1));
    // Which of the block's rows are long: every warp finds out by itself.
    const bool counts = lane < kWarps && first_row + lane < rows;
    unsigned long_rows =
        __ballot_sync(kFullMask, counts && starts[first_row + lane + 1] - starts[first_row + lane] >= kLong);
    for (; long_rows != 0; long_rows &= long_rows - 1) {
      const int other = __ffs(static_cast<int>(long_rows)) - 1;
      const std::uint32_t begin = starts[first_row + other], end = starts[first_row + other + 1];
      Pack<T, N> sum = sum_places<T, N>(grad, place, cols, col < cols ? col : 0, begin + warp, end, kWarps);
#pragma unroll
      for (int k = 0; k < N; ++k) partial[warp][k][lane] = sum[k];
      __syncthreads();
      if (warp == 0 && col < cols) {
#pragma unroll
        for (int w = 1; w < kWarps; ++w)
#pragma unroll
          for (int k = 0; k < N; ++k) sum[k] += partial[w][k][lane];
        store_pack(out + (first_row + other) * cols + col, sum);
      }
      __syncthreads();
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kThreads) zero_kernel(T* out, Index n) {
  for (Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x; i < n;
       i += static_cast<Index>(gridDim.x) * kThreads)
    out[i] = T(0);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    scatter_kernel(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols, Index padding_idx,
                   T* out, int lanes) {
  const int lane = threadIdx.x % lanes, groups = kThreads / lanes;
  for (Index i = static_cast<Index>(blockIdx.x) * groups + threadIdx.x / lanes; i < n;
       i += static_cast<Index>(gridDim.x) * groups) {
    const std::int64_t row = indices[i];
    if (row < 0 || row >= rows || row == padding_idx) continue;
    for (Index col = lane; col < cols; col += lanes) atomicAdd(out + row * cols + col, grad[i * cols + col]);
  }
}

// Lanes side by side for rows of so many packs, a power of two.
int lanes_for(Index packs) {
  int lanes = 1;
  while (lanes < kWarp && lanes < packs) lanes *= 2;
  return lanes;
}

Index tiles_of(Index n) { return ceil_div<Index>(n, kTile); }

// Passes of 8 bits that sort keys of 0 to rows.
int passes_for(Index rows) {
  int passes = 1;
  while (passes < 4 && rows >> (8 * passes) != 0) ++passes;
  return passes;
}

std::size_t counts_of(Index n) { return tiles_of(n) > 1 ? static_cast<std::size_t>(tiles_of(n)) * kDigits : 0; }

}  // namespace

template <class T>
void embedding(Stream stream, const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out,
               Rung rung) {
  using R = real<T>;
  if (n == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::embedding(stream, weight, rows, cols, indices, n, out);
  const bool packed = rows_are_aligned(weight, cols) && rows_are_aligned(out, cols);
  const int lanes = lanes_for(packed ? cols / kPack<T> : cols);
  const LaunchShape shape{full_grid(ceil_div<Index>(n, kThreads / lanes * kGathered), kThreads), kThreads};
  launch("gather", packed ? gather_kernel<R, kPack<T>> : gather_kernel<R, 1>, shape, stream, reals(weight), rows, cols,
         indices, n, reals(out), lanes);
}

// Keys and places twice, the starts of rows, and counts of digits.
std::size_t embedding_backward_scratch(Index n, Index rows) {
  return sizeof(std::uint32_t) * (4 * static_cast<std::size_t>(n) + static_cast<std::size_t>(rows) + 1 + counts_of(n));
}

template <class T>
void embedding_backward(Stream stream, const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        Index padding_idx, T* out, void* scratch, Rung rung) {
  using R = real<T>;
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::embedding_backward(stream, grad, indices, n, rows, cols, padding_idx, out);
  if (rung == Rung::estimate || n == 0) {
    launch("zero", zero_kernel<R>, {full_grid(ceil_div<Index>(rows * cols, kThreads), kThreads), kThreads}, stream,
           reals(out), rows * cols);
    const int lanes = lanes_for(cols);
    if (n > 0)
      launch("scatter by atomics", scatter_kernel<R>,
             {full_grid(ceil_div<Index>(n, kThreads / lanes), kThreads), kThreads}, stream, reals(grad), indices, n,
             rows, cols, padding_idx, reals(out), lanes);
    return;
  }
  auto* const memory = static_cast<std::uint32_t*>(scratch);
  const Buffers buffers{{memory, memory + n}, {memory + 2 * n, memory + 3 * n}};
  std::uint32_t *const starts = memory + 4 * n, *const counts = starts + rows + 1;
  Keys keys{indices, nullptr, nullptr, static_cast<std::uint32_t>(rows), padding_idx, n};
  const int passes = passes_for(rows), last = (passes - 1) % 2;
  const auto tiles = static_cast<unsigned>(tiles_of(n));
  if (tiles == 1) {
    launch("sort of one tile", sort_small_kernel, {1, kThreads}, stream, keys, buffers, passes);
  } else {
    for (int pass = 0; pass < passes; ++pass) {
      launch("count digits", count_digits_kernel, {tiles, kThreads}, stream, keys, 8 * pass, counts);
      launch("sum counts", sum_counts_kernel, {1, kThreads}, stream, counts, static_cast<Index>(counts_of(n)));
      launch("sort", sort_kernel, {tiles, kThreads}, stream, keys, 8 * pass, counts, buffers.key[pass % 2],
             buffers.place[pass % 2]);
      keys.indices = nullptr;
      keys.key = buffers.key[pass % 2];
      keys.place = buffers.place[pass % 2];
    }
  }
  launch("starts", starts_kernel, {static_cast<unsigned>(ceil_div<Index>(rows + 1, kThreads)), kThreads}, stream,
         buffers.key[last], n, rows, starts);
  const bool packed = rows_are_aligned(grad, cols) && rows_are_aligned(out, cols);
  const Index strips = ceil_div<Index>(cols, kWarp * (packed ? kPack<T> : 1));
  const LaunchShape shape{full_grid(ceil_div<Index>(rows, kWarps) * strips, kThreads), kThreads};
  launch("sum of rows", packed ? sum_rows_kernel<R, kPack<T>> : sum_rows_kernel<R, 1>, shape, stream, reals(grad),
         buffers.place[last], starts, rows, cols, reals(out));
}

#define DLKIT_INSTANTIATE(T)                                                                     \
  template void embedding(Stream, const T*, Index, Index, const std::int64_t*, Index, T*, Rung); \
  template void embedding_backward(Stream, const T*, const std::int64_t*, Index, Index, Index, Index, T*, void*, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
