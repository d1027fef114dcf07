// A block for each word, all pairs of the word at once (device_pairs.h); words of a batch at one time.
//
// m + n rows are read from memory, and m + n are added to, for 6 m n dim operations: with 6 inputs, 6 outputs and 100
// elements 4.8 KB each way for 21,600. Where each input has outputs of its own there are m words of one input.
//
// One warp for each 128 columns, and as many words at one time as shared memory has room for the inputs of: 6 rows of
// 100 elements are 2.4 KB, so that 32 blocks, as many as there may be, are on a multiprocessor. A word is a chain of
// one look at memory for its inputs and outputs, the sums, sigmoids, and the steps: some 2,000 cycles, most of which
// others fill. Bound: the second-level cache's atomic additions.
#include <algorithm>

#include "core/cuda/launch.h"
#include "core/cuda/residence.h"
#include "layers/each_pack.h"
#include "word2vec/device.h"
#include "word2vec/device_pairs.h"

namespace dlkit::device {
namespace {

constexpr int kMostWordThreads = static_cast<int>(kMostDim) / kLaneColumns;

Index rounded(Index n, Index to) { return (n + to - 1) / to * to; }

// What a block has in shared memory, in this order.
struct WordLayout {
  int warps, pitch, inputs, outputs;  // elements of an input; how many, rounded up
  std::size_t bytes;
};

template <class T>
WordLayout layout_of(const WordUpdate<T>& p) {
  const Index pitch = rounded(p.dim, 16), outputs = rounded(std::max<Index>(p.most_outputs, 1), kHeldOutputs);
  const Index inputs = p.cbow || p.own_outputs ? 1 : std::max<Index>(p.most_inputs, 1);
  const Index warps = (p.dim + kWarpColumns - 1) / kWarpColumns;
  const Index numbers = inputs * pitch + inputs * outputs + warps * inputs * kHeldOutputs;
  return {static_cast<int>(warps), static_cast<int>(pitch), static_cast<int>(inputs), static_cast<int>(outputs),
          static_cast<std::size_t>(numbers) * sizeof(T) + static_cast<std::size_t>(outputs) * 4};
}

template <class T>
struct WordInputs {
  int m;
  T* memory;
  int pitch;
  const WordUpdate<T>& p;
  const std::int64_t* rows;  // of w_in
  T scale;                   // of each one's step; of CBOW

  __device__ __forceinline__ const T* values(int i) const { return memory + i * pitch; }
  __device__ __forceinline__ T times(int i) const { return T(p.cbow || rows[i] >= 0 ? 1 : 0); }
  __device__ __forceinline__ void step(int i, int column, T, T by) const {
    if (!p.cbow) {
      if (rows[i] >= 0) atomicAdd(p.w_in + rows[i] * p.dim + column, by);
      return;
    }
    for (Index k = 0; k < p.most_inputs; ++k)
      if (rows[k] >= 0) atomicAdd(p.w_in + rows[k] * p.dim + column, scale * by);
  }
};

template <class T>
__global__ void __launch_bounds__(kMostWordThreads)
    matrix_words_kernel(const WordUpdate<T> p, const WordLayout layout, double* to) {
  DLKIT_DYNAMIC_SHARED(T, memory);
  const Group group(layout.warps);
  const int dim = static_cast<int>(p.dim);
  T* const factors = memory + layout.inputs * layout.pitch;
  T* const partial = factors + layout.inputs * layout.outputs;
  auto* const entries = reinterpret_cast<std::uint32_t*>(partial + layout.warps * layout.inputs * kHeldOutputs);
  const PairMemory<T> pairs{partial, factors, layout.outputs};
  real<double> loss(0);

  const auto outputs_of = [&](Index row) {
    for (Index j = group.thread; j < p.most_outputs; j += group.threads) {
      const std::int64_t of = p.outputs[row * p.most_outputs + j];
      entries[j] =
          of < 0 ? kNoOutput : static_cast<std::uint32_t>(2 * of + (p.labels[row * p.most_outputs + j] != 0 ? 1 : 0));
    }
    group.sync();
  };
  const auto update = [&](const WordInputs<T>& inputs) {
    const Outputs<T> outputs{entries, static_cast<int>(p.most_outputs), p.w_out, p.dim};
    AllPairs<T, WordInputs<T>>(group, inputs, outputs, pairs, dim, p.lr).update(p.with_loss, loss);
    group.sync();  // before entries are written again
  };
  const auto load = [&](const std::int64_t* rows, int count) {
    for (int i = 0; i < count; ++i)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q)
        if (const int column = group.column(q); column < dim)
          memory[i * layout.pitch + column] = rows[i] < 0 ? T(0) : load_current(p.w_in + rows[i] * p.dim + column);
  };

  for (Index word = blockIdx.x; word < p.words; word += gridDim.x) {
    const std::int64_t* const rows = p.inputs + word * p.most_inputs;
    const int most = static_cast<int>(p.most_inputs);
    if (p.cbow) {
      Index count = 0;
      for (int i = 0; i < most; ++i) count += rows[i] >= 0;
      if (count == 0) continue;
      outputs_of(word);
      const T part = T(1) / T(count);
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q) {
        const int column = group.column(q);
        if (column >= dim) continue;
        T sum = T(0);
        for (int i = 0; i < most; ++i)
          if (rows[i] >= 0) sum += load_current(p.w_in + rows[i] * p.dim + column);
        memory[column] = p.mean ? part * sum : sum;
      }
      update({1, memory, layout.pitch, p, rows, p.divide ? part : T(1)});
    } else if (p.own_outputs) {
      for (int i = 0; i < most; ++i) {
        if (rows[i] < 0) continue;
        outputs_of(word * p.most_inputs + i);
        load(rows + i, 1);
        update({1, memory, layout.pitch, p, rows + i, T(1)});
      }
    } else {
      outputs_of(word);
      load(rows, most);
      update({most, memory, layout.pitch, p, rows, T(1)});
    }
  }
  if (p.with_loss) add_loss(loss, to);
}

}  // namespace

template <class T>
std::size_t matrix_words_shared(const WordUpdate<T>& p) {
  return layout_of(p).bytes;
}

std::size_t shared_memory() { return residence().shared; }

template <class T>
void matrix_words(Stream stream, const WordUpdate<T>& p, double* loss) {
  const WordLayout layout = layout_of(p);
  const LaunchShape shape{full_grid(p.words, layout.warps * kWarp), static_cast<unsigned>(layout.warps * kWarp),
                          layout.bytes};
  launch("words, matrix", matrix_words_kernel<real<T>>, shape, stream, counted(p), layout, loss);
}

#define DLKIT_INSTANTIATE(T)                                         \
  template void matrix_words(Stream, const WordUpdate<T>&, double*); \
  template std::size_t matrix_words_shared(const WordUpdate<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
