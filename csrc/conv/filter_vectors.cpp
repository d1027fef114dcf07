// The weight gradient with filters side by side in a register: a block of grad is transposed to pixels first, and x is
// read where it is, or from a copy with zeros around it where the kernel reaches past its edges.
//
//   for each unit of pixels:                       a window of x, all channels: second-level cache
//     for each panel of filters (3 registers):     its gradients, transposed: second-level cache, streamed
//       for each tile of taps (9 of C' Kh Kw):     accumulate_tile over the unit's pixels
//
// No matrix of patches: a tap of the kernel is a pointer into x, whatever the stride and dilation. The transposition
// takes about 0.3 cycles for an element of grad, which is multiplied C' Kh Kw times; reading and writing the sums takes
// as long as two pixels. Bound by the multipliers, but where the filters fill the last register badly.
//
// Source: the indirection of pixels is that of implicit GEMM (Chetlur et al. 2014, cuDNN), the tile Goto's.
#include "conv/weight_tile.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
Index sum_rows(const ConvShape& s) {
  return whole_vectors<T>(s.depth());
}

template <class T>
Index sum_cols(const ConvShape& s) {
  return whole_vectors<T>(s.group_filters());
}

template <class T>
double estimate(const ConvShape& s) {
  const double pixels = static_cast<double>(s.n * s.out_size());
  const Index vectors = sum_cols<T>(s) / Vec<T>::lanes;
  const double turned = 5 * static_cast<double>(vectors);
  const double copied = static_cast<double>(s.n * s.group_channels() * s.in_size()) * 0.1;
  return static_cast<double>(s.groups) * (pixels * (weight_tile_cycles(s.depth(), vectors) + turned) + copied);
}

template <class T>
void accumulate(const ConvBackwardWeight<T>& p, const WeightUnits& units, const WeightPart& part, T* sums,
                T* bias_sums) {
  using V = Vec<T>;
  using Tiles = WeightTiles<T>;
  const ConvShape& s = p.shape;
  const Index channels = s.group_channels(), filters = s.group_filters(), taps = s.kernel_size();
  const Index cols = sum_cols<T>(s), group_size = sum_rows<T>(s) * cols;
  // The rows past the last tap make whole vectors for `finish`; there is no x for them.
  if (part.row_begin >= s.depth()) return;
  const Index row_end = smaller(part.row_end, s.depth());
  const Index first = part.row_begin / taps, read = divide_up(row_end, taps) - first;
  const T* const grad_end = p.grad + s.n * s.filters * s.out_size();

  const WeightUnit most = WeightUnit::largest(s, units);
  T* const copied = scratch<T>(Slot::columns,
                               static_cast<std::size_t>(window_size(most.images, read, most.height(s), most.width(s))));
  T* const turned = scratch<T>(
      Slot::pack_b, static_cast<std::size_t>(most.images * most.rows * most.cols * Tiles::most_vectors * V::lanes));

  for (Index group = 0; group < s.groups; ++group)
    for (Index number = part.unit_begin; number < part.unit_end; ++number) {
      const WeightUnit unit(s, units, number);
      const Window<T> x = window(p.x + ((unit.image * s.groups + group) * channels + first) * s.in_size(),
                                 s.channels * s.in_size(), s.height, s.width, unit.images, read, unit.top(s),
                                 unit.left(s), unit.height(s), unit.width(s), copied);
      const T* grad = p.grad + (unit.image * s.groups + group) * filters * s.out_size() + unit.row * s.out_w + unit.col;
      const Index pixels = unit.rows * unit.cols;
      const bool add = number > part.unit_begin;
      int vectors = 0;
      for (Index panel = 0; panel < cols; panel += vectors * V::lanes) {
        vectors = Tiles::panel((cols - panel) / V::lanes);
        const int width = vectors * V::lanes;
        V bias[Tiles::most_vectors] = {V::zero(), V::zero(), V::zero()};
        for (Index n = 0; n < unit.images; ++n)
          transpose_pixels(grad + n * s.filters * s.out_size() + panel * s.out_size(), s.out_size(), grad_end,
                           smaller(filters - panel, width), vectors, pixels, turned + n * pixels * width, width, bias);
        if (bias_sums != nullptr && part.row_begin == 0)
          for (int v = 0; v < vectors; ++v) {
            T* to = bias_sums + group * cols + panel + v * V::lanes;
            (add ? V::load(to) + bias[v] : bias[v]).store(to);
          }

        const Index rows = row_end - part.row_begin, tiles = divide_up(rows, Tiles::max_rows(vectors));
        const T* pointers[Tiles::most_rows];
        WeightTile<T> t;
        t.rows = pointers;
        t.row_step = s.stride_w;
        t.row_line = s.stride_h * x.pitch;
        t.row_image = x.image;
        t.vectors = turned;
        t.vector_step = width;
        t.vector_line = unit.cols * width;
        t.vector_image = pixels * width;
        t.run = unit.cols;
        t.lines = unit.rows;
        t.images = unit.images;
        t.sums_stride = cols;
        t.add = add;
        for (Index tile = 0; tile < tiles; ++tile) {
          const Index begin = part.row_begin + rows * tile / tiles, end = part.row_begin + rows * (tile + 1) / tiles;
          for (Index row = begin; row < end; ++row) {
            const Index c = row / taps, u = row % taps / s.kernel_w, v = row % s.kernel_w;
            pointers[row - begin] = x.data + (c - first) * x.plane + u * s.dilation_h * x.pitch + v * s.dilation_w;
          }
          t.sums = sums + group * group_size + begin * cols + panel;
          weight_tile_kernel<T>(static_cast<int>(end - begin), vectors)(t);
        }
      }
    }
}

template <class T>
void finish(const ConvBackwardWeight<T>& p, const T* sums, int parts, Index size, Index begin, Index end) {
  using V = Vec<T>;
  const ConvShape& s = p.shape;
  const Index cols = sum_cols<T>(s), group_size = sum_rows<T>(s) * cols, depth = s.depth();
  alignas(64) T block[V::lanes * V::lanes];
  for (Index group = 0; group < s.groups; ++group)
    for (Index f = begin; f < end; f += V::lanes)
      for (Index k = 0; k < depth; k += V::lanes) {
        const T* from = sums + group * group_size + k * cols + f;
        const T* source = from;
        Index stride = cols;
        if (parts > 1) {
          for (int i = 0; i < V::lanes; ++i) {
            V sum = V::load(from + i * cols);
            for (int part = 1; part < parts; ++part) sum = sum + V::load(from + part * size + i * cols);
            sum.store(block + i * V::lanes);
          }
          source = block;
          stride = V::lanes;
        }
        T* to = p.dweight + (group * s.group_filters() + f) * depth + k;
        const auto mask = V::first(depth - k);
        transpose_block(source, stride, [&](int j, V x) {
          if (f + j >= end) return;
          if (p.accumulate) x = x + V::load(to + j * depth, mask);
          x.store(to + j * depth, mask);
        });
      }
}

}  // namespace

#define DLKIT_ROW(T) {sum_rows<T>, sum_cols<T>, estimate<T>, accumulate<T>, finish<T>, Vec<T>::lanes, 768}
extern const WeightTable filter_vectors_table;
const WeightTable filter_vectors_table = {DLKIT_ROW(float), DLKIT_ROW(double)};

}  // namespace dlkit::DLKIT_TARGET
