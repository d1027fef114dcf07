// Pooling a row of outputs at a time, on rows that are padded and split by phase (pool_rows.h), for any kernel, stride,
// padding and dilation.
//
// A maximum that needs no place, and a mean, first combine the rows of the window into one, then the taps along it: K_h
// + K_w operations in place of K_h K_w. One that keeps places compares tap by tap, in order, for the first of equal
// elements; its split rows are kept while windows overlap. The split costs a store and a load for each element that is
// read. Bound: small windows by memory; large ones by the load for each tap, from the first-level cache.
//
// Stochastic pooling (Zeiler & Fergus 2013) goes over the taps twice: their sum, then the first of them up to which the
// sum exceeds its random part. Random numbers by vectors, a row of outputs at a time.
#include "conv/pool_rows.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
struct MaxOf {
  static constexpr T kNeutral = -static_cast<T>(__builtin_inf());
  static DLKIT_INLINE Vec<T> of(Vec<T> a, Vec<T> b) { return nan_max(a, b); }
};

template <class T>
struct SumOf {
  static constexpr T kNeutral = 0;
  static DLKIT_INLINE Vec<T> of(Vec<T> a, Vec<T> b) { return a + b; }
};

// The rows of a window, combined.
template <class T, template <class> class Op>
struct Column {
  const T* first;
  Index step, count;
  DLKIT_INLINE Vec<T> operator()(Index w, Index n) const {
    if (n <= 0) return Vec<T>::zero();
    Vec<T> total = load_first(first + w, n);
    for (Index u = 1; u < count; ++u) total = Op<T>::of(total, load_first(first + u * step + w, n));
    return total;
  }
};

// finish(total, i, j): the result of output (i, j), ...
template <class T, template <class> class Op, class Problem, class Finish>
DLKIT_INLINE void combine(const Problem& p, const RowLayout& a, const RowMemory<T>& memory, Index begin, Index end,
                          const Finish& finish) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index kernel_w = s.kernel_w;
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * s.height * s.width;
    for (Index base = 0; base < s.out_h; base += a.band) {
      const Index last = base + a.band < s.out_h ? base + a.band : s.out_h;
      for (Index i = base; i < last; ++i) {
        const Index top = i * a.step - s.pad_h;
        const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
        T* to = memory.rows + (i - base) * a.row;
        if (taps.begin == taps.end) {
          for (Index t = 0; t < a.row; ++t) to[t] = Op<T>::kNeutral;
          continue;
        }
        const T* first = x + (top + taps.begin * s.dilation_h) * s.width;
        const Index step = s.dilation_h * s.width, count = taps.end - taps.begin;
        if (kSpecial<T> && count == 3)
          split_row(a, Column<T, Op>{first, step, 3}, to, Op<T>::kNeutral, memory.line);
        else
          split_row(a, Column<T, Op>{first, step, count}, to, Op<T>::kNeutral, memory.line);
      }
      for (Index i = base; i < last; ++i) {
        const T* row = memory.rows + (i - base) * a.row;
        T* y = p.y + (plane * s.out_h + i) * s.out_w;
        for (Index j = 0; j < s.out_w; j += V::lanes) {
          V total = V::load(row + memory.tap[0] + j);
          for (Index v = 1; v < kernel_w; ++v) total = Op<T>::of(total, V::load(row + memory.tap[v] + j));
          store_first(finish(total, i, j), y + j, s.out_w - j);
        }
      }
    }
  }
}

template <class T>
struct Activate {
  bool relu;
  DLKIT_INLINE Vec<T> operator()(Vec<T> value, Index, Index) const {
    return relu ? Vec<T>::max(Vec<T>::zero(), value) : value;  // NaN stays
  }
};

template <class T>
void max_values(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  const RowMemory<T> memory(p.shape, a, scratch, MaxOf<T>::kNeutral);
  combine<T, MaxOf>(p, a, memory, begin, end, Activate<T>{p.relu});
}

// How many taps a window of means counts along one axis.
DLKIT_INLINE Index counted(Index place, Index kernel, Index stride, Index pad, Index extent, bool include_pad) {
  Index first = place * stride - pad, last = first + kernel;
  if (last > extent + pad) last = extent + pad;
  if (include_pad) return last - first;
  if (first < 0) first = 0;
  if (last > extent) last = extent;
  return last - first;
}

template <class T>
struct Divide {
  const PoolShape& shape;
  const RowLayout& layout;
  const T* cols;
  bool include_pad, by_rows;
  DLKIT_INLINE Vec<T> operator()(Vec<T> sum, Index i, Index j) const {
    const Index rows =
        by_rows ? counted(i, shape.kernel_h, layout.step, shape.pad_h, shape.height, include_pad) : Index{1};
    return sum / (Vec<T>::broadcast(static_cast<T>(rows)) * Vec<T>::load(cols + j));
  }
};

template <class T>
void avg_rows(const AvgPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, T(0));
  T* cols = memory.out[0];
  for (Index j = 0; j < s.out_w + RowLayout::kSlack; ++j) cols[j] = 1;
  for (Index j = 0; j < s.out_w; ++j)
    cols[j] =
        static_cast<T>(p.divisor != 0 ? p.divisor : counted(j, s.kernel_w, a.stride, s.pad_w, s.width, p.include_pad));
  combine<T, SumOf>(p, a, memory, begin, end, Divide<T>{s, a, cols, p.include_pad, p.divisor == 0});
}

// Splits what the output rows [base, last) read, but for rows that are there already.
template <class T, class MakeSource>
DLKIT_INLINE void split_band(const PoolShape& s, const RowLayout& a, const RowMemory<T>& memory, Index base, Index last,
                             T fill, const MakeSource& source) {
  for (Index i = base; i < last; ++i) {
    const Index top = i * a.step - s.pad_h;
    const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
    for (Index u = taps.begin; u < taps.end; ++u) {
      const Index h = top + u * s.dilation_h, slot = h & (a.rows - 1);
      if (memory.kept[slot] == h) continue;
      split_row(a, source(h), memory.rows + slot * a.row, fill, memory.line);
      memory.kept[slot] = h;
    }
  }
}

// For each output of a row, its first tap along the row that is in the plane, or -1: with that of the rows, what a
// window of -inf alone remembers.
template <class T>
void first_taps(const PoolShape& s, Index stride, T* taps) {
  for (Index j = 0; j < s.out_w; ++j) {
    const Taps cols(j * stride - s.pad_w, s.kernel_w, s.dilation_w, s.width);
    taps[j] = cols.begin < cols.end ? T(cols.begin) : T(-1);
  }
}

template <class T>
struct Best {
  Vec<T> value, place;
};

// kHeight, kWidth: the kernel's, or 0.
template <class T, int kHeight, int kWidth>
DLKIT_INLINE Best<T> best_of(const PoolShape& s, const RowMemory<T>& memory, const Taps& taps, Index j, Best<T> best) {
  using V = Vec<T>;
  const Index kernel_w = kWidth != 0 ? kWidth : s.kernel_w;
  const auto over = [&](Index u) __attribute__((always_inline)) {
    const T* row = memory.rows + memory.top[u] + j;
#pragma GCC unroll 8
    for (Index v = 0; v < kernel_w; ++v) {
      const V value = V::load(row + memory.tap[v]);
      const auto larger = wins(value, best.value);
      best.value = V::select(larger, value, best.value);
      best.place = V::select(larger, V::broadcast(T(u * kernel_w + v)), best.place);
    }
  };
  if (kHeight != 0 && taps.end - taps.begin == kHeight) {
#pragma GCC unroll 8
    for (Index u = 0; u < kHeight; ++u) over(u);
  } else {
    for (Index u = taps.begin; u < taps.end; ++u) over(u);
  }
  return best;
}

template <class T, int kHeight, int kWidth>
void max_places(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  constexpr T kLowest = MaxOf<T>::kNeutral;
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, kLowest);
  T* const firsts = memory.out[0];
  T* const found = memory.out[1];
  for (Index i = 0; i < s.out_w + RowLayout::kSlack; ++i) firsts[i] = 0;
  first_taps(s, a.stride, firsts);
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * s.height * s.width;
    for (Index i = 0; i < a.rows; ++i) memory.kept[i] = -1;
    for (Index base = 0; base < s.out_h; base += a.band) {
      const Index last = base + a.band < s.out_h ? base + a.band : s.out_h;
      split_band(s, a, memory, base, last, kLowest,
                 [&](Index h) __attribute__((always_inline)) { return RowSource<T>{x + h * s.width}; });
      for (Index i = base; i < last; ++i) {
        const Index out = (plane * s.out_h + i) * s.out_w;
        const Index top = i * a.step - s.pad_h;
        const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
        const V nowhere = V::broadcast(T(-1));
        const V first_row = V::broadcast(taps.begin < taps.end ? T(taps.begin * s.kernel_w) : T(-1));
        for (Index u = taps.begin; u < taps.end; ++u) memory.top[u] = ((top + u * s.dilation_h) & (a.rows - 1)) * a.row;
        for (Index j = 0; j < s.out_w; j += V::lanes) {
          const V first = V::load(firsts + j);
          const auto none = either(V::less(first, V::zero()), V::less(first_row, V::zero()));
          Best<T> best = {V::broadcast(kLowest), V::select(none, nowhere, first + first_row)};
          best = best_of<T, kHeight, kWidth>(s, memory, taps, j, best);
          if (p.relu) {
            const auto off = V::less_equal(best.value, V::zero());
            best.value = V::select(off, V::zero(), best.value);
            best.place = V::select(off, nowhere, best.place);
          }
          const Index n = s.out_w - j;
          store_first(best.value, p.y + out + j, n);
          if (p.places == nullptr)
            best.place.store(found + j);
          else if (n >= V::lanes)
            store_places(best.place, p.places + out + j);
          else
            store_places(best.place, p.places + out + j, n);
        }
        if (p.indices == nullptr) continue;
        for (Index j = 0; j < s.out_w; ++j) {
          const std::int32_t tap = static_cast<std::int32_t>(found[j]);
          const std::int32_t u = tap / static_cast<std::int32_t>(s.kernel_w);
          const std::int32_t v = tap % static_cast<std::int32_t>(s.kernel_w);
          p.indices[out + j] =
              tap < 0 ? -1 : (top + u * s.dilation_h) * s.width + j * a.stride - s.pad_w + v * s.dilation_w;
        }
      }
    }
  }
}

template <class T>
void max_rows(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  if (p.places == nullptr && p.indices == nullptr) return max_values(p, a, begin, end, scratch);
  if constexpr (kSpecial<T>)
    if (p.shape.kernel_h == 3 && p.shape.kernel_w == 3) return max_places<T, 3, 3>(p, a, begin, end, scratch);
  max_places<T, 0, 0>(p, a, begin, end, scratch);
}

// --- stochastic pooling ---------------------------------------------------------------------------------------------

// What an element weighs: itself, or 0 where it is negative. NaN stays.
template <class T>
struct Weights {
  const T* row;
  DLKIT_INLINE Vec<T> operator()(Index w, Index n) const {
    const Vec<T> x = load_first(row + w, n);
    return Vec<T>::select(Vec<T>::less(x, Vec<T>::zero()), Vec<T>::zero(), x);
  }
};

// body(i, out): rows of outputs whose taps' rows are split, out the number of the first.
template <class T, class Problem, class Body>
DLKIT_INLINE void weighed_rows(const Problem& p, const RowLayout& a, const RowMemory<T>& memory, Index begin, Index end,
                               const Body& body) {
  const PoolShape& s = p.shape;
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * s.height * s.width;
    for (Index i = 0; i < a.rows; ++i) memory.kept[i] = -1;
    for (Index base = 0; base < s.out_h; base += a.band) {
      const Index last = base + a.band < s.out_h ? base + a.band : s.out_h;
      split_band(s, a, memory, base, last, T(0),
                 [&](Index h) __attribute__((always_inline)) { return Weights<T>{x + h * s.width}; });
      for (Index i = base; i < last; ++i) {
        const Index top = i * a.step - s.pad_h;
        const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
        for (Index u = taps.begin; u < taps.end; ++u) memory.top[u] = ((top + u * s.dilation_h) & (a.rows - 1)) * a.row;
        body(taps, (plane * s.out_h + i) * s.out_w);
      }
    }
  }
}

// body(weight, tap): the taps of a register of outputs, in order.
template <class T, class Body>
DLKIT_INLINE void over_taps(const PoolShape& s, const RowMemory<T>& memory, const Taps& taps, Index j,
                            const Body& body) {
  for (Index u = taps.begin; u < taps.end; ++u)
    for (Index v = 0; v < s.kernel_w; ++v)
      body(Vec<T>::load(memory.rows + memory.top[u] + memory.tap[v] + j), u * s.kernel_w + v);
}

template <class T>
void stochastic_rows(const StochasticPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, T(0));
  T* const uniform = memory.out[0];
  for (Index i = 0; i < s.out_w + RowLayout::kSlack; ++i) uniform[i] = 0;
  weighed_rows<T>(p, a, memory, begin, end, [&](const Taps& taps, Index out) {
    uniform_row(p, out, s.out_w, memory.out[1], uniform);
    for (Index j = 0; j < s.out_w; j += V::lanes) {
      V sum = V::zero();
      over_taps<T>(s, memory, taps, j, [&](V weight, Index) __attribute__((always_inline)) { sum = sum + weight; });
      const V threshold = V::load(uniform + j) * sum;
      V before = V::zero(), place = V::broadcast(T(-1));
      V value = V::select(V::is_nan(threshold), threshold, V::zero());
      over_taps<T>(s, memory, taps, j, [&](V weight, Index tap) __attribute__((always_inline)) {
        const auto here = both(V::less(V::zero(), weight), V::less_equal(before, threshold));
        value = V::select(here, weight, value);
        place = V::select(here, V::broadcast(T(tap)), place);
        before = before + weight;
      });
      const Index n = s.out_w - j;
      store_first(value, p.y + out + j, n);
      if (n >= V::lanes)
        store_places(place, p.places + out + j);
      else
        store_places(place, p.places + out + j, n);
    }
  });
}

template <class T>
void stochastic_average_rows(const StochasticAverage<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, T(0));
  weighed_rows<T>(p, a, memory, begin, end, [&](const Taps& taps, Index out) {
    for (Index j = 0; j < s.out_w; j += V::lanes) {
      V sum = V::zero(), squares = V::zero();
      over_taps<T>(s, memory, taps, j, [&](V weight, Index) __attribute__((always_inline)) {
        sum = sum + weight;
        squares = squares + weight * weight;
      });
      const auto nothing = both(V::less_equal(sum, V::zero()), V::less_equal(V::zero(), sum));
      store_first(V::select(nothing, V::zero(), squares / sum), p.y + out + j, s.out_w - j);
    }
  });
}

template <class T>
constexpr PoolRowKernels<T> kKernels = {max_rows<T>, avg_rows<T>, stochastic_rows<T>, stochastic_average_rows<T>};

}  // namespace

extern const PoolTable<PoolRowKernels> pool_row_table;
const PoolTable<PoolRowKernels> pool_row_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
