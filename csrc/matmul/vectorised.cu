// Vectorised: 16 bytes in one instruction wherever data moves, and the next panel on its way while this one is used.
//
// The tile of `register_tile`, 128 x 128 by 256 threads of 8 x 8, with a thread's elements in groups of 4 neighbours: its
// 16 loads from shared memory for 64 multiply-adds become 4. Panels are copied by cp.async, which needs no registers and
// does not wait: two pairs of panels take turns, one is read while the other is filled, and one barrier for each panel
// is enough.
//
// 32 FLOP per byte of global memory as before; of shared memory 2 * 64 FLOPs for 64 bytes a thread, but most of these
// are read by several lanes at once: 4 loads of a warp take about 6 wavefronts, of the 16 cycles that its 64 multiply-adds
// take on 4 sub-cores. Issue slots: 64 of 64 + 4 + the copy's 2. Now the multipliers are the bound, if they never wait.
//
//   16.5 KB shared, 127 registers: 2 blocks, 16 warps a multiprocessor. H100: at most 67 * 64 / 70 = 61 TFLOP/s. A
//   transposed operand is copied by 4 bytes (device_copy.h), which costs 2 more slots of 70.
//
// Source: NVIDIA, "Ampere tuning guide", asynchronous data copy; S. Boehm, "How to optimize a CUDA matmul kernel for
// cuBLAS-like performance", 2022, for vector loads as a step of their own.
#include "matmul/device_copy.h"
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kTile = 128, kDepth = 8, kThreads = 256, kSide = 16, kQuads = kTile / (4 * kSide);

template <class T, bool AAlongK, bool BAlongK>
__global__ void __launch_bounds__(kThreads, 2) vectorised_kernel(Product<T, T> p) {
  using CopyA = PanelCopy<T, kDepth, kTile, kThreads, AAlongK>;
  using CopyB = PanelCopy<T, kDepth, kTile, kThreads, BAlongK>;
  using Quad = Pack<T, 4>;  // for its alignment
  constexpr int kPitch = CopyA::kPitch;
  DLKIT_SHARED(Quad, buffer_a, [2][CopyA::kElements / 4]);
  DLKIT_SHARED(Quad, buffer_b, [2][CopyB::kElements / 4]);
  select_batch(p);
  const int tiles_across = (p.n + kTile - 1) / kTile;
  const int row = static_cast<int>(blockIdx.x) / tiles_across * kTile;
  const int col = static_cast<int>(blockIdx.x) % tiles_across * kTile;
  const int y = static_cast<int>(threadIdx.x) / kSide * 4, x = static_cast<int>(threadIdx.x) % kSide * 4;
  CopyA copy_a(p.a, p.a_row, p.a_col, row, p.m, 0);
  CopyB copy_b(p.b, p.b_col, p.b_row, col, p.n, 0);

  T sums[kQuads * 4][kQuads][4];
#pragma unroll
  for (int r = 0; r < kQuads * 4; ++r)
#pragma unroll
    for (int s = 0; s < kQuads; ++s)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[r][s][e] = T(0);

  const auto copy = [&](int k0, int stage) {
    copy_a(buffer_a[stage][0].at, p.k - k0);
    copy_b(buffer_b[stage][0].at, p.k - k0);
    cp_async_commit();
  };
  if (p.k > 0) copy(0, 0);
  for (int k0 = 0, stage = 0; k0 < p.k; k0 += kDepth, stage ^= 1) {
    cp_async_wait<0>();
    __syncthreads();  // this panel has landed, and nobody reads the other any more
    if (k0 + kDepth < p.k) copy(k0 + kDepth, stage ^ 1);
    const T* panel_a = buffer_a[stage][0].at + y;
    const T* panel_b = buffer_b[stage][0].at + x;
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      Pack<T, 4> a[kQuads], b[kQuads];
#pragma unroll
      for (int q = 0; q < kQuads; ++q) {
        a[q] = load_pack<4>(panel_a + k * kPitch + q * 4 * kSide);
        b[q] = load_pack<4>(panel_b + k * kPitch + q * 4 * kSide);
      }
#pragma unroll
      for (int r = 0; r < kQuads * 4; ++r)
#pragma unroll
        for (int s = 0; s < kQuads; ++s)
#pragma unroll
          for (int e = 0; e < 4; ++e) sums[r][s][e] += a[r / 4][r % 4] * b[s][e];
    }
  }

  const bool aligned = rows_aligned<4>(p.c, p.c_row);
#pragma unroll
  for (int r = 0; r < kQuads * 4; ++r) {
    const int i = row + r / 4 * 4 * kSide + y + r % 4;
    if (i >= p.m) continue;
#pragma unroll
    for (int s = 0; s < kQuads; ++s) {
      const int j = col + s * 4 * kSide + x;
      finish_pack(p, p.c + i * p.c_row + j, j, sums[r][s], aligned && j + 4 <= p.n);
    }
  }
}

}  // namespace

void vectorised(const DeviceMatmul& problem) {
  using T = real<float>;
  with_layouts(problem, [&]<bool AAlongK, bool BAlongK>() {
    launch_tiles("vectorised", vectorised_kernel<T, AAlongK, BAlongK>, Product<T, T>(problem), problem, kTile, kTile,
                 dim3(kThreads));
  });
}

}  // namespace dlkit::device
