// Tiled: a block of 32 x 32 threads copies a tile of A and one of B to shared memory, and every thread takes its row and
// column from there.
//
// An element that a block has fetched is used 32 times: 2 * 32^3 FLOPs on 2 * 32^2 elements, 8 FLOP per byte of global
// memory (float32), and all four layouts are read along their contiguous index: lanes are laid along k or across it as
// the strides ask. Rows of a tile are 33 elements apart, so that a column of it, which a transposed operand is written
// to, lies in 32 different banks.
//
// What bounds it now is shared memory: for each multiply-add a warp reads one word of A, the same for all lanes, and a
// row of B. Two loads, 2 wavefronts, for 32 multiply-adds: the bound of `coalesced` again, 67 / 8 = 8 TFLOP/s on an
// H100, but without its misses.
//
//   float32: 8.25 KB shared, 1024 threads: two blocks of at most 32 registers a thread.
//
// Source: the matrix product of NVIDIA's CUDA C++ Programming Guide, "Shared memory".
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kSide = 32;

template <class In, class Out>
__global__ void __launch_bounds__(kSide* kSide) tiled_kernel(Product<In, Out> p) {
  using T = Accumulator<In>;
  DLKIT_SHARED(T, tile_a, [kSide][kSide + 1]);  // [i][k]
  DLKIT_SHARED(T, tile_b, [kSide][kSide + 1]);  // [k][j]
  select_batch(p);
  const int tiles_across = ceil_div(p.n, kSide);
  const int row = static_cast<int>(blockIdx.x) / tiles_across * kSide;
  const int col = static_cast<int>(blockIdx.x) % tiles_across * kSide;
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);

  // What this thread copies: lanes along the contiguous index.
  const int a_i = p.a_col == 1 ? y : x, a_k = p.a_col == 1 ? x : y;
  const int b_k = p.b_col == 1 ? y : x, b_j = p.b_col == 1 ? x : y;
  const In* a = p.a + (row + a_i) * p.a_row + a_k * p.a_col;
  const In* b = p.b + b_k * p.b_row + (col + b_j) * p.b_col;

  T sum(0);
  for (int k0 = 0; k0 < p.k; k0 += kSide) {
    tile_a[a_i][a_k] = row + a_i < p.m && k0 + a_k < p.k ? convert<T>(*a) : T(0);
    tile_b[b_k][b_j] = col + b_j < p.n && k0 + b_k < p.k ? convert<T>(*b) : T(0);
    a += kSide * p.a_col;
    b += kSide * p.b_row;
    __syncthreads();
#pragma unroll
    for (int k = 0; k < kSide; ++k) sum += tile_a[y][k] * tile_b[k][x];
    __syncthreads();
  }
  if (row + y < p.m && col + x < p.n) finish(p, p.c + (row + y) * p.c_row + col + x, col + x, sum);
}

}  // namespace

void tiled(const DeviceMatmul& problem) {
  with_types(problem, [&]<class In, class Out>() {
    launch_tiles("tiled", tiled_kernel<In, Out>, Product<In, Out>(problem), problem, kSide, kSide, dim3(kSide, kSide));
  });
}

}  // namespace dlkit::device
