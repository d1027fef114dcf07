// The gradient to the input by Winograd's filtering, transposed: a tile of the gradient by the output is spread over
// the tile of the input that it came from, and those are added up where they overlap.
//
//   dd = B [sum over filters of (G g G') * (A dy A')] B'      the transpose of y = A' [(G g G') * (B' d B)] A
//
// The other way, a convolution with the turned kernels (winograd_block.cpp), multiplies tiles of the whole input, and
// most of those at the border of a small one see little of the gradient: 12 x 12 from 8 x 8 by F(4 x 4, 5 x 5) are nine
// tiles, of which this form needs four. Where padding keeps the extents, there are as many tiles either way, and more
// to be transformed here: points on both sides, instead of Size x Size on one. Bound by the multipliers, with few
// channels by the transforms. As tiles overlap across rows, an image is not cut: only those that fit into a block are
// taken.
//
// Source: the transposition principle (Winograd 1980, chapter V).
#include "conv/winograd_product.h"
#include "conv/winograd_tiles.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Size, int Taps>
void transform_images(const Winograd<T>& w, Index first, Index images, T* pixels, T* transformed) {
  using V = Vec<T>;
  const Index rows = Size * w.tiles_h, cols = Size * w.tiles_w, row = cols * V::lanes;
  for (Index n = 0; n < images; ++n)
    for (Index block = 0; block < w.channels; block += V::lanes) {
      // The last block overlaps the one before, where there is one.
      const Index c = larger(0, smaller(block, w.channels - V::lanes));
      const Index plane = w.height * w.width;
      gather_pixels(w.x + (first + n) * w.x_image + c * plane, plane, w.height, w.width, smaller(V::lanes, w.channels),
                    Index{0}, Index{0}, rows, cols, pixels, V::lanes * plane);
      T* to = transformed + n * w.tiles_h * w.tiles_w * w.channels_stride + c;
      for (Index i = 0; i < w.tiles_h; ++i)
        for (Index j = 0; j < w.tiles_w; ++j, to += w.channels_stride)
          transform_gradient_tile<T, Size, Taps>(pixels + Size * (i * row + j * V::lanes), row, to, w.input_point);
    }
}

template <class T, int Size, int Taps>
void spread_images(const Winograd<T>& w, Index first, Index images, const T* products, Index row, Index first_vector,
                   Index vectors, T* pixels) {
  using V = Vec<T>;
  const Index plane = w.out_h * w.out_w;
  for (Index n = 0; n < images; ++n)
    for (Index vector = 0; vector < vectors; ++vector) {
      const Index f = (first_vector + vector) * V::lanes, filters = smaller(V::lanes, w.filters - f);
      T* const to = w.y + (first + n) * w.y_image + f * plane;
      fetch_planes<true>(to, plane, filters, plane);
      spread_plane<T, Size, Taps>(w, products + n * w.tiles_h * w.tiles_w * row + vector * V::lanes, row, pixels);
      turn_plane_back<T, Size, Taps>(w, pixels, to, plane, filters);
    }
}

template <class T, int Size, int Taps>
void run_images(const Winograd<T>& w, Index first, Index images, Index first_panel, Index panels) {
  constexpr int kPoints = Transform<T, Size, Taps>::points;
  through_points<T, kPoints * kPoints>(
      w, images * w.tiles_h * w.tiles_w, first_panel, panels,
      [&](T* pixels, T* to) { transform_images<T, Size, Taps>(w, first, images, pixels, to); },
      [&](const T* products, Index row, Index first_vector, Index vectors, T* pixels) {
        spread_images<T, Size, Taps>(w, first, images, products, row, first_vector, vectors, pixels);
      });
}

}  // namespace

extern const WinogradSpreadTable winograd_spread_table;
const WinogradSpreadTable winograd_spread_table = {
    {run_images<float, 2, 3>, run_images<float, 4, 3>, run_images<float, 2, 5>, run_images<float, 4, 5>},
    {run_images<double, 2, 3>, run_images<double, 4, 3>, run_images<double, 2, 5>, run_images<double, 4, 5>}};

}  // namespace dlkit::DLKIT_TARGET
