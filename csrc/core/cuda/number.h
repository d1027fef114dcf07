// The numbers that kernels compute with.
//
// real<T> is T. On the SIMT machine it is a T that counts its operations, so kernels do their floating-point arithmetic
// in real<T> (mostly as a template parameter) and never in a bare float. Memory holds the same bits either way.
// half and bfloat16 are for storage: they are widened to real<float> to compute.
#pragma once

#include <cstdint>

#include "core/cuda/platform.h"

namespace dlkit {

#if defined(DLKIT_SIMT)

template <class T>
struct RealOf {
  using type = T;
};
template <>
struct RealOf<float> {
  using type = simt::Counted<float>;
};
template <>
struct RealOf<double> {
  using type = simt::Counted<double>;
};
template <class T>
using real = typename RealOf<T>::type;

using half = simt::half;
using bfloat16 = simt::bfloat16;

#else

template <class T>
using real = T;

using half = __half;
using bfloat16 = __nv_bfloat16;

#endif

// The type to add up products of T in.
template <class T>
struct AccumulatorOf {
  using type = T;
};
template <>
struct AccumulatorOf<half> {
  using type = real<float>;
};
template <>
struct AccumulatorOf<bfloat16> {
  using type = real<float>;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

// Widening is exact; narrowing rounds to nearest, ties to even.
template <class To, class From>
struct Convert {
  static __device__ __forceinline__ To apply(From x) { return static_cast<To>(x); }
};
template <>
struct Convert<real<float>, half> {
  static __device__ __forceinline__ real<float> apply(half x) { return __half2float(x); }
};
template <>
struct Convert<real<float>, bfloat16> {
  static __device__ __forceinline__ real<float> apply(bfloat16 x) { return __bfloat162float(x); }
};
template <>
struct Convert<half, real<float>> {
  static __device__ __forceinline__ half apply(real<float> x) { return __float2half_rn(x); }
};
template <>
struct Convert<bfloat16, real<float>> {
  static __device__ __forceinline__ bfloat16 apply(real<float> x) { return __float2bfloat16_rn(x); }
};

template <class To, class From>
__device__ __forceinline__ To convert(From x) {
  return Convert<To, From>::apply(x);
}

}  // namespace dlkit
