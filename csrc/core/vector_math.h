// exp, expm1, sigmoid, tanh, softplus, and the normal distribution function, on registers.
//
// Largest errors in units in the last place (ulp) of the exact result, over the whole range of arguments. They are
// measured by tests/core/test_vector_math.py on every instruction set, with fused multiply-add and without:
//            float32  float64
//   exp        1.1      1.2
//   expm1      1.1      1.2     (arguments that are not positive)
//   sigmoid    2.0      1.9
//   tanh       2.5      2.6
//   softplus   2.7      2.9
//   gelu       7        3.3     (without FMA, below -3: 60 in float32)
// Infinities give the limits, a NaN gives a NaN, and results too small for a normal number are denormal.
//
// Method: Cody and Waite, Software Manual for the Elementary Functions (1980): x = n ln 2 + r with |r| <= ln 2 / 2,
// ln 2 split in two so that n times the first part is exact, e^x = 2^n e^r. The polynomials are minimax fits
// (Remez exchange, relative error of the whole function).
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr float log2e = 0x1.715476p+0f;
  static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
  static constexpr float exp_min = -104.0f, exp_max = 89.0f;            // e^x is 0 below, infinite above
  static constexpr float tanh_max = 9.2f;                               // tanh rounds to 1 above
  static constexpr float sigmoid_max = 60.0f, sigmoid_unit = 0x1p-32f;  // sigmoid rounds to 1 above
  // (e^r - 1 - r) / r^2, error 3e-9 of e^r
  static constexpr float exp_tail[] = {0x1.fffffcp-2f, 0x1.555490p-3f, 0x1.5558f4p-5f, 0x1.123a6cp-7f, 0x1.6a2352p-10f};
  // 2 (atanh(sqrt z) / sqrt z - 1) / z, error 2e-10 of log1p
  static constexpr float atanh_tail[] = {0x1.555558p-1f, 0x1.9996a8p-2f, 0x1.250972p-2f, 0x1.b6d6a4p-3f,
                                         0x1.f1aee2p-3f};
};

template <>
struct MathConstants<double> {
  static constexpr double log2e = 0x1.71547652b82fep+0;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_min = -746.0, exp_max = 710.0;
  static constexpr double tanh_max = 22.0;
  static constexpr double sigmoid_max = 60.0, sigmoid_unit = 0x1p-64;
  static constexpr double exp_tail[] = {0x1.000000000000ap-1,  0x1.55555555554f9p-3,  0x1.55555555507f1p-5,
                                        0x1.1111111127e81p-7,  0x1.6c16c1844b041p-10, 0x1.a01a0129b4884p-13,
                                        0x1.a01999adc55e8p-16, 0x1.71df262c9d8c7p-19, 0x1.28adce77d63cdp-22,
                                        0x1.ad7f014951c20p-26};
  static constexpr double atanh_tail[] = {0x1.5555555555555p-1, 0x1.99999999999c2p-2, 0x1.24924924902ebp-2,
                                          0x1.c71c71c8daf06p-3, 0x1.745d16d97975dp-3, 0x1.3b13c1efa02c0p-3,
                                          0x1.110f5aa47abd0p-3, 0x1.e21ef249edbf2p-4, 0x1.ac43db5bc2ca5p-4,
                                          0x1.9d7596e0637edp-4, 0x1.daf1d9bbb7bb3p-5, 0x1.48d2fd00833abp-3};
};

// The sum of c[i] x^i; z = x^2. Horner's rule in z on pairs c[i] + c[i + 1] x (Estrin's first step): as many operations
// as Horner's rule in x, in half the latency.
template <class T, int N, class V>
DLKIT_INLINE V polynomial(V x, V z, const T (&c)[N]) {
  constexpr int kLast = (N - 1) / 2 * 2;
  const auto pair = [&](int i) __attribute__((always_inline)) {
    return i + 1 < N ? V::fma(V::broadcast(c[i + 1]), x, V::broadcast(c[i])) : V::broadcast(c[i]);
  };
  V value = pair(kLast);
  for (int i = kLast - 2; i >= 0; i -= 2) value = V::fma(value, z, pair(i));
  return value;
}

template <class T, class V>
DLKIT_INLINE V expm1_of_small(V r) {
  const V z = r * r;
  return V::fma(polynomial<T>(r, z, MathConstants<T>::exp_tail), z, r);
}

// x = n ln 2 + r: returns e^r - 1. `rounded` is n + V::rounder, which holds n in its last bits.
template <class T, class V>
DLKIT_INLINE V reduce(V x, V& n, V& rounded, T rounder_value = V::rounder) {
  using C = MathConstants<T>;
  const V rounder = V::broadcast(rounder_value);
  rounded = V::fma(x, V::broadcast(C::log2e), rounder);
  n = rounded - rounder;
  const V r = V::fnma(n, V::broadcast(C::ln2_low), V::fnma(n, V::broadcast(C::ln2_high), x));
  return expm1_of_small<T>(r);
}

// For exp_min <= x <= exp_max, or NaN.
template <class T, class V>
DLKIT_INLINE V exp_bounded(V x) {
  V n, rounded;
  const V expm1_r = reduce<T>(x, n, rounded);
  return V::ldexp(expm1_r + V::broadcast(1), n);
}

template <class T, class V>
DLKIT_INLINE V exp(V x) {
  using C = MathConstants<T>;
  // min and max return their second argument where one is NaN.
  return exp_bounded<T>(V::min(V::broadcast(C::exp_max), V::max(V::broadcast(C::exp_min), x)));
}

// e^x where x <= 0 is known (or NaN).
template <class T, class V>
DLKIT_INLINE V exp_of_negative(V x) {
  return exp_bounded<T>(V::max(V::broadcast(MathConstants<T>::exp_min), x));
}

// e^x - 1 without cancellation, for |x| up to 2 tanh_max.
template <class T, class V>
DLKIT_INLINE V expm1_bounded(V x) {
  V n, rounded;
  const V expm1_r = reduce<T>(x, n, rounded), scale = V::exp2_of_rounded(rounded);
  return V::fma(scale, expm1_r, scale - V::broadcast(1));
}

// e^x - 1 where x <= 0 is known (or NaN). Rounds to -1 below -2 tanh_max.
template <class T, class V>
DLKIT_INLINE V expm1_of_negative(V x) {
  return expm1_bounded<T>(V::max(V::broadcast(T(-2) * MathConstants<T>::tanh_max), x));
}

// a / b: by the division instruction, or by an estimate of 1 / b where the instruction set has one.
template <class T, bool kEstimate, class V>
DLKIT_INLINE V quotient(V a, V b) {
  return kEstimate ? a * V::reciprocal(b) : a / b;
}

// u / (u + u e^-x) with u a small power of 2: then u e^-x does not overflow where the result is not 0, and the last
// operation alone makes a denormal number of it.
template <class T, bool kEstimate = false, class V>
DLKIT_INLINE V sigmoid(V x) {
  using C = MathConstants<T>;
  constexpr T kLog2Unit = sizeof(T) == 4 ? -32 : -64;
  const V unit = V::broadcast(C::sigmoid_unit);
  const V minus = V::max(V::broadcast(-C::sigmoid_max), V::min(V::broadcast(-C::exp_min), V::zero() - x));
  V n, rounded;
  const V expm1_r = reduce<T>(minus, n, rounded, V::rounder + kLog2Unit), scale = V::exp2_of_rounded(rounded);
  return quotient<T, kEstimate>(unit, V::fma(scale, expm1_r, scale + unit));
}

// m / (m + 1) with m = expm1(2 x) / 2. Of -0 it is +0.
template <class T, bool kEstimate = false, class V>
DLKIT_INLINE V tanh(V x) {
  using C = MathConstants<T>;
  const V half = V::broadcast(T(0.5));
  const V a = V::max(V::broadcast(-C::tanh_max), V::min(V::broadcast(C::tanh_max), x));
  V n, rounded;
  const V expm1_r = reduce<T>(a + a, n, rounded), scale = V::exp2_of_rounded(rounded) * half;
  const V m = V::fma(scale, expm1_r, scale - half);
  return quotient<T, kEstimate>(m, m + V::broadcast(1));
}

// log(1 + t) for 0 <= t <= 1: 2 atanh(t / (2 + t)).
template <class T>
DLKIT_INLINE Vec<T> log1p_of_unit(Vec<T> t) {
  using V = Vec<T>;
  const V s = t / (V::broadcast(2) + t);
  const V z = s * s;
  return V::fma(s * z, polynomial<T>(z, z * z, MathConstants<T>::atanh_tail), s + s);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
template <class T>
DLKIT_INLINE Vec<T> softplus(Vec<T> x) {
  using V = Vec<T>;
  return V::max(V::zero(), x) + log1p_of_unit<T>(exp_of_negative<T>(V::minus_abs(x)));
}

// Of the standard normal distribution at a >= 0: its tail Q(a) = erfc(a / sqrt 2) / 2 and the bell exp(-a^2 / 2), both
// without a factor 2^n, so that neither is denormal before the last step.
template <class T>
struct NormalTail {
  Vec<T> tail, bell, n;
};

// Past these Q is zero, even as a denormal number.
template <class T>
constexpr T kNormalMax = sizeof(T) == 4 ? T(15) : T(40);

// Q(a) = exp(-a^2 / 2) t P(t), t = 1 / (1 + 0.26 a): the form of Abramowitz and Stegun 7.1.26 with a fit of degree 8
// (error 3e-8 of Q up to a = 14.6; each coefficient rounded to float32 before the next was fitted). For 0 <= a <=
// kNormalMax, or NaN.
DLKIT_INLINE NormalTail<float> normal_tail(Vec<float> a) {
  using V = Vec<float>;
  using C = MathConstants<float>;
  static constexpr float kFit[] = {0x1.a8fcb6p-4f,  0x1.a61faep-4f, 0x1.a4d4bp-4f,  0x1.ab30ccp-5f, 0x1.4442c8p-3f,
                                   -0x1.2d66c6p-3f, 0x1.fc4ac8p-3f, -0x1.35b86p-3f, 0x1.ee66b8p-6f};
  // The square is kept exact by the fused operation: rounded first, it would cost up to 100 ulp far out.
  const V rounder = V::broadcast(V::rounder);
  const V rounded = V::fma(a * a, V::broadcast(-0.5f * C::log2e), rounder), n = rounded - rounder;
  const V from_high = V::fma(a * V::broadcast(-0.5f), a, n * V::broadcast(-C::ln2_high));
  const V r = V::fnma(n, V::broadcast(C::ln2_low), from_high);
  const V bell = expm1_of_small<float>(r) + V::broadcast(1);
  const V t = V::broadcast(1) / V::fma(a, V::broadcast(0.26f), V::broadcast(1));
  return {bell * t * polynomial<float>(t, t * t, kFit), bell, n};
}

// float64 is for gradient checks: the C library's erfc, lane by lane. What rounding a / sqrt 2 and a^2 takes off is put
// back to first order: left out it would be a^2 ulp of the tail. The library's fma is exact where the processor has
// none.
DLKIT_INLINE NormalTail<double> normal_tail(Vec<double> a) {
  using V = Vec<double>;
  constexpr double kRoot = 0.70710678118654752, kRootLow = -4.8336466567264567e-17;  // 1 / sqrt 2
  constexpr double kSlope = 0.56418958354775629;                                     // 1 / sqrt pi
  double x[V::lanes], bell[V::lanes];
  a.store(x);
  exp_of_negative<double>(a * a * V::broadcast(-0.5)).store(bell);
  for (int i = 0; i < V::lanes; ++i) {
    bell[i] -= bell[i] * 0.5 * __builtin_fma(x[i], x[i], -(x[i] * x[i]));
    const double t = x[i] * kRoot, rest = __builtin_fma(x[i], kRoot, -t) + x[i] * kRootLow;
    x[i] = 0.5 * __builtin_erfc(t) - rest * kSlope * bell[i];
  }
  return {V::load(x), V::load(bell), V::zero()};
}

// x times the normal distribution function: max(x, 0) - |x| Q(|x|).
template <class T>
DLKIT_INLINE Vec<T> gelu(Vec<T> x) {
  using V = Vec<T>;
  const V a = V::min(V::broadcast(kNormalMax<T>), V::abs(x));
  const NormalTail<T> at = normal_tail(a);
  return V::max(V::zero(), x) - V::ldexp(a * at.tail, at.n);
}

// The normal distribution function plus x times its density.
template <class T>
DLKIT_INLINE Vec<T> gelu_derivative(Vec<T> x) {
  using V = Vec<T>;
  const V a = V::min(V::broadcast(kNormalMax<T>), V::abs(x));
  const NormalTail<T> at = normal_tail(a);
  constexpr T kDensity = T(0.39894228040143267794);                                       // 1 / sqrt(2 pi)
  const V below = V::ldexp(V::fnma(a * V::broadcast(kDensity), at.bell, at.tail), at.n);  // for x < 0
  return V::select(V::less(x, V::zero()), below, V::broadcast(1) - below);
}

}  // namespace dlkit::DLKIT_TARGET
