// The sum of the rows of a word's context, and what comes back to each. Bound by the loads and stores of those rows, in
// the first-level cache where the window has moved on by one word: m dim additions each way.
#include "core/simd.h"
#include "word2vec/word2vec.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// N registers of columns from k on, the last by a mask or whole.
template <class T, int N, class Load, class Store>
DLKIT_INLINE void sum_columns(const T* const* rows, Index m, Vec<T> scale, const Load& load, const Store& store) {
  Vec<T> total[N];
#pragma GCC unroll 4
  for (int q = 0; q < N; ++q) total[q] = load(rows[0], q);
  for (Index i = 1; i < m; ++i) {
    const T* const row = rows[i];
#pragma GCC unroll 4
    for (int q = 0; q < N; ++q) total[q] = total[q] + load(row, q);
  }
#pragma GCC unroll 4
  for (int q = 0; q < N; ++q) store(total[q] * scale, q);
}

template <class T>
DLKIT_INLINE void sum_rows(const T* const* rows, Index m, Index dim, T factor, T* sum) {
  using V = Vec<T>;
  const V scale = V::broadcast(factor);
  Index k = 0;
  const auto load = [&](const T* row, int q) __attribute__((always_inline)) { return V::load(row + k + q * V::lanes); };
  const auto store = [&](V total, int q) __attribute__((always_inline)) { total.store(sum + k + q * V::lanes); };
  for (; k + 4 * V::lanes <= dim; k += 4 * V::lanes) sum_columns<T, 4>(rows, m, scale, load, store);
  for (; k + V::lanes <= dim; k += V::lanes) sum_columns<T, 1>(rows, m, scale, load, store);
  if (k == dim) return;
  const auto tail = V::first(dim - k);
  sum_columns<T, 1>(
      rows, m, scale, [&](const T* row, int) __attribute__((always_inline)) { return V::load(row + k, tail); },
      [&](V total, int) __attribute__((always_inline)) { total.store(sum + k, tail); });
}

template <class T>
DLKIT_INLINE void add_to_rows(const T* step, T factor, T* const* rows, Index m, Index dim) {
  using V = Vec<T>;
  const V scale = V::broadcast(factor);
  const Index whole = dim / V::lanes * V::lanes;
  const auto tail = V::first(dim - whole);
  for (Index i = 0; i < m; ++i) {
    T* const row = rows[i];
    for (Index k = 0; k < whole; k += V::lanes) V::fma(scale, V::load(step + k), V::load(row + k)).store(row + k);
    if (whole < dim) V::fma(scale, V::load(step + whole, tail), V::load(row + whole, tail)).store(row + whole, tail);
  }
}

void sum_float(const float* const* rows, Index m, Index dim, float factor, float* sum) {
  sum_rows(rows, m, dim, factor, sum);
}
void sum_double(const double* const* rows, Index m, Index dim, double factor, double* sum) {
  sum_rows(rows, m, dim, factor, sum);
}
void add_float(const float* step, float factor, float* const* rows, Index m, Index dim) {
  add_to_rows(step, factor, rows, m, dim);
}
void add_double(const double* step, double factor, double* const* rows, Index m, Index dim) {
  add_to_rows(step, factor, rows, m, dim);
}

void merge(float* own, float* before, float* shared, Index count) {
  using V = Vec<float>;
  for (Index k = 0; k < count; k += V::lanes) {
    const V sum = V::load(shared + k) + (V::load(own + k) - V::load(before + k));
    sum.store(shared + k);
    sum.store(own + k);
    sum.store(before + k);
  }
}

}  // namespace

extern const BagTables bag_table;
const BagTables bag_table = {{sum_float, add_float}, {sum_double, add_double}, merge};

}  // namespace dlkit::DLKIT_TARGET
