// The products of Winograd's convolution: for each point, tiles x channels times channels x filters.
#pragma once

#include "conv/winograd.h"
#include "core/scratch.h"
#include "core/transpose.h"
#include "matmul/split.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

// Vectors of a panel.
template <class T>
DLKIT_INLINE int panel_vectors(const Winograd<T>& w, Index panel) {
  const Index vectors = divide_up(w.filters, Vec<T>::lanes);
  return static_cast<int>(panel + 1 < w.panels ? 2 : vectors - 2 * panel);
}

// Where a panel's weight for a point is; a vector lies between points, as powers of two would meet in few sets of a
// cache.
template <class T, int Points>
DLKIT_INLINE T* panel_weight(const Winograd<T>& w, Index panel, int point) {
  constexpr Index kLanes = Vec<T>::lanes;
  return w.transformed +
         (panel * Points * (2 * w.channels + 1) + point * (panel_vectors(w, panel) * w.channels + 1)) * kLanes;
}

// One vector of filters, turned: calls transform(taps, to, point) for each channel, whose taps are `Taps` vectors, and
// whose points go to `to`, `point` elements apart.
template <class T, int Points, int Taps>
DLKIT_INLINE void turn_weight(const Winograd<T>& w, Index vector, const auto& transform) {
  using V = Vec<T>;
  alignas(64) T rows[V::lanes * Taps * V::lanes];  // of `lanes` filters
  alignas(64) T taps[Taps * V::lanes * V::lanes];  // the same, turned

  const Index panel = smaller(vector / 2, w.panels - 1);
  const Index panel_width = panel_vectors(w, panel) * V::lanes, point = panel_width * w.channels + V::lanes;
  T* const to = panel_weight<T, Points>(w, panel, 0) + (vector - 2 * panel) * V::lanes;
  const Index filter = vector * V::lanes, filters = smaller(V::lanes, w.filters - filter);
  // Where a filter's channels follow each other, as many at a time as make whole blocks.
  const Index most = w.channel_stride == Taps ? V::lanes : 1;

  for (Index c = 0; c < w.channels; c += most) {
    const Index channels = smaller(most, w.channels - c), cols = channels * Taps;
    const Index blocks = divide_up(cols, V::lanes), row = Taps * V::lanes;
    for (Index f = 0; f < V::lanes; ++f) {
      const T* from = w.weight + (filter + f) * w.filter_stride + c * w.channel_stride;
      for (Index j = 0; j < blocks * V::lanes; j += V::lanes)
        (f < filters ? V::load(from + j, V::first(cols - j)) : V::zero()).store(rows + f * row + j);
    }
    for (Index j = 0; j < blocks * V::lanes; j += V::lanes)
      transpose_block(rows + j, row, [&](int i, V x) { x.store(taps + (j + i) * V::lanes); });
    for (Index k = 0; k < channels; ++k) transform(taps + k * Taps * V::lanes, to + (c + k) * panel_width, point);
  }
}

template <class T, int Points>
void multiply(const Winograd<T>& w, const T* transformed, Index tiles, Index first_panel, Index panels, Index row,
              T* products) {
  using V = Vec<T>;
  for (int point = 0; point < Points; ++point)
    for (Index panel = first_panel; panel < first_panel + panels; ++panel) {
      const int vectors = panel_vectors(w, panel);
      // Tall tiles, however shallow: half as many read the panel, and stores of a tile pass under the next one's loads.
      const EvenSplit rows(tiles, TileShapes<T>::max_rows(vectors));
      // While a panel is worked with the next one comes into the second level, a part with each tile.
      const bool last = panel + 1 == first_panel + panels;
      const T* next = last ? panel_weight<T, Points>(w, first_panel, point + 1 < Points ? point + 1 : 0)
                           : panel_weight<T, Points>(w, panel + 1, point);
      const Index lines = divide_up(vectors * V::lanes, rows.parts);  // with each chunk of channels
      Tile<T> t{};
      t.depth = w.channels;
      t.a_row_stride = w.channels_stride;
      t.a_col_stride = 1;
      t.b = panel_weight<T, Points>(w, panel, point);
      t.b_row_stride = vectors * V::lanes;
      t.c_row_stride = row;
      t.last_cols = V::lanes;
      for (Index part = 0; part < rows.parts; ++part) {
        t.a = transformed + point * w.input_point + rows.begin(part) * w.channels_stride;
        t.c = products + point * w.product_point + rows.begin(part) * row + 2 * (panel - first_panel) * V::lanes;
        if (kSmallFused<T>) {
          const T* const from = next + part * (w.channels / 4) * 2 * kChunk<T>;
          t.stream = rows.parts >= 3 && part < vectors ? Stream<T>{from, kChunk<T>, 2 * kChunk<T>} : Stream<T>{};
        } else {
          const T* const from = next + part * divide_up(w.channels, kChunk<T>) * lines * kChunk<T>;
          t.next = {from, 0, lines * kChunk<T>, 1, static_cast<int>(lines)};
        }
        tile_kernel<T>(static_cast<int>(rows.size(part)), vectors, PanelSource::packed)(t);
      }
    }
}

// A block of tiles through all three steps: transform_input(pixels, transformed), products of as many panels at a time
// as have a place, transform_output(products, row, first_vector, vectors, pixels).
template <class T, int Points>
DLKIT_INLINE void through_points(const Winograd<T>& w, Index tiles, Index first_panel, Index panels,
                                 const auto& transform_input, const auto& transform_output) {
  T* const transformed = scratch<T>(Slot::pack_b, static_cast<std::size_t>(w.input_size));
  T* const products = scratch<T>(Slot::result, static_cast<std::size_t>(w.product_size));
  T* const pixels = scratch<T>(Slot::pack_a, static_cast<std::size_t>(w.pixel_size));
  transform_input(pixels, transformed);
  for (Index done = 0; done < panels; done += w.panels_at_once) {
    const Index panel = first_panel + done, count = smaller(w.panels_at_once, panels - done);
    const Index vectors = 2 * (count - 1) + panel_vectors(w, panel + count - 1), row = vectors * Vec<T>::lanes;
    multiply<T, Points>(w, transformed, tiles, panel, count, row, products);
    transform_output(products, row, 2 * panel, vectors, pixels);
  }
}

}  // namespace dlkit::DLKIT_TARGET
