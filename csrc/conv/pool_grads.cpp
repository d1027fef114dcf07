// The gradients of pooling with overlapping windows, of strides 1 and 2, a row of the plane at a time: each element
// gathers what the windows that hold it give. For a maximum that is, for each tap, the gradient of the output whose
// window has the element there, where its place is that tap; for a mean the sum over rows first, then over taps.
// Nothing is cleared, and each element written once, in order.
//
// Operations for each element: K_h K_w / (S_h S_w) comparisons of bytes and additions, from gradients with zeros around
// in the first-level cache. Bytes: dx written, a gradient and a byte read for each output. Bound: memory for strides
// of 2; loads from the first-level cache for a stride of 1.
#include "conv/pool_rows.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// The memory of a kernel, carved up as GradLayout counts it.
template <class T>
struct GradMemory {
  Index* kept;  // which row of outputs each of the kept ones is
  Index* slot;  // where the rows begin that a row of the plane gathers from
  Index* tap;   // the first tap, in each of these, that it is
  T* rows;
  T* sums;  // of the rows that a row of the plane gathers, for a band
  T* line;
  T* cols;
  std::uint8_t* places;

  DLKIT_INLINE GradMemory(const PoolShape& s, const GradLayout& a, void* scratch) {
    kept = static_cast<Index*>(scratch);
    slot = kept + a.rows;
    tap = slot + s.kernel_h;
    rows = reinterpret_cast<T*>(tap + s.kernel_h);
    sums = rows + a.rows * a.length;
    line = sums + a.band * a.length;
    cols = line + s.width + 2 * GradLayout::kSlack;
    places = reinterpret_cast<std::uint8_t*>(cols + s.out_w + GradLayout::kSlack);
    for (Index i = 0; i < a.rows * a.length; ++i) rows[i] = 0;
    for (Index i = 0; i < a.rows * a.length; ++i) places[i] = kNoPlace;
    for (Index i = 0; i < a.band * a.length; ++i) sums[i] = 0;
  }
};

DLKIT_INLINE Index over(Index x, Index step) { return step == 1 ? x : step == 2 ? x >> 1 : x / step; }

// The rows of outputs whose windows may hold row h of the plane: [begin, end).
struct Gathered {
  Index begin, end;
  DLKIT_INLINE Gathered(const PoolShape& s, const GradLayout& a, Index h) {
    const Index at = h + s.pad_h, reach = s.dilation_h * (s.kernel_h - 1);
    begin = at > reach ? over(at - reach + a.step - 1, a.step) : 0;
    end = over(at, a.step) + 1;
    if (end > s.out_h) end = s.out_h;
    if (begin > end) begin = end;
  }
  DLKIT_INLINE bool operator==(const Gathered& other) const { return begin == other.begin && end == other.end; }
};

// keep(i, slot): makes row i of the outputs one of the kept, for each that rows [base, last) gather.
template <class T, class Keep>
DLKIT_INLINE void keep_band(const PoolShape& s, const GradLayout& a, const GradMemory<T>& memory, Index base,
                            Index last, const Keep& keep) {
  const Gathered first(s, a, base), end(s, a, last - 1);
  for (Index i = first.begin; i < end.end; ++i) {
    const Index slot = i & (a.rows - 1);
    if (memory.kept[slot] == i) continue;
    keep(i, slot);
    memory.kept[slot] = i;
  }
}

template <Index kPhase>
struct Phase {
  static constexpr Index value = kPhase;
};

// gather(phase, t): what the elements t, t + 1, ... of a phase of the row gather, as a register.
template <class T, class Gather>
DLKIT_INLINE void gathered_row(const PoolShape& s, const GradLayout& a, const Gather& gather, T* row) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  if (a.stride == 1) {
    for (Index w = 0; w < s.width; w += kLanes) store_first(gather(Phase<0>{}, w + s.pad_w), row + w, s.width - w);
    return;
  }
  const Index even = s.pad_w / 2, odd = (s.pad_w + 1) / 2;  // where the even and the odd columns begin in their phases
  for (Index w = 0; w < s.width; w += 2 * kLanes) {
    const Index n = s.width - w;
    const Pair<T> both = (s.pad_w & 1) == 0 ? join(gather(Phase<0>{}, w / 2 + even), gather(Phase<1>{}, w / 2 + odd))
                                            : join(gather(Phase<1>{}, w / 2 + even), gather(Phase<0>{}, w / 2 + odd));
    store_first(both.first, row + w, n);
    if (n > kLanes) store_first(both.second, row + w + kLanes, n - kLanes);
  }
}

// What elements gather for maxima. kWidth: the kernel's where that is not dilated, or 0; kStride: 1, 2.
template <class T, int kWidth, int kStride>
struct MaxGather {
  const PoolShape& s;
  const GradMemory<T>& memory;
  Index before, count;

  template <Index kPhase>
  DLKIT_INLINE Vec<T> operator()(Phase<kPhase>, Index t) const {
    using V = Vec<T>;
    V sum = V::zero();
    const Index width = kWidth != 0 ? kWidth : s.kernel_w, dilation = kWidth != 0 ? 1 : s.dilation_w;
    for (Index i = 0; i < count; ++i) {
      const Index row = memory.slot[i] + before + t;
      const int first = static_cast<int>(memory.tap[i]);
      // From the last tap on: the order of the outputs.
#pragma GCC unroll 8
      for (Index v = width - 1; v >= 0; --v) {
        const Index across = v * dilation - kPhase;
        if (kStride == 2 && (across & 1) != 0) continue;
        const Index at = row - across / kStride;
        const auto here = Places<T>::load(memory.places + at).is(first + static_cast<int>(v));
        sum = sum + V::select(here, V::load(memory.rows + at), V::zero());
      }
    }
    return sum;
  }
};

template <class T>
void max_rows(const MaxPoolBackward<T>& p, const GradLayout& a, Index begin, Index end, void* scratch) {
  const PoolShape& s = p.shape;
  const GradMemory<T> memory(s, a, scratch);
  for (Index plane = begin; plane < end; ++plane) {
    const T* grad = p.grad + plane * s.out_h * s.out_w;
    const std::uint8_t* places = p.places + plane * s.out_h * s.out_w;
    T* dx = p.dx + plane * s.height * s.width;
    for (Index i = 0; i < a.rows; ++i) memory.kept[i] = -1;
    for (Index base = 0; base < s.height; base += a.band) {
      const Index last = base + a.band < s.height ? base + a.band : s.height;
      keep_band(s, a, memory, base, last, [&](Index i, Index slot) __attribute__((always_inline)) {
        T* to = memory.rows + slot * a.length + a.before;
        std::uint8_t* to_places = memory.places + slot * a.length + a.before;
        for (Index j = 0; j < s.out_w; j += Vec<T>::lanes)
          store_first(load_first(grad + i * s.out_w + j, s.out_w - j), to + j, s.out_w - j);
        __builtin_memcpy(to_places, places + i * s.out_w, static_cast<std::size_t>(s.out_w));
      });
      for (Index h = base; h < last; ++h) {
        const Gathered rows(s, a, h);
        Index count = 0;
        for (Index i = rows.begin; i < rows.end; ++i) {
          const Index down = h + s.pad_h - i * a.step;
          if (s.dilation_h != 1 && down % s.dilation_h != 0) continue;
          memory.slot[count] = (i & (a.rows - 1)) * a.length;
          memory.tap[count++] = (s.dilation_h == 1 ? down : down / s.dilation_h) * s.kernel_w;
        }
        T* row = dx + h * s.width;
        const bool threes = kSpecial<T> && s.kernel_w == 3 && s.dilation_w == 1;
        if (threes && a.stride == 2)
          gathered_row<T>(s, a, MaxGather<T, 3, 2>{s, memory, a.before, count}, row);
        else if (threes)
          gathered_row<T>(s, a, MaxGather<T, 3, 1>{s, memory, a.before, count}, row);
        else if (a.stride == 2)
          gathered_row<T>(s, a, MaxGather<T, 0, 2>{s, memory, a.before, count}, row);
        else
          gathered_row<T>(s, a, MaxGather<T, 0, 1>{s, memory, a.before, count}, row);
      }
    }
  }
}

DLKIT_INLINE Index counted(Index place, Index kernel, Index stride, Index pad, Index extent, bool include_pad) {
  Index first = place * stride - pad, last = first + kernel;
  if (last > extent + pad) last = extent + pad;
  if (include_pad) return last - first;
  if (first < 0) first = 0;
  if (last > extent) last = extent;
  return last - first;
}

template <class T, int kStride>
struct SumGather {
  const PoolShape& s;
  const T* sums;

  template <Index kPhase>
  DLKIT_INLINE Vec<T> operator()(Phase<kPhase>, Index t) const {
    Vec<T> sum = Vec<T>::zero();
    for (Index v = kPhase; v < s.kernel_w; v += kStride) sum = sum + Vec<T>::load(sums + t - v / kStride);
    return sum;
  }
};

template <class T>
void avg_rows(const AvgPoolBackward<T>& p, const GradLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const GradMemory<T> memory(s, a, scratch);
  for (Index j = 0; j < s.out_w; ++j)
    memory.cols[j] =
        static_cast<T>(p.divisor != 0 ? p.divisor : counted(j, s.kernel_w, a.stride, s.pad_w, s.width, p.include_pad));
  for (Index plane = begin; plane < end; ++plane) {
    const T* grad = p.grad + plane * s.out_h * s.out_w;
    T* dx = p.dx + plane * s.height * s.width;
    for (Index i = 0; i < a.rows; ++i) memory.kept[i] = -1;
    for (Index base = 0; base < s.height; base += a.band) {
      const Index last = base + a.band < s.height ? base + a.band : s.height;
      keep_band(s, a, memory, base, last, [&](Index i, Index slot) __attribute__((always_inline)) {
        T* to = memory.rows + slot * a.length + a.before;
        const T rows =
            static_cast<T>(p.divisor != 0 ? 1 : counted(i, s.kernel_h, a.step, s.pad_h, s.height, p.include_pad));
        for (Index j = 0; j < s.out_w; ++j) to[j] = grad[i * s.out_w + j] / (rows * memory.cols[j]);
      });
      for (Index h = base; h < last; ++h) {
        const Gathered rows(s, a, h);
        if (h > base && rows == Gathered(s, a, h - 1)) continue;
        T* sums = memory.sums + (h - base) * a.length + a.before;
        for (Index j = 0; j < s.out_w; j += V::lanes) {
          V sum = V::zero();
          for (Index i = rows.begin; i < rows.end; ++i)
            sum = sum + V::load(memory.rows + (i & (a.rows - 1)) * a.length + a.before + j);
          sum.store(sums + j);  // beyond the outputs zeros, as in the rows
        }
      }
      for (Index h = base; h < last; ++h) {
        const T* sums = memory.sums + (h - base) * a.length + a.before;
        T* row = dx + h * s.width;
        if (h > base &&
            Gathered(s, a, h) == Gathered(s, a, h - 1)) {  // windows that do not overlap: the same row again
          __builtin_memcpy(row, row - s.width, static_cast<std::size_t>(s.width) * sizeof(T));
          continue;
        }
        if (a.stride == 1) {
          gathered_row<T>(s, a, SumGather<T, 1>{s, sums}, row);
          continue;
        }
        if (a.stride == 2) {
          gathered_row<T>(s, a, SumGather<T, 2>{s, sums}, row);
          continue;
        }
        for (Index phase = 0; phase < a.stride; ++phase) {
          const Index first = phase < s.pad_w ? (s.pad_w - phase + a.stride - 1) / a.stride : 0;
          const Index from = first * a.stride + phase - s.pad_w;
          const Index count = from < s.width ? (s.width - 1 - from) / a.stride + 1 : 0;
          for (Index t = 0; t < count; t += V::lanes) {
            V sum = V::zero();
            for (Index v = phase, back = first + t; v < s.kernel_w; v += a.stride, --back)
              sum = sum + V::load(sums + back);
            sum.store(memory.line + t);
          }
          for (Index t = 0; t < count; ++t) row[from + t * a.stride] = memory.line[t];
        }
      }
    }
  }
}

template <class T>
constexpr PoolGradKernels<T> kKernels = {max_rows<T>, avg_rows<T>};

}  // namespace

extern const PoolTable<PoolGradKernels> pool_grad_table;
const PoolTable<PoolGradKernels> pool_grad_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
