// The kernel of warp_tiled.cu, for any shape of tile.
#pragma once

#include "matmul/device_copy.h"
#include "matmul/device_ladder.h"
#include "matmul/warp_sums.h"

namespace dlkit::device {

template <class T, class Tile, bool AAlongK, bool BAlongK>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) warp_tile_kernel(Product<T, T> p) {
  constexpr int kDepth = Tile::kDepth;
  using CopyA = PanelCopy<T, kDepth, Tile::kRows, Tile::kThreads, AAlongK>;
  using CopyB = PanelCopy<T, kDepth, Tile::kCols, Tile::kThreads, BAlongK>;
  static_assert(CopyA::kElements == Tile::kElementsA && CopyA::kPitch == Tile::PanelA::kPitch &&
                CopyB::kElements == Tile::kElementsB && CopyB::kPitch == Tile::PanelB::kPitch);
  DLKIT_DYNAMIC_SHARED(T, shared);  // [stage]: a panel of A, a panel of B

  select_batch(p);
  const int tiles_down = (p.m + Tile::kRows - 1) / Tile::kRows, tiles_across = (p.n + Tile::kCols - 1) / Tile::kCols;
  const TileIndex tile = tile_in_bands(static_cast<int>(blockIdx.x), tiles_down, tiles_across);
  const int row = tile.row * Tile::kRows, col = tile.col * Tile::kCols;
  const int first = static_cast<int>(blockIdx.y) * p.k_slice, depth = clamp(p.k - first, p.k_slice);
  const int steps = (depth + kDepth - 1) / kDepth;

  CopyA copy_a(p.a, p.a_row, p.a_col, row, p.m, first);
  CopyB copy_b(p.b, p.b_col, p.b_row, col, p.n, first);
  WarpSums<T, Tile> sums;
  sums.add(
      shared, steps,
      [&](int step, int stage) {
        T* const panels = shared + stage * Tile::kStageElements;
        copy_a(panels, depth - step * kDepth);
        copy_b(panels + Tile::kElementsA, depth - step * kDepth);
      },
      [](int) {});

  p.c += blockIdx.y * p.c_slice;
  const bool aligned = rows_aligned<4>(p.c, p.c_row);
#pragma unroll
  for (int r = 0; r < Tile::kDown * 4; ++r) {
    const int i = row + sums.row(r);
    if (i >= p.m) continue;
#pragma unroll
    for (int s = 0; s < Tile::kAcross; ++s) {
      const int j = col + sums.column(s);
      finish_pack(p, p.c + i * p.c_row + j, j, sums.sums[r][s], aligned && j + 4 <= p.n);
    }
  }
}

}  // namespace dlkit::device
