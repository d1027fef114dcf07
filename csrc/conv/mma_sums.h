// The products of a block's tile by tensor cores, from panels of k in shared memory: the scheme of matmul/mma_tile.h,
// with any way to copy the panels.
#pragma once

#include "conv/device_ladder.h"
#include "matmul/mma_operand.h"
#include "matmul/mma_tile.h"

namespace dlkit::device {

template <class Operand, class Tile, class PanelA, class PanelB>
struct MmaSums {
  using T = real<float>;
  using Element = typename Operand::Element;
  static constexpr int kDepth = Tile::template kDepth<Element>, kStages = Tile::kStages;
  static constexpr int kSteps = kDepth / Operand::kDepth;  // instructions along a panel's depth
  static constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpCols / 16;
  static constexpr int kStageElements = PanelA::kElements + PanelB::kElements;
  static_assert(kSteps % 2 == 0);

  T sums[kDown][2 * kAcross][4];
  int lane, warp, y, x;

  __device__ __forceinline__ MmaSums() {
    lane = static_cast<int>(threadIdx.x) % kWarp;
    warp = static_cast<int>(threadIdx.x) / kWarp;
    y = warp / Tile::kWarpsAcross * Tile::kWarpRows;
    x = warp % Tile::kWarpsAcross * Tile::kWarpCols;
#pragma unroll
    for (int r = 0; r < kDown; ++r)
#pragma unroll
      for (int s = 0; s < 2 * kAcross; ++s)
#pragma unroll
        for (int e = 0; e < 4; ++e) sums[r][s][e] = T(0);
  }

  // Adds up `steps` panels. start(step, stage) begins what is copied by cp.async to shared + stage * kStageElements,
  // A's panel before B's; fetch(step) loads what goes by registers, which place(stage) stores; seen(stage) is called
  // while the panels of a step are there.
  template <class Start, class Fetch, class Place, class Seen>
  __device__ __forceinline__ void add(const Element* shared, int steps, const Start& start, const Fetch& fetch,
                                      const Place& place, const Seen& seen) {
    std::uint32_t a[2][kDown][4], b[2][kAcross][4];
    const auto load = [&](int stage, int step, int buffer) {
      const Element* const panel_a = shared + stage * kStageElements;
      const Element* const panel_b = panel_a + PanelA::kElements;
#pragma unroll
      for (int r = 0; r < kDown; ++r)
        Operand::template load_a<PanelA>(a[buffer][r], panel_a, y + r * 16, step * Operand::kDepth, lane);
#pragma unroll
      for (int s = 0; s < kAcross; ++s)
        Operand::template load_b<PanelB>(b[buffer][s], panel_b, x + s * 16, step * Operand::kDepth, lane);
    };
#pragma unroll 1
    for (int stage = 0; stage < kStages - 1; ++stage) {
      if (stage < steps) {
        start(stage, stage);
        fetch(stage);
        place(stage);
      }
      cp_async_commit();  // an empty group too: their number is what is waited for
    }
    cp_async_wait<kStages - 2>();
    __syncthreads();
    if (steps > 0) load(0, 0, 0);
    int reading = 0, writing = kStages - 1;
#pragma unroll 1
    for (int panel = 0; panel < steps; ++panel) {
      const int next = reading + 1 == kStages ? 0 : reading + 1;
      const bool more = panel + kStages - 1 < steps;
      seen(reading);
      if (more) {
        start(panel + kStages - 1, writing);
        fetch(panel + kStages - 1);
      }
      cp_async_commit();
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        if (step + 1 < kSteps) {
          load(reading, step + 1, (step + 1) % 2);
        } else {
          if (more) place(writing);
          cp_async_wait<kStages - 2>();
          __syncthreads();  // the next panels are there; these are in everybody's registers
          if (panel + 1 < steps) load(next, 0, 0);
        }
        multiply_fragments<Operand>(sums, a[step % 2], b[step % 2]);
      }
      writing = reading;
      reading = next;
    }
  }

  static constexpr int kPacks = Tile::kWarpCols / 4;  // in a row of a warp's tile
  static_assert(kWarp % kPacks == 0);

  // The first of the 4 columns that a lane is given by `each`.
  __device__ __forceinline__ int column() const { return x + lane % kPacks * 4; }

  // body(row, sums of 4 neighbouring columns from column() on). By way of shared memory, 16 rows at a time; the panels
  // are not needed any more, since the last barrier they are all in registers.
  template <class Body>
  __device__ __forceinline__ void each(Element* shared, const Body& body) const {
    constexpr int kPitch = Tile::kWarpCols + 8;
    static_assert(sizeof(T) * Tile::kThreads / kWarp * 16 * kPitch <= Tile::kSharedBytes);
    T* const slab = reinterpret_cast<T*>(shared) + warp * 16 * kPitch;
#pragma unroll
    for (int r = 0; r < kDown; ++r) {
#pragma unroll
      for (int s = 0; s < 2 * kAcross; ++s)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          store_pack(slab + (half * 8 + lane / 4) * kPitch + s * 8 + lane % 4 * 2,
                     Pack<T, 2>{sums[r][s][half * 2], sums[r][s][half * 2 + 1]});
      __syncwarp();
#pragma unroll 1
      for (int row = lane / kPacks; row < 16; row += kWarp / kPacks) {
        const Pack<T, 4> pack = load_pack<4>(slab + row * kPitch + lane % kPacks * 4);
        body(y + r * 16 + row, pack.at);
      }
      __syncwarp();
    }
  }
};

}  // namespace dlkit::device
