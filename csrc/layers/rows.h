// Rows of a matrix, each held in the registers of the threads that work on it, so that it is read once.
//
// Up to 64 bytes a thread: as few lanes as there are elements hold a row of up to 16, a warp one of 2 KB, a block one
// of 64 KB (16384 float32, 8192 float64). Longer rows are for kernels that read them twice; the second time, they are
// in the second-level cache. Small rows are taken several at a time, to have as many bytes on their way.
#pragma once

#include "core/cuda/grid.h"
#include "core/cuda/launch.h"
#include "core/cuda/warp.h"
#include "layers/each_pack.h"

namespace dlkit::device {

// Up to so many threads, 48 registers each, a multiprocessor holds two blocks: one loads while the other computes.
constexpr int kTwoBlocks = 640;

// kPacks packs of N elements in each of kLanes lanes for each of kRows rows. kLanes 0: all threads of the block, of
// which there are at most kThreads_.
template <int N_, int kPacks_, int kLanes_, int kRows_, int kThreads_ = kThreads>
struct RowShape {
  static constexpr int N = N_, kPacks = kPacks_, kLanes = kLanes_, kRows = kRows_;
  // For __launch_bounds__.
  static constexpr int kMostThreads = kThreads_, kLeastBlocks = kLanes_ == 0 && kThreads_ <= kTwoBlocks ? 2 : 1;
};

// A thread's part of its rows.
template <class T, class Shape>
struct Rows {
  static constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;

  int lane, lanes;

  __device__ __forceinline__ Rows()
      : lane(Shape::kLanes == 0 ? threadIdx.x : threadIdx.x % kDivisor),
        lanes(Shape::kLanes == 0 ? blockDim.x : Shape::kLanes) {}

  // body(row) with the first of kRows rows that this thread works on, `step()` apart; rows past the last come too, as
  // all threads of a block have to take part in its reductions.
  template <class Body>
  __device__ __forceinline__ void each(Index rows, const Body& body) const {
    const int groups = Shape::kLanes == 0 ? 1 : blockDim.x / kDivisor;
    const int group = Shape::kLanes == 0 ? 0 : threadIdx.x / kDivisor;
    const Index tile = static_cast<Index>(groups) * kRows;
    for (Index first = blockIdx.x * tile; first < rows; first += gridDim.x * tile) body(first + group);
  }
  __device__ __forceinline__ Index step() const { return Shape::kLanes == 0 ? 1 : blockDim.x / kDivisor; }

  __device__ __forceinline__ int column(int pack) const { return (pack * lanes + lane) * N; }

  // Of a row at x, `cols` long (0: nothing is read); `padding` past its end.
  __device__ __forceinline__ void load(Pack<T, N> (&held)[kPacks], const T* x, Index cols, T padding) const {
#pragma unroll
    for (int j = 0; j < kPacks; ++j)
      if (column(j) < cols) {
        held[j] = load_pack<N>(x + column(j));
      } else {
#pragma unroll
        for (int k = 0; k < N; ++k) held[j][k] = padding;
      }
  }
  __device__ __forceinline__ void store(T* out, const Pack<T, N> (&held)[kPacks], Index cols) const {
#pragma unroll
    for (int j = 0; j < kPacks; ++j)
      if (column(j) < cols) store_pack(out + column(j), held[j]);
  }

  // Over the threads of a row.
  template <class Operation>
  __device__ __forceinline__ T reduce(T value, T identity) const {
    if constexpr (Shape::kLanes == 0)
      return block_reduce<Operation>(value, identity);
    else
      return warp_reduce<Operation, kDivisor>(value);
  }
  __device__ __forceinline__ T sum(T value) const { return reduce<Sum>(value, T(0)); }

 private:
  static constexpr int kDivisor = Shape::kLanes == 0 ? 1 : Shape::kLanes;
};

constexpr int kHeldBytes = 64;  // of a row, in a thread

// Whether registers hold a row. Elements that are loaded one by one take addresses and predicates of their own, so that
// a block of 1024 threads has room for half as many. `packed`: whether each row of each array is aligned to 16 bytes
// and a whole number of them.
template <class T>
constexpr bool is_held(Index cols, bool packed) {
  return cols <= 1024 * kHeldBytes / static_cast<Index>(sizeof(T)) / (packed ? 1 : 2);
}

// body(shape, LaunchShape) with the smallest RowShape that holds `cols` elements.
template <class T, class Body>
void with_row_shape(Index rows, Index cols, bool packed, const Body& body) {
  constexpr int kHeld = kHeldBytes / static_cast<int>(sizeof(T)), kShort = 16 / static_cast<int>(sizeof(T));
  const auto warps = [&](int lanes, int rows_each) {
    return LaunchShape{full_grid(ceil_div<Index>(rows, kThreads / lanes * rows_each), kThreads), kThreads};
  };
  // A block as wide as the row, in whole warps.
  const int threads = static_cast<int>(ceil_div<Index>(cols, kWarp * (packed ? kHeld : kHeld / 2))) * kWarp;
  const LaunchShape block{full_grid(rows, threads), static_cast<unsigned>(threads)};
  if (cols <= 8)
    body(RowShape<1, 1, 8, 4>{}, warps(8, 4));
  else if (cols <= 16)
    body(RowShape<1, 1, 16, 4>{}, warps(16, 4));
  else if (packed && cols <= kWarp * kShort)
    body(RowShape<kShort, 1, kWarp, 4>{}, warps(kWarp, 4));
  else if (packed && cols <= kWarp * kHeld)
    body(RowShape<kShort, kHeld / kShort, kWarp, 1>{}, warps(kWarp, 1));
  else if (packed && threads <= kTwoBlocks)
    body(RowShape<kShort, kHeld / kShort, 0, 1, kTwoBlocks>{}, block);
  else if (packed)
    body(RowShape<kShort, kHeld / kShort, 0, 1, 1024>{}, block);
  else if (cols <= kWarp * kShort)
    body(RowShape<1, kShort, kWarp, 4>{}, warps(kWarp, 4));
  else if (cols <= kWarp * kHeld)
    body(RowShape<1, kHeld, kWarp, 1>{}, warps(kWarp, 1));
  else
    body(RowShape<1, kHeld / 2, 0, 1, 1024>{}, block);
}

// Whether rows `stride` apart begin at multiples of 16 bytes.
template <class T>
bool rows_are_aligned(const T* x, Index stride) {
  return is_aligned<kPack<T>>(x) && stride % kPack<T> == 0;
}

// Kernels that read a row twice: a block of this many threads for each, so many packs in flight.
constexpr int kLongThreads = 512, kLongPacks = 4;

// body(i) with the places of kLongPacks packs of this thread, of a row of `cols` elements; N divides cols.
template <int N, class Body>
__device__ __forceinline__ void each_of_long_row(Index cols, const Body& body) {
  for (Index first = static_cast<Index>(threadIdx.x) * N; first < cols;
       first += static_cast<Index>(kLongThreads) * N * kLongPacks)
    body(first);
}

// The packs of one such step; `padding` past the end.
template <class T, int N>
__device__ __forceinline__ void load_long(Pack<T, N> (&held)[kLongPacks], const T* x, Index first, Index cols,
                                          T padding) {
#pragma unroll
  for (int j = 0; j < kLongPacks; ++j) {
    const Index at = first + static_cast<Index>(j) * kLongThreads * N;
    if (at < cols) {
      held[j] = load_pack<N>(x + at);
    } else {
#pragma unroll
      for (int k = 0; k < N; ++k) held[j][k] = padding;
    }
  }
}

template <class T, int N>
__device__ __forceinline__ void store_long(T* out, const Pack<T, N> (&held)[kLongPacks], Index first, Index cols) {
#pragma unroll
  for (int j = 0; j < kLongPacks; ++j) {
    const Index at = first + static_cast<Index>(j) * kLongThreads * N;
    if (at < cols) store_pack(out + at, held[j]);
  }
}

}  // namespace dlkit::device
