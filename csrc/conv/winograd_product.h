// The products of Winograd's convolution: for each point, tiles x channels times channels x filters.
#pragma once

#include "conv/winograd.h"
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
template <class T, int Side>
DLKIT_INLINE T* panel_weight(const Winograd<T>& w, Index panel, int point) {
  constexpr Index kLanes = Vec<T>::lanes, kPoints = Side * Side;
  return w.transformed +
         (panel * kPoints * (2 * w.channels + 1) + point * (panel_vectors(w, panel) * w.channels + 1)) * kLanes;
}

template <class T, int Side>
void multiply(const Winograd<T>& w, const T* transformed, Index tiles, Index first_panel, Index panels, Index row,
              T* products) {
  using V = Vec<T>;
  constexpr int kPoints = Side * Side;
  for (int point = 0; point < kPoints; ++point)
    for (Index panel = first_panel; panel < first_panel + panels; ++panel) {
      const int vectors = panel_vectors(w, panel);
      // Tall tiles, however shallow: half as many read the panel, and stores of a tile pass under the next one's loads.
      const EvenSplit rows(tiles, TileShapes<T>::max_rows(vectors));
      // While a panel is worked with the next one comes into the second level, a part with each tile.
      const bool last = panel + 1 == first_panel + panels;
      const T* next = last ? panel_weight<T, Side>(w, first_panel, point + 1 < kPoints ? point + 1 : 0)
                           : panel_weight<T, Side>(w, panel + 1, point);
      const Index lines = divide_up(vectors * V::lanes, rows.parts);  // with each chunk of channels
      Tile<T> t{};
      t.depth = w.channels;
      t.a_row_stride = w.channels_stride;
      t.a_col_stride = 1;
      t.b = panel_weight<T, Side>(w, panel, point);
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

}  // namespace dlkit::DLKIT_TARGET
