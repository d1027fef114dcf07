// The kernel of warp_tiled.cu, for any shape of tile.
#pragma once

#include "matmul/device_copy.h"
#include "matmul/device_ladder.h"

namespace dlkit::device {

// A block's tile is Rows x Cols, a warp's WarpRows x WarpCols, on which its lanes stand LanesDown x (32 / LanesDown).
// `Stages` pairs of panels, Depth deep, take turns in shared memory; `Blocks` should fit on a multiprocessor.
template <int Rows, int Cols, int WarpRows, int WarpCols, int LanesDown, int Depth, int Stages, int Blocks>
struct WarpTile {
  static constexpr int kRows = Rows, kCols = Cols, kWarpRows = WarpRows, kWarpCols = WarpCols;
  static constexpr int kLanesDown = LanesDown, kLanesAcross = kWarp / LanesDown;
  static constexpr int kDepth = Depth, kStages = Stages, kBlocks = Blocks;
  static constexpr int kWarpsAcross = Cols / WarpCols, kThreads = Rows / WarpRows * kWarpsAcross * kWarp;
  // A thread's elements of C: so many groups of 4 rows by so many of 4 columns.
  static constexpr int kQuadsDown = WarpRows / (4 * LanesDown), kQuadsAcross = WarpCols / (4 * kLanesAcross);
  static constexpr int kStageElements = Depth * (Rows + 4 + Cols + 4);
  static constexpr std::size_t kSharedBytes = sizeof(float) * Stages * kStageElements;
};

// Sums of A's rows times B's columns in registers, from panels that were copied Stages - 1 steps ago. While it
// multiplies with the elements of one k a thread loads those of the next, across the border of panels too, so that the
// multipliers do not wait for shared memory.
template <class T, class Tile, bool AAlongK, bool BAlongK>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) warp_tile_kernel(Product<T, T> p) {
  constexpr int kDepth = Tile::kDepth, kStages = Tile::kStages;
  constexpr int kDown = Tile::kQuadsDown, kAcross = Tile::kQuadsAcross;
  using CopyA = PanelCopy<T, kDepth, Tile::kRows, Tile::kThreads, AAlongK>;
  using CopyB = PanelCopy<T, kDepth, Tile::kCols, Tile::kThreads, BAlongK>;
  static_assert(CopyA::kElements + CopyB::kElements == Tile::kStageElements);
  DLKIT_DYNAMIC_SHARED(T, shared);  // [stage]: a panel of A, a panel of B

  select_batch(p);
  const int tiles_down = (p.m + Tile::kRows - 1) / Tile::kRows, tiles_across = (p.n + Tile::kCols - 1) / Tile::kCols;
  const TileIndex tile = tile_in_bands(static_cast<int>(blockIdx.x), tiles_down, tiles_across);
  const int row = tile.row * Tile::kRows, col = tile.col * Tile::kCols;
  const int first = static_cast<int>(blockIdx.y) * p.k_slice, depth = min(p.k_slice, p.k - first);
  const int steps = (depth + kDepth - 1) / kDepth;

  // A load of 16 bytes takes the lanes in quarters of a warp, and two quarters at once where neighbours in the lane's
  // lowest bit, or in its second, ask for the same. So the lowest bit counts columns, whose rows of A are the same, and
  // the second counts rows.
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int across = (lane & 1) | (lane >> 2) % (Tile::kLanesAcross / 2) << 1;
  const int down = (lane >> 1 & 1) | (lane >> 2) / (Tile::kLanesAcross / 2) << 1;
  const int y = warp / Tile::kWarpsAcross * Tile::kWarpRows + down * 4;
  const int x = warp % Tile::kWarpsAcross * Tile::kWarpCols + across * 4;

  CopyA copy_a(p.a, p.a_row, p.a_col, row, p.m, first);
  CopyB copy_b(p.b, p.b_col, p.b_row, col, p.n, first);
  const auto copy = [&](int step, int stage) {
    if (step < steps) {
      T* const panels = shared + stage * Tile::kStageElements;
      copy_a(panels, depth - step * kDepth);
      copy_b(panels + CopyA::kElements, depth - step * kDepth);
    }
    cp_async_commit();  // an empty group too: their number is what is waited for
  };

  T sums[kDown * 4][kAcross][4];
#pragma unroll
  for (int r = 0; r < kDown * 4; ++r)
#pragma unroll
    for (int s = 0; s < kAcross; ++s)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[r][s][e] = T(0);

  Pack<T, 4> a[2][kDown], b[2][kAcross];
  const auto load = [&](int stage, int k, int buffer) {
    const T* panel_a = shared + stage * Tile::kStageElements + k * CopyA::kPitch + y;
    const T* panel_b = shared + stage * Tile::kStageElements + CopyA::kElements + k * CopyB::kPitch + x;
#pragma unroll
    for (int q = 0; q < kDown; ++q) a[buffer][q] = load_pack<4>(panel_a + q * 4 * Tile::kLanesDown);
#pragma unroll
    for (int q = 0; q < kAcross; ++q) b[buffer][q] = load_pack<4>(panel_b + q * 4 * Tile::kLanesAcross);
  };

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) copy(step, step);
  cp_async_wait<kStages - 2>();
  __syncthreads();
  if (steps > 0) load(0, 0, 0);
  int reading = 0, writing = kStages - 1;
  for (int step = 0; step < steps; ++step) {
    const int next = reading + 1 == kStages ? 0 : reading + 1;
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      if (k + 1 < kDepth) {
        load(reading, k + 1, (k + 1) % 2);
      } else {
        cp_async_wait<kStages - 2>();
        __syncthreads();  // the next panels are there; these are in everybody's registers
        if (step + 1 < steps) load(next, 0, 0);
      }
      if (k == 0) copy(step + kStages - 1, writing);
#pragma unroll
      for (int r = 0; r < kDown * 4; ++r)
#pragma unroll
        for (int s = 0; s < kAcross; ++s)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[r][s][e] += a[k % 2][r / 4][r % 4] * b[k % 2][s][e];
    }
    writing = reading;
    reading = next;
  }

  p.c += blockIdx.y * p.c_slice;
  const bool aligned = rows_aligned<4>(p.c, p.c_row);
#pragma unroll
  for (int r = 0; r < kDown * 4; ++r) {
    const int i = row + y + r / 4 * 4 * Tile::kLanesDown + r % 4;
    if (i >= p.m) continue;
#pragma unroll
    for (int s = 0; s < kAcross; ++s) {
      const int j = col + x + s * 4 * Tile::kLanesAcross;
      finish_pack(p, p.c + i * p.c_row + j, j, sums[r][s], aligned && j + 4 <= p.n);
    }
  }
}

}  // namespace dlkit::device
