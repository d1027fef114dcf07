// The sum of the rows of a word's context, and what comes back to each. Bound by the loads and stores of those rows, in
// the first-level cache where the window has moved on by one word: m dim additions each way.
#include "core/simd.h"
#include "word2vec/word2vec.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
DLKIT_INLINE void sum_rows(const T* const* rows, Index m, Index dim, T factor, T* sum) {
  using V = Vec<T>;
  const V scale = V::broadcast(factor);
  const Index whole = dim / V::lanes * V::lanes;
  for (Index k = 0; k < whole; k += V::lanes) {
    V total = V::zero();
    for (Index i = 0; i < m; ++i) total = total + V::load(rows[i] + k);
    (total * scale).store(sum + k);
  }
  const auto tail = V::first(dim - whole);
  V total = V::zero();
  for (Index i = 0; i < m; ++i) total = total + V::load(rows[i] + whole, tail);
  (total * scale).store(sum + whole, tail);
}

template <class T>
DLKIT_INLINE void add_to_rows(const T* step, T factor, T* const* rows, Index m, Index dim) {
  using V = Vec<T>;
  const V scale = V::broadcast(factor);
  const Index whole = dim / V::lanes * V::lanes;
  const auto tail = V::first(dim - whole);
  for (Index i = 0; i < m; ++i) {
    for (Index k = 0; k < whole; k += V::lanes)
      V::fma(scale, V::load(step + k), V::load(rows[i] + k)).store(rows[i] + k);
    V::fma(scale, V::load(step + whole, tail), V::load(rows[i] + whole, tail)).store(rows[i] + whole, tail);
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

}  // namespace

extern const BagTables bag_table;
const BagTables bag_table = {{sum_float, add_float}, {sum_double, add_double}};

}  // namespace dlkit::DLKIT_TARGET
