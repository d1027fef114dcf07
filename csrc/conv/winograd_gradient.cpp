// The gradient to the weight by Winograd's filtering, F(3 x 3, 4 x 4): each 3 x 3 kernel's gradient is the correlation
// of tiles of 6 x 6 of the input with tiles of 4 x 4 of the gradient, summed over tiles before it is transformed back.
//
//   dW = A' [sum over tiles of (G grad G') * (B' d B)] A      36 products for 144, as F(4 x 4, 3 x 3)
//
// So there are 36 matrix products, filters x tiles times tiles x channels, of a depth of one block of tiles; their sums
// (4 times the weight) are read and written for each block, which is therefore twice as large as the convolution's. The
// input's transform is the convolution's. Neither operand is packed: vectors of channels and of filters, a tile a row,
// are what the micro-kernel reads. Bound by the multipliers. winograd.cpp says how the work is cut.
//
// Source: Lavin & Gray 2016, section 4 (F(3 x 3, R x S) with the roles of tiles exchanged).
#include "conv/winograd_tiles.h"
#include "core/scratch.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr int kSize = 4, kSide = 6, kPoints = kSide * kSide, kTaps = 9;

// One tile of one vector of filters: its points at `to`, and its sum.
template <class T>
DLKIT_INLINE Vec<T> transform_gradient_tile(const T* from, Index row, T* to, Index point) {
  using V = Vec<T>;
  using X = Transform<T, kSize>;
  V half[kSize][kSide], sum = V::zero();  // columns, transformed
#pragma GCC unroll 4
  for (int j = 0; j < kSize; ++j) {
    V g[kSize];
#pragma GCC unroll 4
    for (int i = 0; i < kSize; ++i) g[i] = V::load(from + i * row + j * V::lanes);
    sum = sum + ((g[0] + g[1]) + (g[2] + g[3]));
    X::gradient(g, half[j]);
  }
#pragma GCC unroll 6
  for (int i = 0; i < kSide; ++i) {
    V g[kSize], u[kSide];
#pragma GCC unroll 4
    for (int j = 0; j < kSize; ++j) g[j] = half[j][i];
    X::gradient(g, u);
#pragma GCC unroll 6
    for (int j = 0; j < kSide; ++j) u[j].store(to + (i * kSide + j) * point);
  }
  return sum;
}

template <class T>
void transform_gradient(const WinogradGradient<T>& g, Index first_strip, Index strips, T* pixels, T* to, T* dbias) {
  using V = Vec<T>;
  const Winograd<T>& w = g.conv;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    const Run run(w, first_strip + s, strips - s);
    const Index cols = kSize * run.tiles(), row = cols * V::lanes;
    for (Index block = 0; block < w.filters; block += V::lanes) {
      // The last block overlaps the one before, where there is one.
      const Index f = larger(0, smaller(block, w.filters - V::lanes)), filters = smaller(V::lanes, w.filters);
      gather_pixels(g.grad + run.image * g.grad_image + f * w.out_h * w.out_w, w.out_h, w.out_w, filters,
                    kSize * run.row, kSize * run.begin, kSize * run.strips, cols, pixels);
      T* tile_to = to + tile * g.filters_stride + f;
      V sum = V::zero();
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = 0; j < run.tiles(); ++j, tile_to += g.filters_stride)
          sum = sum + transform_gradient_tile(pixels + kSize * (i * row + j * V::lanes), row, tile_to, g.grad_point);
      alignas(64) T sums[V::lanes];
      sum.store(sums);
      for (Index i = block - f; i < filters; ++i) dbias[f + i] += sums[i];
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

template <class T>
void add(const WinogradGradient<T>& g, Index first_strip, Index strips, bool first, T* sums) {
  using V = Vec<T>;
  const Winograd<T>& w = g.conv;
  T* const input = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const grad = scratch<T>(Slot::result, static_cast<std::size_t>(g.grad_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  T* const dbias = sums + kPoints * g.sums_point;
  if (first)
    for (Index f = 0; f < w.filters; ++f) dbias[f] = 0;
  Index tiles = 0;
  for (Index s = 0; s < strips; ++s) tiles += Run(w, first_strip + s, 1).tiles();
  transform_input<T, kSize>(w, first_strip, strips, pixels, input);
  transform_gradient(g, first_strip, strips, pixels, grad, dbias);

  const Index vectors = divide_up(w.channels, V::lanes), panels = larger(1, vectors / 2);
  for (int point = 0; point < kPoints; ++point)
    for (Index panel = 0; panel < panels; ++panel) {
      const int wide = static_cast<int>(panel + 1 < panels ? 2 : vectors - 2 * panel);
      const Index c = 2 * panel * V::lanes;
      const EvenSplit rows(w.filters, TileShapes<T>::max_rows(wide));
      Tile<T> t{};
      t.depth = tiles;
      t.a_row_stride = 1;
      t.a_col_stride = g.filters_stride;
      t.b = input + point * w.input_point + c;
      t.b_row_stride = w.channels_stride;
      t.c_row_stride = w.channels_stride;
      t.last_cols = static_cast<int>(smaller(V::lanes, w.channels - c - (wide - 1) * V::lanes));
      t.accumulate = !first;
      for (Index part = 0; part < rows.parts; ++part) {
        t.a = grad + point * g.grad_point + rows.begin(part);
        t.c = sums + point * g.sums_point + rows.begin(part) * w.channels_stride + c;
        tile_kernel<T>(static_cast<int>(rows.size(part)), wide, PanelSource::strided)(t);
      }
    }
}

template <class T>
void finish(const WinogradGradient<T>& g, Index filter) {
  using V = Vec<T>;
  using X = Transform<T, kSize>;
  constexpr int kBlocks = (kTaps + V::lanes - 1) / V::lanes;
  const Winograd<T>& w = g.conv;
  T* const dweight = g.dweight + filter * w.filter_stride;
  for (Index c = 0; c < w.channels; c += V::lanes) {
    V half[kSide][3];
#pragma GCC unroll 6
    for (int j = 0; j < kSide; ++j) {
      V m[kSide];
      for (int i = 0; i < kSide; ++i) {
        const T* from = g.sums + (i * kSide + j) * g.sums_point + filter * w.channels_stride + c;
        m[i] = V::load(from);
        for (Index part = 1; part < g.parts; ++part) m[i] = m[i] + V::load(from + part * g.sums_size);
      }
      X::taps(m, half[j]);
    }
    alignas(64) T taps[kBlocks * V::lanes * V::lanes] = {};
    for (int i = 0; i < 3; ++i) {
      V m[kSide], y[3];
      for (int j = 0; j < kSide; ++j) m[j] = half[j][i];
      X::taps(m, y);
      for (int j = 0; j < 3; ++j) y[j].store(taps + (3 * i + j) * V::lanes);
    }
    const Index channels = smaller(V::lanes, w.channels - c);
    for (int block = 0; block < kBlocks; ++block) {
      const auto mask = V::first(kTaps - block * V::lanes);
      transpose_block(taps + block * V::lanes * V::lanes, V::lanes, [&](int i, V x) {
        if (i >= channels) return;
        T* to = dweight + (c + i) * kTaps + block * V::lanes;
        (g.accumulate ? x + V::load(to, mask) : x).store(to, mask);
      });
    }
  }
  if (g.dbias == nullptr) return;
  T sum = g.accumulate ? g.dbias[filter] : T(0);
  for (Index part = 0; part < g.parts; ++part) sum += g.sums[part * g.sums_size + kPoints * g.sums_point + filter];
  g.dbias[filter] = sum;
}

}  // namespace

extern const WinogradGradientTable winograd_gradient_table;
const WinogradGradientTable winograd_gradient_table = {{add<float>, finish<float>}, {add<double>, finish<double>}};

}  // namespace dlkit::DLKIT_TARGET
