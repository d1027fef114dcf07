// Pair by pair as in naive.cpp, with vectors: the input and its step stay in registers while the outputs go by.
//
// An output is read once for the dot product and once, from the first-level cache, for both updates; one sigmoid a
// pair, of which the dot product, the sum over its lanes and the sigmoid itself are one chain of about 60 cycles. That
// chain is the bound where the vectors are short: 100 elements are 7 multiply-adds of 16, three times.
#include "core/simd.h"
#include "core/vector_math.h"
#include "word2vec/word2vec.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Inputs of up to so many registers stay there.
template <class T>
constexpr int kMostHeld = sizeof(T) == sizeof(double) ? 1 : Vec<T>::registers / 4;

template <class T>
DLKIT_INLINE T step_size(const PairUpdate<T>& p, Index j, Vec<T> sum, double& loss) {
  using V = Vec<T>;
  const T dot = sum.sum();
  T y[V::lanes];
  sigmoid<T>(V::broadcast(dot)).store(y);
  if (p.with_loss) {
    T z[V::lanes];
    softplus<T>(V::broadcast(p.labels[j] != 0 ? -dot : dot)).store(z);
    loss += z[0];
  }
  return p.lr * (p.labels[j] - y[0]);
}

// Inputs of N registers, the last of which may be partly empty.
template <class T, int N>
__attribute__((noinline)) double held(const PairUpdate<T>& p) {
  using V = Vec<T>;
  const auto tail = V::first(p.dim - (N - 1) * V::lanes);
  const auto load = [&](const T* from, int k) __attribute__((always_inline)) {
    return k + 1 < N ? V::load(from + k * V::lanes) : V::load(from + k * V::lanes, tail);
  };
  const auto store = [&](V value, T* to, int k) __attribute__((always_inline)) {
    if (k + 1 < N)
      value.store(to + k * V::lanes);
    else
      value.store(to + k * V::lanes, tail);
  };
  double loss = 0;
  for (Index i = 0; i < p.m; ++i) {
    V x[N], step[N];
#pragma GCC unroll 8
    for (int k = 0; k < N; ++k) {
      x[k] = load(p.x[i], k);
      step[k] = V::zero();
    }
    for (Index j = 0; j < p.n; ++j) {
      T* const w = p.w[j];
      V even = V::zero(), odd = V::zero();
#pragma GCC unroll 8
      for (int k = 0; k < N; ++k) (k % 2 == 0 ? even : odd) = V::fma(x[k], load(w, k), k % 2 == 0 ? even : odd);
      const V g = V::broadcast(step_size<T>(p, j, even + odd, loss));
#pragma GCC unroll 8
      for (int k = 0; k < N; ++k) {
        const V old = load(w, k);
        step[k] = V::fma(g, old, step[k]);
        store(V::fma(g, x[k], old), w, k);
      }
    }
#pragma GCC unroll 8
    for (int k = 0; k < N; ++k) store(load(p.dx[i], k) + step[k], p.dx[i], k);
  }
  return loss;
}

// Longer ones: the step is in scratch memory.
template <class T>
__attribute__((noinline)) double streamed(const PairUpdate<T>& p) {
  using V = Vec<T>;
  const Index whole = p.dim / V::lanes * V::lanes;
  const auto tail = V::first(p.dim - whole);
  double loss = 0;
  for (Index i = 0; i < p.m; ++i) {
    const T* const x = p.x[i];
    T* const step = p.scratch;
    for (Index k = 0; k < whole; k += V::lanes) V::zero().store(step + k);
    V::zero().store(step + whole, tail);
    for (Index j = 0; j < p.n; ++j) {
      T* const w = p.w[j];
      V sums[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
      Index k = 0;
      for (; k + 4 * V::lanes <= whole; k += 4 * V::lanes)
#pragma GCC unroll 4
        for (int q = 0; q < 4; ++q)
          sums[q] = V::fma(V::load(x + k + q * V::lanes), V::load(w + k + q * V::lanes), sums[q]);
      for (; k < whole; k += V::lanes) sums[0] = V::fma(V::load(x + k), V::load(w + k), sums[0]);
      sums[1] = V::fma(V::load(x + whole, tail), V::load(w + whole, tail), sums[1]);
      const V g = V::broadcast(step_size<T>(p, j, (sums[0] + sums[1]) + (sums[2] + sums[3]), loss));
      for (k = 0; k < whole; k += V::lanes) {
        const V old = V::load(w + k);
        V::fma(g, old, V::load(step + k)).store(step + k);
        V::fma(g, V::load(x + k), old).store(w + k);
      }
      const V old = V::load(w + whole, tail);
      V::fma(g, old, V::load(step + whole, tail)).store(step + whole, tail);
      V::fma(g, V::load(x + whole, tail), old).store(w + whole, tail);
    }
    T* const to = p.dx[i];
    for (Index k = 0; k < whole; k += V::lanes) (V::load(to + k) + V::load(step + k)).store(to + k);
    (V::load(to + whole, tail) + V::load(step + whole, tail)).store(to + whole, tail);
  }
  return loss;
}

template <class T, int N = kMostHeld<T>>
DLKIT_INLINE double registers(const PairUpdate<T>& p) {
  if constexpr (N == 0) {
    return streamed<T>(p);
  } else {
    const Index vectors = (p.dim + Vec<T>::lanes - 1) / Vec<T>::lanes;
    return vectors == N ? held<T, N>(p) : registers<T, N - 1>(p);
  }
}

double registers_float(const PairUpdate<float>& p) { return registers<float>(p); }
double registers_double(const PairUpdate<double>& p) { return registers<double>(p); }

}  // namespace

extern const PairKernels pair_registers;
const PairKernels pair_registers = {registers_float, registers_double};

}  // namespace dlkit::DLKIT_TARGET
