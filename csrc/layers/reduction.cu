// Sums: down the columns of a matrix (a bias gradient), and of squares (a gradient's norm).
//
// column_sum is column_sums.h on a matrix in memory; the sums of groups of rows go to scratch memory and are added up
// by the same kernel.
//
// Bytes: each element read once. FLOPs: one per element (column_sum), two in float64 (sum_squares: no square overflows,
// and an H100 does 64 of them a cycle where memory brings 3.7 float32 elements). Bound: memory.
// float32: 40 registers and 4 KB of shared memory (column_sum), 32 (sum_squares): 1536 and 2048 threads of a
// multiprocessor, 64 bytes each on their way.
#include "core/cuda/warp.h"
#include "layers/column_sums.h"
#include "layers/device.h"
#include "layers/naive_layers.h"
#include "layers/parameter_table.h"

namespace dlkit::device {
namespace {

template <class T>
void launch_column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate,
                       const ColumnPlan& plan, bool packed) {
  using Source = MatrixColumns<real<T>>;
  const auto kernel = packed ? column_sums_kernel<kPack<T>, Source> : column_sums_kernel<1, Source>;
  launch("column sum", kernel, plan.shape(), stream, Source(reals(x), row_stride, cols, reals(out), accumulate), rows,
         cols, plan);
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
  const Index groups = most_groups<T>(rows, cols);
  return groups == 1 ? 0 : sizeof(T) * static_cast<std::size_t>(groups * cols);
}

template <class T>
void column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate,
                void* scratch, Rung rung) {
  if (cols == 0) return;
  if (rung == Rung::naive) return naive::column_sum(stream, x, row_stride, rows, cols, out, accumulate);
  const bool packed = is_aligned<kPack<T>>(x) && row_stride % kPack<T> == 0 && cols % kPack<T> == 0;
  const ColumnPlan plan(rows, cols, packed ? kPack<T> : 1);
  if (plan.groups == 1) return launch_column_sum(stream, x, row_stride, rows, cols, out, accumulate, plan, packed);
  T* const partial = static_cast<T*>(scratch);
  launch_column_sum(stream, x, row_stride, rows, cols, partial, false, plan, packed);
  launch_column_sum(stream, partial, cols, plan.groups, cols, out, accumulate, ColumnPlan(plan.groups, cols, 1, true),
                    false);
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
  with_tables<1>(parameters, [&]<class Table>(const Table& table, Index chunks, unsigned blocks) {
    launch("sum of squares", sum_squares_kernel<real<T>, Table::kMost>, {blocks, kThreads}, stream, table,
           partial + done);
    done += chunks;
  });
  launch("total", total_kernel, {1, kTotalThreads}, stream, partial, done, reals(out));
}

#define DLKIT_INSTANTIATE(T)                                                              \
  template std::size_t column_sum_scratch<T>(Index, Index);                               \
  template void column_sum(Stream, const T*, Index, Index, Index, T*, bool, void*, Rung); \
  template void sum_squares(Stream, const std::vector<Parameter<T>>&, double*, void*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
