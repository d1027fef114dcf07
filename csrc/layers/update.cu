// Optimizer steps, all parameters in one launch and one pass over memory; and what else is done to all gradients.
//
// Bytes per float32 parameter: SGD reads 8, writes 4; with momentum 12 and 8; Adam reads 16 and writes 12. FLOPs: Adam
// 14 with a square root and a division, about 50 instructions; memory leaves time for 240. Bound: memory, from about a
// million parameters on; below, the launch.
// float32: 54 registers (SGD, 1024 threads of a multiprocessor), 74 (Adam, 768 threads, with 128 bytes each on their
// way).
#include <bit>

#include "layers/device.h"
#include "layers/functions.h"
#include "layers/naive_layers.h"
#include "layers/parameter_table.h"

namespace dlkit::device {
namespace {

template <class T>
struct Sgd {
  T* value;
  const T* grad;
  T* velocity;
  SgdFactors<T> f;
  bool momentum;

  template <int N>
  struct Loaded {
    Pack<T, N> value, grad, velocity;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    Loaded<N> v;
    v.value = load_pack<N>(value + i);
    v.grad = load_pack<N>(grad + i);
    if (momentum) v.velocity = load_pack<N>(velocity + i);
    return v;
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      T step = fma(f.weight_decay, v.value[k], v.grad[k]);
      if (momentum) {
        v.velocity[k] = f.first_step ? step : fma(f.momentum, v.velocity[k], f.rest * step);
        step = f.nesterov ? fma(f.momentum, v.velocity[k], step) : v.velocity[k];
      }
      v.value[k] = fma(-f.lr, step, v.value[k]);
    }
    store_pack(value + i, v.value);
    if (momentum) store_pack(velocity + i, v.velocity);
  }
};

template <class T, int kMost>
__global__ void __launch_bounds__(kThreads) sgd_kernel(const __grid_constant__ ParameterTable<T, 3, kMost> table,
                                                       const SgdFactors<T> factors, const SgdFactors<T>* on_device) {
  const SgdFactors<T> f = on_device == nullptr ? factors : *on_device;
  each_chunk(table, [&](const Chunk<T, 3>& chunk, Index) {
    const Sgd<T> map{chunk.array[0], chunk.array[1], chunk.array[2], f,
                     chunk.array[2] != nullptr && f.momentum != T(0)};
    map_chunk<T, 2>(map, chunk.n, chunk.packed);
  });
}

template <class T>
struct Adam {
  T* value;
  const T* grad;
  T *first, *second;
  AdamFactors<T> f;

  template <int N>
  struct Loaded {
    Pack<T, N> value, grad, first, second;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return {load_pack<N>(value + i), load_pack<N>(grad + i), load_pack<N>(first + i), load_pack<N>(second + i)};
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      const T grad = fma(f.l2, v.value[k], v.grad[k]);
      v.first[k] = fma(f.rest1, grad - v.first[k], v.first[k]);
      v.second[k] = fma(f.rest2 * grad, grad, f.beta2 * v.second[k]);
      const T ratio = v.first[k] / fma(sqrt(v.second[k]), f.root_scale, f.eps);
      v.value[k] = fma(-f.step_size, ratio, f.keep * v.value[k]);
    }
    store_pack(value + i, v.value);
    store_pack(first + i, v.first);
    store_pack(second + i, v.second);
  }
};

template <class T, int kMost>
__global__ void __launch_bounds__(kThreads) adam_kernel(const __grid_constant__ ParameterTable<T, 4, kMost> table,
                                                        const AdamFactors<T> factors, const AdamFactors<T>* on_device) {
  const AdamFactors<T> f = on_device == nullptr ? factors : *on_device;
  each_chunk(table, [&](const Chunk<T, 4>& chunk, Index) {
    const Adam<T> map{chunk.array[0], chunk.array[1], chunk.array[2], chunk.array[3], f};
    map_chunk<T, 2>(map, chunk.n, chunk.packed);
  });
}

// x = f(x)
template <class T, class Function>
struct InPlace {
  T* x;
  Function f;

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return load_pack<N>(x + i);
  }
  template <int N>
  __device__ __forceinline__ void store(Index i, Loaded<N> v) const {
#pragma unroll
    for (int k = 0; k < N; ++k) v[k] = f(v[k]);
    store_pack(x + i, v);
  }
};

template <class T>
struct Times {
  T factor;
  __device__ __forceinline__ T operator()(T x) const { return x * factor; }
};

template <class T>
struct Clamp {
  T limit;
  __device__ __forceinline__ T operator()(T x) const { return x > limit ? limit : x < -limit ? -limit : x; }
};

template <class T, int kMost>
__global__ void __launch_bounds__(kThreads) scale_kernel(const __grid_constant__ ParameterTable<T, 1, kMost> table,
                                                         real<double> factor, const real<double>* factor_pointer) {
  if (factor_pointer != nullptr) factor *= *factor_pointer;
  each_chunk(table, [&](const Chunk<T, 1>& chunk, Index) {
    map_chunk<T, 4>(InPlace<T, Times<T>>{chunk.array[0], {T(factor)}}, chunk.n, chunk.packed);
  });
}

template <class T, int kMost>
__global__ void __launch_bounds__(kThreads)
    clamp_kernel(const __grid_constant__ ParameterTable<T, 1, kMost> table, T limit) {
  each_chunk(table, [&](const Chunk<T, 1>& chunk, Index) {
    map_chunk<T, 4>(InPlace<T, Clamp<T>>{chunk.array[0], {limit}}, chunk.n, chunk.packed);
  });
}

__global__ void clip_factor_kernel(const real<double>* sum_squares, real<double> max_norm, real<double>* out) {
  const real<double> factor = max_norm / (sqrt(*sum_squares) + real<double>(1e-6));
  *out = factor > real<double>(1) ? real<double>(1) : factor;
}

}  // namespace

template <class T>
void sgd_step(Stream stream, const std::vector<Parameter<T>>& parameters, const SgdFactors<T>& factors,
              const SgdFactors<T>* on_device, Rung rung) {
  using R = real<T>;
  if (rung == Rung::naive) return naive::sgd_step(stream, parameters, factors, on_device);
  with_tables<3>(parameters, [&]<class Table>(const Table& table, Index, unsigned blocks) {
    launch("sgd", sgd_kernel<R, Table::kMost>, {blocks, kThreads}, stream, table, std::bit_cast<SgdFactors<R>>(factors),
           reinterpret_cast<const SgdFactors<R>*>(on_device));
  });
}

template <class T>
void adam_step(Stream stream, const std::vector<Parameter<T>>& parameters, const AdamFactors<T>& factors,
               const AdamFactors<T>* on_device, Rung rung) {
  using R = real<T>;
  if (rung == Rung::naive) return naive::adam_step(stream, parameters, factors, on_device);
  with_tables<4>(parameters, [&]<class Table>(const Table& table, Index, unsigned blocks) {
    launch("adam", adam_kernel<R, Table::kMost>, {blocks, kThreads}, stream, table,
           std::bit_cast<AdamFactors<R>>(factors), reinterpret_cast<const AdamFactors<R>*>(on_device));
  });
}

template <class T>
void scale_inplace(Stream stream, const std::vector<Parameter<T>>& parameters, double factor,
                   const double* factor_pointer) {
  with_tables<1>(parameters, [&]<class Table>(const Table& table, Index, unsigned blocks) {
    launch("scale", scale_kernel<real<T>, Table::kMost>, {blocks, kThreads}, stream, table, real<double>(factor),
           reals(factor_pointer));
  });
}

template <class T>
void clamp_inplace(Stream stream, const std::vector<Parameter<T>>& parameters, double limit) {
  with_tables<1>(parameters, [&]<class Table>(const Table& table, Index, unsigned blocks) {
    launch("clamp", clamp_kernel<real<T>, Table::kMost>, {blocks, kThreads}, stream, table,
           real<T>(static_cast<T>(limit)));
  });
}

void clip_factor(Stream stream, const double* sum_squares, double max_norm, double* out) {
  launch("clip factor", clip_factor_kernel, {1, 1}, stream, reals(sum_squares), real<double>(max_norm), reals(out));
}

#define DLKIT_INSTANTIATE(T)                                                                                          \
  template void sgd_step(Stream, const std::vector<Parameter<T>>&, const SgdFactors<T>&, const SgdFactors<T>*, Rung); \
  template void adam_step(Stream, const std::vector<Parameter<T>>&, const AdamFactors<T>&, const AdamFactors<T>*,     \
                          Rung);                                                                                      \
  template void scale_inplace(Stream, const std::vector<Parameter<T>>&, double, const double*);                       \
  template void clamp_inplace(Stream, const std::vector<Parameter<T>>&, double);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
