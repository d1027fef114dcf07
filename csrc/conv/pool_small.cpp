// The windows that networks use most, in registers: a row's every second element by shuffles, no scratch.
//
// 2 x 2 with a stride of 2 (and 1 x 2, for sequences), for one register of outputs: 4 loads, 4 shuffles, 3 comparisons
// and blends, a store of results and one of places as bytes. Bytes: 16 read and 5 written for each output; backward 5
// and 16. Bound: memory.
#include "conv/pool_kernels.h"
#include "conv/pool_lanes.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
DLKIT_INLINE Pair<T> columns(const T* row, Index n) {
  using V = Vec<T>;
  if (n >= V::lanes) return split(V::load(row), V::load(row + V::lanes));
  return split(load_first(row, 2 * n), load_first(row + V::lanes, 2 * n - V::lanes));
}

template <class T>
struct Best {
  Vec<T> value, place;
  DLKIT_INLINE void meet(Vec<T> other, int tap) {
    const auto larger = wins(other, value);
    value = Vec<T>::select(larger, other, value);
    place = Vec<T>::select(larger, Vec<T>::broadcast(T(tap)), place);
  }
  DLKIT_INLINE void relu() {
    const auto off = Vec<T>::less_equal(value, Vec<T>::zero());
    value = Vec<T>::select(off, Vec<T>::zero(), value);
    place = Vec<T>::select(off, Vec<T>::broadcast(T(-1)), place);
  }
};

template <class T, bool kTall, bool kPlaces, bool kRelu>
void max_pairs(const MaxPool<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index step = kTall ? 2 * s.width : s.width;
  for (Index plane = begin; plane < end; ++plane) {
    const T* row = p.x + plane * s.height * s.width;
    T* y = p.y + plane * s.out_h * s.out_w;
    std::uint8_t* places = p.places + (kPlaces ? plane * s.out_h * s.out_w : 0);
    for (Index i = 0; i < s.out_h; ++i, row += step, y += s.out_w, places += kPlaces ? s.out_w : 0) {
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        const Index n = s.out_w - j;
        const Pair<T> upper = columns(row + 2 * j, n);
        if constexpr (kPlaces) {
          Best<T> best = {upper.first, V::zero()};
          best.meet(upper.second, 1);
          if constexpr (kTall) {
            const Pair<T> lower = columns(row + s.width + 2 * j, n);
            best.meet(lower.first, 2);
            best.meet(lower.second, 3);
          }
          if constexpr (kRelu) best.relu();
          store_first(best.value, y + j, n);
          if (n >= V::lanes)
            store_places(best.place, places + j);
          else
            store_places(best.place, places + j, n);
        } else {
          V best = nan_max(upper.first, upper.second);
          if constexpr (kTall) {
            const Pair<T> lower = columns(row + s.width + 2 * j, n);
            best = nan_max(best, nan_max(lower.first, lower.second));
          }
          if constexpr (kRelu) best = V::max(V::zero(), best);
          store_first(best, y + j, n);
        }
      }
    }
  }
}

template <class T>
void max_2x2(const MaxPool<T>& p, Index begin, Index end) {
  const bool tall = p.shape.kernel_h == 2;
  if (p.places != nullptr && p.relu)
    return tall ? max_pairs<T, true, true, true>(p, begin, end) : max_pairs<T, false, true, true>(p, begin, end);
  if (p.places != nullptr)
    return tall ? max_pairs<T, true, true, false>(p, begin, end) : max_pairs<T, false, true, false>(p, begin, end);
  if (p.relu)
    return tall ? max_pairs<T, true, false, true>(p, begin, end) : max_pairs<T, false, false, true>(p, begin, end);
  return tall ? max_pairs<T, true, false, false>(p, begin, end) : max_pairs<T, false, false, false>(p, begin, end);
}

template <class T>
DLKIT_INLINE void store_pair(const Pair<T>& x, T* to, Index n) {
  constexpr Index kLanes = Vec<T>::lanes;
  if (n >= kLanes) {
    x.first.store(to);
    x.second.store(to + kLanes);
  } else {
    store_first(x.first, to, 2 * n);
    if (2 * n > kLanes) store_first(x.second, to + kLanes, 2 * n - kLanes);
  }
}

template <class T>
DLKIT_INLINE Vec<T> where(typename Vec<T>::Mask mask, Vec<T> x) {
  return Vec<T>::select(mask, x, Vec<T>::zero());
}

// Each element is in one window at most: what is not the largest there, and what is in none, becomes 0.
template <class T, bool kTall>
void max_pairs_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index step = kTall ? 2 * s.width : s.width;
  for (Index plane = begin; plane < end; ++plane) {
    const T* grad = p.grad + plane * s.out_h * s.out_w;
    const std::uint8_t* places = p.places + plane * s.out_h * s.out_w;
    T* row = p.dx + plane * s.height * s.width;
    T* const plane_end = row + s.height * s.width;
    for (Index i = 0; i < s.out_h; ++i, row += step, grad += s.out_w, places += s.out_w) {
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        const Index n = s.out_w - j;
        const V g = load_first(grad + j, n);
        const Places<T> place = n >= V::lanes ? Places<T>::load(places + j) : Places<T>::load(places + j, n);
        store_pair(join(where(place.is(0), g), where(place.is(1), g)), row + 2 * j, n);
        if constexpr (kTall) store_pair(join(where(place.is(2), g), where(place.is(3), g)), row + s.width + 2 * j, n);
      }
      for (Index w = 2 * s.out_w; w < s.width; ++w) {
        row[w] = 0;
        if constexpr (kTall) row[s.width + w] = 0;
      }
    }
    for (; row < plane_end; ++row) *row = 0;
  }
}

template <class T>
void max_2x2_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  if (p.shape.kernel_h == 2)
    max_pairs_backward<T, true>(p, begin, end);
  else
    max_pairs_backward<T, false>(p, begin, end);
}

template <class T, bool kTall>
void avg_pairs(const AvgPool<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index step = kTall ? 2 * s.width : s.width;
  const V divisor = V::broadcast(static_cast<T>(p.divisor != 0 ? p.divisor : kTall ? 4 : 2));
  for (Index plane = begin; plane < end; ++plane) {
    const T* row = p.x + plane * s.height * s.width;
    T* y = p.y + plane * s.out_h * s.out_w;
    for (Index i = 0; i < s.out_h; ++i, row += step, y += s.out_w)
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        const Index n = s.out_w - j;
        const Pair<T> upper = columns(row + 2 * j, n);
        V sum = upper.first + upper.second;
        if constexpr (kTall) {
          const Pair<T> lower = columns(row + s.width + 2 * j, n);
          sum = (sum + lower.first) + lower.second;
        }
        store_first(sum / divisor, y + j, n);
      }
  }
}

template <class T, bool kTall>
void avg_pairs_backward(const AvgPoolBackward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index step = kTall ? 2 * s.width : s.width;
  const V divisor = V::broadcast(static_cast<T>(p.divisor != 0 ? p.divisor : kTall ? 4 : 2));
  for (Index plane = begin; plane < end; ++plane) {
    const T* grad = p.grad + plane * s.out_h * s.out_w;
    T* row = p.dx + plane * s.height * s.width;
    T* const plane_end = row + s.height * s.width;
    for (Index i = 0; i < s.out_h; ++i, row += step, grad += s.out_w) {
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        const Index n = s.out_w - j;
        const V share = load_first(grad + j, n) / divisor;
        const Pair<T> shares = join(share, share);
        store_pair(shares, row + 2 * j, n);
        if constexpr (kTall) store_pair(shares, row + s.width + 2 * j, n);
      }
      for (Index w = 2 * s.out_w; w < s.width; ++w) {
        row[w] = 0;
        if constexpr (kTall) row[s.width + w] = 0;
      }
    }
    for (; row < plane_end; ++row) *row = 0;
  }
}

template <class T>
void avg_2x2(const AvgPool<T>& p, Index begin, Index end) {
  if (p.shape.kernel_h == 2)
    avg_pairs<T, true>(p, begin, end);
  else
    avg_pairs<T, false>(p, begin, end);
}

template <class T>
void avg_2x2_backward(const AvgPoolBackward<T>& p, Index begin, Index end) {
  if (p.shape.kernel_h == 2)
    avg_pairs_backward<T, true>(p, begin, end);
  else
    avg_pairs_backward<T, false>(p, begin, end);
}

template <class T>
constexpr PoolSmallKernels<T> kKernels = {max_2x2<T>, max_2x2_backward<T>, avg_2x2<T>, avg_2x2_backward<T>};

}  // namespace

extern const PoolTable<PoolSmallKernels> pool_small_table;
const PoolTable<PoolSmallKernels> pool_small_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
