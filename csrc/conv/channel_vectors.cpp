// The weight gradient with channels side by side in a register: a window of x is transposed to pixels first, and grad
// is read where it is. The other way round of filter_vectors.cpp, for where channels fill registers better than filters
// do, or x has fewer elements than grad.
//
//   for each unit of pixels:
//     for each panel of channels (3 registers):    a window of x, transposed: second-level cache
//       for each tap of the kernel:                a shift within that window
//         for each tile of filters (9):            accumulate_tile over the unit's pixels
//
// 0.3 cycles for an element of x, which is multiplied F' Kh Kw / (stride) times. Bound by the multipliers.
#include "conv/weight_tile.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// A row for each filter of a group.
template <class T>
Index sum_rows(const ConvShape& s) {
  return s.group_filters();
}

// Tap by tap, its channels in whole vectors.
template <class T>
Index sum_cols(const ConvShape& s) {
  return s.kernel_size() * whole_vectors<T>(s.group_channels());
}

template <class T>
double estimate(const ConvShape& s) {
  const double pixels = static_cast<double>(s.n * s.out_size());
  const Index vectors = whole_vectors<T>(s.group_channels()) / Vec<T>::lanes;
  const double padded = static_cast<double>(s.n) *
                        static_cast<double>((s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1) *
                        static_cast<double>((s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1);
  const double work = weight_tile_cycles(s.group_filters() * s.kernel_size(), vectors);
  return static_cast<double>(s.groups) *
         (pixels * (work + 0.1 * static_cast<double>(s.group_filters())) + 6 * padded * static_cast<double>(vectors));
}

// The window's pixels, row by row, `width` elements each; those outside of the image are 0.
template <class T>
void transpose_window(const ConvShape& s, const T* x, const T* end, const WeightUnit& unit, Index channels, int vectors,
                      T* to) {
  using V = Vec<T>;
  const int width = vectors * V::lanes;
  const Index rows = unit.height(s), cols = unit.width(s), top = unit.top(s), left = unit.left(s);
  const Index begin = left < 0 ? smaller(-left, cols) : 0;
  Index inside_end = smaller(cols, s.width - left);
  if (inside_end < begin) inside_end = begin;
  for (Index n = 0; n < unit.images; ++n, x += s.channels * s.in_size())
    for (Index i = 0; i < rows; ++i, to += cols * width) {
      const bool outside = top + i < 0 || top + i >= s.height || begin == inside_end;
      if (outside) {
        fill_zero(to, cols * width);
        continue;
      }
      fill_zero(to, begin * width);
      transpose_pixels<T>(x + (top + i) * s.width + left + begin, s.in_size(), end, channels, vectors,
                          inside_end - begin, to + begin * width, width, nullptr);
      fill_zero(to + inside_end * width, (cols - inside_end) * width);
    }
}

template <class T>
void accumulate(const ConvBackwardWeight<T>& p, const WeightUnits& units, const WeightPart& part, T* sums,
                T* bias_sums) {
  using V = Vec<T>;
  using Tiles = WeightTiles<T>;
  const ConvShape& s = p.shape;
  const Index channels = s.group_channels(), filters = s.group_filters(), taps = s.kernel_size();
  const Index padded = whole_vectors<T>(channels), cols = sum_cols<T>(s);
  const Index first = part.row_begin, read = part.row_end - first;
  const T* const x_end = p.x + s.n * s.channels * s.in_size();

  const WeightUnit most = WeightUnit::largest(s, units);
  T* const copied =
      scratch<T>(Slot::columns, static_cast<std::size_t>(window_size(most.images, read, most.rows, most.cols)));
  T* const turned = scratch<T>(Slot::pack_b, static_cast<std::size_t>(most.images * most.height(s) * most.width(s) *
                                                                      Tiles::most_vectors * V::lanes));

  for (Index group = 0; group < s.groups; ++group)
    for (Index number = part.unit_begin; number < part.unit_end; ++number) {
      const WeightUnit unit(s, units, number);
      const Window<T> grad =
          window(p.grad + ((unit.image * s.groups + group) * filters + first) * s.out_size(), s.filters * s.out_size(),
                 s.out_h, s.out_w, unit.images, read, unit.row, unit.col, unit.rows, unit.cols, copied);
      const T* x = p.x + (unit.image * s.groups + group) * channels * s.in_size();
      const bool add = number > part.unit_begin;
      if (bias_sums != nullptr) add_bias(grad, unit, read, add, bias_sums + group * whole_vectors<T>(filters) + first);
      int vectors = 0;
      for (Index panel = 0; panel < padded; panel += vectors * V::lanes) {
        vectors = Tiles::panel((padded - panel) / V::lanes);
        const int width = vectors * V::lanes;
        transpose_window(s, x + panel * s.in_size(), x_end, unit, smaller(channels - panel, width), vectors, turned);

        const Index tiles = divide_up(read, Tiles::max_rows(vectors)), pitch = unit.width(s);
        const T* pointers[Tiles::most_rows];
        WeightTile<T> t;
        t.rows = pointers;
        t.row_step = 1;
        t.row_line = grad.pitch;
        t.row_image = grad.image;
        t.vector_step = s.stride_w * width;
        t.vector_line = s.stride_h * pitch * width;
        t.vector_image = unit.height(s) * pitch * width;
        t.run = unit.cols;
        t.lines = unit.rows;
        t.images = unit.images;
        t.sums_stride = cols;
        t.add = add;
        for (Index tap = 0; tap < taps; ++tap) {
          const Index u = tap / s.kernel_w, v = tap % s.kernel_w;
          t.vectors = turned + (u * s.dilation_h * pitch + v * s.dilation_w) * width;
          for (Index tile = 0; tile < tiles; ++tile) {
            const Index begin = read * tile / tiles, end = read * (tile + 1) / tiles;
            for (Index row = begin; row < end; ++row) pointers[row - begin] = grad.data + row * grad.plane;
            t.sums = sums + (group * filters + first + begin) * cols + tap * padded + panel;
            weight_tile_kernel<T>(static_cast<int>(end - begin), vectors)(t);
          }
        }
      }
    }
}

template <class T>
void finish(const ConvBackwardWeight<T>& p, const T* sums, int parts, Index size, Index begin, Index end) {
  const ConvShape& s = p.shape;
  const Index padded = whole_vectors<T>(s.group_channels()), cols = sum_cols<T>(s), taps = s.kernel_size();
  for (Index group = 0; group < s.groups; ++group)
    for (Index f = begin; f < end; ++f) {
      const T* from = sums + (group * s.group_filters() + f) * cols;
      T* to = p.dweight + (group * s.group_filters() + f) * s.depth();
      for (Index c = 0; c < s.group_channels(); ++c)
        for (Index tap = 0; tap < taps; ++tap) {
          T sum = from[tap * padded + c];
          for (int part = 1; part < parts; ++part) sum += from[part * size + tap * padded + c];
          T& out = to[c * taps + tap];
          out = p.accumulate ? out + sum : sum;
        }
    }
}

}  // namespace

#define DLKIT_ROW(T) {sum_rows<T>, sum_cols<T>, estimate<T>, accumulate<T>, finish<T>, Vec<T>::lanes, 768}
extern const WeightTable channel_vectors_table;
const WeightTable channel_vectors_table = {DLKIT_ROW(float), DLKIT_ROW(double)};

}  // namespace dlkit::DLKIT_TARGET
