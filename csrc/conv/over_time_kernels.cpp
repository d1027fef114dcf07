// The loops of over_time.cpp on vectors: maxima of columns with their places, and sums of scaled rows.
//
// Bytes: column_max reads its rows once, from the cache that the product has left them in. add_scaled loads two and
// stores one register for each multiply-add: bound by the first-level cache where its rows are there, else by the
// second.
#include "conv/over_time.h"
#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
void column_max(const T* rows, Index stride, Index count, Index columns, const T* bias, T* y, std::int64_t* place) {
  using V = Vec<T>;
  for (Index f = 0; f < columns; f += V::lanes) {
    const auto mask = V::first(columns - f);
    V best = V::load(rows + f, mask), at = V::zero(), now = V::zero();
    const V one = V::broadcast(T(1));
    for (Index t = 1; t < count; ++t) {
      const V value = V::load(rows + t * stride + f, mask);
      now = now + one;
      const auto larger = V::less(best, value);
      at = V::select(larger, now, at);
      best = V::select(larger, value, best);
      // A NaN stays once it is there: nothing is larger than it, and another NaN is no larger either.
      const V fresh = V::select(V::is_nan(best), V::zero(), value);
      const auto unordered = V::is_nan(fresh);
      at = V::select(unordered, now, at);
      best = V::select(unordered, value, best);
    }
    if (bias != nullptr) best = best + V::load(bias + f, mask);
    best.store(y + f, mask);
    T places[V::lanes];
    at.store(places);
    const Index here = columns - f < V::lanes ? columns - f : V::lanes;
    for (Index i = 0; i < here; ++i) place[f + i] = static_cast<std::int64_t>(places[i]);
  }
}

template <class T>
void add_scaled(const T* from, T factor, T* to, Index n) {
  using V = Vec<T>;
  const V scale = V::broadcast(factor);
  Index i = 0;
  for (; i + 4 * V::lanes <= n; i += 4 * V::lanes)
    for (int j = 0; j < 4; ++j)
      V::fma(scale, V::load(from + i + j * V::lanes), V::load(to + i + j * V::lanes)).store(to + i + j * V::lanes);
  for (; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    V::fma(scale, V::load(from + i, mask), V::load(to + i, mask)).store(to + i, mask);
  }
}

}  // namespace

extern const OverTimeTables over_time_table;
const OverTimeTables over_time_table = {{column_max<float>, add_scaled<float>},
                                        {column_max<double>, add_scaled<double>}};

}  // namespace dlkit::DLKIT_TARGET
