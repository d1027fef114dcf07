// The weight gradient with pixels side by side in a register: each element of it is a dot product of a row of grad and
// a shifted row of x, and a tile of taps by filters shares the loads.
//
//   for each group, for each unit of pixels:   x and grad, rows of the same pitch: what lies between is 0 in grad
//     for each tile of filters by taps:        dot_tile over all pixels of the unit as one long row
//
// Nothing is transposed and no register is filled with channels or filters that do not exist: for small numbers of
// both, and groups. 5 x 5 takes 10 loads for 25 multiply-adds, a single filter a load for each, half of which lie in
// two cache lines: from three filters on bound by the multipliers, below by loads. What is lost is the gap between
// rows, (Kw - 1) of W. The sums stay vectors until the end. A stride sorts x into phases, each of which is then read
// with a stride of 1.
#include "conv/dot_tile.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
Index sum_rows(const ConvShape& s) {
  return s.group_filters();
}

// A vector for each tap.
template <class T>
Index sum_cols(const ConvShape& s) {
  return s.depth() * Vec<T>::lanes;
}

// Filters of a tile, as even as may be.
template <class T>
int tile_filters(Index filters) {
  return static_cast<int>(divide_up(filters, divide_up(filters, DotTiles<T>::most_filters)));
}

template <class T>
double estimate(const ConvShape& s) {
  const Index pitch = s.out_w + (s.kernel_w - 1) * s.dilation_w / s.stride_w;
  const double steps = static_cast<double>(s.n * s.out_h * pitch) / Vec<T>::lanes;
  const int filters = tile_filters<T>(s.group_filters());
  const double loads = filters == 1 ? 2.2 : filters == 2 ? 1.4 : 1.15;
  const double copied =
      static_cast<double>(s.group_channels()) * (s.stride_w == 1 ? 4 : 24) * static_cast<double>(s.stride_h) +
      3 * static_cast<double>(s.group_filters());
  return static_cast<double>(s.groups) * steps * (static_cast<double>(s.depth() * s.group_filters()) * loads + copied);
}

// x of a unit as dot_tile reads it: tap (u, v) of a channel begins at data + channel * plane + offset(u, v), each row
// of the output `pitch` after the one before.
template <class T>
struct Phases {
  const T* data;
  Index image, plane, pitch;
  Index rows;  // of a phase's plane

  DLKIT_INLINE Index offset(const ConvShape& s, Index u, Index v) const {
    const Index h = u * s.dilation_h, w = v * s.dilation_w;
    const Index phase = h % s.stride_h * s.stride_w + w % s.stride_w;
    return (phase * rows + h / s.stride_h) * pitch + w / s.stride_w;
  }
};

DLKIT_INLINE Index phase_rows(const ConvShape& s, const WeightUnit& unit) {
  return divide_up(unit.height(s), s.stride_h);
}
DLKIT_INLINE Index phase_pitch(const ConvShape& s, const WeightUnit& unit) {
  return divide_up(unit.width(s), s.stride_w);
}

// Whether a tap of the kernel falls into a phase.
DLKIT_INLINE bool used(Index phase, Index stride, Index kernel, Index dilation) {
  for (Index u = 0; u < kernel; ++u)
    if (u * dilation % stride == phase) return true;
  return false;
}

template <class T>
Phases<T> sort_phases(const ConvShape& s, const T* x, const WeightUnit& unit, T* buffer) {
  const Index channels = s.group_channels(), top = unit.top(s), left = unit.left(s);
  if (s.stride_h == 1 && s.stride_w == 1) {
    const Window<T> w = window(x, s.channels * s.in_size(), s.height, s.width, unit.images, channels, top, left,
                               unit.height(s), unit.width(s), buffer);
    return {w.data, w.image, w.plane, w.pitch, 0};
  }
  const Index rows = phase_rows(s, unit), pitch = phase_pitch(s, unit), plane = s.stride_h * s.stride_w * rows * pitch;
  for (Index ph = 0; ph < s.stride_h; ++ph)
    for (Index pw = 0; pw < s.stride_w; ++pw) {
      if (!used(ph, s.stride_h, s.kernel_h, s.dilation_h) || !used(pw, s.stride_w, s.kernel_w, s.dilation_w)) continue;
      // Columns j with left + pw + j * stride inside the image.
      const Index at = left + pw;
      const Index begin = smaller(at < 0 ? divide_up(-at, s.stride_w) : 0, pitch);
      Index end = at >= s.width ? 0 : smaller((s.width - 1 - at) / s.stride_w + 1, pitch);
      if (end < begin) end = begin;
      for (Index n = 0; n < unit.images; ++n)
        for (Index c = 0; c < channels; ++c) {
          T* to = buffer + (n * channels + c) * plane + (ph * s.stride_w + pw) * rows * pitch;
          for (Index i = 0; i < rows; ++i, to += pitch) {
            const Index h = top + ph + i * s.stride_h;
            if (h < 0 || h >= s.height || begin == end) {
              fill_zero(to, pitch);
              continue;
            }
            const T* from = x + n * s.channels * s.in_size() + c * s.in_size() + h * s.width + at;
            fill_zero(to, begin);
            for (Index j = begin; j < end; ++j) to[j] = from[j * s.stride_w];
            fill_zero(to + end, pitch - end);
          }
        }
    }
  return {buffer, channels * plane, plane, pitch, rows};
}

template <class T>
void accumulate(const ConvBackwardWeight<T>& p, const WeightUnits& units, const WeightPart& part, T* sums,
                T* bias_sums) {
  using V = Vec<T>;
  using Tiles = DotTiles<T>;
  const ConvShape& s = p.shape;
  const Index channels = s.group_channels(), filters = s.group_filters(), depth = s.depth(), taps = s.kernel_size();
  const Index first = part.row_begin, read = part.row_end - first;
  const WeightUnit most = WeightUnit::largest(s, units);
  const Index most_pitch = phase_pitch(s, most) > s.width ? phase_pitch(s, most) : s.width;  // of x, copied or not
  T* const x_copy = scratch<T>(
      Slot::columns, static_cast<std::size_t>(window_size(most.images, channels, phase_rows(s, most) * s.stride_h,
                                                          phase_pitch(s, most) * s.stride_w)));
  T* const grad_copy =
      scratch<T>(Slot::pack_b, static_cast<std::size_t>(window_size(most.images, read, most.rows, most_pitch)));
  const int at_once = tile_filters<T>(read);

  for (Index group = 0; group < s.groups; ++group)
    for (Index number = part.unit_begin; number < part.unit_end; ++number) {
      const WeightUnit unit(s, units, number);
      const Phases<T> x = sort_phases(s, p.x + (unit.image * s.groups + group) * channels * s.in_size(), unit, x_copy);
      // A unit of several rows has all their columns: what it reads past them is outside, and 0.
      const Index pitch = unit.rows == 1 ? unit.cols : x.pitch;
      const Window<T> grad =
          window(p.grad + ((unit.image * s.groups + group) * filters + first) * s.out_size(), s.filters * s.out_size(),
                 s.out_h, s.out_w, unit.images, read, unit.row, unit.col, unit.rows, pitch, grad_copy);
      const bool add = number > part.unit_begin;
      if (bias_sums != nullptr) add_bias(grad, unit, read, add, bias_sums + group * whole_vectors<T>(filters) + first);

      DotTile<T> t;
      const T* x_rows[Tiles::most_taps];
      const T* grad_rows[Tiles::most_filters];
      t.x = x_rows;
      t.grad = grad_rows;
      t.x_image = x.image;
      t.grad_image = grad.image;
      t.run = (unit.rows - 1) * pitch + unit.cols;
      t.images = unit.images;
      t.sums_stride = depth * V::lanes;
      t.add = add;
      for (Index f = 0; f < read; f += at_once) {
        const int count = static_cast<int>(smaller(at_once, read - f));
        for (int i = 0; i < count; ++i) grad_rows[i] = grad.data + (f + i) * grad.plane;
        const Index tiles = divide_up(depth, Tiles::max_taps(count));
        for (Index tile = 0; tile < tiles; ++tile) {
          const Index begin = depth * tile / tiles, end = depth * (tile + 1) / tiles;
          for (Index k = begin; k < end; ++k)
            x_rows[k - begin] = x.data + k / taps * x.plane + x.offset(s, k % taps / s.kernel_w, k % s.kernel_w);
          t.sums = sums + ((group * filters + first + f) * depth + begin) * V::lanes;
          dot_kernel<T>(count, static_cast<int>(end - begin))(t);
        }
      }
    }
}

template <class T>
void finish(const ConvBackwardWeight<T>& p, const T* sums, int parts, Index size, Index begin, Index end) {
  using V = Vec<T>;
  const ConvShape& s = p.shape;
  const Index depth = s.depth();
  for (Index group = 0; group < s.groups; ++group)
    for (Index place = (group * s.group_filters() + begin) * depth; place < (group * s.group_filters() + end) * depth;
         ++place) {
      V sum = V::load(sums + place * V::lanes);
      for (int part = 1; part < parts; ++part) sum = sum + V::load(sums + part * size + place * V::lanes);
      p.dweight[place] = p.accumulate ? p.dweight[place] + sum.sum() : sum.sum();
    }
}

}  // namespace

#define DLKIT_ROW(T) {sum_rows<T>, sum_cols<T>, estimate<T>, accumulate<T>, finish<T>, Vec<T>::lanes, 4096}
extern const WeightTable pixel_vectors_table;
const WeightTable pixel_vectors_table = {DLKIT_ROW(float), DLKIT_ROW(double)};

}  // namespace dlkit::DLKIT_TARGET
