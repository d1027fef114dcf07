// The steps of the CUDA ladder, and what they share: what a kernel is given, which tile a block computes, and how a sum
// becomes an element of C.
#pragma once

#include <algorithm>
#include <string>

#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "matmul/device_plan.h"

namespace dlkit::device {

void naive(const DeviceMatmul&);
void coalesced(const DeviceMatmul&);
void tiled(const DeviceMatmul&);
void register_tile(const DeviceMatmul&);
void vectorised(const DeviceMatmul&);
void warp_tiled(const DeviceMatmul&);
void splitk(const DeviceMatmul&);
std::size_t splitk_workspace(const DeviceMatmul&);
void mma_tf32(const DeviceMatmul&);
void mma_16bit(const DeviceMatmul&);

// A problem as kernels take it. K may be cut into slices (splitk.cu): then block row y of the grid sums k from
// y * k_slice on, into a C of its own, c_slice elements after the one before.
template <class In, class Out>
struct Product {
  const In* a;
  const In* b;
  Out* c;
  const Out* bias;
  std::int64_t a_row, a_col, a_batch, b_row, b_col, b_batch, c_row, c_batch, c_slice;
  int m, n, k, k_slice;
  Activation activation;
  bool accumulate;

  explicit Product(const DeviceMatmul& p)
      : a(static_cast<const In*>(p.a)), b(static_cast<const In*>(p.b)), c(static_cast<Out*>(p.c)),
        bias(static_cast<const Out*>(p.bias)), a_row(p.a_row), a_col(p.a_col), a_batch(p.a_batch), b_row(p.b_row),
        b_col(p.b_col), b_batch(p.b_batch), c_row(p.c_row), c_batch(p.c_batch), c_slice(0), m(static_cast<int>(p.m)),
        n(static_cast<int>(p.n)), k(static_cast<int>(p.k)), k_slice(k), activation(p.activation),
        accumulate(p.accumulate) {}
};

// Blocks along x take tiles of C, along y slices of K, along z products of the batch; a grid's z ends at 65535.
template <class Kernel, class In, class Out>
void launch_tiles(const char* name, Kernel kernel, Product<In, Out> p, const DeviceMatmul& problem, int tile_rows,
                  int tile_cols, dim3 block, std::size_t shared = 0, Slices slices = {}, std::int64_t c_slice = 0) {
  const std::int64_t tiles =
      ceil_div<std::int64_t>(problem.m, tile_rows) * ceil_div<std::int64_t>(problem.n, tile_cols);
  if (tiles > 0x7FFFFFFF)
    throw DeviceError("matmul: c has " + std::to_string(tiles) + " tiles of " + std::to_string(tile_rows) + " x " +
                      std::to_string(tile_cols) + "; expected at most 2147483647");
  if (slices.count > 1) {
    p.k_slice = slices.depth;
    p.c_slice = c_slice;
  }
  constexpr std::int64_t kMost = 65535;
  for (std::int64_t first = 0; first < problem.batch; first += kMost) {
    const auto some = static_cast<unsigned>(std::min(kMost, problem.batch - first));
    const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(slices.count), some);
    launch(name, kernel, {grid, block, shared}, problem.stream, p);
    p.a += kMost * p.a_batch;
    p.b += kMost * p.b_batch;
    p.c += kMost * p.c_batch;
  }
}

// Calls step.operator()<In, Out>() with the types that memory holds.
template <class Step>
void with_types(const DeviceMatmul& p, Step&& step) {
  const bool wide = p.out_type != p.type;
  switch (p.type) {
    case DeviceType::float32: return step.template operator()<real<float>, real<float>>();
    case DeviceType::float64: return step.template operator()<real<double>, real<double>>();
    case DeviceType::float16:
      return wide ? step.template operator()<half, real<float>>() : step.template operator()<half, half>();
    case DeviceType::bfloat16:
      return wide ? step.template operator()<bfloat16, real<float>>() : step.template operator()<bfloat16, bfloat16>();
  }
}

// Calls step.operator()<a_along_k, b_along_k>(): which of an operand's two indices has the stride 1.
template <class Step>
void with_layouts(const DeviceMatmul& p, Step&& step) {
  const bool a_along_k = p.a_col == 1, b_along_k = p.b_row == 1 && p.b_col != 1;
  if (a_along_k)
    return b_along_k ? step.template operator()<true, true>() : step.template operator()<true, false>();
  return b_along_k ? step.template operator()<false, true>() : step.template operator()<false, false>();
}

#if defined(__CUDACC__) || defined(DLKIT_SIMT)

// The product of the batch that a block works on.
template <class In, class Out>
__device__ __forceinline__ void select_batch(Product<In, Out>& p) {
  const std::int64_t z = blockIdx.z;
  p.a += z * p.a_batch;
  p.b += z * p.b_batch;
  p.c += z * p.c_batch;
}

struct TileIndex {
  int row, col;
};

// Blocks start in the order of their numbers. Taken down bands of 8 rows of tiles, those that run at one time share
// rows of A and columns of B, which then come from the second-level cache: 132 blocks are about 8 x 16 tiles, and read
// 24 stripes instead of the 1 + 132 of a single row.
__device__ __forceinline__ TileIndex tile_in_bands(int block, int tiles_down, int tiles_across) {
  constexpr int kBand = 8;
  const int band = block / (kBand * tiles_across), inside = block - band * kBand * tiles_across;
  const int first = band * kBand, rows = min(kBand, tiles_down - first);
  return {first + inside % rows, inside / rows};
}

template <class T>
__device__ __forceinline__ T activate(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x < T(0) ? T(0) : x;  // a NaN stays
    case Activation::sigmoid: return T(1) / (T(1) + exp(-x));
    case Activation::tanh: return tanh(x);
    default: return x;
  }
}

// sum, with all that comes after it, to the element of C in column j.
template <class In, class Out, class T>
__device__ __forceinline__ void finish(const Product<In, Out>& p, Out* c, int j, T sum) {
  if (p.bias != nullptr) sum += convert<T>(p.bias[j]);
  *c = convert<Out>(p.accumulate ? convert<T>(*c) + sum : activate(sum, p.activation));
}

// Whether all that a kernel reads or writes as packs of N elements lies at multiples of them.
template <int N, class T>
__device__ __forceinline__ bool rows_aligned(const T* start, std::int64_t stride) {
  return is_aligned<N>(start) && stride % N == 0;
}

// N neighbouring sums to a row of C, from column j on, as one store where `whole`.
template <int N, class In, class Out, class T>
__device__ __forceinline__ void finish_pack(const Product<In, Out>& p, Out* c, int j, const T (&sums)[N], bool whole) {
  if (!whole) {
#pragma unroll
    for (int e = 0; e < N; ++e)
      if (j + e < p.n) finish(p, c + e, j + e, sums[e]);
    return;
  }
  Pack<Out, N> pack;
  if (p.accumulate) pack = load_pack<N>(c);
#pragma unroll
  for (int e = 0; e < N; ++e) {
    T sum = sums[e];
    if (p.bias != nullptr) sum += convert<T>(p.bias[j + e]);
    pack[e] = convert<Out>(p.accumulate ? convert<T>(pack[e]) + sum : activate(sum, p.activation));
  }
  store_pack(c, pack);
}

#endif

}  // namespace dlkit::device
