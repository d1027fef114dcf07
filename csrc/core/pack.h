// Several registers in lockstep, under the interface of one (what functions of core/vector_math.h need of it).
//
// A function of a register is a chain of operations, each of which waits for the one before: 70 to 80 cycles for a
// hyperbolic tangent of some 25 operations. The processor overlaps the chains of neighbouring registers as far as it
// looks ahead (on Zen 3, past 64 operations that wait); an LSTM's cell, five functions long, goes beyond. In lockstep
// the operations that may run at once stand next to each other.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

template <class T, int N>
struct Pack {
  using V = Vec<T>;
  static constexpr int lanes = N * V::lanes;
  static constexpr T rounder = V::rounder;
  V v[N];

  // f of each register and of its counterparts in the others.
  template <class F, class... More>
  static DLKIT_INLINE Pack each(const F& f, const More&... more) {
    Pack result;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) result.v[i] = f(more.v[i]...);
    return result;
  }

  static DLKIT_INLINE Pack broadcast(T x) {
    Pack result;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) result.v[i] = V::broadcast(x);
    return result;
  }
  static DLKIT_INLINE Pack zero() { return broadcast(T(0)); }
  static DLKIT_INLINE Pack load(const T* p) {
    Pack result;
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) result.v[i] = V::load(p + i * V::lanes);
    return result;
  }
  DLKIT_INLINE void store(T* p) const {
#pragma GCC unroll 8
    for (int i = 0; i < N; ++i) v[i].store(p + i * V::lanes);
  }

  friend DLKIT_INLINE Pack operator+(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return x + y; }, a, b);
  }
  friend DLKIT_INLINE Pack operator-(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return x - y; }, a, b);
  }
  friend DLKIT_INLINE Pack operator*(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return x * y; }, a, b);
  }
  friend DLKIT_INLINE Pack operator/(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return x / y; }, a, b);
  }
  static DLKIT_INLINE Pack min(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return V::min(x, y); }, a, b);
  }
  static DLKIT_INLINE Pack max(const Pack& a, const Pack& b) {
    return each([](V x, V y) __attribute__((always_inline)) { return V::max(x, y); }, a, b);
  }
  static DLKIT_INLINE Pack fma(const Pack& a, const Pack& b, const Pack& c) {
    return each([](V x, V y, V z) __attribute__((always_inline)) { return V::fma(x, y, z); }, a, b, c);
  }
  static DLKIT_INLINE Pack fnma(const Pack& a, const Pack& b, const Pack& c) {
    return each([](V x, V y, V z) __attribute__((always_inline)) { return V::fnma(x, y, z); }, a, b, c);
  }
  static DLKIT_INLINE Pack reciprocal(const Pack& a) {
    return each([](V x) __attribute__((always_inline)) { return V::reciprocal(x); }, a);
  }
  static DLKIT_INLINE Pack exp2_of_rounded(const Pack& a) {
    return each([](V x) __attribute__((always_inline)) { return V::exp2_of_rounded(x); }, a);
  }
};

}  // namespace dlkit::DLKIT_TARGET
