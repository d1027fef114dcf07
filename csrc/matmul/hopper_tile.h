// Matrix product on Hopper's own units: the copy engine (TMA) fills a ring of tiles in shared memory, the tensor cores
// (wgmma) empty it, and neither waits for a thread to move data.
//
// A block computes tiles of C of 128 x kColumns. One of its three warpgroups, the producer, has one thread ask the copy
// engine for the tiles of A and B along K, as far ahead as the ring is long; the two others, the consumers, multiply:
// each holds 64 x kColumns of C in registers, which the producer's warpgroup has given up. Two barriers per stage of
// the ring say "full" (the bytes have come) and "empty" (both consumers have read them). Blocks stay: there is one per
// multiprocessor, and each takes tile after tile, so that the producer loads the next tile while the consumers store
// this one. Tiles are taken in bands of kBand rows of tiles, so that those in flight share their rows of A and columns
// of B in the second-level cache.
//
// Cost: 2 M N K operations; each tile reads (128 + kColumns) K elements of A and B, 85 operations a byte at 128 x 256
// in 16 bits. Bound by the tensor cores where M and N are in the thousands; by the second-level cache with smaller
// tiles.
//
// Operands may lie along K or across it in 16 bits; tf32 must lie along K (A's rows, B's columns), which is all that
// wgmma reads of it. Edges need no code: the copy engine puts zeros outside of the matrices, the store looks at bounds.
//
// Source of the ideas: NVIDIA's CUTLASS 3 (warp-specialised, persistent kernels) and P. Shah, "Outperforming cuBLAS on
// H100" (2024).
#pragma once

#include "core/cuda/hopper.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "matmul/device_ladder.h"

namespace dlkit::device::hopper {

constexpr int kRows = 128;      // of a tile of C
constexpr int kRowBytes = 128;  // of a tile of A or B along its contiguous side
constexpr int kConsumers = 2;   // warpgroups
constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
constexpr int kBand = 16;
// Registers of a thread: 128 x 40 + 256 x 232 are the 384 x 168 that the block starts with.
constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
constexpr int kAtom = 1024;                        // bytes: what the swizzle repeats after
constexpr int kSlab = kWarpgroup / 2 * kRowBytes;  // bytes: 64 rows of 128 bytes

template <class T, int kColumns>
struct Ring {
  static constexpr int a_bytes = kRows * kRowBytes;
  static constexpr int b_bytes = kColumns * kRowBytes;
  static constexpr int stage_bytes = a_bytes + b_bytes;
  static constexpr int stages = (192 << 10) / stage_bytes;
  static constexpr int depth = kRowBytes / static_cast<int>(sizeof(T));  // elements along K
  static constexpr int shared_bytes = kAtom + stages * stage_bytes + 2 * stages * static_cast<int>(sizeof(Barrier));
};

struct Arguments {
  int m, n, steps;              // steps of Ring::depth along K
  int tile_rows, tile_columns;  // of one matrix
  int tiles;                    // of all
  bool a_stacked, b_stacked;    // one matrix per product, or one for all
  void* c;
  long long c_row, c_batch;  // strides in elements
  const void* bias;
  Activation activation;
  bool accumulate;
  bool wide;  // C's rows can be stored in pieces of 16 bytes
};

struct Tile {
  int row, column, batch;  // the first row and column of C
};

template <int kColumns>
__device__ __forceinline__ Tile locate(const Arguments& arguments, int index) {
  const int per_matrix = arguments.tile_rows * arguments.tile_columns;
  const int batch = index / per_matrix, in_matrix = index % per_matrix;
  const int first = in_matrix / (kBand * arguments.tile_columns) * kBand;
  const int left = arguments.tile_rows - first, rows = left < kBand ? left : kBand;
  const int in_band = in_matrix - first * arguments.tile_columns;
  return {(first + in_band % rows) * kRows, in_band / rows * kColumns, batch};
}

// A place in the ring, and the parity of its turn.
template <int kStages>
struct Cursor {
  int stage = 0;
  unsigned parity = 0;
  __device__ __forceinline__ void advance() {
    if (++stage == kStages) {
      stage = 0;
      parity ^= 1;
    }
  }
};

// Rows (or, with `Across`, the same rows across K) `row` to row + Count of an operand, K from `step` on, into `to`.
template <class T, int Count, bool Across>
__device__ __forceinline__ void load_tile(unsigned char* to, const TensorMap& from, Barrier* barrier, int row, int step,
                                          int matrix) {
  constexpr int depth = kRowBytes / static_cast<int>(sizeof(T));
  if constexpr (Across) {
#pragma unroll
    for (int i = 0; i < Count / depth; ++i)
      tma_load(to + i * depth * kRowBytes, from, barrier, row + i * depth, step * depth, matrix);
  } else {
    tma_load(to, from, barrier, step * depth, row, matrix);
  }
}

template <class T, int kColumns, bool AColumns, bool BRows>
__device__ __forceinline__ void produce(const TensorMap& a, const TensorMap& b, const Arguments& arguments,
                                        unsigned char* ring, Barrier* full, Barrier* empty) {
  using R = Ring<T, kColumns>;
  tma_prefetch(a);
  tma_prefetch(b);
  Cursor<R::stages> at;
  for (int index = blockIdx.x; index < arguments.tiles; index += gridDim.x) {
    const Tile tile = locate<kColumns>(arguments, index);
    const int a_matrix = arguments.a_stacked ? tile.batch : 0, b_matrix = arguments.b_stacked ? tile.batch : 0;
    for (int step = 0; step < arguments.steps; ++step, at.advance()) {
      // On the first way round the stages are empty from the start: the phase before the first has ended.
      barrier_wait(&empty[at.stage], at.parity ^ 1);
      barrier_arrive_expect(&full[at.stage], R::stage_bytes);
      unsigned char* stage = ring + at.stage * R::stage_bytes;
      load_tile<T, kRows, AColumns>(stage, a, &full[at.stage], tile.row, step, a_matrix);
      load_tile<T, kColumns, BRows>(stage + R::a_bytes, b, &full[at.stage], tile.column, step, b_matrix);
    }
  }
}

// Bias and activation on one warpgroup's share of C.
template <class Out, int Count>
__device__ __forceinline__ void finish(real<float> (&d)[Count], const Arguments& arguments, int column) {
  if (arguments.bias != nullptr) {
    const Out* bias = static_cast<const Out*>(arguments.bias);
#pragma unroll
    for (int j = 0; j < Count / 4; ++j) {
      if (j % 8 == 0) loads_stay_behind();  // all at once, they would not fit beside the accumulators
#pragma unroll
      for (int e = 0; e < 2; ++e)
        if (const int at = column + 8 * j + e; at < arguments.n) {
          const real<float> add = convert<real<float>>(bias[at]);
          d[4 * j + e] += add;
          d[4 * j + 2 + e] += add;
        }
    }
  }
  const auto map = [&](auto function) {
#pragma unroll
    for (int i = 0; i < Count; ++i) d[i] = function(d[i]);
  };
  switch (arguments.activation) {
    case Activation::relu: return map([](real<float> x) { return activate(x, Activation::relu); });
    case Activation::sigmoid: return map([](real<float> x) { return activate(x, Activation::sigmoid); });
    case Activation::tanh: return map([](real<float> x) { return activate(x, Activation::tanh); });
    default: return;
  }
}

template <class Out>
__device__ __forceinline__ std::uint32_t pack_pair(real<float> low, real<float> high) {
  const Pack<Out, 2> pair = {{convert<Out>(low), convert<Out>(high)}};
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// The four threads that hold a row of 8 columns exchange, so that each has 16 bytes of a row side by side: of float, 4
// columns out of two such blocks; of 16 bits, all 8 columns of one of four blocks.
template <int Count>
__device__ __forceinline__ void store_wide(const real<float> (&d)[Count], const Arguments& arguments, real<float>* c,
                                           int row, int column, int quarter) {
  const bool odd = quarter & 1;
#pragma unroll
  for (int j = 0; j < Count / 4; j += 2)
#pragma unroll
    for (int half_rows = 0; half_rows < 2; ++half_rows) {
      const real<float>*mine = &d[4 * j + 2 * half_rows], *next = &d[4 * j + 4 + 2 * half_rows];
      Pack<real<float>, 2> got;
#pragma unroll
      for (int e = 0; e < 2; ++e) got[e] = __shfl_xor_sync(kFullMask, odd ? mine[e] : next[e], 1);
      const Pack<real<float>, 4> four = {
          {odd ? got[0] : mine[0], odd ? got[1] : mine[1], odd ? next[0] : got[0], odd ? next[1] : got[1]}};
      const int to_row = row + 8 * half_rows, to_column = column + 8 * (j + (quarter & 1)) + 2 * (quarter & 2);
      if (to_row < arguments.m && to_column < arguments.n) store_pack(c + to_row * arguments.c_row + to_column, four);
    }
}

template <class Out, int Count>
__device__ __forceinline__ void store_wide(const real<float> (&d)[Count], const Arguments& arguments, Out* c, int row,
                                           int column, int quarter) {
  static_assert(sizeof(Out) == 2);
  const bool odd = quarter & 1, upper = quarter & 2;
#pragma unroll
  for (int j = 0; j < Count / 4; j += 4)
#pragma unroll
    for (int half_rows = 0; half_rows < 2; ++half_rows) {
      Pack<std::uint32_t, 2> pair[2];
#pragma unroll
      for (int p = 0; p < 2; ++p) {
        std::uint32_t words[2];
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          const int at = 4 * (j + 2 * p + i) + 2 * half_rows;
          words[i] = pack_pair<Out>(d[at], d[at + 1]);
        }
        const std::uint32_t got = __shfl_xor_sync(kFullMask, odd ? words[0] : words[1], 1);
        pair[p] = {{odd ? got : words[0], odd ? words[1] : got}};
      }
      Pack<std::uint32_t, 2> got;
#pragma unroll
      for (int i = 0; i < 2; ++i) got[i] = __shfl_xor_sync(kFullMask, upper ? pair[0][i] : pair[1][i], 2);
      const Pack<std::uint32_t, 4> eight = {{upper ? got[0] : pair[0][0], upper ? got[1] : pair[0][1],
                                             upper ? pair[1][0] : got[0], upper ? pair[1][1] : got[1]}};
      const int to_row = row + 8 * half_rows, to_column = column + 8 * (j + quarter);
      if (to_row < arguments.m && to_column < arguments.n)
        store_pack(reinterpret_cast<std::uint32_t*>(c + to_row * arguments.c_row + to_column), eight);
    }
}

// Any alignment, any edge, and adding to what C holds.
template <class Out, int Count>
__device__ __forceinline__ void store_narrow(const real<float> (&d)[Count], const Arguments& arguments, Out* c, int row,
                                             int column) {
#pragma unroll
  for (int i = 0; i < Count; ++i) {
    const int to_row = row + 8 * (i / 2 % 2), to_column = column + i / 4 * 8 + i % 2;
    if (to_row >= arguments.m || to_column >= arguments.n) continue;
    Out* to = c + to_row * arguments.c_row + to_column;
    *to = convert<Out>(arguments.accumulate ? d[i] + convert<real<float>>(*to) : d[i]);
  }
}

template <class T, class Out, int kColumns, bool AColumns, bool BRows>
__device__ __forceinline__ void consume(const Arguments& arguments, unsigned char* ring, Barrier* full, Barrier* empty,
                                        int consumer, int thread) {
  using R = Ring<T, kColumns>;
  // In memory order a step of wgmma is 32 bytes along K, or 16 rows of 128 bytes across it.
  constexpr int instructions = kRowBytes / 32;
  constexpr int a_step = AColumns ? 2 * kAtom : 32, b_step = BRows ? 2 * kAtom : 32;
  const int quarter = thread % 4, row_in_tile = consumer * 64 + thread / 32 * 16 + thread % 32 / 4;
  Cursor<R::stages> at;
  for (int index = blockIdx.x; index < arguments.tiles; index += gridDim.x) {
    real<float> d[kColumns / 2];
    const auto multiply = [&](bool first) {
      barrier_wait(&full[at.stage], at.parity);
      const unsigned stage = shared_address(ring) + at.stage * R::stage_bytes;
      const std::uint64_t a = wgmma_descriptor(stage + consumer * kSlab, kSlab, kAtom);
      const std::uint64_t b = wgmma_descriptor(stage + R::a_bytes, kSlab, kAtom);
      wgmma_fence();
#pragma unroll
      for (int i = 0; i < instructions; ++i)
        wgmma<kColumns, T, AColumns, BRows>(d, wgmma_advance(a, i * a_step), wgmma_advance(b, i * b_step),
                                            !first || i > 0);
      wgmma_commit();
    };
    multiply(true);
    int previous = at.stage;
    at.advance();
    for (int step = 1; step < arguments.steps; ++step) {
      multiply(false);
      // While this step multiplies, the one before has ended, and its stage may be filled again.
      wgmma_wait<1>(d);
      if (thread % kWarp == 0) barrier_arrive(&empty[previous]);
      previous = at.stage;
      at.advance();
    }
    wgmma_wait<0>(d);
    if (thread % kWarp == 0) barrier_arrive(&empty[previous]);

    const Tile tile = locate<kColumns>(arguments, index);
    finish<Out>(d, arguments, tile.column + 2 * quarter);
    Out* c = static_cast<Out*>(arguments.c) + tile.batch * arguments.c_batch;
    if (arguments.wide)
      store_wide(d, arguments, c, tile.row + row_in_tile, tile.column, quarter);
    else
      store_narrow(d, arguments, c, tile.row + row_in_tile, tile.column + 2 * quarter);
  }
}

template <class T, class Out, int kColumns, bool AColumns, bool BRows>
__global__ void __launch_bounds__(kThreads, 1)
    kernel(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, const Arguments arguments) {
  if constexpr (kHopper) {
    using R = Ring<T, kColumns>;
    DLKIT_DYNAMIC_SHARED(unsigned char, memory);
    unsigned char* ring = memory + (0u - shared_address(memory)) % kAtom;
    Barrier* full = reinterpret_cast<Barrier*>(ring + R::stages * R::stage_bytes);
    Barrier* empty = full + R::stages;
    if (threadIdx.x == 0) {
      for (int i = 0; i < R::stages; ++i) {
        barrier_init(&full[i], 1);
        barrier_init(&empty[i], kConsumers * kWarpgroup / kWarp);
      }
      barrier_init_fence();
    }
    __syncthreads();
    // The same in all lanes of a warp, and the compiler can see it.
    const int warpgroup = __shfl_sync(kFullMask, static_cast<int>(threadIdx.x) / kWarpgroup, 0);
    if (warpgroup == 0) {
      registers_fewer<kProducerRegisters>();
      if (threadIdx.x == 0) produce<T, kColumns, AColumns, BRows>(a, b, arguments, ring, full, empty);
    } else {
      registers_more<kConsumerRegisters>();
      consume<T, Out, kColumns, AColumns, BRows>(arguments, ring, full, empty, warpgroup - 1,
                                                 static_cast<int>(threadIdx.x) % kWarpgroup);
    }
  }
}

}  // namespace dlkit::device::hopper
