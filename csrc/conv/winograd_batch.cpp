// Winograd's convolution with vectors of images, for few channels and filters: 20 channels fill one vector of 16 and a
// quarter of another, 64 images fill four. Nothing else differs from winograd_block.cpp and winograd_spread.cpp: the
// same transforms of the same pixels, whose lanes are the same channel of several images.
//
//   product:  M[point] = U[point] V[point], filters x channels times channels x (tiles x images)
//
// The transformed weight is the operand that is broadcast. A block is as many rows of tiles of a vector of images as
// keep its points within a second-level cache, or whole images where the result is spread. Bound by the multipliers
// down to about 16 channels and filters, then by the transforms' stores.
#include "conv/winograd_product.h"
#include "conv/winograd_tiles.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Side>
void multiply_batch(const Winograd<T>& w, const T* transformed, Index tiles, Index first_panel, Index panels, Index row,
                    T* products) {
  using V = Vec<T>;
  for (int point = 0; point < Side * Side; ++point)
    for (Index panel = first_panel; panel < first_panel + panels; ++panel) {
      const int width = panel_vectors(w, panel) * V::lanes;
      const Index filter = 2 * panel * V::lanes;
      Tile<T> t{};
      t.depth = w.channels;
      t.a_row_stride = 1;
      t.a_col_stride = width;
      t.b_row_stride = w.channels_stride;
      t.c_row_stride = row;
      t.last_cols = V::lanes;
      // Columns by two vectors, but the last two or three, or one.
      const Index columns = larger(1, tiles / 2);
      for (Index column = 0; column < columns; ++column) {
        const int vectors = static_cast<int>(column + 1 < columns ? 2 : tiles - 2 * column);
        const EvenSplit rows(smaller(width, w.filters - filter), TileShapes<T>::max_rows(vectors));
        t.b = transformed + point * w.input_point + 2 * column * V::lanes;
        for (Index part = 0; part < rows.parts; ++part) {
          t.a = panel_weight<T, Side * Side>(w, panel, point) + rows.begin(part);
          t.c = products + point * w.product_point + (filter - 2 * first_panel * V::lanes + rows.begin(part)) * row +
                2 * column * V::lanes;
          tile_kernel<T>(static_cast<int>(rows.size(part)), vectors, PanelSource::strided)(t);
        }
      }
    }
}

// The images of one vector.
template <class T>
DLKIT_INLINE Index images_of(const Winograd<T>& w, Index group) {
  return smaller(Vec<T>::lanes, w.images - group * Vec<T>::lanes);
}

template <class T, int Size, int Taps>
void run_batch(const Winograd<T>& w, Index group, Index first_row, Index tile_rows, Index first_panel, Index panels) {
  using V = Vec<T>;
  constexpr int kSide = Transform<T, Size, Taps>::points;
  T* const transformed = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const products = scratch<T>(Slot::result, static_cast<std::size_t>(w.product_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  const Index images = images_of(w, group), tiles = tile_rows * w.tiles_w, plane = w.height * w.width;
  const Index rows = Size * tile_rows + Taps - 1, cols = Size * w.tiles_w + Taps - 1, row = cols * V::lanes;
  for (Index c = 0; c < w.channels; ++c) {
    gather_pixels(w.x + group * V::lanes * w.x_image + c * plane, w.x_image, w.height, w.width, images,
                  Size * first_row - w.pad_top, -w.pad_left, rows, cols, pixels, plane);
    T* to = transformed + c * w.channels_stride;
    for (Index i = 0; i < tile_rows; ++i)
      for (Index j = 0; j < w.tiles_w; ++j, to += V::lanes)
        transform_tile<T, Transform<T, Size, Taps>>(pixels + Size * (i * row + j * V::lanes), row, to, w.input_point);
  }

  const Index result = w.channels_stride, first = 2 * first_panel * V::lanes;
  multiply_batch<T, kSide>(w, transformed, tiles, first_panel, panels, result, products);

  const Index end = first_panel + panels == w.panels ? w.filters : 2 * (first_panel + panels) * V::lanes;
  const Index top = Size * first_row, height = smaller(Size * tile_rows, w.out_h - top);
  for (Index f = first; f < end; ++f) {
    const V bias = w.bias != nullptr ? V::broadcast(w.bias[f]) : V::zero();
    T* const y = w.y + group * V::lanes * w.y_image + f * w.out_h * w.out_w + top * w.out_w;
    fetch_planes<true>(y, w.y_image, images, height * w.out_w);
    // As in winograd_block.cpp: what a tile writes over the right edge, a later one writes again.
    const T* from = products + (f - first) * result;
    for (Index i = 0; i < tile_rows; ++i)
      for (Index j = w.tiles_w - 1; j >= 0; --j)
        transform_back<T, Size, Taps>(from + (i * w.tiles_w + j) * V::lanes, w.product_point, bias, w.relu,
                                      pixels + Size * (i * w.out_w + j) * V::lanes, w.out_w * V::lanes);
    turn_back(pixels, height * w.out_w, y, w.y_image, images);
  }
}

template <class T, int Size, int Taps>
void spread_batch(const Winograd<T>& w, Index group, Index, Index, Index first_panel, Index panels) {
  using V = Vec<T>;
  constexpr int kSide = Transform<T, Size, Taps>::points;
  T* const transformed = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const products = scratch<T>(Slot::result, static_cast<std::size_t>(w.product_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  const Index images = images_of(w, group), plane = w.height * w.width;
  const Index rows = Size * w.tiles_h, cols = Size * w.tiles_w, row = cols * V::lanes;
  for (Index c = 0; c < w.channels; ++c) {
    gather_pixels(w.x + group * V::lanes * w.x_image + c * plane, w.x_image, w.height, w.width, images, Index{0},
                  Index{0}, rows, cols, pixels, plane);
    T* to = transformed + c * w.channels_stride;
    for (Index i = 0; i < w.tiles_h; ++i)
      for (Index j = 0; j < w.tiles_w; ++j, to += V::lanes)
        transform_gradient_tile<T, Size, Taps>(pixels + Size * (i * row + j * V::lanes), row, to, w.input_point);
  }

  const Index result = w.channels_stride, first = 2 * first_panel * V::lanes;
  multiply_batch<T, kSide>(w, transformed, w.tiles_h * w.tiles_w, first_panel, panels, result, products);

  const Index end = first_panel + panels == w.panels ? w.filters : 2 * (first_panel + panels) * V::lanes;
  for (Index f = first; f < end; ++f) {
    T* const y = w.y + group * V::lanes * w.y_image + f * w.out_h * w.out_w;
    fetch_planes<true>(y, w.y_image, images, w.out_h * w.out_w);
    spread_plane<T, Size, Taps>(w, products + (f - first) * result, V::lanes, pixels);
    turn_plane_back<T, Size, Taps>(w, pixels, y, w.y_image, images);
  }
}

template <class T, int Size, int Taps>
constexpr WinogradBatchKernels<T> kKernels = {run_batch<T, Size, Taps>, spread_batch<T, Size, Taps>};

}  // namespace

extern const WinogradBatchTable winograd_batch_table;
const WinogradBatchTable winograd_batch_table = {
    {kKernels<float, 2, 3>, kKernels<float, 4, 3>, kKernels<float, 2, 5>, kKernels<float, 4, 5>},
    {kKernels<double, 2, 3>, kKernels<double, 4, 3>, kKernels<double, 2, 5>, kKernels<double, 4, 5>}};

}  // namespace dlkit::DLKIT_TARGET
