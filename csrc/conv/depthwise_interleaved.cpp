// Depthwise convolution with planes side by side (interleave.h): channels in the lanes of a register, as a
// channels-last layout has them. A band of rows is interleaved with zeros around it; each output is then a sum over
// taps of registers that lie anywhere, times a register of the tap's weights, one for each channel. Small planes, whose
// rows fill no register, strides and dilations cost what they count.
//
// The gradient by x is the same for each remainder of rows and columns by the stride, with the taps that meet it. That
// by the weights keeps a sum for each tap in registers over all images: no sum across lanes.
//
// 2 Kh Kw operations for an element read and one written. A multiply-add and a load from the first-level cache for each
// tap, which bound it from 3 x 3 on; before that about 6 cycles for each register, each way, to interleave.
#include "conv/depthwise.h"
#include "conv/interleave.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Rows of a plane, interleaved, with zeros around them: column j of row i is at data + (i * pitch + j) * lanes, where
// row 0 is the first that a band reads and column 0 the first in the padding.
template <class T>
struct PaddedPlanes {
  static constexpr Index kLanes = Vec<T>::lanes;

  Index height, width, left, pitch;
  T* data;
  Index* place;  // of each element of the rows, from the first that is inside

  DLKIT_INLINE void number(Index rows) const {
    for (Index i = 0, k = 0; i < rows; ++i)
      for (Index j = 0; j < width; ++j) place[k++] = (i * pitch + j) * kLanes;
  }

  // Columns outside the plane stay zero for all bands and planes.
  DLKIT_INLINE void clear(Index rows) const {
    for (Index k = 0; k < rows * pitch * kLanes; k += kLanes) Vec<T>::zero().store(data + k);
    number(rows);
  }
  // Rows [top, top + rows) of n planes.
  DLKIT_INLINE void fill(const T* plane, Index n, Index top, Index rows, Index ahead) const {
    const Index first = top < 0 ? smaller(-top, rows) : 0;
    const Index last = top + rows > height ? (height > top ? height - top : 0) : rows;
    for (Index i = 0; i < rows; ++i)
      if (i < first || i >= last)
        for (Index k = 0; k < pitch * kLanes; k += kLanes) Vec<T>::zero().store(data + i * pitch * kLanes + k);
    if (last <= first) return;
    T* const to = data + (first * pitch + left) * kLanes;
    const Index* const at = place;
    interleave_to<false>(
        plane + (top + first) * width, height * width, n, (last - first) * width, to,
        [at](Index i) __attribute__((always_inline)) { return at[i]; }, ahead);
  }
};

// out[i, j] = bias + sum over taps of weight[tap] in[i, j], registers all
template <class T>
struct Taps {
  const T* in;
  Index in_down, in_across;
  const T* weight;  // a register for each tap
  const Index* offset;
  Index taps;
  T* out;
  Index out_down, out_across, rows, cols;
};

template <class T, int Cols, class Begin, class End>
DLKIT_INLINE void sum_taps(const Taps<T>& t, const T* in, T* out, const Begin& begin, const End& end) {
  using V = Vec<T>;
  V sum[Cols];
#pragma GCC unroll 8
  for (int j = 0; j < Cols; ++j) sum[j] = begin();
  for (Index k = 0; k < t.taps; ++k) {
    const V w = V::load(t.weight + k * V::lanes);
    const T* from = in + t.offset[k];
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) sum[j] = V::fma(w, V::load(from + j * t.in_across), sum[j]);
  }
#pragma GCC unroll 8
  for (int j = 0; j < Cols; ++j) end(sum[j]).store(out + j * t.out_across);
}

template <int kCount>
struct Count {
  static constexpr int value = kCount;
};

template <class T, class Begin, class End>
DLKIT_INLINE void sum_rows(const Taps<T>& t, const Begin& begin, const End& end) {
  for (Index i = 0; i < t.rows; ++i) {
    const T* const in = t.in + i * t.in_down;
    T* const out = t.out + i * t.out_down;
    Index j = 0;
    const auto step = [&](auto count) __attribute__((always_inline)) {
      constexpr int kCols = decltype(count)::value;
      // The last block overlaps the one before.
      for (; j < t.cols; j += kCols) {
        const Index at = j + kCols > t.cols ? t.cols - kCols : j;
        sum_taps<T, kCols>(t, in + at * t.in_across, out + at * t.out_across, begin, end);
      }
    };
    if (t.cols % 7 == 0 && Vec<T>::registers >= 16)
      step(Count<7>{});
    else if (t.cols >= 4)
      step(Count<4>{});
    else
      step(Count<1>{});
  }
}

// Weights as registers of channels: register t * (channels + lanes) + c of `to` begins with channel c, and goes on with
// channel 0 after the last.
template <class T>
DLKIT_INLINE void spread_weights(const T* weight, Index channels, Index taps, T* to) {
  const Index pitch = channels + Vec<T>::lanes;
  for (Index t = 0; t < taps; ++t) {
    T* const row = to + t * pitch;
    for (Index c = 0; c < channels; ++c) row[c] = weight[c * taps + t];
    for (Index c = channels; c < pitch; ++c) row[c] = row[c - channels];
  }
}

// body(plane, n): n planes from `plane` on, a register's lanes of them but where there are fewer in all.
template <class T, class Body>
DLKIT_INLINE void by_lanes(Index begin, Index end, const Body& body) {
  constexpr Index kLanes = Vec<T>::lanes;
  for (Index plane = begin; plane < end; plane += kLanes) {
    if (end - plane < kLanes) plane = end - kLanes > begin ? end - kLanes : begin;  // some of them once more
    body(plane, smaller(end - plane, kLanes));
  }
}

template <class T>
void forward(const ConvForward<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const ConvShape& s = p.shape;
  const Index taps = s.kernel_size(), band = interleaved_rows(s, true);
  const Index tall = (s.kernel_h - 1) * s.dilation_h + 1;
  const Index cols = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  const Index right = s.pad_left + s.width, pitch = cols > right ? cols : right;
  const Index rows = (band - 1) * s.stride_h + tall, wide = s.channels + kLanes;
  T* const memory = scratch<T>(Slot::columns, static_cast<std::size_t>((rows * pitch + band * s.out_w) * kLanes));
  T* const weights = scratch<T>(Slot::pack_a, static_cast<std::size_t>((taps + 1) * wide + taps * kLanes));
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(taps + rows * s.width));
  const PaddedPlanes<T> padded = {s.height, s.width, s.pad_left, pitch, memory, offset + taps};
  padded.clear(rows);
  T* const out = memory + rows * pitch * kLanes;
  T* const bias = weights + taps * wide;
  T* const weight = bias + wide;
  spread_weights(p.weight, s.channels, taps, weights);
  if (p.bias != nullptr)
    spread_weights(p.bias, s.channels, 1, bias);
  else
    for (Index c = 0; c < wide; ++c) bias[c] = 0;
  for (Index t = 0; t < taps; ++t)
    offset[t] = (t / s.kernel_w * s.dilation_h * pitch + t % s.kernel_w * s.dilation_w) * kLanes;
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    const Index channel = plane % s.channels;
    for (Index t = 0; t < taps; ++t) V::load(weights + t * wide + channel).store(weight + t * kLanes);
    const V first = V::load(bias + channel);
    for (Index row = 0; row < s.out_h; row += band) {
      const Index count = smaller(band, s.out_h - row);
      padded.fill(p.x + plane * s.in_size(), n, row * s.stride_h - s.pad_top, (count - 1) * s.stride_h + tall,
                  kLanes * s.in_size());
      const Taps<T> t = {memory,
                         s.stride_h * pitch * kLanes,
                         s.stride_w * kLanes,
                         weight,
                         offset,
                         taps,
                         out,
                         s.out_w * kLanes,
                         kLanes,
                         count,
                         s.out_w};
      const auto start = [&]() __attribute__((always_inline)) { return first; };
      if (p.relu)
        sum_rows(t, start, [](V x) __attribute__((always_inline)) { return V::max(V::zero(), x); });
      else
        sum_rows(t, start, [](V x) __attribute__((always_inline)) { return x; });
      deinterleave(out, count * s.out_w, n, p.y + plane * s.out_size() + row * s.out_w, s.out_size());
    }
  });
}

// dx[h, w], where h + pad = a stride + phase, is a sum over the taps u with u dilation = q stride + phase of
// weight[u, v] grad[a - q, ...].
template <class T>
void backward_input(const ConvBackwardInput<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const ConvShape& s = p.shape;
  const Index taps = s.kernel_size(), band = interleaved_rows(s, false), wide = s.channels + kLanes;
  const Index most_q = (s.kernel_h - 1) * s.dilation_h / s.stride_h;
  const Index most_r = (s.kernel_w - 1) * s.dilation_w / s.stride_w;
  const Index last_b = (s.width - 1 + s.pad_left) / s.stride_w;
  // Column 0 of the copy is column -most_r of grad.
  const Index right = most_r + s.out_w, reached = most_r + last_b + 1, pitch = right > reached ? right : reached;
  const Index rows = band / s.stride_h + 2 + most_q;
  T* const memory = scratch<T>(Slot::columns, static_cast<std::size_t>((rows * pitch + band * s.width) * kLanes));
  T* const weights = scratch<T>(Slot::pack_a, static_cast<std::size_t>(taps * wide + taps * kLanes));
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(taps + rows * s.out_w));
  const PaddedPlanes<T> padded = {s.out_h, s.out_w, most_r, pitch, memory, offset + taps};
  padded.clear(rows);
  T* const dx = memory + rows * pitch * kLanes;
  T* const weight = weights + taps * wide;
  spread_weights(p.weight, s.channels, taps, weights);
  by_lanes<T>(begin, end, [&](Index plane, Index n) {
    const Index channel = plane % s.channels;
    for (Index h = 0; h < s.height; h += band) {
      const Index count = smaller(band, s.height - h);
      const Index first_a = (h + s.pad_top) / s.stride_h, last_a = (h + count - 1 + s.pad_top) / s.stride_h;
      padded.fill(p.grad + plane * s.out_size(), n, first_a - most_q, last_a - first_a + 1 + most_q,
                  kLanes * s.out_size());
      for (Index phase_h = 0; phase_h < s.stride_h; ++phase_h)
        for (Index phase_w = 0; phase_w < s.stride_w; ++phase_w) {
          Index used = 0;
          for (Index u = s.kernel_h - 1; u >= 0; --u)
            for (Index v = s.kernel_w - 1; v >= 0; --v) {
              if (u * s.dilation_h % s.stride_h != phase_h || v * s.dilation_w % s.stride_w != phase_w) continue;
              V::load(weights + (u * s.kernel_w + v) * wide + channel).store(weight + used * kLanes);
              offset[used++] =
                  ((most_q - u * s.dilation_h / s.stride_h) * pitch + most_r - v * s.dilation_w / s.stride_w) * kLanes;
            }
          // The rows a and columns b of the phase that are in the band.
          Index a = first_a, b = s.pad_left / s.stride_w;
          if (a * s.stride_h + phase_h < h + s.pad_top) ++a;
          if (b * s.stride_w + phase_w < s.pad_left) ++b;
          const Index top = a * s.stride_h + phase_h - s.pad_top, left = b * s.stride_w + phase_w - s.pad_left;
          if (top >= h + count || left >= s.width) continue;
          const Taps<T> t = {memory + ((a - first_a) * pitch + b) * kLanes,
                             pitch * kLanes,
                             kLanes,
                             weight,
                             offset,
                             used,
                             dx + ((top - h) * s.width + left) * kLanes,
                             s.stride_h * s.width * kLanes,
                             s.stride_w * kLanes,
                             divide_up(h + count - top, s.stride_h),
                             divide_up(s.width - left, s.stride_w)};
          sum_rows(
              t, []() __attribute__((always_inline)) { return V::zero(); },
              [](V x) __attribute__((always_inline)) { return x; });
        }
      deinterleave(dx, count * s.width, n, p.dx + plane * s.in_size() + h * s.width, s.in_size());
    }
  });
}

// sums[k] += grad * x at offset[k], over rows and columns of registers
template <class T, int Count>
DLKIT_INLINE void add_products(const T* in, Index in_down, Index in_across, const Index* offset, const T* grad,
                               Index rows, Index cols, T* sums) {
  using V = Vec<T>;
  V sum[Count];
  Index at[Count];
#pragma GCC unroll 32
  for (int k = 0; k < Count; ++k) sum[k] = V::load(sums + k * V::lanes), at[k] = offset[k];
  for (Index i = 0; i < rows; ++i)
    for (Index j = 0; j < cols; ++j, grad += V::lanes) {
      const V g = V::load(grad);
      const T* const from = in + i * in_down + j * in_across;
#pragma GCC unroll 32
      for (int k = 0; k < Count; ++k) sum[k] = V::fma(g, V::load(from + at[k]), sum[k]);
    }
#pragma GCC unroll 32
  for (int k = 0; k < Count; ++k) sum[k].store(sums + k * V::lanes);
}

template <class T>
void backward_weight(const ConvBackwardWeight<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const ConvShape& s = p.shape;
  const Index taps = s.kernel_size(), band = interleaved_rows(s, true);
  const Index tall = (s.kernel_h - 1) * s.dilation_h + 1;
  const Index cols = (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  const Index right = s.pad_left + s.width, pitch = cols > right ? cols : right;
  const Index rows = (band - 1) * s.stride_h + tall;
  T* const memory = scratch<T>(Slot::columns, static_cast<std::size_t>((rows * pitch + band * s.out_w) * kLanes));
  T* const sums = scratch<T>(Slot::pack_a, static_cast<std::size_t>((taps + 1) * kLanes));
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(taps + rows * s.width));
  const PaddedPlanes<T> padded = {s.height, s.width, s.pad_left, pitch, memory, offset + taps};
  padded.clear(rows);
  T* const grad = memory + rows * pitch * kLanes;
  for (Index t = 0; t < taps; ++t)
    offset[t] = (t / s.kernel_w * s.dilation_h * pitch + t % s.kernel_w * s.dilation_w) * kLanes;
  const Index down = s.stride_h * pitch * kLanes, across = s.stride_w * kLanes;
  for (Index c = begin; c < end; c += kLanes) {
    const Index n = smaller(kLanes, end - c);
    for (Index k = 0; k < (taps + 1) * kLanes; k += kLanes) V::zero().store(sums + k);
    for (Index image = 0; image < s.n; ++image)
      for (Index row = 0; row < s.out_h; row += band) {
        const Index count = smaller(band, s.out_h - row), plane = image * s.channels + c;
        padded.fill(p.x + plane * s.in_size(), n, row * s.stride_h - s.pad_top, (count - 1) * s.stride_h + tall,
                    s.channels * s.in_size());
        interleave_to<false>(
            p.grad + plane * s.out_size() + row * s.out_w, s.out_size(), n, count * s.out_w, grad,
            [](Index i) __attribute__((always_inline)) { return i * kLanes; }, s.channels * s.out_size());
        Index t = 0;
        if constexpr (V::registers >= 32)
          for (; t + 25 <= taps; t += 25)
            add_products<T, 25>(memory, down, across, offset + t, grad, count, s.out_w, sums + t * kLanes);
        for (; t + 9 <= taps; t += 9)
          add_products<T, 9>(memory, down, across, offset + t, grad, count, s.out_w, sums + t * kLanes);
        for (; t + 4 <= taps; t += 4)
          add_products<T, 4>(memory, down, across, offset + t, grad, count, s.out_w, sums + t * kLanes);
        for (; t < taps; ++t)
          add_products<T, 1>(memory, down, across, offset + t, grad, count, s.out_w, sums + t * kLanes);
        if (p.dbias == nullptr) continue;
        V even = V::load(sums + taps * kLanes), odd = V::zero();
        Index k = 0;
        for (; k + 2 <= count * s.out_w; k += 2) {
          even = even + V::load(grad + k * kLanes);
          odd = odd + V::load(grad + (k + 1) * kLanes);
        }
        if (k < count * s.out_w) even = even + V::load(grad + k * kLanes);
        (even + odd).store(sums + taps * kLanes);
      }
    for (Index i = 0; i < n; ++i) {
      T* const to = p.dweight + (c + i) * taps;
      for (Index t = 0; t < taps; ++t) to[t] = p.accumulate ? to[t] + sums[t * kLanes + i] : sums[t * kLanes + i];
      if (p.dbias == nullptr) continue;
      const T sum = sums[taps * kLanes + i];
      p.dbias[c + i] = p.accumulate ? p.dbias[c + i] + sum : sum;
    }
  }
}

}  // namespace

extern const DepthwiseTable depthwise_interleaved_table;
const DepthwiseTable depthwise_interleaved_table = {{forward<float>, backward_input<float>, backward_weight<float>},
                                                    {forward<double>, backward_input<double>, backward_weight<double>}};

}  // namespace dlkit::DLKIT_TARGET
