// Split-K: for a small C and a long sum, where C has too few tiles for 132 multiprocessors.
//
// K is cut into slices, and every slice of every tile is a block of its own: the kernel of warp_tiled.cu, mma_tf32.cu or
// mma_16bit.cu, by type and precision, writes the partial sums of slice s, in float32, to the workspace. A second kernel
// adds them up in the order of the slices and finishes C. No atomics: the same bits every time.
//
// 64 x 784 x 512: 16 tiles of 32 x 64 keep 16 multiprocessors busy; in 8 slices, 128. It costs M N floats written and
// read for each slice, 2 * 8 * 128 KB, which stay in the second-level cache (50 MB on an H100), and one launch more,
// about 1.5 us. The sum of the slices is bound by that cache: 1 FLOP for 4 bytes, about 5.5 TB/s.
//
// The number of slices is estimated (device_plan.cpp).
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kThreads = 256;

// Partial sums in the workspace: [slice][batch][row][column], rows padded to whole packs of 4.
struct Partial {
  std::int64_t row, batch, slice;  // strides, in elements
  explicit Partial(const DeviceMatmul& p) : row((p.n + 3) / 4 * 4), batch(p.m * row), slice(p.batch * batch) {}
};

// A thread adds up 4 neighbouring elements: a pack from each slice.
template <class Out>
__global__ void __launch_bounds__(kThreads)
    splitk_sum_kernel(Product<real<float>, Out> p, const real<float>* partial, std::int64_t slice, int slices,
                      std::int64_t packs) {
  using T = real<float>;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= packs) return;
  const int across = (p.n + 3) / 4;
  const std::int64_t row = index / across;  // of all products
  const int j = static_cast<int>(index - row * across) * 4;
  const std::int64_t product = row / p.m;
  const T* from = partial + index * 4;
  T sums[4] = {T(0), T(0), T(0), T(0)};
#pragma unroll 4
  for (int s = 0; s < slices; ++s) {
    const Pack<T, 4> addend = load_pack<4>(from);
#pragma unroll
    for (int e = 0; e < 4; ++e) sums[e] += addend[e];
    from += slice;
  }
  Out* const c = p.c + product * p.c_batch + (row - product * p.m) * p.c_row + j;
  finish_pack(p, c, j, sums, is_aligned<4>(c) && j + 4 <= p.n);
}

}  // namespace

std::size_t splitk_workspace(const DeviceMatmul& problem) {
  const TilePlan plan = plan_tiles(problem, *family_of(problem), true);
  return static_cast<std::size_t>(plan.slices.count * Partial(problem).slice) * sizeof(float);
}

void splitk(const DeviceMatmul& problem) {
  const TileFamily& family = *family_of(problem);
  const TilePlan plan = plan_tiles(problem, family, true);
  const Partial partial(problem);
  DeviceMatmul sums = problem;
  sums.out_type = DeviceType::float32;
  sums.c = problem.workspace;
  sums.c_row = partial.row;
  sums.c_batch = partial.batch;
  sums.bias = nullptr;
  sums.activation = Activation::none;
  sums.accumulate = false;
  family.run(sums, plan.tile, plan.slices, partial.slice);

  const std::int64_t packs = partial.slice / 4, blocks = ceil_div<std::int64_t>(packs, kThreads);
  if (blocks > 0x7FFFFFFF)
    throw DeviceError("matmul: c has " + std::to_string(packs * 4) + " elements; expected fewer for splitk");
  const auto add = [&]<class Out>(Out) {
    launch("splitk_sum", splitk_sum_kernel<Out>, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, problem.stream,
           Product<real<float>, Out>(problem), static_cast<const real<float>*>(problem.workspace), partial.slice,
           plan.slices.count, packs);
  };
  switch (problem.out_type) {
    case DeviceType::float16: return add(half());
    case DeviceType::bfloat16: return add(bfloat16());
    default: return add(real<float>());
  }
}

}  // namespace dlkit::device
