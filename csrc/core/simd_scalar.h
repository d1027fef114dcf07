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
  static constexpr bool cheap_masks = true;
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
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return true; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {c.v - a.v * b.v}; }
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {a.v < b.v ? a.v : b.v}; }
  static DLKIT_INLINE Vec sqrt(Vec a) { return {__builtin_sqrt(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {a.v < 0 || (a.v == 0 && 1 / a.v < 0) ? -a.v : a.v}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {-abs(a).v}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) { return {T(__builtin_copysign(magnitude.v, sign.v))}; }
  static DLKIT_INLINE Vec round(Vec a) { return {T(__builtin_nearbyint(a.v))}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) { return {T(__builtin_ldexp(1.0, int(integer.v)))}; }
  // Adding it rounds |x| < 2^22 (2^51) to an integer.
  static constexpr T rounder = sizeof(T) == 4 ? T(0x1.8p23) : T(0x1.8p52);
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) { return exp2_of_integer({t.v - rounder}); }
  // p * 2^n for integral n, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) { return {T(__builtin_ldexp(double(p.v), int(n.v)))}; }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return a.v < b.v; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return a.v <= b.v; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return a.v != a.v; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return m ? yes : no; }

  DLKIT_INLINE T sum() const { return v; }
  DLKIT_INLINE T maximum() const { return v; }
};

// Where there is no such mode: nothing.
struct FlushDenormals {
  DLKIT_INLINE FlushDenormals() {}
  DLKIT_INLINE ~FlushDenormals() {}
};

// A pair of 64-bit integers, for the random numbers of core/philox.h.
struct Lanes64 {
  static constexpr int lanes = 2;
  std::uint64_t v[2];

  static DLKIT_INLINE Lanes64 broadcast(std::uint64_t x) { return {{x, x}}; }
  static DLKIT_INLINE Lanes64 load(const std::uint64_t* p) { return {{p[0], p[1]}}; }
  DLKIT_INLINE void store(std::uint64_t* p) const { p[0] = v[0], p[1] = v[1]; }
  friend DLKIT_INLINE Lanes64 operator+(Lanes64 a, Lanes64 b) { return {{a.v[0] + b.v[0], a.v[1] + b.v[1]}}; }
  friend DLKIT_INLINE Lanes64 operator^(Lanes64 a, Lanes64 b) { return {{a.v[0] ^ b.v[0], a.v[1] ^ b.v[1]}}; }
  static DLKIT_INLINE Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) {
    return {{(a.v[0] & 0xffffffffu) * (b.v[0] & 0xffffffffu), (a.v[1] & 0xffffffffu) * (b.v[1] & 0xffffffffu)}};
  }
  DLKIT_INLINE Lanes64 high_half() const { return {{v[0] >> 32, v[1] >> 32}}; }
  // The low halves of two vectors side by side: low below, high above.
  static DLKIT_INLINE Lanes64 join_low_halves(Lanes64 low, Lanes64 high) {
    return {{(low.v[0] & 0xffffffffu) | high.v[0] << 32, (low.v[1] & 0xffffffffu) | high.v[1] << 32}};
  }
  // Of each 128 bits: the first (second) 64 of a, then the first (second) 64 of b.
  static DLKIT_INLINE Lanes64 interleave_first(Lanes64 a, Lanes64 b) { return {{a.v[0], b.v[0]}}; }
  static DLKIT_INLINE Lanes64 interleave_second(Lanes64 a, Lanes64 b) { return {{a.v[1], b.v[1]}}; }
};

}  // namespace dlkit::DLKIT_TARGET
