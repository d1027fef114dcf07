// Numbers of the SIMT machine: floats that count what is done with them, and the 16-bit formats.
//
// Counted<T> is a T in memory and behaves as one. Each sum, difference, product and quotient counts as one operation, a
// fused multiply-add as two; exp, sqrt and their like are counted apart, as a GPU has a unit of their own for them.
// Comparisons, signs and conversions are free.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#define DLKIT_SIMT_INLINE inline __attribute__((always_inline))

namespace dlkit::simt {

void count_operations(int flops);
void count_special();

template <class T>
struct Counted {
  T value;

  Counted() = default;
  template <class U>
    requires std::is_arithmetic_v<U>
  DLKIT_SIMT_INLINE constexpr Counted(U x) : value(static_cast<T>(x)) {}
  template <class U>
    requires(!std::is_same_v<T, U>)
  DLKIT_SIMT_INLINE explicit constexpr Counted(Counted<U> x) : value(static_cast<T>(x.value)) {}
  template <class U>
    requires std::is_arithmetic_v<U>
  DLKIT_SIMT_INLINE explicit constexpr operator U() const {
    return static_cast<U>(value);
  }

  friend DLKIT_SIMT_INLINE Counted operator+(Counted a, Counted b) { return count_operations(1), a.value + b.value; }
  friend DLKIT_SIMT_INLINE Counted operator-(Counted a, Counted b) { return count_operations(1), a.value - b.value; }
  friend DLKIT_SIMT_INLINE Counted operator*(Counted a, Counted b) { return count_operations(1), a.value * b.value; }
  friend DLKIT_SIMT_INLINE Counted operator/(Counted a, Counted b) { return count_operations(1), a.value / b.value; }
  friend DLKIT_SIMT_INLINE Counted operator-(Counted a) { return -a.value; }
  friend DLKIT_SIMT_INLINE Counted operator+(Counted a) { return a; }
  DLKIT_SIMT_INLINE Counted& operator+=(Counted b) { return *this = *this + b; }
  DLKIT_SIMT_INLINE Counted& operator-=(Counted b) { return *this = *this - b; }
  DLKIT_SIMT_INLINE Counted& operator*=(Counted b) { return *this = *this * b; }
  DLKIT_SIMT_INLINE Counted& operator/=(Counted b) { return *this = *this / b; }

  friend DLKIT_SIMT_INLINE bool operator==(Counted a, Counted b) { return a.value == b.value; }
  friend DLKIT_SIMT_INLINE bool operator!=(Counted a, Counted b) { return a.value != b.value; }
  friend DLKIT_SIMT_INLINE bool operator<(Counted a, Counted b) { return a.value < b.value; }
  friend DLKIT_SIMT_INLINE bool operator>(Counted a, Counted b) { return a.value > b.value; }
  friend DLKIT_SIMT_INLINE bool operator<=(Counted a, Counted b) { return a.value <= b.value; }
  friend DLKIT_SIMT_INLINE bool operator>=(Counted a, Counted b) { return a.value >= b.value; }

  friend DLKIT_SIMT_INLINE Counted fma(Counted a, Counted b, Counted c) {
    return count_operations(2), std::fma(a.value, b.value, c.value);
  }
  friend DLKIT_SIMT_INLINE Counted fabs(Counted x) { return std::fabs(x.value); }
  friend DLKIT_SIMT_INLINE Counted abs(Counted x) { return std::fabs(x.value); }
  friend DLKIT_SIMT_INLINE Counted copysign(Counted x, Counted y) { return std::copysign(x.value, y.value); }
  friend DLKIT_SIMT_INLINE Counted floor(Counted x) { return std::floor(x.value); }
  friend DLKIT_SIMT_INLINE Counted ceil(Counted x) { return std::ceil(x.value); }
  friend DLKIT_SIMT_INLINE Counted rint(Counted x) { return std::rint(x.value); }
  friend DLKIT_SIMT_INLINE Counted trunc(Counted x) { return std::trunc(x.value); }
  // As CUDA's: a NaN loses.
  friend DLKIT_SIMT_INLINE Counted fmax(Counted a, Counted b) { return std::fmax(a.value, b.value); }
  friend DLKIT_SIMT_INLINE Counted fmin(Counted a, Counted b) { return std::fmin(a.value, b.value); }
  friend DLKIT_SIMT_INLINE Counted max(Counted a, Counted b) { return std::fmax(a.value, b.value); }
  friend DLKIT_SIMT_INLINE Counted min(Counted a, Counted b) { return std::fmin(a.value, b.value); }
  friend DLKIT_SIMT_INLINE bool isnan(Counted x) { return std::isnan(x.value); }
  friend DLKIT_SIMT_INLINE bool isinf(Counted x) { return std::isinf(x.value); }
  friend DLKIT_SIMT_INLINE bool isfinite(Counted x) { return std::isfinite(x.value); }

#define DLKIT_SIMT_SPECIAL(name) \
  friend DLKIT_SIMT_INLINE Counted name(Counted x) { return count_special(), std::name(x.value); }
  DLKIT_SIMT_SPECIAL(exp)
  DLKIT_SIMT_SPECIAL(exp2)
  DLKIT_SIMT_SPECIAL(expm1)
  DLKIT_SIMT_SPECIAL(log)
  DLKIT_SIMT_SPECIAL(log2)
  DLKIT_SIMT_SPECIAL(log1p)
  DLKIT_SIMT_SPECIAL(sqrt)
  DLKIT_SIMT_SPECIAL(tanh)
  DLKIT_SIMT_SPECIAL(erf)
  DLKIT_SIMT_SPECIAL(erfc)
  DLKIT_SIMT_SPECIAL(sin)
  DLKIT_SIMT_SPECIAL(cos)
#undef DLKIT_SIMT_SPECIAL
  friend DLKIT_SIMT_INLINE Counted rsqrt(Counted x) { return count_special(), 1 / std::sqrt(x.value); }
  friend DLKIT_SIMT_INLINE Counted pow(Counted x, Counted y) { return count_special(), std::pow(x.value, y.value); }
};

static_assert(sizeof(Counted<float>) == 4 && std::is_trivially_copyable_v<Counted<float>>);

// IEEE binary16 and bfloat16 as bits.
struct half {
  std::uint16_t bits;
};
struct bfloat16 {
  std::uint16_t bits;
};

float to_float(half x);
half to_half(float x);

DLKIT_SIMT_INLINE float to_float(bfloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }

DLKIT_SIMT_INLINE bfloat16 to_bfloat16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return {static_cast<std::uint16_t>(bits >> 16 | 0x40)};  // stays a NaN, and quiet
  return {static_cast<std::uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)};
}

// TF32 keeps 10 bits of mantissa; to nearest, ties away from zero.
DLKIT_SIMT_INLINE std::uint32_t to_tf32(Counted<float> x) {
  const auto bits = std::bit_cast<std::uint32_t>(x.value);
  return (bits & 0x7F800000) == 0x7F800000 ? (bits & ~0x1FFFu) | (x.value != x.value ? 0x400000u : 0u)
                                           : (bits + 0x1000) & ~0x1FFFu;
}

}  // namespace dlkit::simt
