// Sums down the columns of a matrix that need not exist: of anything that is computed from places (row, col).
//
// A thread takes a pack of neighbouring columns and every so many-th row, so that the threads of a warp read whole
// lines; what the threads of a block have for a column meets in shared memory. A matrix with few columns is cut into
// groups of rows, with a row of sums for each. There are no atomic operations, and the cuts depend on the shape alone:
// the same bits every time and on every device.
#pragma once

#include <algorithm>

#include "layers/each_pack.h"

namespace dlkit::device {

constexpr int kUnrolledRows = 4;

// How the threads of a block, and the blocks, lie over a matrix.
struct ColumnPlan {
  int lanes;        // packs side by side in a block, a power of two
  Index strips;     // blocks side by side
  Index groups;     // and one below another
  Index per_group;  // rows of each

  // Of at least one column. `single`: all rows in one group.
  ColumnPlan(Index rows, Index cols, int pack, bool single = false) {
    const Index packs = ceil_div<Index>(cols, pack);
    lanes = 1;
    while (lanes < kWarp && lanes < packs) lanes *= 2;
    strips = ceil_div<Index>(packs, lanes);
    // A thousand blocks are enough; each thread has at least two rounds of rows.
    const Index least = static_cast<Index>(kThreads / lanes) * kUnrolledRows * 2;
    per_group = single ? rows : std::max(least, ceil_div(rows, std::max<Index>(1024 / strips, 1)));
    groups = single ? 1 : std::max<Index>(ceil_div(rows, per_group), 1);
  }
  LaunchShape shape() const { return {static_cast<unsigned>(strips * groups), kThreads}; }
};

// Groups of a matrix at any address.
template <class T>
Index most_groups(Index rows, Index cols) {
  if (cols == 0) return 1;
  return std::max(ColumnPlan(rows, cols, 1).groups, ColumnPlan(rows, cols, kPack<T>).groups);
}

// Source: kSums sums of type Source::Sum for N columns from col on. columns<N>(col) is what is known of them
// beforehand; load<N>(row, col) fetches a Loaded<N>, add<N>(sums, loaded, columns) adds what that contributes, and
// store<N>(group, col, sums) is called with the sums of a group of rows.
template <int N, class Source>
__global__ void __launch_bounds__(kThreads)
    column_sums_kernel(const Source source, Index rows, Index cols, const ColumnPlan plan) {
  using S = typename Source::Sum;
  constexpr int kSums = Source::kSums;
  DLKIT_SHARED(S, partial, [kSums * N][kThreads]);
  const int lanes = plan.lanes, lines = kThreads / lanes;
  const int lane = threadIdx.x % lanes, line = threadIdx.x / lanes;
  const Index group = blockIdx.x / plan.strips, strip = blockIdx.x % plan.strips;
  const Index col = (strip * lanes + lane) * N, first = group * plan.per_group;
  const Index last = first + plan.per_group < rows ? first + plan.per_group : rows;
  Pack<S, N> sums[kSums];
#pragma unroll
  for (int s = 0; s < kSums; ++s)
#pragma unroll
    for (int k = 0; k < N; ++k) sums[s][k] = S(0);
  if (col < cols) {
    const auto columns = source.template columns<N>(col);
    Index row = first + line;
    for (; row + (kUnrolledRows - 1) * lines < last; row += kUnrolledRows * lines) {
      typename Source::template Loaded<N> loaded[kUnrolledRows];
#pragma unroll
      for (int j = 0; j < kUnrolledRows; ++j) loaded[j] = source.template load<N>(row + j * lines, col);
#pragma unroll
      for (int j = 0; j < kUnrolledRows; ++j) source.template add<N>(sums, loaded[j], columns);
    }
    for (; row < last; row += lines) source.template add<N>(sums, source.template load<N>(row, col), columns);
  }
#pragma unroll
  for (int s = 0; s < kSums; ++s)
#pragma unroll
    for (int k = 0; k < N; ++k) partial[s * N + k][threadIdx.x] = sums[s][k];
  __syncthreads();
  // A tree over the lines: neighbouring threads read neighbouring words.
  for (int below = lines / 2; below > 0; below /= 2) {
    if (line < below)
#pragma unroll
      for (int k = 0; k < kSums * N; ++k) partial[k][threadIdx.x] += partial[k][threadIdx.x + below * lanes];
    __syncthreads();
  }
  if (line > 0 || col >= cols) return;
#pragma unroll
  for (int s = 0; s < kSums; ++s)
#pragma unroll
    for (int k = 0; k < N; ++k) sums[s][k] = partial[s * N + k][threadIdx.x];
  source.template store<N>(group, col, sums);
}

// Where nothing is known of columns beforehand.
struct NoColumns {
  template <int N>
  __device__ __forceinline__ NoColumns columns(Index) const {
    return {};
  }
};

// Of a matrix in memory, to rows of `out`, `cols` long.
template <class T>
struct MatrixColumns : NoColumns {
  using Sum = T;
  static constexpr int kSums = 1;

  const T* x;
  Index row_stride, cols;
  T* out;
  bool accumulate;

  MatrixColumns(const T* x, Index row_stride, Index cols, T* out, bool accumulate)
      : x(x), row_stride(row_stride), cols(cols), out(out), accumulate(accumulate) {}

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index row, Index col) const {
    return load_pack<N>(x + row * row_stride + col);
  }
  template <int N>
  __device__ __forceinline__ void add(Pack<T, N> (&sums)[1], const Loaded<N>& v, NoColumns) const {
#pragma unroll
    for (int k = 0; k < N; ++k) sums[0][k] += v[k];
  }
  template <int N>
  __device__ __forceinline__ void store(Index group, Index col, const Pack<T, N> (&sums)[1]) const {
    T* const to = out + group * cols + col;
    Pack<T, N> total = sums[0];
    if (accumulate) {
      const Pack<T, N> before = load_any<N>(to);
#pragma unroll
      for (int k = 0; k < N; ++k) total[k] = before[k] + total[k];
    }
    store_any(to, total);
  }
};

}  // namespace dlkit::device
