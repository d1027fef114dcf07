// One-lane stand-in for processors that no other wrapper covers: correct everywhere, fast nowhere.
#pragma once

#include <cmath>
#include <cstdint>

namespace dlkit::DLKIT_TARGET {

template <class T>
struct Vec {
  using Mask = bool;
  static constexpr int lanes = 1;
  static constexpr int registers = 16;
  T v;

  static DLKIT_INLINE Vec zero() { return {0}; }
  static DLKIT_INLINE Vec broadcast(T x) { return {x}; }
  static DLKIT_INLINE Vec load(const T* p) { return {*p}; }
  static DLKIT_INLINE Vec load(const T* p, Mask m) { return {m ? *p : T(0)}; }
  DLKIT_INLINE void store(T* p) const { *p = v; }
  DLKIT_INLINE void store(T* p, Mask m) const {
    if (m) *p = v;
  }
  DLKIT_INLINE void stream(T* p) const { *p = v; }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) { return n > 0; }
  static DLKIT_INLINE Mask all() { return true; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  static DLKIT_INLINE Vec sqrt(Vec a) { return {__builtin_sqrt(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {a.v < 0 || (a.v == 0 && 1 / a.v < 0) ? -a.v : a.v}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) { return {T(__builtin_copysign(magnitude.v, sign.v))}; }
  static DLKIT_INLINE Vec round(Vec a) { return {T(__builtin_nearbyint(a.v))}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) { return {T(__builtin_ldexp(1.0, int(integer.v)))}; }

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return a.v < b.v; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return a.v <= b.v; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return a.v != a.v; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return m ? yes : no; }

  DLKIT_INLINE T sum() const { return v; }
  DLKIT_INLINE T maximum() const { return v; }
};

}  // namespace dlkit::DLKIT_TARGET
