// The windows that networks use most, in registers: a row's every second element by shuffles, no scratch.
//
// 2 x 2 with a stride of 2 (and 1 x 2, for sequences), for one register of outputs: 4 loads, 4 shuffles, 3 comparisons
// and blends, a store of results and one of places as bytes. Bytes: 16 read and 5 written for each output; backward 5
// and 16. Bound: memory.
//
// 3 x 3 with a stride of 2: down a register of columns. The best of a row's three is found once and used for the two
// windows that hold the row; at the edges masked loads, whose masks are the same all the way down. For one register of
// outputs 8 loads, 6 shuffles and 6 comparisons. Backward the other way: a row of outputs gives to three rows of the
// plane, the last of which waits for the next row's share.
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

template <class T>
DLKIT_INLINE Vec<T> load_or(const T* p, typename Vec<T>::Mask mask, Vec<T> fill) {
  return Vec<T>::select(mask, Vec<T>::load(p, mask), fill);
}

// The columns of a register of windows of three with a step of two: [begin, end) of what each load reads is in the row.
template <class T>
struct Threes {
  typename Vec<T>::Mask first, second, first_shifted, second_shifted;
  DLKIT_INLINE Threes(Index column, Index width) {
    constexpr Index kLanes = Vec<T>::lanes;
    first = between<T>(-column, width - column);
    second = between<T>(-column - kLanes, width - column - kLanes);
    first_shifted = between<T>(-column - 2, width - column - 2);
    second_shifted = between<T>(-column - 2 - kLanes, width - column - 2 - kLanes);
  }
  // The best of each three, with its number.
  DLKIT_INLINE Best<T> best_of(const T* row, Vec<T> lowest) const {
    constexpr Index kLanes = Vec<T>::lanes;
    const Pair<T> one = split(load_or(row, first, lowest), load_or(row + kLanes, second, lowest));
    const Pair<T> two =
        split(load_or(row + 2, first_shifted, lowest), load_or(row + 2 + kLanes, second_shifted, lowest));
    Best<T> best = {one.first, Vec<T>::zero()};
    best.meet(one.second, 1);
    best.meet(two.first, 2);
    return best;
  }
};

template <class T>
DLKIT_INLINE Best<T> later(Best<T> best, Best<T> row, int taps_before) {
  const auto larger = wins(row.value, best.value);
  best.value = Vec<T>::select(larger, row.value, best.value);
  best.place = Vec<T>::select(larger, row.place + Vec<T>::broadcast(T(taps_before)), best.place);
  return best;
}

template <class T>
void max_3x3(const MaxPool<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const V lowest = V::broadcast(-static_cast<T>(__builtin_inf())), three = V::broadcast(3);
  for (Index plane = begin; plane < end; ++plane) {
    for (Index j = 0; j < s.out_w; j += V::lanes) {
      const Index n = s.out_w - j, column = 2 * j - s.pad_w;
      const Threes<T> threes(column, s.width);
      // The first tap along the row that is in the plane: 1 for a window that begins in the padding.
      const V first = V::select(between<T>(0, column < 0 ? 1 : 0), V::broadcast(1), V::zero());
      const T* row = p.x + (plane * s.height - s.pad_h) * s.width + column;  // row `top`
      Index out = plane * s.out_h * s.out_w + j;
      Best<T> upper = {lowest, V::zero()};
      if (s.pad_h == 0) upper = threes.best_of(row, lowest);
      for (Index i = 0; i < s.out_h; ++i, row += 2 * s.width, out += s.out_w) {
        const Index top = 2 * i - s.pad_h;
        Best<T> best = upper;
        if (top + 1 < s.height) best = later(best, threes.best_of(row + s.width, lowest), 3);
        if (top + 2 < s.height) {
          upper = threes.best_of(row + 2 * s.width, lowest);
          best = later(best, upper, 6);
        }
        const V earliest = top < 0 ? first + three : first;
        best.place = V::select(V::less_equal(best.value, lowest), earliest, best.place);
        if (p.relu) best.relu();
        store_first(best.value, p.y + out, n);
        if (p.places == nullptr) continue;
        if (n >= V::lanes)
          store_places(best.place, p.places + out);
        else
          store_places(best.place, p.places + out, n);
      }
    }
  }
}

// What a row of outputs gives to the even and odd columns of the three rows of its windows.
template <class T>
struct Given {
  Pair<T> row[3];
};

template <class T, bool kPadded>
DLKIT_INLINE Given<T> given_by(const T* grad, const std::uint8_t* places, Index m, Index out_w) {
  using V = Vec<T>;
  // Window m has its middle over an even column if padded, or begins there; `other` is the second that meets the odd
  // (the even) column.
  const Index other = kPadded ? m + 1 : m - 1;
  const V g = V::load(grad + m, between<T>(0, out_w - m));
  const V h = V::load(grad + other, between<T>(-other, out_w - other));
  const auto p = Places<T>::load(places + m, 0, out_w - m);
  const auto q = Places<T>::load(places + other, -other, out_w - other);
  Given<T> given;
  for (int u = 0; u < 3; ++u) {
    if constexpr (kPadded)
      given.row[u] = {where(p.is(3 * u + 1), g), where(p.is(3 * u + 2), g) + where(q.is(3 * u), h)};
    else
      given.row[u] = {where(q.is(3 * u + 2), h) + where(p.is(3 * u), g), where(p.is(3 * u + 1), g)};
  }
  return given;
}

template <class T, bool kPadded>
void max_threes_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Pair<T> zeros = {V::zero(), V::zero()};
  for (Index plane = begin; plane < end; ++plane)
    for (Index m = 0; 2 * m < s.width; m += V::lanes) {
      const T* grad = p.grad + plane * s.out_h * s.out_w;
      const std::uint8_t* places = p.places + plane * s.out_h * s.out_w;
      T* row = p.dx + plane * s.height * s.width + 2 * m;
      const Index n = s.width - 2 * m;
      const auto put = [&](Pair<T> columns, T* to) __attribute__((always_inline)) {
        const Pair<T> joined = join(columns.first, columns.second);
        store_first(joined.first, to, n);
        if (n > V::lanes) store_first(joined.second, to + V::lanes, n - V::lanes);
      };
      // Windows of row t begin at row `top` of the plane, where those of row t - 1 end: with `rest`.
      Pair<T> rest = zeros;
      for (Index t = 0; 2 * t - s.pad_h < s.height; ++t, grad += s.out_w, places += s.out_w) {
        Given<T> given = {{zeros, zeros, zeros}};
        if (t < s.out_h) given = given_by<T, kPadded>(grad, places, m, s.out_w);
        const Index top = 2 * t - s.pad_h;
        if (top >= 0) put({rest.first + given.row[0].first, rest.second + given.row[0].second}, row + top * s.width);
        if (top + 1 < s.height) put(given.row[1], row + (top + 1) * s.width);
        rest = given.row[2];
      }
    }
}

template <class T>
void max_3x3_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  if (p.shape.pad_w == 1)
    max_threes_backward<T, true>(p, begin, end);
  else
    max_threes_backward<T, false>(p, begin, end);
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
constexpr PoolSmallKernels<T> kKernels = {max_2x2<T>,          max_2x2_backward<T>, max_3x3<T>,
                                          max_3x3_backward<T>, avg_2x2<T>,          avg_2x2_backward<T>};

}  // namespace

extern const PoolTable<PoolSmallKernels> pool_small_table;
const PoolTable<PoolSmallKernels> pool_small_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
