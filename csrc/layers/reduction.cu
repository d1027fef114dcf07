// Sums: down the columns of a matrix (a bias gradient), and of squares (a gradient's norm).
//
// column_sum: a thread takes a pack of neighbouring columns and every so many-th row, so that the threads of a warp
// read whole lines; sums of a block meet in shared memory. A matrix with few columns is cut into groups of rows, whose
// sums go to scratch memory and are added up by the same kernel: no atomic operations, and the cuts depend on the
// shape alone, so that the bits are the same every time and on every device.
//
// Bytes: each element read once. FLOPs: one per element (column_sum), two in float64 (sum_squares: no square overflows,
// and an H100 does 64 of them a cycle where memory brings 3.7 float32 elements). Bound: memory.
#include "layers/device.h"
#include "layers/each_pack.h"
#include "layers/naive_layers.h"
#include "layers/parameter_table.h"
#include "core/cuda/warp.h"

namespace dlkit::device {
namespace {

constexpr int kUnrolledRows = 4;

// How the threads of a block, and the blocks, lie over a matrix. Of its shape alone.
struct ColumnPlan {
  int lanes;       // packs side by side in a block, a power of two
  int pack;        // elements of one
  Index strips;    // blocks side by side
  Index groups;    // and one below another
  Index per_group; // rows of each

  ColumnPlan(Index rows, Index cols, int pack) : pack(pack) {
    const Index packs = ceil_div<Index>(cols, pack);
    lanes = 1;
    while (lanes < kWarp && lanes < packs) lanes *= 2;
    strips = ceil_div<Index>(packs, lanes);
    // A thousand blocks are enough; each thread has at least two rounds of rows.
    const Index least = static_cast<Index>(kThreads / lanes) * kUnrolledRows * 2;
    const Index most = std::max<Index>(1024 / strips, 1);
    per_group = std::max(least, ceil_div(rows, most));
    groups = std::max<Index>(ceil_div(rows, per_group), 1);
  }
};

template <class T, int N>
__global__ void __launch_bounds__(kThreads)
    column_sum_kernel(const T* x, Index row_stride, Index rows, Index cols, Index per_group, Index strips, int lanes,
                      T* out, bool accumulate) {
  DLKIT_SHARED(T, partial, [N][kThreads]);
  const int lane = threadIdx.x % lanes, line = threadIdx.x / lanes, lines = kThreads / lanes;
  const Index group = blockIdx.x / strips, strip = blockIdx.x % strips;
  const Index col = (strip * lanes + lane) * N;
  const Index first = group * per_group, last = first + per_group < rows ? first + per_group : rows;
  Pack<T, N> sum;
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] = T(0);
  if (col < cols) {
    Index row = first + line;
    for (; row + (kUnrolledRows - 1) * lines < last; row += kUnrolledRows * lines) {
      Pack<T, N> v[kUnrolledRows];
#pragma unroll
      for (int j = 0; j < kUnrolledRows; ++j) v[j] = load_pack<N>(x + (row + j * lines) * row_stride + col);
#pragma unroll
      for (int j = 0; j < kUnrolledRows; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) sum[k] += v[j][k];
    }
    for (; row < last; row += lines) {
      const Pack<T, N> v = load_pack<N>(x + row * row_stride + col);
#pragma unroll
      for (int k = 0; k < N; ++k) sum[k] += v[k];
    }
  }
#pragma unroll
  for (int k = 0; k < N; ++k) partial[k][threadIdx.x] = sum[k];
  __syncthreads();
  // A tree over the lines: neighbouring threads read neighbouring words.
  for (int below = lines / 2; below > 0; below /= 2) {
    if (line < below)
#pragma unroll
      for (int k = 0; k < N; ++k) partial[k][threadIdx.x] += partial[k][threadIdx.x + below * lanes];
    __syncthreads();
  }
  if (line > 0 || col >= cols) return;
  out += group * cols + col;
#pragma unroll
  for (int k = 0; k < N; ++k) sum[k] = (accumulate ? out[k] : T(0)) + partial[k][threadIdx.x];
#pragma unroll
  for (int k = 0; k < N; ++k) out[k] = sum[k];
}

template <class T>
void launch_column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate,
                       const ColumnPlan& plan) {
  const auto kernel = plan.pack == 1 ? column_sum_kernel<real<T>, 1> : column_sum_kernel<real<T>, kPack<T>>;
  launch("column sum", kernel, {static_cast<unsigned>(plan.strips * plan.groups), kThreads}, stream, reals(x),
         row_stride, rows, cols, plan.per_group, plan.strips, plan.lanes, reals(out), accumulate);
}

template <class T, int kMost>
__global__ void __launch_bounds__(kThreads)
    sum_squares_kernel(const __grid_constant__ ParameterTable<T, 1, kMost> table, real<double>* partial) {
  constexpr int N = kPack<T>, kUnroll = static_cast<int>(kChunk) / kThreads / N;
  using D = real<double>;
  each_chunk(table, [&](const Chunk<T, 1>& chunk, Index number) {
    const T* const x = chunk.array[0];
    D sum(0);
    if (chunk.packed && chunk.n == kChunk) {
      Pack<T, N> v[kUnroll];
#pragma unroll
      for (int j = 0; j < kUnroll; ++j) v[j] = load_pack<N>(x + (j * kThreads + static_cast<int>(threadIdx.x)) * N);
#pragma unroll
      for (int j = 0; j < kUnroll; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const D value(v[j][k]);
          sum = fma(value, value, sum);
        }
    } else {
      for (Index i = threadIdx.x; i < chunk.n; i += kThreads) {
        const D value(x[i]);
        sum = fma(value, value, sum);
      }
    }
    sum = block_sum(sum);
    if (threadIdx.x == 0) partial[number] = sum;
  });
}

constexpr int kTotalThreads = 1024;

__global__ void __launch_bounds__(kTotalThreads)
    total_kernel(const real<double>* partial, Index count, real<double>* out) {
  real<double> sum(0);
  for (Index i = threadIdx.x; i < count; i += kTotalThreads) sum += partial[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) *out = sum;
}

}  // namespace

template <class T>
std::size_t column_sum_scratch(Index rows, Index cols) {
  // Packs or single elements: which, depends on addresses.
  const Index groups = std::max(ColumnPlan(rows, cols, 1).groups, ColumnPlan(rows, cols, kPack<T>).groups);
  return groups == 1 ? 0 : sizeof(T) * static_cast<std::size_t>(groups * cols);
}

template <class T>
void column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate,
                void* scratch, Rung rung) {
  if (cols == 0) return;
  if (rung == Rung::naive) return naive::column_sum(stream, x, row_stride, rows, cols, out, accumulate);
  const bool packed = is_aligned<kPack<T>>(x) && row_stride % kPack<T> == 0 && cols % kPack<T> == 0;
  const ColumnPlan plan(rows, cols, packed ? kPack<T> : 1);
  if (plan.groups == 1) return launch_column_sum(stream, x, row_stride, rows, cols, out, accumulate, plan);
  T* const partial = static_cast<T*>(scratch);
  launch_column_sum(stream, x, row_stride, rows, cols, partial, false, plan);
  ColumnPlan of_partial(plan.groups, cols, 1);
  of_partial.groups = 1;
  of_partial.per_group = plan.groups;
  launch_column_sum(stream, partial, cols, plan.groups, cols, out, accumulate, of_partial);
}

std::size_t sum_squares_scratch(const std::vector<Index>& sizes) {
  Index chunks = 0;
  for (const Index n : sizes) chunks += ceil_div(n, kChunk);
  return sizeof(double) * static_cast<std::size_t>(chunks);
}

template <class T>
void sum_squares(Stream stream, const std::vector<Parameter<T>>& parameters, double* out, void* scratch) {
  auto* const partial = static_cast<real<double>*>(scratch);
  Index done = 0;
  with_tables<1>(parameters, [&](const auto& table, Index chunks, unsigned blocks) {
    launch("sum of squares", sum_squares_kernel<real<T>, std::extent_v<decltype(table.n)>>, {blocks, kThreads}, stream,
           table, partial + done);
    done += chunks;
  });
  launch("total", total_kernel, {1, kTotalThreads}, stream, partial, done, reals(out));
}

#define DLKIT_INSTANTIATE(T)                                                                                \
  template std::size_t column_sum_scratch<T>(Index, Index);                                                 \
  template void column_sum(Stream, const T*, Index, Index, Index, T*, bool, void*, Rung);                   \
  template void sum_squares(Stream, const std::vector<Parameter<T>>&, double*, void*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
