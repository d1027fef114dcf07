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
#include "conv/winograd.h"
#include "conv/winograd_tiles.h"
#include "core/scratch.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Vectors of a panel.
template <class T>
DLKIT_INLINE int panel_vectors(const Winograd<T>& w, Index panel) {
  const Index vectors = divide_up(w.filters, Vec<T>::lanes);
  return static_cast<int>(panel + 1 < w.panels ? 2 : vectors - 2 * panel);
}

// Where a panel's weight for a point is; a vector lies between points, as powers of two would meet in few sets of a
// cache.
template <class T, int Size>
DLKIT_INLINE T* panel_weight(const Winograd<T>& w, Index panel, int point) {
  constexpr Index kLanes = Vec<T>::lanes, kPoints = Transform<T, Size>::points * Transform<T, Size>::points;
  return w.transformed +
         (panel * kPoints * (2 * w.channels + 1) + point * (panel_vectors(w, panel) * w.channels + 1)) * kLanes;
}

// --- the weight ------------------------------------------------------------------------------------------------------

template <class T, int Size>
void transform_weight(const Winograd<T>& w, Index vector) {
  using V = Vec<T>;
  using X = Transform<T, Size>;
  constexpr int kPoints = X::points;
  constexpr int kTaps = 9;
  alignas(64) T rows[V::lanes * kTaps * V::lanes];  // of `lanes` filters
  alignas(64) T taps[kTaps * V::lanes * V::lanes];  // the same, turned

  const Index panel = smaller(vector / 2, w.panels - 1);
  const Index panel_width = panel_vectors(w, panel) * V::lanes, point = panel_width * w.channels + V::lanes;
  T* const to = panel_weight<T, Size>(w, panel, 0) + (vector - 2 * panel) * V::lanes;
  const Index filter = vector * V::lanes, filters = smaller(V::lanes, w.filters - filter);
  // Where a filter's channels follow each other, as many at a time as make whole blocks.
  const Index most = w.channel_stride == kTaps ? V::lanes : 1;

  for (Index c = 0; c < w.channels; c += most) {
    const Index channels = smaller(most, w.channels - c), cols = channels * kTaps;
    const Index blocks = divide_up(cols, V::lanes), row = kTaps * V::lanes;
    for (Index f = 0; f < V::lanes; ++f) {
      const T* from = w.weight + (filter + f) * w.filter_stride + c * w.channel_stride;
      for (Index j = 0; j < blocks * V::lanes; j += V::lanes)
        (f < filters ? V::load(from + j, V::first(cols - j)) : V::zero()).store(rows + f * row + j);
    }
    for (Index j = 0; j < blocks * V::lanes; j += V::lanes)
      transpose_block(rows + j, row, [&](int i, V x) { x.store(taps + (j + i) * V::lanes); });

    for (Index k = 0; k < channels; ++k) {
      const T* from = taps + k * kTaps * V::lanes;
      V half[3][kPoints];  // columns of the kernel, transformed
#pragma GCC unroll 3
      for (int v = 0; v < 3; ++v) {
        V g[3];
#pragma GCC unroll 3
        for (int u = 0; u < 3; ++u) {
          const int tap = 3 * u + v;
          g[u] = V::load(from + (w.flipped ? kTaps - 1 - tap : tap) * V::lanes);
        }
        X::weight(g[0], g[1], g[2], half[v]);
      }
#pragma GCC unroll 6
      for (int i = 0; i < kPoints; ++i) {
        V u[kPoints];
        X::weight(half[0][i], half[1][i], half[2][i], u);
#pragma GCC unroll 6
        for (int j = 0; j < kPoints; ++j) u[j].store(to + (i * kPoints + j) * point + (c + k) * panel_width);
      }
    }
  }
}

// --- the products ----------------------------------------------------------------------------------------------------

template <class T, int Size>
void multiply(const Winograd<T>& w, const T* transformed, Index tiles, Index first_panel, Index panels, Index row,
              T* products) {
  using V = Vec<T>;
  constexpr int kPoints = Transform<T, Size>::points * Transform<T, Size>::points;
  for (int point = 0; point < kPoints; ++point)
    for (Index panel = first_panel; panel < first_panel + panels; ++panel) {
      const int vectors = panel_vectors(w, panel);
      // Tall tiles, however shallow: half as many read the panel, and stores of a tile pass under the next one's loads.
      const EvenSplit rows(tiles, TileShapes<T>::max_rows(vectors));
      // While a panel is worked with the next one comes into the second level, a part with each tile.
      const bool last = panel + 1 == first_panel + panels;
      const T* next = last ? panel_weight<T, Size>(w, first_panel, point + 1 < kPoints ? point + 1 : 0)
                           : panel_weight<T, Size>(w, panel + 1, point);
      const Index lines = divide_up(vectors * V::lanes, rows.parts);  // with each chunk of channels
      Tile<T> t{};
      t.depth = w.channels;
      t.a_row_stride = w.channels_stride;
      t.a_col_stride = 1;
      t.b = panel_weight<T, Size>(w, panel, point);
      t.b_row_stride = vectors * V::lanes;
      t.c_row_stride = row;
      t.last_cols = V::lanes;
      for (Index part = 0; part < rows.parts; ++part) {
        t.a = transformed + point * w.input_point + rows.begin(part) * w.channels_stride;
        t.c = products + point * w.product_point + rows.begin(part) * row + 2 * (panel - first_panel) * V::lanes;
        t.next.from = next + part * divide_up(w.channels, kChunk<T>) * lines * kChunk<T>;
        t.next.advance = lines * kChunk<T>;
        t.next.count = 1;
        t.next.lines = static_cast<int>(lines);
        tile_kernel<T>(static_cast<int>(rows.size(part)), vectors, PanelSource::packed)(t);
      }
    }
}

// --- the output ------------------------------------------------------------------------------------------------------

// One tile of one vector of filters: to pixels at to + (i * row + j * lanes).
template <class T, int Size>
DLKIT_INLINE void transform_back(const T* from, Index point, Vec<T> bias, bool relu, T* to, Index row) {
  using V = Vec<T>;
  using X = Transform<T, Size>;
  V half[X::points][Size];  // columns of the tile, transformed
#pragma GCC unroll 6
  for (int j = 0; j < X::points; ++j) {
    V m[X::points];
#pragma GCC unroll 6
    for (int i = 0; i < X::points; ++i) m[i] = V::load(from + (i * X::points + j) * point);
    X::output(m, half[j]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < Size; ++i) {
    V m[X::points], y[Size];
#pragma GCC unroll 6
    for (int j = 0; j < X::points; ++j) m[j] = half[j][i];
    X::output(m, y);
#pragma GCC unroll 4
    for (int j = 0; j < Size; ++j) {
      y[j] = y[j] + bias;
      if (relu) y[j] = V::max(V::zero(), y[j]);
      y[j].store(to + i * row + j * V::lanes);
    }
  }
}

// `count` pixels of a vector of filters to their planes.
template <class T>
void turn_back(const T* from, Index count, T* to, Index plane, Index filters) {
  using V = Vec<T>;
  Index p = 0;
  if (filters == V::lanes)
    for (; p + V::lanes <= count; p += V::lanes)
      transpose_block(from + p * V::lanes, V::lanes, [&](int f, V x) { x.store(to + f * plane + p); });
  for (; p < count; p += V::lanes) {
    const auto mask = V::first(count - p);
    transpose_block(from + p * V::lanes, V::lanes, [&](int f, V x) {
      if (f < filters) x.store(to + f * plane + p, mask);
    });
  }
}

template <class T, int Size>
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
      // A tile over the right edge writes what is not of the output into the beginning of the next row, which comes
      // later: strips and rows in order, tiles from the last to the first.
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = run.tiles() - 1; j >= 0; --j)
          transform_back<T, Size>(products + (tile + i * run.tiles() + j) * row + vector * V::lanes, w.product_point,
                                  bias, w.relu, pixels + Size * (i * width + j) * V::lanes, width * V::lanes);
      T* y = w.y + run.image * w.y_image + f * plane + top * w.out_w + left;
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

template <class T, int Size>
void run_block(const Winograd<T>& w, Index first_strip, Index strips, Index first_panel, Index panels) {
  using V = Vec<T>;
  T* const transformed = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const products = scratch<T>(Slot::result, static_cast<std::size_t>(w.product_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  Index tiles = 0;
  for (Index s = 0; s < strips; ++s) tiles += Run(w, first_strip + s, 1).tiles();

  transform_input<T, Size>(w, first_strip, strips, pixels, transformed);
  for (Index done = 0; done < panels; done += w.panels_at_once) {
    const Index panel = first_panel + done, count = smaller(w.panels_at_once, panels - done);
    const Index vectors = 2 * (count - 1) + panel_vectors(w, panel + count - 1);
    multiply<T, Size>(w, transformed, tiles, panel, count, vectors * V::lanes, products);
    transform_output<T, Size>(w, first_strip, strips, products, vectors * V::lanes, 2 * panel, vectors, pixels);
  }
}

}  // namespace

extern const WinogradTable winograd_table;
const WinogradTable winograd_table = {
    {Vec<float>::lanes, transform_weight<float, 2>, run_block<float, 2>},
    {Vec<float>::lanes, transform_weight<float, 4>, run_block<float, 4>},
    {Vec<double>::lanes, transform_weight<double, 2>, run_block<double, 2>},
    {Vec<double>::lanes, transform_weight<double, 4>, run_block<double, 4>},
};

}  // namespace dlkit::DLKIT_TARGET
