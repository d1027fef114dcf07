// Packed panels: copy blocks of A and B into the order in which the register tile reads them, then run a
// micro-kernel that is written in vector instructions (tile.h).
//
//   for each block of columns and of K:        a block of B, packed, stays in the second-level cache
//     for each tile of rows:                   a tile of A, packed, stays in the first-level cache
//       for each panel of the block: multiply_tile
//
// No cache set or TLB entry is fought for, whatever the strides of the operands. The copies cost a read and a write
// of each element of B, and of A once per block of columns, against 2 M and 2 N operations on it: 3% of the time at
// 512 cubed, less beyond. Bound by the multipliers. Source: Goto & van de Geijn 2008.
#include "core/cpu.h"
#include "core/scratch.h"
#include "matmul/pack.h"
#include "matmul/split.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void packed(const MatmulProblem<T>& p) {
  using V = Vec<T>;
  constexpr int kVectors = TileShapes<T>::main_vectors;
  constexpr int kWidth = kVectors * V::lanes;
  constexpr Index kDepth = 1536 / sizeof(T);
  const Index in_cache = static_cast<Index>(cache_sizes().l2) / 2 / static_cast<Index>(sizeof(T)) / kDepth;
  const Index block_cols = in_cache < kWidth ? kWidth : in_cache / kWidth * kWidth;

  const EvenSplit depths(p.a.cols, kDepth), tiles(p.c.rows, TileShapes<T>::max_rows(kVectors));
  T* const b =
      scratch<T>(Slot::pack_b,
                 static_cast<std::size_t>(depths.size(0) * divide_up(smaller(block_cols, p.c.cols), kWidth) * kWidth));
  T* const a = scratch<T>(Slot::pack_a, static_cast<std::size_t>(depths.size(0) * tiles.size(0) + V::lanes));

  for (Index col = 0; col < p.c.cols; col += block_cols)
    for (Index part = 0; part < depths.parts; ++part) {
      const Index k = depths.begin(part), depth = depths.size(part);
      const Index end = smaller(col + block_cols, p.c.cols);
      for (Index j = col; j < end; j += kWidth)
        pack_panel(p.b.block(k, j, depth, smaller(kWidth, end - j)), kWidth, b + (j - col) * depth);
      for (Index tile = 0; tile < tiles.parts; ++tile) {
        const Index row = tiles.begin(tile), rows = tiles.size(tile);
        pack_rows(p.a.block(row, k, rows, depth), a);
        for (Index j = col; j < end; j += kWidth) {
          // The last panel may have fewer vectors than the tile: those are computed into nothing.
          const Index cols = smaller(kWidth, end - j);
          const int vectors = static_cast<int>(divide_up(cols, V::lanes));
          Tile<T> t{};
          t.depth = depth;
          t.a = a;
          t.a_row_stride = 1;
          t.a_col_stride = rows;
          t.b = b + (j - col) * depth;
          t.b_row_stride = kWidth;
          t.c = &p.c(row, j);
          t.c_row_stride = p.c.row_stride;
          t.last_cols = static_cast<int>(cols - (vectors - 1) * V::lanes);
          t.accumulate = p.accumulate || part > 0;
          if (part + 1 == depths.parts) {
            t.bias = p.bias == nullptr ? nullptr : p.bias + j;
            t.activation = p.activation;
          }
          tile_kernel<T>(static_cast<int>(rows), vectors, PanelSource::packed)(t);
        }
      }
    }
}

template void packed(const MatmulProblem<float>&);
template void packed(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
