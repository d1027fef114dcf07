// All pairs of a word at once, by a group of warps: matrix.cpp's three products on a GPU.
//
// A lane has 4 columns of every row, a warp 128, and as many warps as a row needs work on one word. The rows of up to
// eight outputs are in registers, and so are the steps that they will get; inputs come from shared memory, one after
// the other. A lane reads and writes none but its own columns, of inputs too: what goes from lane to lane is sums of
// products alone. Eight sums over 32 lanes are 9 exchanges (fold), not 40.
//
// 3 m n dim multiply-adds; of outputs, dim numbers read and dim atomic additions each. With more than eight outputs
// their rows are read twice, the second time from the second-level cache.
#pragma once

#include <cstdint>

#include "core/cuda/warp.h"
#include "core/view.h"
#include "layers/each_pack.h"
#include "layers/functions.h"
#include "word2vec/word2vec.h"

namespace dlkit::device {

// The same words, of the numbers that kernels compute with.
template <class T>
WordUpdate<real<T>> counted(const WordUpdate<T>& p) {
  return {reals(p.w_in), reals(p.w_out), p.dim,  p.words, p.most_inputs, p.most_outputs, p.inputs,   p.outputs,
          p.labels,      p.own_outputs,  p.cbow, p.mean,  p.divide,      real<T>(p.lr),  p.with_loss};
}

constexpr int kLaneColumns = 4;
constexpr int kWarpColumns = kLaneColumns * kWarp;
constexpr int kHeldOutputs = 8;  // whose rows are in registers
constexpr std::uint32_t kNoOutput = 0xFFFFFFFFu;

// The threads that work on one word.
struct Group {
  int thread, threads, lane, warp, warps;
  __device__ __forceinline__ explicit Group(int of_warps)
      : thread(threadIdx.x % (of_warps * kWarp)), threads(of_warps * kWarp), lane(threadIdx.x % kWarp),
        warp(thread / kWarp), warps(of_warps) {}
  // Several warps are a whole block.
  __device__ __forceinline__ void sync() const {
    if (warps == 1)
      __syncwarp();
    else
      __syncthreads();
  }
  __device__ __forceinline__ int column(int q) const { return warp * kWarpColumns + q * kWarp + lane; }
};

// The sums over all lanes of eight numbers of each: that of number k in lanes 4 k to 4 k + 3.
template <class T>
__device__ __forceinline__ T fold(T (&v)[8], int lane) {
#pragma unroll
  for (int half = 4; half >= 1; half /= 2) {
    const bool upper = (lane & (4 * half)) != 0;
#pragma unroll
    for (int k = 0; k < half; ++k) {
      const T sent = upper ? v[k] : v[k + half], kept = upper ? v[k + half] : v[k];
      v[k] = kept + __shfl_xor_sync(kFullMask, sent, 4 * half);
    }
  }
  v[0] += __shfl_xor_sync(kFullMask, v[0], 2);
  return v[0] + __shfl_xor_sync(kFullMask, v[0], 1);
}

// -log sigmoid(z)
template <class T>
__device__ __forceinline__ T softplus_of_minus(T z) {
  return (z < T(0) ? -z : T(0)) + log1p_of_unit(exp(-magnitude(z)));
}

template <class T>
struct PairMemory {
  T* partial;  // (warps, m, kHeldOutputs): sums of each warp's columns
  T* factors;  // (m, pitch)
  int pitch;   // at least n, a multiple of kHeldOutputs
};

template <class T>
struct Outputs {
  const std::uint32_t* entries;  // in shared memory: 2 row + label, or kNoOutput
  int n;
  T* rows;
  Index stride;
};

// Inputs have
//   int m
//   const T* values(int i)     in shared memory; at each column written by the thread that reads it there
//   T times(int i)             how often the input stands there
//   void step(int i, int column, T x, T by)     x: the input there. With more than kHeldOutputs outputs it may not
//                              change values()
// Entries have been written before a sync of the group. The loss of this thread's pairs is added to `loss`.
template <class T, class Inputs>
class AllPairs {
 public:
  __device__ __forceinline__ AllPairs(const Group& group, const Inputs& inputs, const Outputs<T>& outputs,
                                      const PairMemory<T>& memory, int dim, T lr)
      : group_(group), in_(inputs), out_(outputs), memory_(memory), dim_(dim), lr_(lr) {}

  __device__ __forceinline__ void update(bool with_loss, real<double>& loss) {
    T w[kHeldOutputs][kLaneColumns], dw[kHeldOutputs][kLaneColumns];
    const bool held = out_.n <= kHeldOutputs;
#pragma unroll 1
    for (int first = 0; first < out_.n; first += kHeldOutputs) {
      load(first, w);
      dots(first, w);
      group_.sync();
      factors(first, with_loss, loss);
      group_.sync();
    }
    if (held) {
      clear(dw);
#pragma unroll 1
      for (int i = 0; i < in_.m; ++i) step<true, true>(i, 0, w, dw);
      add(0, dw);
      return;
    }
    // All rows are read before one of them changes, as an output may stand there twice.
#pragma unroll 1
    for (int first = 0; first < out_.n; first += kHeldOutputs) {
      load(first, w);
#pragma unroll 1
      for (int i = 0; i < in_.m; ++i) step<true, false>(i, first, w, dw);
    }
#pragma unroll 1
    for (int first = 0; first < out_.n; first += kHeldOutputs) {
      clear(dw);
#pragma unroll 1
      for (int i = 0; i < in_.m; ++i) step<false, true>(i, first, w, dw);
      add(first, dw);
    }
  }

 private:
  __device__ __forceinline__ std::uint32_t entry(int j) const { return j < out_.n ? out_.entries[j] : kNoOutput; }
  __device__ __forceinline__ T* row(std::uint32_t of) const {
    return out_.rows + static_cast<Index>(of >> 1) * out_.stride;
  }

  static __device__ __forceinline__ void clear(T (&dw)[kHeldOutputs][kLaneColumns]) {
#pragma unroll
    for (int j = 0; j < kHeldOutputs; ++j)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q) dw[j][q] = T(0);
  }

  __device__ __forceinline__ void load(int first, T (&w)[kHeldOutputs][kLaneColumns]) const {
#pragma unroll
    for (int j = 0; j < kHeldOutputs; ++j) {
      const std::uint32_t of = entry(first + j);
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q) {
        const int column = group_.column(q);
        w[j][q] = of != kNoOutput && column < dim_ ? load_current(row(of) + column) : T(0);
      }
    }
  }

  __device__ __forceinline__ void dots(int first, const T (&w)[kHeldOutputs][kLaneColumns]) const {
#pragma unroll 1
    for (int i = 0; i < in_.m; ++i) {
      T sums[kHeldOutputs];
#pragma unroll
      for (int j = 0; j < kHeldOutputs; ++j) sums[j] = T(0);
      const T* const values = in_.values(i);
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q) {
        const int column = group_.column(q);
        const T x = column < dim_ ? values[column] : T(0);
#pragma unroll
        for (int j = 0; j < kHeldOutputs; ++j)
          if (first + j < out_.n) sums[j] = fma(x, w[j][q], sums[j]);
      }
      const T sum = fold(sums, group_.lane);
      if (group_.lane % 4 == 0) memory_.partial[(group_.warp * in_.m + i) * kHeldOutputs + group_.lane / 4] = sum;
    }
  }

  // g = lr (label - sigmoid(x . w)), a pair for each thread.
  __device__ __forceinline__ void factors(int first, bool with_loss, real<double>& loss) const {
    for (int pair = group_.thread; pair < in_.m * kHeldOutputs; pair += group_.threads) {
      const int i = pair / kHeldOutputs, j = first + pair % kHeldOutputs;
      const std::uint32_t of = entry(j);
      T g = T(0);
      if (of != kNoOutput) {
        T dot = T(0);
        for (int warp = 0; warp < group_.warps; ++warp) dot += memory_.partial[warp * in_.m * kHeldOutputs + pair];
        const T label = T(static_cast<int>(of & 1)), times = in_.times(i);
        g = times * lr_ * (label - sigmoid_of(dot));
        if (with_loss) loss += real<double>(times * softplus_of_minus((of & 1) != 0 ? dot : -dot));
      }
      memory_.factors[i * memory_.pitch + j] = g;
    }
  }

  // Of input i and the outputs from `first` on: what the input gets, and what it adds to their steps.
  template <bool kInput, bool kOutput>
  __device__ __forceinline__ void step(int i, int first, const T (&w)[kHeldOutputs][kLaneColumns],
                                       T (&dw)[kHeldOutputs][kLaneColumns]) const {
    constexpr int kAtOnce = 16 / sizeof(T);
    T g[kHeldOutputs];
#pragma unroll
    for (int j = 0; j < kHeldOutputs; j += kAtOnce) {
      const Pack<T, kAtOnce> pack = load_pack<kAtOnce>(memory_.factors + i * memory_.pitch + first + j);
#pragma unroll
      for (int k = 0; k < kAtOnce; ++k) g[j + k] = pack[k];
    }
    const T* const values = in_.values(i);
#pragma unroll
    for (int q = 0; q < kLaneColumns; ++q) {
      const int column = group_.column(q);
      if (column >= dim_) continue;
      const T x = values[column];
      T by = T(0);
#pragma unroll
      for (int j = 0; j < kHeldOutputs; ++j) {
        if (first + j >= out_.n) continue;
        if (kInput) by = fma(g[j], w[j][q], by);
        if (kOutput) dw[j][q] = fma(g[j], x, dw[j][q]);
      }
      if (kInput) in_.step(i, column, x, by);
    }
  }

  __device__ __forceinline__ void add(int first, const T (&dw)[kHeldOutputs][kLaneColumns]) const {
#pragma unroll
    for (int j = 0; j < kHeldOutputs; ++j) {
      const std::uint32_t of = entry(first + j);
      if (of == kNoOutput) continue;
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q) {
        const int column = group_.column(q);
        if (column < dim_) atomicAdd(row(of) + column, dw[j][q]);
      }
    }
  }

  const Group& group_;
  const Inputs& in_;
  const Outputs<T>& out_;
  const PairMemory<T>& memory_;
  int dim_;
  T lr_;
};

// A thread's losses into the sum of all.
__device__ __forceinline__ void add_loss(real<double> loss, double* to) {
  const real<double> sum = warp_sum(loss);
  if (threadIdx.x % kWarp == 0) atomicAdd(reinterpret_cast<real<double>*>(to), sum);
}

}  // namespace dlkit::device
