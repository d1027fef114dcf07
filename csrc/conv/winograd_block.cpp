// What of Winograd's convolution runs in vectors: the transforms, and the products between them. winograd.cpp says how
// the work is cut and what it costs.
//
// The transforms work on vectors of channels (of the input) and of filters (of the output), a tile at a time, and need
// no shuffles; what does is turning NCHW into pixels of a vector's channels and back, by blocks of lanes x lanes that
// go along rows of pixels, whatever the tiles.
//
//   input:    rows of lanes channels -> pixels (a buffer with the padding around it) -> V[point][tile][channel]
//   product:  M[point] = V[point] U[point], tiles x channels times channels x filters, by the micro-kernel of matmul
//   output:   M[point][tile][filter] -> pixels of lanes filters (bias and ReLU here) -> rows
#include "conv/winograd_product.h"
#include "conv/winograd_tiles.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// --- the weight ------------------------------------------------------------------------------------------------------

template <class T, int Size, int Taps>
void transform_weight(const Winograd<T>& w, Index vector) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  constexpr int kPoints = X::points, kTaps = Taps * Taps;
  turn_weight<T, kPoints * kPoints, kTaps>(w, vector, [&](const T* from, T* to, Index point) {
    V half[Taps][kPoints];  // columns of the kernel, transformed
#pragma GCC unroll 5
    for (int v = 0; v < Taps; ++v) {
      V g[Taps];
#pragma GCC unroll 5
      for (int u = 0; u < Taps; ++u) {
        const int tap = Taps * u + v;
        g[u] = V::load(from + (w.flipped ? kTaps - 1 - tap : tap) * V::lanes);
      }
      X::weight(g, half[v]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < kPoints; ++i) {
      V g[Taps], u[kPoints];
#pragma GCC unroll 5
      for (int v = 0; v < Taps; ++v) g[v] = half[v][i];
      X::weight(g, u);
#pragma GCC unroll 8
      for (int j = 0; j < kPoints; ++j) u[j].store(to + (i * kPoints + j) * point);
    }
  });
}

// --- the output ------------------------------------------------------------------------------------------------------

template <class T, int Size, int Taps>
void transform_output(const Winograd<T>& w, Index first_strip, Index strips, const T* products, Index row,
                      Index first_vector, Index vectors, T* pixels) {
  using V = Vec<T>;
  const Index plane = w.out_h * w.out_w;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    // Whole rows of the output follow each other: several strips at a time, while the pixels stay in the first level.
    const Run run(w, first_strip + s, smaller(strips - s, larger(1, kWinogradPixels / (Size * w.out_w))));
    const Index left = Size * run.begin, top = Size * run.row;
    const Index width = smaller(Size * run.tiles(), w.out_w - left), height = smaller(Size * run.strips, w.out_h - top);
    for (Index vector = 0; vector < vectors; ++vector) {
      const Index f = (first_vector + vector) * V::lanes, filters = smaller(V::lanes, w.filters - f);
      const V bias = w.bias != nullptr ? V::load(w.bias + f, V::first(filters)) : V::zero();
      T* y = w.y + run.image * w.y_image + f * plane + top * w.out_w + left;
      fetch_planes<true>(y, plane, filters, height * w.out_w);
      // A tile over the right edge writes what is not of the output into the beginning of the next row, which comes
      // later: strips and rows in order, tiles from the last to the first.
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = run.tiles() - 1; j >= 0; --j)
          transform_back<T, Size, Taps>(products + (tile + i * run.tiles() + j) * row + vector * V::lanes,
                                        w.product_point, bias, w.relu, pixels + Size * (i * width + j) * V::lanes,
                                        width * V::lanes);
      if (width == w.out_w)
        turn_back(pixels, height * width, y, plane, filters);
      else
        for (Index i = 0; i < height; ++i)
          turn_back(pixels + i * width * V::lanes, width, y + i * w.out_w, plane, filters);
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

template <class T, int Size, int Taps>
void run_block(const Winograd<T>& w, Index first_strip, Index strips, Index first_panel, Index panels) {
  constexpr int kPoints = Transform<T, Size, Taps>::points;
  through_points<T, kPoints * kPoints>(
      w, tiles_of(w, first_strip, strips), first_panel, panels,
      [&](T* pixels, T* to) { transform_input<T, Size, Taps>(w, first_strip, strips, pixels, to); },
      [&](const T* products, Index row, Index first_vector, Index vectors, T* pixels) {
        transform_output<T, Size, Taps>(w, first_strip, strips, products, row, first_vector, vectors, pixels);
      });
}

template <class T, int Size, int Taps>
constexpr WinogradKernels<T> kKernels = {Vec<T>::lanes, transform_weight<T, Size, Taps>, run_block<T, Size, Taps>};

}  // namespace

extern const WinogradTable winograd_table;
const WinogradTable winograd_table = {
    {kKernels<float, 2, 3>, kKernels<float, 4, 3>, kKernels<float, 2, 5>, kKernels<float, 4, 5>},
    {kKernels<double, 2, 3>, kKernels<double, 4, 3>, kKernels<double, 2, 5>, kKernels<double, 4, 5>}};

}  // namespace dlkit::DLKIT_TARGET
