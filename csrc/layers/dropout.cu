// Dropout: four elements from each Philox block, no mask stored.
//
// Where four elements are one load, a thread makes the block of its load and uses it at once. Otherwise (float64, other
// addresses, a stream that begins inside a block) a warp makes 32 blocks, one a lane, leaves their 128 words in shared
// memory, and goes over 128 elements in steps of 32, so that its loads and stores are of neighbouring elements.
//
// Bytes: 2 elements. Integer work for 4 elements: 10 rounds of 2 wide multiplications and 2 three-way exclusive ors, 40
// instructions, and 8 to compare and select: 12 an element of the about 70 that memory leaves time for. Bound: memory.
// float32: 32 registers, all 2048 threads of a multiprocessor with 32 bytes each on their way.
#include <algorithm>
#include <cmath>

#include "core/philox.h"
#include "layers/device.h"
#include "layers/each_pack.h"
#include "layers/naive_layers.h"

namespace dlkit::device {
namespace {

// Of elements 4 counter to 4 counter + 3, whose numbers go on from 0 after 2^64 - 1.
__device__ __forceinline__ Philox philox_block(std::uint64_t seed, std::uint64_t counter) {
  counter &= ~std::uint64_t{0} >> 2;
  return Philox::block(static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0,
                       static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

template <class T>
struct Dropout {
  const T* x;
  T* y;
  std::uint64_t seed, first_block;
  std::uint32_t threshold;
  T scale;

  __device__ __forceinline__ T apply(std::uint32_t word, T value) const {
    return word >= threshold ? value * scale : T(0);
  }

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return load_pack<N>(x + i);
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
    const Philox block = philox_block(seed, first_block + static_cast<std::uint64_t>(i) / 4);
    if constexpr (N == 4) {
#pragma unroll
      for (int k = 0; k < 4; ++k) v[k] = apply(block.word[k], v[k]);
    } else {
      const int k = static_cast<int>(i % 4);
      v[0] = apply(k == 0 ? block.word[0] : k == 1 ? block.word[1] : k == 2 ? block.word[2] : block.word[3], v[0]);
    }
    store_pack(y + i, v);
  }
};

constexpr int kWords = 4 * kWarp;  // of the 32 blocks that a warp makes

// Element 0 is word `skip` of the stream's first block.
template <class T>
__device__ __forceinline__ void staged(const Dropout<T>& map, Index n, int skip) {
  DLKIT_SHARED(uint4, words, [kThreads]);
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp, warps = kThreads / kWarp;
  const std::uint32_t* const own = &words[warp * kWarp].x;
  for (Index group = static_cast<Index>(blockIdx.x) * warps + warp; group * kWords < n + skip;
       group += static_cast<Index>(gridDim.x) * warps) {
    const Index first = group * kWords - skip + lane;
    T value[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const Index i = first + j * kWarp;
      if (i >= 0 && i < n) value[j] = map.x[i];
    }
    const Philox block = philox_block(map.seed, map.first_block + static_cast<std::uint64_t>(group * kWarp + lane));
    words[threadIdx.x] = make_uint4(block.word[0], block.word[1], block.word[2], block.word[3]);
    __syncwarp();
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const Index i = first + j * kWarp;
      const std::uint32_t word = own[j * kWarp + lane];
      if (i >= 0 && i < n) map.y[i] = map.apply(word, value[j]);
    }
    __syncwarp();
  }
}

template <class T, bool kPacked>
__global__ void __launch_bounds__(kThreads)
    dropout_kernel(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t offset,
                   const std::uint64_t* offset_pointer, std::uint32_t threshold, T scale) {
  if (offset_pointer != nullptr) offset += *offset_pointer;
  const Dropout<T> map{x, y, seed, offset / 4, threshold, scale};
  const int skip = static_cast<int>(offset % 4);
  if (kPacked && skip == 0) {
    map_block<4, 2>(map, n, blockIdx.x, gridDim.x);
    if (blockIdx.x == gridDim.x - 1) map_rest<4>(map, n);
  } else {
    staged(map, n, skip);
  }
}

template <class T>
struct Fill {
  T* y;
  T value;

  template <int N>
  struct Loaded {};
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index) const {
    return {};
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N>) const {
    Pack<T, N> v;
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = value;
    store_pack(y + i, v);
  }
};

}  // namespace

template <class T>
void dropout(Stream stream, const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset,
             const std::uint64_t* offset_pointer, Rung rung) {
  using R = real<T>;
  if (n == 0) return;
  if (p == 1) return launch_map<R, 2>("fill", stream, Fill<R>{reals(y), R(0)}, n, is_aligned<kPack<T>>(y));
  if (rung == Rung::naive) return naive::dropout(stream, x, y, n, p, seed, offset, offset_pointer);
  const auto threshold = static_cast<std::uint32_t>(std::min(std::ceil(p * 4294967296.0), 4294967295.0));
  const R scale = R(static_cast<T>(1 / (1 - p)));
  const LaunchShape shape{full_grid(ceil_div<Index>(n + 3, 4 * kThreads), kThreads), kThreads};
  if (sizeof(T) == 4 && is_aligned<4>(x) && is_aligned<4>(y))
    launch("dropout", dropout_kernel<R, sizeof(T) == 4>, shape, stream, reals(x), reals(y), n, seed, offset,
           offset_pointer, threshold, scale);
  else
    launch("dropout staged", dropout_kernel<R, false>, shape, stream, reals(x), reals(y), n, seed, offset,
           offset_pointer, threshold, scale);
}

template void dropout(Stream, const float*, float*, Index, double, std::uint64_t, std::uint64_t, const std::uint64_t*,
                      Rung);
template void dropout(Stream, const double*, double*, Index, double, std::uint64_t, std::uint64_t, const std::uint64_t*,
                      Rung);

}  // namespace dlkit::device
