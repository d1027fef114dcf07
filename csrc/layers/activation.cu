// Activations in one pass: 16 bytes a load, two to four loads in flight, arithmetic in registers, 16 bytes a store.
//
// Bytes: 2 elements forward (x, y), 3 backward (grad, saved, out). Instructions per element (of float32, the compiler's
// PTX, a quotient as 9): relu 4, tanh 22, sigmoid 32, softplus 42, elu 44, gelu 50. Bound: memory. At 3.35 TB/s a
// multiprocessor of an H100 gets 1.8 float32 elements a cycle forward, for each of which it can issue about 70
// instructions (4 schedulers of 32 lanes). float64 has half the elements and half the units, but functions twice as
// long: erfc is bound by arithmetic.
// float32: 30 to 42 registers (sm_90), 1280 to 2048 threads of a multiprocessor with 32 to 64 bytes each on their way.
#include "layers/device.h"
#include "layers/each_pack.h"
#include "layers/functions.h"
#include "layers/naive_layers.h"

namespace dlkit::device {
namespace {

template <class T, class Function>
struct Forward {
  const T* x;
  T* y;
  T alpha;

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return load_pack<N>(x + i);
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = Function::forward(v[k], alpha);
    store_pack(y + i, v);
  }
};

template <class T, class Function>
struct Backward {
  const T *grad, *saved;
  T* out;
  T alpha;

  template <int N>
  struct Loaded {
    Pack<T, N> grad, saved;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return {load_pack<N>(grad + i), load_pack<N>(saved + i)};
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
#pragma unroll
    for (int k = 0; k < N; ++k) v.grad[k] = Function::backward(v.grad[k], v.saved[k], alpha);
    store_pack(out + i, v.grad);
  }
};

}  // namespace

template <class T>
void activation(Stream stream, ActivationKind kind, const T* x, T* y, Index n, double alpha, Rung rung) {
  if (rung == Rung::naive) return naive::activation(stream, kind, x, y, n, alpha);
  const bool packed = is_aligned<kPack<T>>(x) && is_aligned<kPack<T>>(y);
  with_function(kind, [&](auto function) {
    using R = real<T>;
    using Function = decltype(function);
    const Forward<R, Function> map{reals(x), reals(y), R(static_cast<T>(alpha))};
    launch_map<R, Function::kUnroll>(name(kind), stream, map, n, packed);
  });
}

template <class T>
void activation_backward(Stream stream, ActivationKind kind, const T* grad, const T* saved, T* out, Index n,
                         double alpha, Rung rung) {
  if (rung == Rung::naive) return naive::activation_backward(stream, kind, grad, saved, out, n, alpha);
  const bool packed = is_aligned<kPack<T>>(grad) && is_aligned<kPack<T>>(saved) && is_aligned<kPack<T>>(out);
  with_function(kind, [&](auto function) {
    using R = real<T>;
    using Function = decltype(function);
    const Backward<R, Function> map{reals(grad), reals(saved), reals(out), R(static_cast<T>(alpha))};
    launch_map<R, 2>(name(kind), stream, map, n, packed);
  });
}

#define DLKIT_INSTANTIATE(T)                                                           \
  template void activation(Stream, ActivationKind, const T*, T*, Index, double, Rung); \
  template void activation_backward(Stream, ActivationKind, const T*, const T*, T*, Index, double, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
