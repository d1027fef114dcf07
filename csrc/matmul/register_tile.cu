// Register tile: each thread computes 8 x 8 elements of C, which stay in its registers.
//
// From 8 elements of A and 8 of B a thread has 64 multiply-adds: 16 loads from shared memory instead of 128. The block's
// tile grows with it, to 128 x 128 elements by 256 threads: 2 * 128^2 FLOPs for 2 * 128 elements of each k, 32 FLOP per
// byte of global memory. A panel is 8 deep, 128 + 4 elements wide, both operands with k as the outer index, so that a
// thread's elements lie along a row: lanes read neighbouring words, or the same one.
//
// For 64 warp instructions of multiply-adds 16 of loads, 1 wavefront each: shared memory is busy half of the time (4
// sub-cores do the multiply-adds of 4 warps in 64 cycles, their loads take 64 of its cycles) and issue slots are the
// bound: 64 / (64 + 16 + the copy's 4). What is left is waiting: all 256 threads copy, then all compute.
//
//   float32: 8.25 KB shared, 174 registers: one block, 8 warps a multiprocessor; float64: 16.5 KB, 252 registers.
//   H100: at most 67 * 64 / 84 = 51 TFLOP/s; about half of it, as loads are not overlapped and no other block computes
//   meanwhile.
//
// Source: V. Volkov, J. W. Demmel, "Benchmarking GPUs to tune dense linear algebra", SC 2008.
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kTile = 128, kDepth = 8, kSide = 16, kEach = kTile / kSide, kThreads = kSide * kSide;
// A column written to a panel, from an operand that is contiguous along k, takes 8 k of 4 elements: banks 4 k + x.
constexpr int kPitch = kTile + 4;

// Elements [x0, x0 + 128) x [k0, k0 + 8) of an operand to panel[k][x]; x_end and k_end are its extents.
template <class T, class In>
__device__ __forceinline__ void copy_panel(T (&panel)[kDepth][kPitch], const In* from, std::int64_t x_stride,
                                           std::int64_t k_stride, int x0, int k0, int x_end, int k_end) {
  const int thread = static_cast<int>(threadIdx.x);
  constexpr int kCopies = kTile * kDepth / kThreads;
#pragma unroll
  for (int e = 0; e < kCopies; ++e) {
    const int at = thread + e * kThreads;
    const int x = k_stride == 1 ? at / kDepth : at % kTile, k = k_stride == 1 ? at % kDepth : at / kTile;
    panel[k][x] =
        x0 + x < x_end && k0 + k < k_end ? convert<T>(from[(x0 + x) * x_stride + (k0 + k) * k_stride]) : T(0);
  }
}

template <class In, class Out>
__global__ void __launch_bounds__(kThreads) register_tile_kernel(Product<In, Out> p) {
  using T = Accumulator<In>;
  DLKIT_SHARED(T, panel_a, [kDepth][kPitch]);
  DLKIT_SHARED(T, panel_b, [kDepth][kPitch]);
  select_batch(p);
  const int tiles_across = ceil_div(p.n, kTile);
  const int row = static_cast<int>(blockIdx.x) / tiles_across * kTile;
  const int col = static_cast<int>(blockIdx.x) % tiles_across * kTile;
  const int y = static_cast<int>(threadIdx.x) / kSide, x = static_cast<int>(threadIdx.x) % kSide;

  // This thread's elements are kSide apart: its neighbours' lie in between.
  T sums[kEach][kEach];
#pragma unroll
  for (int r = 0; r < kEach; ++r)
#pragma unroll
    for (int s = 0; s < kEach; ++s) sums[r][s] = T(0);

  for (int k0 = 0; k0 < p.k; k0 += kDepth) {
    copy_panel<T>(panel_a, p.a, p.a_row, p.a_col, row, k0, p.m, p.k);
    copy_panel<T>(panel_b, p.b, p.b_col, p.b_row, col, k0, p.n, p.k);
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kDepth; ++k) {
      T a[kEach], b[kEach];
#pragma unroll
      for (int r = 0; r < kEach; ++r) a[r] = panel_a[k][y + r * kSide];
#pragma unroll
      for (int s = 0; s < kEach; ++s) b[s] = panel_b[k][x + s * kSide];
#pragma unroll
      for (int r = 0; r < kEach; ++r)
#pragma unroll
        for (int s = 0; s < kEach; ++s) sums[r][s] += a[r] * b[s];
    }
    __syncthreads();
  }

#pragma unroll
  for (int r = 0; r < kEach; ++r) {
    const int i = row + y + r * kSide;
#pragma unroll
    for (int s = 0; s < kEach; ++s) {
      const int j = col + x + s * kSide;
      if (i < p.m && j < p.n) finish(p, p.c + i * p.c_row + j, j, sums[r][s]);
    }
  }
}

}  // namespace

void register_tile(const DeviceMatmul& problem) {
  with_types(problem, [&]<class In, class Out>() {
    launch_tiles("register_tile", register_tile_kernel<In, Out>, Product<In, Out>(problem), problem, kTile, kTile,
                 dim3(kThreads));
  });
}

}  // namespace dlkit::device
