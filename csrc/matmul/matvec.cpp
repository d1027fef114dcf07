// One row or one column: every element of the matrix is used once, so that only its way from memory counts.
//
// y = x B with contiguous rows of B: eight rows at a time are added to y, from end to end, so that B is read as eight
// streams, which the processor fetches ahead, from aligned addresses where B has them. (Keeping y in registers instead,
// a part of each row at a time, saves one load and store in nine and is 6 times slower from memory: 4096 x 4096 on
// Zen 4.) With contiguous columns of B: four dot products at a time, each in registers of its own. 2 K N operations on
// K N elements. Bound by the bandwidth of the cache that holds B.
#include <cstdint>

#include "matmul/ladder.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr int kStreams = 4, kRows = 8;

// Elements from p to the next boundary of the size of a register.
template <class V, class T>
DLKIT_INLINE Index to_boundary(const T* p) {
  const auto past = static_cast<Index>(reinterpret_cast<std::uintptr_t>(p) / sizeof(T) % V::lanes);
  return past == 0 ? 0 : V::lanes - past;
}

// y[0, n) += sum over `streams` rows of x[i] * b[i][0, n)
template <class T, int Streams>
DLKIT_INLINE void add_rows(const T* x, Index x_stride, const T* b, Index b_stride, Index n, T* y) {
  using V = Vec<T>;
  V factor[Streams];
#pragma GCC unroll 8
  for (int i = 0; i < Streams; ++i) factor[i] = V::broadcast(x[i * x_stride]);
  const auto part = [&](Index j, auto... mask) __attribute__((always_inline)) {
    V sum = V::load(y + j, mask...);
#pragma GCC unroll 8
    for (int i = 0; i < Streams; ++i) sum = V::fma(factor[i], V::load(b + i * b_stride + j, mask...), sum);
    sum.store(y + j, mask...);
  };
  // From a register-sized boundary of B on no vector lies across two lines, if the rows are that far apart.
  Index j = smaller(to_boundary<V>(b), n);
  if (j > 0) part(0, V::first(j));
  for (; j + V::lanes <= n; j += V::lanes) part(j);
  if (j < n) part(j, V::first(n - j));
}

// out[i] = dot(x, row i of b), i < Streams
template <class T, int Streams>
DLKIT_INLINE void dot_rows(const T* x, const T* b, Index b_stride, Index n, T* out) {
  using V = Vec<T>;
  V sum[Streams];
#pragma GCC unroll 8
  for (int i = 0; i < Streams; ++i) sum[i] = V::zero();
  Index k = 0;
  for (; k + V::lanes <= n; k += V::lanes) {
    const V factor = V::load(x + k);
#pragma GCC unroll 8
    for (int i = 0; i < Streams; ++i) sum[i] = V::fma(factor, V::load(b + i * b_stride + k), sum[i]);
  }
  if (k < n) {
    const auto mask = V::first(n - k);
    const V factor = V::load(x + k, mask);
#pragma GCC unroll 8
    for (int i = 0; i < Streams; ++i) sum[i] = V::fma(factor, V::load(b + i * b_stride + k, mask), sum[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Streams; ++i) out[i] = sum[i].sum();
}

// y (N) = x (K) B, or += ; y contiguous, x with any stride.
template <class T>
void row_times_matrix(const T* x, Index x_stride, const Matrix<const T>& b, T* y, bool accumulate) {
  const Index depth = b.rows, cols = b.cols;
  if (b.col_stride == 1) {
    if (!accumulate)
      for (Index j = 0; j < cols; ++j) y[j] = 0;
    Index k = 0;
    for (; k + kRows <= depth; k += kRows)
      add_rows<T, kRows>(x + k * x_stride, x_stride, &b(k, 0), b.row_stride, cols, y);
    for (; k < depth; ++k) add_rows<T, 1>(x + k * x_stride, x_stride, &b(k, 0), b.row_stride, cols, y);
    return;
  }
  if (b.row_stride == 1 && x_stride == 1) {
    T sums[kStreams];
    Index j = 0;
    for (; j + kStreams <= cols; j += kStreams) {
      dot_rows<T, kStreams>(x, &b(0, j), b.col_stride, depth, sums);
      for (int i = 0; i < kStreams; ++i) y[j + i] = accumulate ? y[j + i] + sums[i] : sums[i];
    }
    for (; j < cols; ++j) {
      dot_rows<T, 1>(x, &b(0, j), b.col_stride, depth, sums);
      y[j] = accumulate ? y[j] + sums[0] : sums[0];
    }
    return;
  }
  for (Index j = 0; j < cols; ++j) {
    T sum = 0;
    for (Index k = 0; k < depth; ++k) sum += x[k * x_stride] * b(k, j);
    y[j] = accumulate ? y[j] + sum : sum;
  }
}

constexpr Index kColumnBlock = 512;

}  // namespace

template <class T>
void matvec(const MatmulProblem<T>& p) {
  if (p.c.rows == 1 && p.c.col_stride == 1) {
    row_times_matrix(p.a.data, p.a.col_stride, p.b, p.c.data, p.accumulate);
    finish(p);
    return;
  }
  // A column of results (N = 1) is the same with A^T for B. Rows of C may lie apart: through a small buffer.
  const bool row = p.c.rows == 1;
  const Matrix<const T> matrix = row ? p.b : p.a.transposed();
  const T* x = row ? p.a.data : p.b.data;
  const Index x_stride = row ? p.a.col_stride : p.b.row_stride;
  const Index c_stride = row ? p.c.col_stride : p.c.row_stride;
  T buffer[kColumnBlock];
  for (Index j = 0; j < matrix.cols; j += kColumnBlock) {
    const Index count = matrix.cols - j < kColumnBlock ? matrix.cols - j : kColumnBlock;
    row_times_matrix(x, x_stride, matrix.block(0, j, matrix.rows, count), buffer, false);
    for (Index i = 0; i < count; ++i) {
      T& c = p.c.data[(j + i) * c_stride];
      c = p.accumulate ? c + buffer[i] : buffer[i];
    }
  }
  finish(p);
}

template void matvec(const MatmulProblem<float>&);
template void matvec(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
