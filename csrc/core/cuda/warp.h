// Sums and maxima over the lanes of a warp and the warps of a block.
#pragma once

#include "core/cuda/memory.h"
#include "core/cuda/number.h"

namespace dlkit {

struct Sum {
  template <class T>
  static __device__ __forceinline__ T combine(T a, T b) {
    return a + b;
  }
};

// A NaN wins, as it should be seen.
struct Maximum {
  template <class T>
  static __device__ __forceinline__ T combine(T a, T b) {
    return a > b || a != a ? a : b;
  }
};

// Every lane gets the result: log2(Lanes) exchanges. Lanes: a power of two, groups of that many neighbours.
template <class Operation, int Lanes = kWarp, class T>
__device__ __forceinline__ T warp_reduce(T value) {
#pragma unroll
  for (int distance = Lanes / 2; distance > 0; distance /= 2)
    value = Operation::combine(value, __shfl_xor_sync(kFullMask, value, distance));
  return value;
}

template <int Lanes = kWarp, class T>
__device__ __forceinline__ T warp_sum(T value) {
  return warp_reduce<Sum, Lanes>(value);
}

template <int Lanes = kWarp, class T>
__device__ __forceinline__ T warp_max(T value) {
  return warp_reduce<Maximum, Lanes>(value);
}

// Every thread gets the result. All threads of the block call it; blockDim.x is a multiple of 32, at most 1024, and the
// block has one dimension. `identity` is the operation's neutral element.
template <class Operation, class T>
__device__ __forceinline__ T block_reduce(T value, T identity) {
  DLKIT_SHARED(T, partial, [kWarp]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = blockDim.x / kWarp;
  value = warp_reduce<Operation>(value);
  if (warps == 1) return value;
  if (lane == 0) partial[warp] = value;
  __syncthreads();
  value = warp_reduce<Operation>(lane < warps ? partial[lane] : identity);
  __syncthreads();  // before `partial` is used again
  return value;
}

template <class T>
__device__ __forceinline__ T block_sum(T value) {
  return block_reduce<Sum>(value, T(0));
}

}  // namespace dlkit
