// Walks over arrays in global memory, 16 bytes a thread at a time where their addresses allow.
//
// Little's law says what that takes: an H100 moves 3.35 TB/s and answers in about 0.7 us, so 2.3 MB must be on their
// way, 18 KB to each multiprocessor. 2048 threads with 16 bytes each are 32 KB; kUnroll loads in flight leave room for
// kernels that hold fewer threads.
#pragma once

#include "core/cuda/grid.h"
#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "core/view.h"

namespace dlkit::device {

// The same memory as the numbers that kernels compute with.
template <class T>
real<T>* reals(T* p) {
  return reinterpret_cast<real<T>*>(p);
}
template <class T>
const real<T>* reals(const T* p) {
  return reinterpret_cast<const real<T>*>(p);
}

constexpr int kThreads = 256;

// Elements in 16 bytes.
template <class T>
constexpr int kPack = 16 / static_cast<int>(sizeof(T));

// N elements at any address, as few accesses as that allows.
template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_any(const T* from) {
  constexpr int kMost = N < kPack<T> ? N : kPack<T>;
  Pack<T, N> pack;
  if (kMost > 1 && is_aligned<kMost>(from)) {
#pragma unroll
    for (int i = 0; i < N; i += kMost) {
      const Pack<T, kMost> part = load_pack<kMost>(from + i);
#pragma unroll
      for (int k = 0; k < kMost; ++k) pack[i + k] = part[k];
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) pack[k] = from[k];
  }
  return pack;
}

template <int N, class T>
__device__ __forceinline__ void store_any(T* to, const Pack<T, N>& pack) {
  constexpr int kMost = N < kPack<T> ? N : kPack<T>;
  if (kMost > 1 && is_aligned<kMost>(to)) {
#pragma unroll
    for (int i = 0; i < N; i += kMost) {
      Pack<T, kMost> part;
#pragma unroll
      for (int k = 0; k < kMost; ++k) part[k] = pack[i + k];
      store_pack(to + i, part);
    }
  } else {
#pragma unroll
    for (int k = 0; k < N; ++k) to[k] = pack[k];
  }
}

// A map is an object of two functions on N elements from i on: load<N>(i) fetches what it reads into a Loaded<N>, and
// store<N>(i, loaded) computes and writes. All loads of a round are issued before the first store: the compiler may
// not move them itself, since `out` may be an input.
//
// Elements [0, n) by the threads of this block.
template <int N, int kUnroll, class Map>
__device__ __forceinline__ void map_block(const Map& map, Index n, Index tile, Index tiles_apart) {
  constexpr Index kTile = static_cast<Index>(kThreads) * kUnroll;
  const Index packs = n / N;
  for (; tile * kTile < packs; tile += tiles_apart) {
    const Index first = tile * kTile + threadIdx.x;
    typename Map::template Loaded<N> loaded[kUnroll];
    if ((tile + 1) * kTile <= packs) {
#pragma unroll
      for (int j = 0; j < kUnroll; ++j) loaded[j] = map.template load<N>((first + j * kThreads) * N);
#pragma unroll
      for (int j = 0; j < kUnroll; ++j) map.template store<N>((first + j * kThreads) * N, loaded[j]);
    } else {
#pragma unroll
      for (int j = 0; j < kUnroll; ++j)
        if (first + j * kThreads < packs) loaded[j] = map.template load<N>((first + j * kThreads) * N);
#pragma unroll
      for (int j = 0; j < kUnroll; ++j)
        if (first + j * kThreads < packs) map.template store<N>((first + j * kThreads) * N, loaded[j]);
    }
  }
}

// What packs leave over at the end.
template <int N, class Map>
__device__ __forceinline__ void map_rest(const Map& map, Index n) {
  const Index i = n / N * N + threadIdx.x;
  if (N > 1 && i < n) map.template store<1>(i, map.template load<1>(i));
}

template <int N, int kUnroll, class Map>
__global__ void __launch_bounds__(kThreads) map_kernel(const Map map, const Index n) {
  map_block<N, kUnroll>(map, n, blockIdx.x, gridDim.x);
  if (blockIdx.x == gridDim.x - 1) map_rest<N>(map, n);
}

// `packed`: whether all arrays are aligned to 16 bytes.
template <class T, int kUnroll, class Map>
void launch_map(const char* name, Stream stream, const Map& map, Index n, bool packed) {
  if (n == 0) return;
  constexpr int N = kPack<T>;
  constexpr int kUnrollSingle = 2 * kUnroll;
  const Index blocks =
      packed ? ceil_div<Index>(n, kThreads * kUnroll * N) : ceil_div<Index>(n, kThreads * kUnrollSingle);
  const LaunchShape shape{full_grid(blocks, kThreads), kThreads};
  if (packed)
    launch(name, map_kernel<N, kUnroll, Map>, shape, stream, map, n);
  else
    launch(name, map_kernel<1, kUnrollSingle, Map>, shape, stream, map, n);
}

}  // namespace dlkit::device
