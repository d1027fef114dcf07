// Coalesced: the naive kernel with its two indices exchanged, so that the lanes of a warp go along a row of C.
//
// The same 2 M N K FLOPs and the same loads, but the 32 elements of B and of C that a warp touches are neighbours: 4
// sectors instead of 32, and A's element is one for all lanes. 5 sectors for 32 multiply-adds. (A transposed B turns it
// round: there the lanes read a column, as naive does.)
//
//   32 registers, no shared memory, full occupancy. H100: two load instructions for one multiply-add. A multiprocessor's
//   load units take a warp's request in one cycle at best, so that 2 of them bound it at 32 multiply-adds in 2 cycles of
//   its 128 each: 67 / 8 = 8 TFLOP/s.
//
// Source: the rule of coalescing in NVIDIA's CUDA C++ Programming Guide, "Device memory accesses".
#include "matmul/device_ladder.h"

namespace dlkit::device {
namespace {

constexpr int kSide = 32;

template <class In, class Out>
__global__ void __launch_bounds__(kSide* kSide) coalesced_kernel(Product<In, Out> p) {
  using T = Accumulator<In>;
  select_batch(p);
  const int tiles_across = ceil_div(p.n, kSide);
  const int i = static_cast<int>(blockIdx.x) / tiles_across * kSide + static_cast<int>(threadIdx.y);
  const int j = static_cast<int>(blockIdx.x) % tiles_across * kSide + static_cast<int>(threadIdx.x);
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

void coalesced(const DeviceMatmul& problem) {
  with_types(problem, [&]<class In, class Out>() {
    launch_tiles("coalesced", coalesced_kernel<In, Out>, Product<In, Out>(problem), problem, kSide, kSide,
                 dim3(kSide, kSide));
  });
}

}  // namespace dlkit::device
