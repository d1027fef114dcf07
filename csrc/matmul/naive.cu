// The definition: one thread for each element of C, which it sums by itself.
//
// 2 M N K FLOPs, and two loads for each pair of them: 0.25 FLOP per byte asked for (float32). And they are asked for
// badly. Here a warp's lanes go down a column of C, as the textbook's i comes first: with row-major operands every lane
// reads another row of A, and a request takes 32 sectors of 32 bytes for 128 bytes of use; the one element of B is the
// same for all. 33 sectors for 32 multiply-adds, all from the first-level cache at best, which delivers 4 sectors a
// cycle to each multiprocessor: 8 cycles for what its multipliers would do in a quarter of one.
//
//   32 registers, no shared memory, full occupancy. H100: about 67 / 33 = 2 TFLOP/s, less where the
//   rows of A that a block walks leave the first-level cache: the part of a sector that is left over is fetched again.
//
// The reference of the steps that follow, on every machine.
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kSide = 32;

template <class In, class Out>
__global__ void __launch_bounds__(kSide* kSide) naive_kernel(Product<In, Out> p) {
  using T = Accumulator<In>;
  select_batch(p);
  const int tiles_across = ceil_div(p.n, kSide);
  const int i = static_cast<int>(blockIdx.x) / tiles_across * kSide + static_cast<int>(threadIdx.x);
  const int j = static_cast<int>(blockIdx.x) % tiles_across * kSide + static_cast<int>(threadIdx.y);
  if (i >= p.m || j >= p.n) return;
  const In* a = p.a + i * p.a_row;
  const In* b = p.b + j * p.b_col;
  T sum(0);
  for (int k = 0; k < p.k; ++k) {
    sum += convert<T>(*a) * convert<T>(*b);
    a += p.a_col;
    b += p.b_row;
  }
  finish(p, p.c + i * p.c_row + j, j, sum);
}

}  // namespace

void naive(const DeviceMatmul& problem) {
  with_types(problem, [&]<class In, class Out>() {
    launch_tiles("naive", naive_kernel<In, Out>, Product<In, Out>(problem), problem, kSide, kSide, dim3(kSide, kSide));
  });
}

}  // namespace dlkit::device
