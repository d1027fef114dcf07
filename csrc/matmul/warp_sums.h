// The multiply-adds of a block's tile of rows x columns, from panels of k in shared memory: tiles of warps in the tile
// of the block, panels that are copied stages ahead, elements of the next k loaded while those of this one are
// multiplied. How panels are copied is the caller's: warp_tile.h reads matrices, conv/implicit_gemm.cu gathers patches.
#pragma once

#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "matmul/device_plan.h"

namespace dlkit::device {

// Panel element (x, k). Rows are 4 words longer than the tile is wide, so that a warp that writes 8 k of 4 x hits 32
// banks.
template <int Width>
struct WarpPanel {
  static constexpr int kPitch = Width + 4;
  static __device__ __forceinline__ int offset(int x, int k) { return k * kPitch + x; }
};

// A block's tile is Rows x Cols, a warp's WarpRows x WarpCols, on which its lanes stand LanesDown x (32 / LanesDown).
// `Stages` pairs of panels, Depth deep, take turns in shared memory; `Blocks` should fit on a multiprocessor.
template <int Rows, int Cols, int WarpRows, int WarpCols, int LanesDown, int Depth, int Stages, int Blocks>
struct WarpTile {
  static constexpr int kRows = Rows, kCols = Cols, kDepth = Depth, kStages = Stages, kBlocks = Blocks;
  static constexpr int kLanesDown = LanesDown, kLanesAcross = kWarp / LanesDown;
  static constexpr int kWarpRows = WarpRows, kWarpCols = WarpCols, kWarpsAcross = Cols / WarpCols;
  static constexpr int kThreads = Rows / WarpRows * kWarpsAcross * kWarp;
  // A thread's elements: so many groups of 4 rows by so many of 4 columns.
  static constexpr int kDown = WarpRows / (4 * LanesDown), kAcross = WarpCols / (4 * kLanesAcross);
  using PanelA = WarpPanel<Rows>;
  using PanelB = WarpPanel<Cols>;
  static constexpr int kElementsA = kDepth * PanelA::kPitch, kElementsB = kDepth * PanelB::kPitch;
  static constexpr int kStageElements = kElementsA + kElementsB;
  static constexpr std::size_t kSharedBytes = sizeof(float) * Stages * kStageElements;
};

template <class Tile>
constexpr TileFacts warp_facts(const char* name, double efficiency) {
  return {name, Tile::kRows, Tile::kCols, Tile::kThreads / kWarp, Tile::kBlocks, efficiency};
}

// A thread's part of the tile: rows row(r), for r in 0 .. 4 kDown - 1, and of each kAcross times 4 neighbouring columns
// from column(s) on.
template <class T, class Tile>
struct WarpSums {
  static constexpr int kDown = Tile::kDown, kAcross = Tile::kAcross;
  T sums[kDown * 4][kAcross][4];
  int y, x;

  __device__ __forceinline__ WarpSums() {
    const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
    // A load of 16 bytes takes the lanes in quarters of a warp, and two quarters at once where neighbours in the lane's
    // lowest bit, or in its second, ask for the same. So the lowest bit counts columns, whose rows of A are the same,
    // and the second counts rows.
    const int across = (lane & 1) | (lane >> 2) % (Tile::kLanesAcross / 2) << 1;
    const int down = (lane >> 1 & 1) | (lane >> 2) / (Tile::kLanesAcross / 2) << 1;
    y = warp / Tile::kWarpsAcross * Tile::kWarpRows + down * 4;
    x = warp % Tile::kWarpsAcross * Tile::kWarpCols + across * 4;
#pragma unroll
    for (int r = 0; r < kDown * 4; ++r)
#pragma unroll
      for (int s = 0; s < kAcross; ++s)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[r][s][e] = T(0);
  }

  __device__ __forceinline__ int row(int r) const { return y + r / 4 * 4 * Tile::kLanesDown + r % 4; }
  __device__ __forceinline__ int column(int s) const { return x + s * 4 * Tile::kLanesAcross; }

  // Adds up `steps` panels. copy(step, stage) starts the copy of panel `step` to shared + stage * kStageElements, A's
  // before B's; seen(stage) is called while the panels of a step are there.
  template <class Copy, class Seen>
  __device__ __forceinline__ void add(T* shared, int steps, const Copy& copy, const Seen& seen) {
    constexpr int kDepth = Tile::kDepth, kStages = Tile::kStages;
    const auto start = [&](int step, int stage) {
      if (step < steps) copy(step, stage);
      cp_async_commit();  // an empty group too: their number is what is waited for
    };
    Pack<T, 4> a[2][kDown], b[2][kAcross];
    const auto load = [&](int stage, int k, int buffer) {
      const T* panel_a = shared + stage * Tile::kStageElements + Tile::PanelA::offset(y, k);
      const T* panel_b = shared + stage * Tile::kStageElements + Tile::kElementsA + Tile::PanelB::offset(x, k);
#pragma unroll
      for (int q = 0; q < kDown; ++q) a[buffer][q] = load_pack<4>(panel_a + q * 4 * Tile::kLanesDown);
#pragma unroll
      for (int q = 0; q < kAcross; ++q) b[buffer][q] = load_pack<4>(panel_b + q * 4 * Tile::kLanesAcross);
    };
#pragma unroll
    for (int step = 0; step < kStages - 1; ++step) start(step, step);
    cp_async_wait<kStages - 2>();
    __syncthreads();
    if (steps > 0) load(0, 0, 0);
    int reading = 0, writing = kStages - 1;
    for (int step = 0; step < steps; ++step) {
      const int next = reading + 1 == kStages ? 0 : reading + 1;
      seen(reading);
#pragma unroll
      for (int k = 0; k < kDepth; ++k) {
        if (k + 1 < kDepth) {
          load(reading, k + 1, (k + 1) % 2);
        } else {
          cp_async_wait<kStages - 2>();
          __syncthreads();  // the next panels are there; these are in everybody's registers
          if (step + 1 < steps) load(next, 0, 0);
        }
        if (k == 0) start(step + kStages - 1, writing);
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
  }
};

}  // namespace dlkit::device
