// What of Winograd's convolution along rows runs in vectors: its transforms, a tile of one row at a time. The pixels of
// a vector's channels, the products and the way back to planes are those of winograd_block.cpp.
#include "conv/winograd_product.h"
#include "conv/winograd_row.h"
#include "conv/winograd_tiles.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Size, int Taps>
void transform_weight(const Winograd<T>& w, Index vector) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  turn_weight<T, X::points, Taps>(w, vector, [&](const T* from, T* to, Index point) {
    V g[Taps], u[X::points];
#pragma GCC unroll 5
    for (int v = 0; v < Taps; ++v) g[v] = V::load(from + (w.flipped ? Taps - 1 - v : v) * V::lanes);
    X::weight(g, u);
#pragma GCC unroll 8
    for (int i = 0; i < X::points; ++i) u[i].store(to + i * point);
  });
}

template <class T, int Size, int Taps>
void transform_rows(const Winograd<T>& w, Index first_strip, Index strips, T* pixels, T* transformed) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  const Index plane = w.height * w.width;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    const Run run(w, first_strip + s, strips - s);
    const Index cols = Size * run.tiles() + Taps - 1;
    for (Index block = 0; block < w.channels; block += V::lanes) {
      // The last block overlaps the one before, where there is one.
      const Index c = larger(0, smaller(block, w.channels - V::lanes));
      gather_pixels(w.x + run.image * w.x_image + c * plane, plane, w.height, w.width, smaller(V::lanes, w.channels),
                    run.row, Size * run.begin - w.pad_left, run.strips, cols, pixels, V::lanes * plane);
      T* to = transformed + tile * w.channels_stride + c;
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = 0; j < run.tiles(); ++j, to += w.channels_stride) {
          V d[X::points];
          const T* from = pixels + (i * cols + Size * j) * V::lanes;
#pragma GCC unroll 8
          for (int k = 0; k < X::points; ++k) d[k] = V::load(from + k * V::lanes);
          transform_row<T, X, 0>(d, to, w.input_point);
        }
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

template <class T, int Size, int Taps>
void transform_rows_back(const Winograd<T>& w, Index first_strip, Index strips, const T* products, Index row,
                         Index first_vector, Index vectors, T* pixels) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  const Index plane = w.out_h * w.out_w;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    const Run run(w, first_strip + s, smaller(strips - s, larger(1, kWinogradPixels / w.out_w)));
    const Index left = Size * run.begin, width = smaller(Size * run.tiles(), w.out_w - left);
    for (Index vector = 0; vector < vectors; ++vector) {
      const Index f = (first_vector + vector) * V::lanes, filters = smaller(V::lanes, w.filters - f);
      const V bias = w.bias != nullptr ? V::load(w.bias + f, V::first(filters)) : V::zero();
      T* y = w.y + run.image * w.y_image + f * plane + run.row * w.out_w + left;
      fetch_planes<true>(y, plane, filters, run.strips * w.out_w);
      // A tile over the right edge writes into the beginning of the next row, which comes later.
      const T* from = products + tile * row + vector * V::lanes;
      for (Index i = 0; i < run.strips; ++i) {
        T* to = pixels + i * width * V::lanes;
        for (Index j = 0; j < run.tiles(); ++j, from += row, to += Size * V::lanes) {
          V m[X::points], out[Size];
#pragma GCC unroll 8
          for (int k = 0; k < X::points; ++k) m[k] = V::load(from + k * w.product_point);
          X::output(m, out);
#pragma GCC unroll 4
          for (int k = 0; k < Size; ++k) {
            out[k] = out[k] + bias;
            if (w.relu) out[k] = V::max(V::zero(), out[k]);
            out[k].store(to + k * V::lanes);
          }
        }
      }
      if (width == w.out_w)
        turn_back(pixels, run.strips * width, y, plane, filters);
      else
        turn_back(pixels, width, y, plane, filters);  // a part of a row
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

template <class T, int Size, int Taps>
void run_block(const Winograd<T>& w, Index first_strip, Index strips, Index first_panel, Index panels) {
  through_points<T, Size + Taps - 1>(
      w, tiles_of(w, first_strip, strips), first_panel, panels,
      [&](T* pixels, T* to) { transform_rows<T, Size, Taps>(w, first_strip, strips, pixels, to); },
      [&](const T* products, Index row, Index first_vector, Index vectors, T* pixels) {
        transform_rows_back<T, Size, Taps>(w, first_strip, strips, products, row, first_vector, vectors, pixels);
      });
}

template <class T, int Taps>
constexpr WinogradKernels<T> kKernels = {Vec<T>::lanes, transform_weight<T, winograd_row_size(Taps), Taps>,
                                         run_block<T, winograd_row_size(Taps), Taps>};

}  // namespace

extern const WinogradRowTable winograd_row_table;
const WinogradRowTable winograd_row_table = {{kKernels<float, 3>, kKernels<float, 4>, kKernels<float, 5>},
                                             {kKernels<double, 3>, kKernels<double, 4>, kKernels<double, 5>}};

}  // namespace dlkit::DLKIT_TARGET
