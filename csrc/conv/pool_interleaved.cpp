// Pooling with planes side by side (interleave.h): an element of a register's planes in each register, so that windows
// of any kind, adaptive ones too, are plain loads that all lanes share. A band of rows is interleaved, as many as stay
// in the caches, all windows computed, the results put back plane by plane. This is what a channels-last layout gives,
// for the cost of two transpositions on the way.
//
// Operations: one or two for each tap of a window (a maximum with its place: a comparison and two blends; NaN, which
// needs more, has a path of its own, taken where the band holds one). Gradients of means: each row of outputs becomes
// the row of the plane that it gives, added to the rows of its windows. Those of maxima: each element gathers from the
// windows that hold it, where the place is it.
//
// Bytes: each array once. Bound: about 6 cycles for each register to interleave it and as many to put it back, about
// what memory takes; then the loads of windows that overlap.
#include "conv/interleave.h"
#include "conv/pool_kernels.h"
#include "conv/pool_rows.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// What is asked for once and handed out in pieces.
struct Memory {
  char* at;

  template <class U>
  static DLKIT_INLINE Index bytes(Index count) {
    return (count * static_cast<Index>(sizeof(U)) + 63) / 64 * 64;
  }
  template <class U>
  DLKIT_INLINE U* take(Index count) {
    U* const piece = reinterpret_cast<U*>(at);
    at += bytes<U>(count);
    return piece;
  }
};

// Windows along an axis: their first element that is there, how many are, `step` apart, and which tap is the first.
struct Axis {
  Index *first, *count, *tap;
  Index outputs, step;

  static DLKIT_INLINE Index bytes(Index outputs) { return 3 * Memory::bytes<Index>(outputs); }
  DLKIT_INLINE Axis(Memory& memory, Index size, Index dilation) : outputs(size), step(dilation) {
    first = memory.take<Index>(size);
    count = memory.take<Index>(size);
    tap = memory.take<Index>(size);
  }
  DLKIT_INLINE void of_windows(Index kernel, Index stride, Index pad, Index extent) {
    for (Index i = 0; i < outputs; ++i) {
      const Index start = i * stride - pad;
      const Taps taps(start, kernel, step, extent);
      first[i] = start + taps.begin * step;
      count[i] = taps.end - taps.begin;
      tap[i] = taps.begin;
    }
  }
  DLKIT_INLINE void adaptive(Index extent) {
    for (Index i = 0; i < outputs; ++i) {
      first[i] = i * extent / outputs;
      count[i] = ((i + 1) * extent + outputs - 1) / outputs - first[i];
      tap[i] = 0;
    }
  }
  DLKIT_INLINE Index end(Index i) const { return first[i] + (count[i] - 1) * step + 1; }
  DLKIT_INLINE Index most() const {
    Index most = 1;
    for (Index i = 0; i < outputs; ++i)
      if (count[i] > most) most = count[i];
    return most;
  }
};

// Rows [begin, end) of the output, which read rows [top, bottom) of the plane; or the other way.
struct Band {
  Index begin, end, top, bottom;
};

template <class T>
struct Windows {
  static constexpr Index kLanes = Vec<T>::lanes;

  const PoolShape& s;
  Memory memory;
  Axis rows, cols;

  DLKIT_INLINE Windows(const PoolShape& shape, bool adaptive)
      : s(shape), memory{static_cast<char*>(scratch_bytes(
                      Slot::windows, static_cast<std::size_t>(Axis::bytes(shape.out_h) + Axis::bytes(shape.out_w))))},
        rows(memory, shape.out_h, adaptive ? 1 : shape.dilation_h),
        cols(memory, shape.out_w, adaptive ? 1 : shape.dilation_w) {
    if (adaptive) {
      rows.adaptive(s.height);
      cols.adaptive(s.width);
    } else {
      rows.of_windows(s.kernel_h, s.out_h == 1 ? 1 : s.stride_h, s.pad_h, s.height);
      cols.of_windows(s.kernel_w, s.out_w == 1 ? 1 : s.stride_w, s.pad_w, s.width);
    }
  }

  // The band of outputs from `begin` on: as many rows as keep what they read and write within the budget.
  DLKIT_INLINE Band outputs_from(Index begin) const {
    constexpr Index kMost = kInterleavedBand / 64;
    Band band = {begin, begin, s.height, 0};
    while (band.end < s.out_h) {
      Index top = band.top, bottom = band.bottom;
      if (rows.count[band.end] > 0) {
        if (rows.first[band.end] < top) top = rows.first[band.end];
        if (rows.end(band.end) > bottom) bottom = rows.end(band.end);
      }
      const Index registers = (bottom - top) * s.width + (band.end + 1 - begin) * s.out_w;
      if (band.end > begin && registers > kMost) break;
      band = {begin, band.end + 1, top, bottom};
    }
    if (band.bottom < band.top) band.bottom = band.top = 0;
    return band;
  }

  // The rows of the plane from `begin` on, and those of the outputs that meet them.
  DLKIT_INLINE Band plane_from(Index begin) const {
    Index size = kInterleavedBand / 64 / s.width;
    if (size < 1) size = 1;
    const Index end = begin + size < s.height ? begin + size : s.height;
    Band band = {begin, end, s.out_h, 0};
    for (Index i = 0; i < s.out_h; ++i) {
      if (rows.count[i] == 0 || rows.first[i] >= end || rows.end(i) <= begin) continue;
      if (i < band.top) band.top = i;
      band.bottom = i + 1;
    }
    if (band.bottom < band.top) band.bottom = band.top = 0;
    return band;
  }

  // The most registers that bands read and write.
  struct Sizes {
    Index in, out;
  };
  DLKIT_INLINE Sizes of_outputs() const {
    Sizes most = {0, 0};
    for (Index i = 0; i < s.out_h;) {
      const Band band = outputs_from(i);
      if ((band.bottom - band.top) * s.width > most.in) most.in = (band.bottom - band.top) * s.width;
      if ((band.end - i) * s.out_w > most.out) most.out = (band.end - i) * s.out_w;
      i = band.end;
    }
    return most;
  }
  DLKIT_INLINE Sizes of_planes() const {
    Sizes most = {0, 0};
    for (Index h = 0; h < s.height;) {
      const Band band = plane_from(h);
      if ((band.bottom - band.top) * s.out_w > most.in) most.in = (band.bottom - band.top) * s.out_w;
      if ((band.end - h) * s.width > most.out) most.out = (band.end - h) * s.width;
      h = band.end;
    }
    return most;
  }
};

// body(plane, n): n planes from `plane` on, a register's lanes of them but where there are fewer in all.
template <class T, class Body>
DLKIT_INLINE void by_lanes(Index begin, Index end, const Body& body) {
  constexpr Index kLanes = Vec<T>::lanes;
  for (Index plane = begin; plane < end; plane += kLanes) {
    if (end - plane < kLanes) plane = end - kLanes > begin ? end - kLanes : begin;  // some of them once more
    body(plane, end - plane < kLanes ? end - plane : kLanes);
  }
}

// What the group of planes after this one reads or writes, where that is little: blocks of columns, as planes are read
// and written here, are no streams that processors foresee.
template <int kWrite, class T>
DLKIT_INLINE void prefetch_next(const T* array, Index size, Index plane, Index end) {
  constexpr Index kMost = 16 << 10, kLanes = Vec<float>::lanes, kLine = 64;
  if (kLanes * size * static_cast<Index>(sizeof(T)) > kMost) return;
  const Index first = plane + kLanes < end ? plane + kLanes : end, last = first + kLanes < end ? first + kLanes : end;
  const char* const until = reinterpret_cast<const char*>(array + last * size);
  for (const char* at = reinterpret_cast<const char*>(array + first * size); at < until; at += kLine)
    __builtin_prefetch(at, kWrite);
}

template <class T>
DLKIT_INLINE typename Vec<T>::Mask equal(Vec<T> a, Vec<T> b) {
#if defined(DLKIT_TARGET_AVX512)
  if constexpr (sizeof(T) == 4)
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
  else
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ);
#else
  return both(Vec<T>::less_equal(a, b), Vec<T>::less_equal(b, a));
#endif
}

// The part of the interleaved rows that a window covers.
template <class T>
struct Covered {
  const T* at;
  Index height, width, down, across;
};

// The height and width of a window, or 0 where they are known only as it runs.
template <int kHeight, int kWidth>
struct Size {
  static constexpr int height = kHeight, width = kWidth;
};

// body(u, v, element): in order.
template <class T, class S, class Body>
DLKIT_INLINE void over(S, const Covered<T>& c, const Body& body) {
  const Index height = S::height != 0 ? S::height : c.height, width = S::width != 0 ? S::width : c.width;
  const T* row = c.at;
  if constexpr (S::height != 0) {
#pragma GCC unroll 4
    for (Index u = 0; u < S::height; ++u, row += c.down)
#pragma GCC unroll 4
      for (Index v = 0; v < S::width; ++v) body(u, v, Vec<T>::load(row + v * c.across));
  } else if constexpr (S::width != 0) {
    for (Index u = 0; u < height; ++u, row += c.down)
#pragma GCC unroll 4
      for (Index v = 0; v < S::width; ++v) body(u, v, Vec<T>::load(row + v * c.across));
  } else {
    for (Index u = 0; u < height; ++u, row += c.down)
      for (Index v = 0; v < width; ++v) body(u, v, Vec<T>::load(row + v * c.across));
  }
}

// result(size, covered, i, j, out): the windows of a band, one after another; `in` holds its rows, from band.top on.
template <class T, class Result>
DLKIT_INLINE void each_window(const Windows<T>& windows, const Band& band, const T* in, const Result& result) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Axis &rows = windows.rows, &cols = windows.cols;
  const Index pitch = windows.s.width * kLanes, out_w = windows.s.out_w;
  Index out = 0;
  for (Index i = band.begin; i < band.end; ++i) {
    const T* row = in + (rows.first[i] - band.top) * pitch;
    const Index height = rows.count[i];
    for (Index j = 0; j < out_w;) {
      const Index width = cols.count[j];
      Index end = j + 1;
      while (end < out_w && cols.count[end] == width) ++end;
      const auto run = [&](auto size) __attribute__((always_inline)) {
        for (; j < end; ++j, out += kLanes)
          result(size, Covered<T>{row + cols.first[j] * kLanes, height, width, rows.step * pitch, cols.step * kLanes},
                 i, j, out);
      };
      if (kSpecial<T> && height == 3 && width == 3)
        run(Size<3, 3>{});
      else if (kSpecial<T> && height == 2 && width == 2)
        run(Size<2, 2>{});
      else if (kSpecial<T> && width == 3)
        run(Size<0, 3>{});
      else
        run(Size<0, 0>{});
    }
  }
}

// --- maxima ---------------------------------------------------------------------------------------------------------

template <class T>
struct Largest {
  Vec<T> value, number;
};

// `numbers` of the taps that are there, rows `pitch` apart, where they are asked for.
template <class T, bool kNumbers, bool kNan, class S>
DLKIT_INLINE Largest<T> largest(S size, const Covered<T>& c, const T* numbers, Index pitch) {
  using V = Vec<T>;
  Largest<T> best = {V::load(c.at), kNumbers ? V::broadcast(numbers[0]) : V::zero()};
  over<T>(size, c, [&](Index u, Index v, V x) __attribute__((always_inline)) {
    if constexpr (!kNumbers) {
      best.value = kNan ? nan_max(best.value, x) : V::max(best.value, x);
    } else {
      const auto larger = kNan ? wins(x, best.value) : V::less(best.value, x);
      best.value = V::select(larger, x, best.value);
      best.number = V::select(larger, V::broadcast(numbers[u * pitch + v]), best.number);
    }
  });
  return best;
}

template <class T, bool kNumbers, bool kNan>
void max_band(const Windows<T>& windows, const Band& band, const T* in, const T* numbers, Index pitch, bool places,
              bool relu, T* values, T* found) {
  using V = Vec<T>;
  const Axis &rows = windows.rows, &cols = windows.cols;
  const V nowhere = V::broadcast(T(-1));
  each_window(windows, band, in,
              [&](auto size, const Covered<T>& c, Index i, Index j, Index out) __attribute__((always_inline)) {
                Largest<T> best = {V::broadcast(-static_cast<T>(__builtin_inf())), nowhere};
                if (c.height > 0 && c.width > 0) {
                  best = largest<T, kNumbers, kNan>(
                      size, c, places ? numbers + rows.tap[i] * pitch + cols.tap[j] : numbers, pitch);
                  if (kNumbers && !places)
                    best.number =
                        best.number + V::broadcast(static_cast<T>(rows.first[i] * windows.s.width + cols.first[j]));
                }
                if (relu) {
                  const auto off = V::less_equal(best.value, V::zero());
                  best.value = V::select(off, V::zero(), best.value);
                  if constexpr (kNumbers) best.number = V::select(off, nowhere, best.number);
                }
                best.value.store(values + out);
                if constexpr (kNumbers) best.number.store(found + out);
              });
}

template <class T>
void maxima(const PoolShape& s, bool adaptive, const T* x, T* y, std::uint8_t* places, std::int64_t* indices, bool relu,
            Index begin, Index end) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Windows<T> windows(s, adaptive);
  const auto sizes = windows.of_outputs();
  const bool numbered = places != nullptr || indices != nullptr;
  // Numbers of taps: in the window, or in the plane from the window's first element on.
  const Index kernel_h = windows.rows.most(), kernel_w = places != nullptr ? s.kernel_w : windows.cols.most();
  const Index taps = numbered ? (places != nullptr ? s.kernel_h : kernel_h) * kernel_w : 0;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns, static_cast<std::size_t>(Memory::bytes<T>(taps) + Memory::bytes<T>(sizes.in * kLanes) +
                                              2 * Memory::bytes<T>(sizes.out * kLanes))))};
  T* const numbers = memory.take<T>(taps);
  T* const in = memory.take<T>(sizes.in * kLanes);
  T* const values = memory.take<T>(sizes.out * kLanes);
  T* const found = memory.take<T>(sizes.out * kLanes);
  for (Index t = 0; t < taps; ++t)
    numbers[t] = static_cast<T>(
        places != nullptr ? t : t / kernel_w * windows.rows.step * s.width + t % kernel_w * windows.cols.step);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    prefetch_next<0>(x, s.in_size(), plane, end);
    prefetch_next<1>(y, s.out_size(), plane, end);
    if (places != nullptr) prefetch_next<1>(places, s.out_size(), plane, end);
    if (indices != nullptr) prefetch_next<1>(indices, s.out_size(), plane, end);
    for (Index i = 0; i < s.out_h;) {
      const Band band = windows.outputs_from(i);
      const bool nan = interleave<true>(x + plane * s.height * s.width + band.top * s.width, s.height * s.width, n,
                                        (band.bottom - band.top) * s.width, in);
      const auto run = numbered ? nan ? max_band<T, true, true> : max_band<T, true, false>
                       : nan    ? max_band<T, false, true>
                                : max_band<T, false, false>;
      run(windows, band, in, numbers, kernel_w, places != nullptr, relu, values, found);
      const Index pitch = s.out_h * s.out_w, at = plane * pitch + i * s.out_w, count = (band.end - i) * s.out_w;
      deinterleave(values, count, n, y + at, pitch);
      if (places != nullptr) deinterleave(found, count, n, places + at, pitch);
      if (indices != nullptr) deinterleave(found, count, n, indices + at, pitch);
      i = band.end;
    }
  });
}

template <class T>
void max(const MaxPool<T>& p, Index begin, Index end) {
  maxima(p.shape, false, p.x, p.y, p.places, p.indices, p.relu, begin, end);
}

template <class T>
void adaptive_max(const AdaptiveMaxPool<T>& p, Index begin, Index end) {
  maxima<T>(p.shape, true, p.x, p.y, nullptr, p.indices, false, begin, end);
}

// The outputs whose windows hold an element along an axis, and the tap that it is: those of element e are numbers
// [begin[e], begin[e + 1]), in order.
struct Holders {
  Index *begin, *output, *tap;

  static DLKIT_INLINE Index size(const Axis& axis) {
    Index size = 0;
    for (Index i = 0; i < axis.outputs; ++i) size += axis.count[i];
    return size;
  }
  static DLKIT_INLINE Index bytes(const Axis& axis, Index extent) {
    return Memory::bytes<Index>(extent + 2) + 2 * Memory::bytes<Index>(size(axis));
  }
  DLKIT_INLINE Holders(Memory& memory, const Axis& axis, Index extent) {
    begin = memory.take<Index>(extent + 2);
    output = memory.take<Index>(size(axis));
    tap = memory.take<Index>(size(axis));
    for (Index e = 0; e < extent + 2; ++e) begin[e] = 0;
    // Counted two places on, summed, and moved on by one as they are filled.
    for (Index i = 0; i < axis.outputs; ++i)
      for (Index k = 0; k < axis.count[i]; ++k) ++begin[axis.first[i] + k * axis.step + 2];
    for (Index e = 2; e < extent + 2; ++e) begin[e] += begin[e - 1];
    for (Index i = 0; i < axis.outputs; ++i)
      for (Index k = 0; k < axis.count[i]; ++k) {
        const Index at = begin[axis.first[i] + k * axis.step + 1]++;
        output[at] = i;
        tap[at] = axis.tap[i] + k;
      }
  }
};

// The gradients of planes [begin, end), a band of their rows at a time: `grads` is to hold those of the outputs that
// meet the band, `sums` what its rows get, which body(band, from, n) computes; `from` is the first output that is read,
// of the first of n planes.
template <class T, class Body>
DLKIT_INLINE void each_gradient_band(const Windows<T>& windows, const T* grad, T* dx, T* grads, T* sums, Index begin,
                                     Index end, const Body& body) {
  const PoolShape& s = windows.s;
  const Index in_size = s.in_size(), out_size = s.out_size();
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    prefetch_next<0>(grad, out_size, plane, end);
    prefetch_next<1>(dx, in_size, plane, end);
    for (Index h = 0; h < s.height;) {
      const Band band = windows.plane_from(h);
      const Index from = plane * out_size + band.top * s.out_w;
      interleave<false>(grad + from, out_size, n, (band.bottom - band.top) * s.out_w, grads);
      body(band, from, n);
      deinterleave(sums, (band.end - h) * s.width, n, dx + plane * in_size + h * s.width, in_size);
      h = band.end;
    }
  });
}

template <class T>
void max_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const PoolShape& s = p.shape;
  const Windows<T> windows(s, false);
  const auto sizes = windows.of_planes();
  const Index taps = s.kernel_h * s.kernel_w;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns,
      static_cast<std::size_t>(Holders::bytes(windows.rows, s.height) + Holders::bytes(windows.cols, s.width) +
                               Memory::bytes<T>(taps) + 2 * Memory::bytes<T>(sizes.in * kLanes) +
                               Memory::bytes<T>(sizes.out * kLanes))))};
  const Holders rows(memory, windows.rows, s.height), cols(memory, windows.cols, s.width);
  T* const numbers = memory.take<T>(taps);
  T* const grads = memory.take<T>(sizes.in * kLanes);
  T* const places = memory.take<T>(sizes.in * kLanes);
  T* const dx = memory.take<T>(sizes.out * kLanes);
  for (Index t = 0; t < taps; ++t) numbers[t] = static_cast<T>(t);
  each_gradient_band(windows, p.grad, p.dx, grads, dx, begin, end, [&](const Band& band, Index from, Index n) {
    interleave<false>(p.places + from, s.out_size(), n, (band.bottom - band.top) * s.out_w, places);
    T* to = dx;
    for (Index row = band.begin; row < band.end; ++row) {
      const Index first = rows.begin[row], last = rows.begin[row + 1];
      for (Index w = 0; w < s.width; ++w, to += kLanes) {
        V sum = V::zero();
        for (Index a = first; a < last; ++a) {
          const Index line = (rows.output[a] - band.top) * s.out_w;
          const T* const tap = numbers + rows.tap[a] * s.kernel_w;
          for (Index b = cols.begin[w]; b < cols.begin[w + 1]; ++b) {
            const Index at = (line + cols.output[b]) * kLanes;
            const auto here = equal(V::load(places + at), V::broadcast(tap[cols.tap[b]]));
            sum = V::select(here, sum + V::load(grads + at), sum);
          }
        }
        sum.store(to);
      }
    }
  });
}

// --- means ----------------------------------------------------------------------------------------------------------

// How many taps a window of means counts along an axis.
DLKIT_INLINE Index counted(Index place, Index kernel, Index stride, Index pad, Index extent, bool include_pad) {
  Index first = place * stride - pad, last = first + kernel;
  if (last > extent + pad) last = extent + pad;
  if (include_pad) return last - first;
  if (first < 0) first = 0;
  if (last > extent) last = extent;
  return last - first;
}

// What sums are divided by, a factor for each row of outputs and one for each column.
template <class T>
struct Divisors {
  T *row, *col;

  static DLKIT_INLINE Index bytes(const PoolShape& s) { return Memory::bytes<T>(s.out_h) + Memory::bytes<T>(s.out_w); }
  DLKIT_INLINE Divisors(Memory& memory, const PoolShape& s)
      : row(memory.take<T>(s.out_h)), col(memory.take<T>(s.out_w)) {}
  DLKIT_INLINE void of_windows(const PoolShape& s, bool include_pad, Index divisor) const {
    for (Index i = 0; i < s.out_h; ++i)
      row[i] = static_cast<T>(
          divisor != 0 ? 1 : counted(i, s.kernel_h, s.out_h == 1 ? 1 : s.stride_h, s.pad_h, s.height, include_pad));
    for (Index j = 0; j < s.out_w; ++j)
      col[j] = static_cast<T>(
          divisor != 0 ? divisor
                       : counted(j, s.kernel_w, s.out_w == 1 ? 1 : s.stride_w, s.pad_w, s.width, include_pad));
  }
  DLKIT_INLINE void adaptive(const Windows<T>& windows) const {
    for (Index i = 0; i < windows.s.out_h; ++i) row[i] = static_cast<T>(windows.rows.count[i]);
    for (Index j = 0; j < windows.s.out_w; ++j) col[j] = static_cast<T>(windows.cols.count[j]);
  }
};

// divide(divisors, windows): sets them.
template <class T, class Divide>
void means(const PoolShape& s, bool adaptive, const T* x, T* y, const Divide& divide, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const Windows<T> windows(s, adaptive);
  const auto sizes = windows.of_outputs();
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns, static_cast<std::size_t>(Divisors<T>::bytes(s) + Memory::bytes<T>(sizes.in * kLanes) +
                                              Memory::bytes<T>(sizes.out * kLanes))))};
  const Divisors<T> divisors(memory, s);
  divide(divisors, windows);
  T* const in = memory.take<T>(sizes.in * kLanes);
  T* const values = memory.take<T>(sizes.out * kLanes);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    prefetch_next<0>(x, s.in_size(), plane, end);
    prefetch_next<1>(y, s.out_size(), plane, end);
    for (Index i = 0; i < s.out_h;) {
      const Band band = windows.outputs_from(i);
      interleave<false>(x + plane * s.height * s.width + band.top * s.width, s.height * s.width, n,
                        (band.bottom - band.top) * s.width, in);
      each_window(windows, band, in,
                  [&](auto size, const Covered<T>& c, Index row, Index col, Index out) __attribute__((always_inline)) {
                    V sum = V::zero();
                    over<T>(size, c,
                            [&](Index, Index, V element) __attribute__((always_inline)) { sum = sum + element; });
                    (sum / V::broadcast(divisors.row[row] * divisors.col[col])).store(values + out);
                  });
      deinterleave(values, (band.end - i) * s.out_w, n, y + plane * s.out_h * s.out_w + i * s.out_w, s.out_h * s.out_w);
      i = band.end;
    }
  });
}

template <class T>
void avg(const AvgPool<T>& p, Index begin, Index end) {
  means(
      p.shape, false, p.x, p.y,
      [&](const Divisors<T>& d, const Windows<T>&) { d.of_windows(p.shape, p.include_pad, p.divisor); }, begin, end);
}

template <class T>
void adaptive_avg(const AdaptiveAvgPool<T>& p, Index begin, Index end) {
  means(
      p.shape, true, p.x, p.y, [](const Divisors<T>& d, const Windows<T>& windows) { d.adaptive(windows); }, begin,
      end);
}

template <class T, class Divide>
void mean_grads(const PoolShape& s, bool adaptive, const T* grad, T* dx, const Divide& divide, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const Windows<T> windows(s, adaptive);
  const Axis &rows = windows.rows, &cols = windows.cols;
  const auto sizes = windows.of_planes();
  const Index pitch = s.width * kLanes;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns,
      static_cast<std::size_t>(Divisors<T>::bytes(s) + Memory::bytes<T>(sizes.in * kLanes) + Memory::bytes<T>(pitch) +
                               Memory::bytes<T>(sizes.out * kLanes) + Memory::bytes<bool>(s.height))))};
  const Divisors<T> divisors(memory, s);
  divide(divisors, windows);
  T* const grads = memory.take<T>(sizes.in * kLanes);
  T* const line = memory.take<T>(pitch);
  T* const sums = memory.take<T>(sizes.out * kLanes);
  bool* const begun = memory.take<bool>(s.height);
  each_gradient_band(windows, grad, dx, grads, sums, begin, end, [&](const Band& band, Index, Index) {
    for (Index row = band.begin; row < band.end; ++row) begun[row] = false;
    for (Index i = band.top; i < band.bottom; ++i) {
      // What the row of outputs gives to a row of the plane.
      const T* g = grads + (i - band.top) * s.out_w * kLanes;
      Index done = 0;  // columns that have got something
      for (Index j = 0; j < s.out_w; ++j, g += kLanes) {
        const V share = V::load(g) / V::broadcast(divisors.row[i] * divisors.col[j]);
        Index w = cols.first[j];
        const Index last = w + cols.count[j];
        for (; done < w; ++done) V::zero().store(line + done * kLanes);
        for (; w < done && w < last; ++w) (V::load(line + w * kLanes) + share).store(line + w * kLanes);
        for (; w < last; ++w) share.store(line + w * kLanes);
        if (last > done) done = last;
      }
      for (; done < s.width; ++done) V::zero().store(line + done * kLanes);
      const Index first = rows.first[i] > band.begin ? rows.first[i] : band.begin;
      const Index last = rows.first[i] + rows.count[i] < band.end ? rows.first[i] + rows.count[i] : band.end;
      for (Index row = first; row < last; ++row) {
        T* const to = sums + (row - band.begin) * pitch;
        if (begun[row])
          for (Index k = 0; k < pitch; k += kLanes) (V::load(to + k) + V::load(line + k)).store(to + k);
        else
          for (Index k = 0; k < pitch; k += kLanes) V::load(line + k).store(to + k);
        begun[row] = true;
      }
    }
    for (Index row = band.begin; row < band.end; ++row)
      if (!begun[row])
        for (Index k = 0; k < pitch; k += kLanes) V::zero().store(sums + (row - band.begin) * pitch + k);
  });
}

template <class T>
void avg_backward(const AvgPoolBackward<T>& p, Index begin, Index end) {
  mean_grads(
      p.shape, false, p.grad, p.dx,
      [&](const Divisors<T>& d, const Windows<T>&) { d.of_windows(p.shape, p.include_pad, p.divisor); }, begin, end);
}

template <class T>
void adaptive_avg_backward(const AdaptiveAvgPoolBackward<T>& p, Index begin, Index end) {
  mean_grads(
      p.shape, true, p.grad, p.dx, [](const Divisors<T>& d, const Windows<T>& windows) { d.adaptive(windows); }, begin,
      end);
}

// --- stochastic pooling ---------------------------------------------------------------------------------------------

// What an element weighs: itself, or 0 where it is negative. NaN stays.
template <class T>
DLKIT_INLINE Vec<T> weight_of(Vec<T> x) {
  return Vec<T>::select(Vec<T>::less(x, Vec<T>::zero()), Vec<T>::zero(), x);
}

template <class T>
DLKIT_INLINE typename Vec<T>::Mask is_zero(Vec<T> x) {
  return equal(x, Vec<T>::zero());
}

template <class T>
void stochastic(const StochasticPool<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const PoolShape& s = p.shape;
  const Windows<T> windows(s, false);
  const auto sizes = windows.of_outputs();
  const Index taps = s.kernel_h * s.kernel_w, drawn = sizes.out * kLanes, words = drawn + 128;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns, static_cast<std::size_t>(Memory::bytes<T>(taps) + Memory::bytes<T>(sizes.in * kLanes) +
                                              4 * Memory::bytes<T>(drawn) + Memory::bytes<T>(words))))};
  T* const numbers = memory.take<T>(taps);
  T* const in = memory.take<T>(sizes.in * kLanes);
  T* const values = memory.take<T>(drawn);
  T* const found = memory.take<T>(drawn);
  T* const uniform = memory.take<T>(drawn);
  T* const lines = memory.take<T>(drawn);
  T* const raw = memory.take<T>(words);
  for (Index t = 0; t < taps; ++t) numbers[t] = static_cast<T>(t);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    for (Index i = 0; i < s.out_h;) {
      const Band band = windows.outputs_from(i);
      const Index out_size = s.out_h * s.out_w, at = plane * out_size + i * s.out_w;
      const Index count = (band.end - i) * s.out_w;
      if (count == out_size)  // the planes' random numbers follow each other
        uniform_row(p, at, n * count, raw, lines);
      else
        for (Index k = 0; k < n; ++k) uniform_row(p, at + k * out_size, count, raw, lines + k * count);
      interleave<false>(lines, count, n, count, uniform);
      interleave<false>(p.x + plane * s.height * s.width + band.top * s.width, s.height * s.width, n,
                        (band.bottom - band.top) * s.width, in);
      each_window(windows, band, in,
                  [&](auto size, const Covered<T>& c, Index row, Index col, Index out) __attribute__((always_inline)) {
                    V sum = V::zero();
                    over<T>(size, c,
                            [&](Index, Index, V x) __attribute__((always_inline)) { sum = sum + weight_of(x); });
                    const V threshold = V::load(uniform + out) * sum;
                    const T* const tap = numbers + windows.rows.tap[row] * s.kernel_w + windows.cols.tap[col];
                    V before = V::zero(), place = V::broadcast(T(-1));
                    V value = V::select(V::is_nan(threshold), threshold, V::zero());
                    over<T>(size, c, [&](Index u, Index v, V x) __attribute__((always_inline)) {
                      const V weight = weight_of(x);
                      const auto here = both(V::less(V::zero(), weight), V::less_equal(before, threshold));
                      value = V::select(here, weight, value);
                      place = V::select(here, V::broadcast(tap[u * s.kernel_w + v]), place);
                      before = before + weight;
                    });
                    value.store(values + out);
                    place.store(found + out);
                  });
      deinterleave(values, count, n, p.y + at, out_size);
      deinterleave(found, count, n, p.places + at, out_size);
      i = band.end;
    }
  });
}

template <class T>
void stochastic_average(const StochasticAverage<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const PoolShape& s = p.shape;
  const Windows<T> windows(s, false);
  const auto sizes = windows.of_outputs();
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns,
      static_cast<std::size_t>(Memory::bytes<T>(sizes.in * kLanes) + Memory::bytes<T>(sizes.out * kLanes))))};
  T* const in = memory.take<T>(sizes.in * kLanes);
  T* const values = memory.take<T>(sizes.out * kLanes);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    for (Index i = 0; i < s.out_h;) {
      const Band band = windows.outputs_from(i);
      interleave<false>(p.x + plane * s.height * s.width + band.top * s.width, s.height * s.width, n,
                        (band.bottom - band.top) * s.width, in);
      each_window(windows, band, in,
                  [&](auto size, const Covered<T>& c, Index, Index, Index out) __attribute__((always_inline)) {
                    V sum = V::zero(), squares = V::zero();
                    over<T>(size, c, [&](Index, Index, V x) __attribute__((always_inline)) {
                      const V weight = weight_of(x);
                      sum = sum + weight;
                      squares = squares + weight * weight;
                    });
                    V::select(is_zero(sum), V::zero(), squares / sum).store(values + out);
                  });
      deinterleave(values, (band.end - i) * s.out_w, n, p.y + plane * s.out_h * s.out_w + i * s.out_w,
                   s.out_h * s.out_w);
      i = band.end;
    }
  });
}

// Whole planes: an element's gradient needs the sums of all windows that hold it.
template <class T>
void stochastic_average_backward(const StochasticAverageBackward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const PoolShape& s = p.shape;
  const Windows<T> windows(s, false);
  const Index in_size = s.height * s.width, out_size = s.out_h * s.out_w;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns,
      static_cast<std::size_t>(2 * Memory::bytes<T>(in_size * kLanes) + Memory::bytes<T>(out_size * kLanes))))};
  T* const in = memory.take<T>(in_size * kLanes);
  T* const dx = memory.take<T>(in_size * kLanes);
  T* const grads = memory.take<T>(out_size * kLanes);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    interleave<false>(p.x + plane * in_size, in_size, n, in_size, in);
    interleave<false>(p.grad + plane * out_size, out_size, n, out_size, grads);
    for (Index k = 0; k < in_size * kLanes; k += kLanes) V::zero().store(dx + k);
    each_window(windows, Band{0, s.out_h, 0, s.height}, in,
                [&](auto size, const Covered<T>& c, Index, Index, Index out) __attribute__((always_inline)) {
                  V sum = V::zero(), squares = V::zero();
                  over<T>(size, c, [&](Index, Index, V x) __attribute__((always_inline)) {
                    const V weight = weight_of(x);
                    sum = sum + weight;
                    squares = squares + weight * weight;
                  });
                  const auto nothing = is_zero(sum);
                  const V mean = squares / sum, scale = V::load(grads + out) / sum;
                  T* const to = dx + (c.at - in);
                  over<T>(size, c, [&](Index u, Index v, V x) __attribute__((always_inline)) {
                    T* const at = to + u * c.down + v * c.across;
                    const auto none = either(nothing, V::less(x, V::zero()));
                    (V::load(at) + V::select(none, V::zero(), (x + x - mean) * scale)).store(at);
                  });
                });
    deinterleave(dx, in_size, n, p.dx + plane * in_size, in_size);
  });
}

// --- the k largest --------------------------------------------------------------------------------------------------

// The largest so far of the rows in the lanes, in falling order, and their numbers. An element that none of the lanes
// wants costs a comparison with the last of them; others move down what they are larger than. Of equal ones the first
// stays in front. At the end sorted by number.
template <class T>
struct Ranks {
  Vec<T> value, number;
};

template <class T, bool kNan>
DLKIT_INLINE typename Vec<T>::Mask ranks_before(Vec<T> x, Vec<T> other) {
  using V = Vec<T>;
  const auto larger = V::less(other, x);
  if constexpr (!kNan)
    return larger;
  else
    return either(larger, both(V::is_nan(x), equal(other, other)));  // NaN is larger than all but NaN
}

template <class T, bool kNan>
void rank(const T* in, Index begin, Index count, Index k, Ranks<T>* best) {
  using V = Vec<T>;
  for (Index i = 0; i < count; ++i, in += V::lanes) {
    V x = V::load(in), number = V::broadcast(static_cast<T>(begin + i));
    const Index held = begin + i < k ? begin + i : k;
    if (held == k && first_lane<T>(ranks_before<T, kNan>(x, best[k - 1].value)) == V::lanes) continue;
    auto before = V::less(V::zero(), V::zero());  // no lane; where one has moved down, all after it do
    for (Index r = 0; r < held; ++r) {
      const Ranks<T> old = best[r];
      before = either(before, ranks_before<T, kNan>(x, old.value));
      best[r] = {V::select(before, x, old.value), V::select(before, number, old.number)};
      x = V::select(before, old.value, x);
      number = V::select(before, old.number, number);
    }
    if (held < k) best[held] = {x, number};
  }
}

template <class T>
void k_max(const KMaxPool<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes, kPart = 256;
  Memory memory = {static_cast<char*>(scratch_bytes(
      Slot::columns, static_cast<std::size_t>(Memory::bytes<T>(kPart * kLanes) + 2 * Memory::bytes<T>(p.k * kLanes))))};
  T* const in = memory.take<T>(kPart * kLanes);
  T* const values = memory.take<T>(p.k * kLanes);
  T* const numbers = memory.take<T>(p.k * kLanes);
  Ranks<T> best[kMostSorted];
  by_lanes<T>(begin, end, [&](Index row, Index n) {
    bool nan = false;
    for (Index i = 0; i < p.cols; i += kPart) {
      const Index count = p.cols - i < kPart ? p.cols - i : kPart;
      nan = interleave<true>(p.x + row * p.cols + i, p.cols, n, count, in) || nan;
      if (nan)
        rank<T, true>(in, i, count, p.k, best);
      else
        rank<T, false>(in, i, count, p.k, best);
    }
    for (Index last = p.k - 1; last > 0; --last)
      for (Index r = 0; r < last; ++r) {
        const Ranks<T> a = best[r], b = best[r + 1];
        const auto swap = V::less(b.number, a.number);
        best[r] = {V::select(swap, b.value, a.value), V::select(swap, b.number, a.number)};
        best[r + 1] = {V::select(swap, a.value, b.value), V::select(swap, a.number, b.number)};
      }
    for (Index r = 0; r < p.k; ++r) {
      best[r].value.store(values + r * kLanes);
      best[r].number.store(numbers + r * kLanes);
    }
    deinterleave(values, p.k, n, p.y + row * p.k, p.k);
    deinterleave(numbers, p.k, n, p.indices + row * p.k, p.k);
  });
}

template <class T>
constexpr PoolInterleavedKernels<T> kKernels = {
    max<T>,          max_backward<T>,          avg<T>,        avg_backward<T>,       adaptive_max<T>,
    adaptive_avg<T>, adaptive_avg_backward<T>, stochastic<T>, stochastic_average<T>, stochastic_average_backward<T>,
    k_max<T>};

}  // namespace

extern const PoolTable<PoolInterleavedKernels> pool_interleaved_table;
const PoolTable<PoolInterleavedKernels> pool_interleaved_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
