// Sums on vectors: down the columns of a matrix (a bias gradient), and of squares (a gradient's norm).
//
// Bytes: each element read once. FLOPs: one or two per element. Bound: bandwidth of the cache level that the data is
// in. column_sum goes down a strip of a few registers' width, so that partial sums stay in registers and every read
// is of whole cache lines; the textbook's column by column would read a line for each element.
#include "core/simd.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int kWidth>
DLKIT_INLINE void strip(const T* x, Index row_stride, Index rows, T* out) {
  using V = Vec<T>;
  V sum[kWidth];
  for (auto& s : sum) s = V::zero();
  for (Index row = 0; row < rows; ++row, x += row_stride)
    for (int j = 0; j < kWidth; ++j) sum[j] = sum[j] + V::load(x + j * V::lanes);
  for (int j = 0; j < kWidth; ++j) sum[j].store(out + j * V::lanes);
}

template <class T>
void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out) {
  using V = Vec<T>;
  Index col = 0;
  for (; col + 8 * V::lanes <= cols; col += 8 * V::lanes) strip<T, 8>(x + col, row_stride, rows, out + col);
  for (; col + V::lanes <= cols; col += V::lanes) strip<T, 1>(x + col, row_stride, rows, out + col);
  if (col == cols) return;
  const auto mask = V::first(cols - col);
  V sum = V::zero();
  for (Index row = 0; row < rows; ++row) sum = sum + V::load(x + col + row * row_stride, mask);
  sum.store(out + col, mask);
}

template <class T>
double sum_squares(const T* x, Index n) {
  using V = Vec<T>;
  constexpr int kChains = 8;
  V sum[kChains];
  for (auto& s : sum) s = V::zero();
  Index i = 0;
  for (; i + kChains * V::lanes <= n; i += kChains * V::lanes)
    for (int j = 0; j < kChains; ++j) {
      const V v = V::load(x + i + j * V::lanes);
      sum[j] = V::fma(v, v, sum[j]);
    }
  for (; i < n; i += V::lanes) {
    const V v = V::load(x + i, V::first(n - i));
    sum[0] = V::fma(v, v, sum[0]);
  }
  for (int j = 1; j < kChains; ++j) sum[0] = sum[0] + sum[j];
  const double total = static_cast<double>(sum[0].sum());
  if (total >= 1e-30 && total <= 1e38) return total;
  // Squares that float32 has no room for (or zeros, or a NaN): again, in float64.
  double wide = 0;
  for (i = 0; i < n; ++i) wide += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  return wide;
}

template <class T>
constexpr ReductionKernels<T> kKernels = {column_sum<T>, sum_squares<T>};

}  // namespace

extern const Both<ReductionKernels> reduction_table;
const Both<ReductionKernels> reduction_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
