// The gradient to the weight by Winograd's filtering, F(Taps x Taps, Size x Size): each kernel's gradient is the
// correlation of tiles of the input with tiles of Size x Size of the gradient, summed over tiles before it is
// transformed back. It is the transpose of the convolution by y = A' [(G g G') * (B' d B)] A:
//
//   dg = G' [sum over tiles of (A dy A') * (B' d B)] G
//
// with as many products as the convolution: 36 for 144 of F(4 x 4, 3 x 3), 64 for 400 of F(4 x 4, 5 x 5), 36 for 100 of
// F(2 x 2, 5 x 5).
//
// So for each point there is a matrix product of a depth of one block of tiles, filters x tiles times tiles x channels
// or the other way round, whichever fills its vectors better. The sums (points / taps times the weight) are read and
// written for each block, which is therefore larger than the convolution's. The input's transform is the convolution's.
// Neither operand is packed: vectors of channels and of filters, a tile a row, are what the micro-kernel reads. Bound
// by the multipliers, with few channels by the transforms' stores. winograd.cpp says how the work is cut.
//
// Source: Lavin & Gray 2016, section 4 (F(3 x 3, R x S) with the roles of tiles exchanged).
#include "conv/winograd_tiles.h"
#include "core/scratch.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Size, int Taps>
void transform_gradient(const WinogradGradient<T>& g, Index first_strip, Index strips, T* pixels, T* to, T* dbias) {
  using V = Vec<T>;
  const Winograd<T>& w = g.conv;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    const Run run(w, first_strip + s, strips - s);
    const Index cols = Size * run.tiles(), row = cols * V::lanes;
    for (Index block = 0; block < w.filters; block += V::lanes) {
      // The last block overlaps the one before, where there is one.
      const Index f = larger(0, smaller(block, w.filters - V::lanes)), filters = smaller(V::lanes, w.filters);
      const Index plane = w.out_h * w.out_w;
      gather_pixels(g.grad + run.image * g.grad_image + f * plane, plane, w.out_h, w.out_w, filters, Size * run.row,
                    Size * run.begin, Size * run.strips, cols, pixels, V::lanes * plane);
      T* tile_to = to + tile * g.filters_stride + f;
      V sum = V::zero();
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = 0; j < run.tiles(); ++j, tile_to += g.filters_stride)
          sum = sum + transform_gradient_tile<T, Size, Taps>(pixels + Size * (i * row + j * V::lanes), row, tile_to,
                                                             g.grad_point);
      alignas(64) T sums[V::lanes];
      sum.store(sums);
      for (Index i = block - f; i < filters; ++i) dbias[f + i] += sums[i];
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

template <class T, int Size, int Taps>
void add(const WinogradGradient<T>& g, Index first_strip, Index strips, bool first, T* sums) {
  using V = Vec<T>;
  constexpr int kPoints = Transform<T, Size, Taps>::points * Transform<T, Size, Taps>::points;
  const Winograd<T>& w = g.conv;
  T* const input = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const grad = scratch<T>(Slot::result, static_cast<std::size_t>(g.grad_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  T* const dbias = sums + kPoints * g.sums_point;
  if (first)
    for (Index f = 0; f < w.filters; ++f) dbias[f] = 0;
  const Index tiles = tiles_of(w, first_strip, strips);
  transform_input<T, Size, Taps>(w, first_strip, strips, pixels, input);
  transform_gradient<T, Size, Taps>(g, first_strip, strips, pixels, grad, dbias);

  // What a vector holds, and what the rows of the products are.
  const T *across = input, *down = grad;
  Index across_stride = w.channels_stride, across_point = w.input_point, across_count = w.channels;
  Index down_stride = g.filters_stride, down_point = g.grad_point, down_count = w.filters;
  if (g.filters_across) {
    across = grad, down = input;
    across_stride = g.filters_stride, across_point = g.grad_point, across_count = w.filters;
    down_stride = w.channels_stride, down_point = w.input_point, down_count = w.channels;
  }
  const Index vectors = divide_up(across_count, V::lanes), panels = larger(1, vectors / 2);
  for (int point = 0; point < kPoints; ++point)
    for (Index panel = 0; panel < panels; ++panel) {
      const int wide = static_cast<int>(panel + 1 < panels ? 2 : vectors - 2 * panel);
      const Index c = 2 * panel * V::lanes;
      const EvenSplit rows(down_count, TileShapes<T>::max_rows(wide));
      Tile<T> t{};
      t.depth = tiles;
      t.a_row_stride = 1;
      t.a_col_stride = down_stride;
      t.b = across + point * across_point + c;
      t.b_row_stride = across_stride;
      t.c_row_stride = across_stride;
      t.last_cols = static_cast<int>(smaller(V::lanes, across_count - c - (wide - 1) * V::lanes));
      t.accumulate = !first;
      for (Index part = 0; part < rows.parts; ++part) {
        t.a = down + point * down_point + rows.begin(part);
        t.c = sums + point * g.sums_point + rows.begin(part) * across_stride + c;
        tile_kernel<T>(static_cast<int>(rows.size(part)), wide, PanelSource::strided)(t);
      }
    }
}

template <class T, int Size, int Taps>
void finish(const WinogradGradient<T>& g, Index down) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  constexpr int kTaps = Taps * Taps, kBlocks = (kTaps + V::lanes - 1) / V::lanes;
  const Winograd<T>& w = g.conv;
  const Index count = g.filters_across ? w.filters : w.channels;
  const Index across_stride = g.filters_across ? g.filters_stride : w.channels_stride;
  const Index step = g.filters_across ? w.filter_stride : w.channel_stride;
  T* const dweight = g.dweight + down * (g.filters_across ? w.channel_stride : w.filter_stride);
  for (Index c = 0; c < count; c += V::lanes) {
    V half[X::points][Taps];
#pragma GCC unroll 8
    for (int j = 0; j < X::points; ++j) {
      V m[X::points];
#pragma GCC unroll 8
      for (int i = 0; i < X::points; ++i) {
        const T* from = g.sums + (i * X::points + j) * g.sums_point + down * across_stride + c;
        m[i] = V::load(from);
        for (Index part = 1; part < g.parts; ++part) m[i] = m[i] + V::load(from + part * g.sums_size);
      }
      X::taps(m, half[j]);
    }
    alignas(64) T taps[kBlocks * V::lanes * V::lanes] = {};
#pragma GCC unroll 5
    for (int i = 0; i < Taps; ++i) {
      V m[X::points], y[Taps];
#pragma GCC unroll 8
      for (int j = 0; j < X::points; ++j) m[j] = half[j][i];
      X::taps(m, y);
#pragma GCC unroll 5
      for (int j = 0; j < Taps; ++j) y[j].store(taps + (Taps * i + j) * V::lanes);
    }
    const Index here = smaller(V::lanes, count - c);
    for (int block = 0; block < kBlocks; ++block) {
      const auto mask = V::first(kTaps - block * V::lanes);
      transpose_block(taps + block * V::lanes * V::lanes, V::lanes, [&](int i, V x) {
        if (i >= here) return;
        T* to = dweight + (c + i) * step + block * V::lanes;
        (g.accumulate ? x + V::load(to, mask) : x).store(to, mask);
      });
    }
  }
}

template <class T, int Size, int Taps>
void finish_bias(const WinogradGradient<T>& g, Index filter) {
  constexpr int kPoints = Transform<T, Size, Taps>::points * Transform<T, Size, Taps>::points;
  T sum = g.accumulate ? g.dbias[filter] : T(0);
  for (Index part = 0; part < g.parts; ++part) sum += g.sums[part * g.sums_size + kPoints * g.sums_point + filter];
  g.dbias[filter] = sum;
}

template <class T, int Size, int Taps>
constexpr WinogradGradientKernels<T> kKernels = {add<T, Size, Taps>, finish<T, Size, Taps>, finish_bias<T, Size, Taps>};

}  // namespace

extern const WinogradGradientTable winograd_gradient_table;
const WinogradGradientTable winograd_gradient_table = {
    {{}, kKernels<float, 4, 3>, kKernels<float, 2, 5>, kKernels<float, 4, 5>},
    {{}, kKernels<double, 4, 3>, kKernels<double, 2, 5>, kKernels<double, 4, 5>}};

}  // namespace dlkit::DLKIT_TARGET
