// One row or one column: every element of the matrix is used once, so that only its way from memory counts.
//
// y = x B with contiguous rows of B: as many columns of y as there are registers are summed while the rows of B go by,
// nearly 2 KiB of each with AVX-512; the columns left over are added to y four rows at a time. With contiguous columns
// of B: four dot products at a time, each in registers of its own. 2 K N operations on K N elements. Bound by the
// bandwidth of the cache that holds B.
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr int kStreams = 4;

// y[0, n) += sum over `streams` rows of x[i] * b[i][0, n)
template <class T, int Streams>
DLKIT_INLINE void add_rows(const T* x, Index x_stride, const T* b, Index b_stride, Index n, T* y) {
  using V = Vec<T>;
  V factor[Streams];
#pragma GCC unroll 8
  for (int i = 0; i < Streams; ++i) factor[i] = V::broadcast(x[i * x_stride]);
  Index j = 0;
  for (; j + V::lanes <= n; j += V::lanes) {
    V sum = V::load(y + j);
#pragma GCC unroll 8
    for (int i = 0; i < Streams; ++i) sum = V::fma(factor[i], V::load(b + i * b_stride + j), sum);
    sum.store(y + j);
  }
  if (j < n) {
    const auto mask = V::first(n - j);
    V sum = V::load(y + j, mask);
#pragma GCC unroll 8
    for (int i = 0; i < Streams; ++i) sum = V::fma(factor[i], V::load(b + i * b_stride + j, mask), sum);
    sum.store(y + j, mask);
  }
}

// y[0, Vectors * lanes) = sum over k of x[k] * b[k], or += ; y stays in registers.
template <class T, int Vectors>
void sum_columns(const T* x, Index x_stride, const T* b, Index b_stride, Index depth, T* y, bool accumulate) {
  using V = Vec<T>;
  V sum[Vectors];
#pragma GCC unroll 32
  for (int j = 0; j < Vectors; ++j) sum[j] = accumulate ? V::load(y + j * V::lanes) : V::zero();
  for (Index k = 0; k < depth; ++k, x += x_stride, b += b_stride) {
    const V factor = V::broadcast(*x);
#pragma GCC unroll 32
    for (int j = 0; j < Vectors; ++j) sum[j] = V::fma(factor, V::load(b + j * V::lanes), sum[j]);
  }
#pragma GCC unroll 32
  for (int j = 0; j < Vectors; ++j) sum[j].store(y + j * V::lanes);
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
    constexpr int kVectors = Vec<T>::registers - 4;
    constexpr Index kWide = kVectors * Vec<T>::lanes;
    Index done = 0;
    for (; done + kWide <= cols; done += kWide)
      sum_columns<T, kVectors>(x, x_stride, &b(0, done), b.row_stride, depth, y + done, accumulate);
    const Index left = cols - done;
    if (left == 0) return;
    y += done;
    if (!accumulate)
      for (Index j = 0; j < left; ++j) y[j] = 0;
    Index k = 0;
    for (; k + kStreams <= depth; k += kStreams)
      add_rows<T, kStreams>(x + k * x_stride, x_stride, &b(k, done), b.row_stride, left, y);
    for (; k < depth; ++k) add_rows<T, 1>(x + k * x_stride, x_stride, &b(k, done), b.row_stride, left, y);
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
