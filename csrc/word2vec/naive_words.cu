// The definition on a GPU: a block for each word, its threads side by side over the columns, pair by pair in the
// original program's order.
//
// Of each pair two vectors are read from memory, and one is written: 2 n m rows of outputs, which come from the caches
// after the first time, for 6 m n dim operations. Two barriers of the block for each sum, some 40 cycles each with the
// exchanges between: latency is what bounds it.
#include "core/cuda/grid.h"
#include "core/cuda/launch.h"
#include "core/cuda/operands.h"
#include "layers/each_pack.h"
#include "word2vec/device.h"
#include "word2vec/device_pairs.h"

namespace dlkit::device {
namespace {

constexpr int kWordThreads = 128;

template <class T>
class NaiveWord {
 public:
  __device__ __forceinline__ NaiveWord(const WordUpdate<T>& p, T* memory)
      : p_(p), step_(memory), bag_(memory + p.dim) {}

  __device__ __forceinline__ void update(Index word) {
    const std::int64_t* const inputs = p_.inputs + word * p_.most_inputs;
    if (p_.cbow) return update_bag(word, inputs);
    for (Index i = 0; i < p_.most_inputs; ++i) {
      if (inputs[i] < 0) continue;
      T* const x = p_.w_in + inputs[i] * p_.dim;
      pairs(x, p_.own_outputs ? word * p_.most_inputs + i : word);
      for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads) atomicAdd(x + k, step_[k]);
    }
  }
  // Of the first thread.
  __device__ __forceinline__ real<double> loss() const { return loss_; }

 private:
  __device__ __forceinline__ void update_bag(Index word, const std::int64_t* inputs) {
    Index count = 0;
    for (Index i = 0; i < p_.most_inputs; ++i) count += inputs[i] >= 0;
    if (count == 0) return;
    const T part = T(1) / T(count);
    for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads) {
      T sum = T(0);
      for (Index i = 0; i < p_.most_inputs; ++i)
        if (inputs[i] >= 0) sum += load_current(p_.w_in + inputs[i] * p_.dim + k);
      bag_[k] = p_.mean ? part * sum : sum;
    }
    pairs(bag_, word);
    for (Index i = 0; i < p_.most_inputs; ++i)
      if (inputs[i] >= 0)
        for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads)
          atomicAdd(p_.w_in + inputs[i] * p_.dim + k, p_.divide ? part * step_[k] : step_[k]);
  }

  // The step of x by all outputs of a row of the batch, into step_.
  __device__ __forceinline__ void pairs(const T* x, Index row) {
    for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads) step_[k] = T(0);
    for (Index j = row * p_.most_outputs; j < (row + 1) * p_.most_outputs; ++j) {
      if (p_.outputs[j] < 0) continue;
      T* const w = p_.w_out + p_.outputs[j] * p_.dim;
      T dot = T(0);
      for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads) dot = fma(x[k], load_current(w + k), dot);
      dot = block_sum(dot);
      const bool right = p_.labels[j] != 0;
      const T g = p_.lr * (T(right) - sigmoid_of(dot));
      if (p_.with_loss && threadIdx.x == 0) loss_ += real<double>(softplus_of_minus(right ? dot : -dot));
      for (Index k = threadIdx.x; k < p_.dim; k += kWordThreads) {
        step_[k] = fma(g, load_current(w + k), step_[k]);
        atomicAdd(w + k, g * x[k]);
      }
    }
  }

  const WordUpdate<T>& p_;
  T *step_, *bag_;  // in shared memory: dim numbers each; a thread's own columns
  real<double> loss_ = real<double>(0);
};

template <class T>
__global__ void __launch_bounds__(kWordThreads) naive_words_kernel(const WordUpdate<T> p, double* loss) {
  DLKIT_DYNAMIC_SHARED(T, memory);
  NaiveWord<T> word(p, memory);
  for (Index i = blockIdx.x; i < p.words; i += gridDim.x) word.update(i);
  if (threadIdx.x == 0 && p.with_loss) atomicAdd(reinterpret_cast<real<double>*>(loss), word.loss());
}

}  // namespace

template <class T>
void naive_words(Stream stream, const WordUpdate<T>& p, double* loss) {
  const LaunchShape shape{full_grid(p.words, kWordThreads), kWordThreads,
                          static_cast<std::size_t>(2 * p.dim) * sizeof(T)};
  launch("words, naive", naive_words_kernel<real<T>>, shape, stream, counted(p), loss);
}

template void naive_words(Stream, const WordUpdate<float>&, double*);
template void naive_words(Stream, const WordUpdate<double>&, double*);

}  // namespace dlkit::device
