// NEON (aarch64): 128-bit registers, tails lane by lane.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace dlkit::DLKIT_TARGET {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  struct Mask {
    uint32x4_t bits;  // all ones in a lane that is in the subset
  };
  static constexpr int lanes = 4;
  static constexpr int registers = 32;
  static constexpr bool cheap_masks = false;
  float32x4_t v;

  static DLKIT_INLINE Vec zero() { return {vdupq_n_f32(0)}; }
  static DLKIT_INLINE Vec broadcast(float x) { return {vdupq_n_f32(x)}; }
  static DLKIT_INLINE Vec load(const float* p) { return {vld1q_f32(p)}; }
  static DLKIT_INLINE Vec load(const float* p, Mask m) {
    float lane[4];
    std::uint32_t in[4];
    vst1q_u32(in, m.bits);
    for (int i = 0; i < 4; ++i) lane[i] = in[i] ? p[i] : 0;
    return {vld1q_f32(lane)};
  }
  DLKIT_INLINE void store(float* p) const { vst1q_f32(p, v); }
  DLKIT_INLINE void store(float* p, Mask m) const {
    float lane[4];
    std::uint32_t in[4];
    vst1q_f32(lane, v);
    vst1q_u32(in, m.bits);
    for (int i = 0; i < 4; ++i)
      if (in[i]) p[i] = lane[i];
  }
  DLKIT_INLINE void stream(float* p) const { vst1q_f32(p, v); }  // no such hint here: an ordinary store

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    std::uint32_t in[4];
    for (int i = 0; i < 4; ++i) in[i] = i < n ? ~std::uint32_t{0} : 0;
    return {vld1q_u32(in)};
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return {vdupq_n_u32(~std::uint32_t{0})}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {vaddq_f32(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {vsubq_f32(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {vmulq_f32(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {vdivq_f32(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f32(c.v, a.v, b.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f32(c.v, a.v, b.v)}; }  // c - a * b
  // As on x86: b where either is NaN.
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {vbslq_f32(vcgtq_f32(a.v, b.v), a.v, b.v)}; }
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {vbslq_f32(vcltq_f32(a.v, b.v), a.v, b.v)}; }
  static DLKIT_INLINE Vec sqrt(Vec a) { return {vsqrtq_f32(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {vabsq_f32(a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {vnegq_f32(vabsq_f32(a.v))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {vbslq_f32(vdupq_n_u32(0x80000000u), sign.v, magnitude.v)};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {vrndnq_f32(a.v)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const int32x4_t n = vaddq_s32(vcvtq_s32_f32(integer.v), vdupq_n_s32(127));
    return {vreinterpretq_f32_s32(vshlq_n_s32(n, 23))};
  }
  // Adding it rounds |x| < 2^22 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr float rounder = 0x1.8p23f + 127;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(t.v), 23))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5f));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {vcltq_f32(a.v, b.v)}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return {vcleq_f32(a.v, b.v)}; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {veorq_u32(vceqq_f32(a.v, a.v), vdupq_n_u32(~std::uint32_t{0}))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return {vbslq_f32(m.bits, yes.v, no.v)}; }

  DLKIT_INLINE float sum() const { return vaddvq_f32(v); }
  DLKIT_INLINE float maximum() const { return vmaxvq_f32(v); }
};

template <>
struct Vec<double> {
  struct Mask {
    uint64x2_t bits;  // all ones in a lane that is in the subset
  };
  static constexpr int lanes = 2;
  static constexpr int registers = 32;
  static constexpr bool cheap_masks = false;
  float64x2_t v;

  static DLKIT_INLINE Vec zero() { return {vdupq_n_f64(0)}; }
  static DLKIT_INLINE Vec broadcast(double x) { return {vdupq_n_f64(x)}; }
  static DLKIT_INLINE Vec load(const double* p) { return {vld1q_f64(p)}; }
  static DLKIT_INLINE Vec load(const double* p, Mask m) {
    double lane[2];
    std::uint64_t in[2];
    vst1q_u64(in, m.bits);
    for (int i = 0; i < 2; ++i) lane[i] = in[i] ? p[i] : 0;
    return {vld1q_f64(lane)};
  }
  DLKIT_INLINE void store(double* p) const { vst1q_f64(p, v); }
  DLKIT_INLINE void store(double* p, Mask m) const {
    double lane[2];
    std::uint64_t in[2];
    vst1q_f64(lane, v);
    vst1q_u64(in, m.bits);
    for (int i = 0; i < 2; ++i)
      if (in[i]) p[i] = lane[i];
  }
  DLKIT_INLINE void stream(double* p) const { vst1q_f64(p, v); }  // no such hint here: an ordinary store

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    std::uint64_t in[2];
    for (int i = 0; i < 2; ++i) in[i] = i < n ? ~std::uint64_t{0} : 0;
    return {vld1q_u64(in)};
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return {vdupq_n_u64(~std::uint64_t{0})}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {vaddq_f64(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {vsubq_f64(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {vmulq_f64(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {vdivq_f64(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {vfmaq_f64(c.v, a.v, b.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {vfmsq_f64(c.v, a.v, b.v)}; }  // c - a * b
  // As on x86: b where either is NaN.
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {vbslq_f64(vcgtq_f64(a.v, b.v), a.v, b.v)}; }
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {vbslq_f64(vcltq_f64(a.v, b.v), a.v, b.v)}; }
  static DLKIT_INLINE Vec sqrt(Vec a) { return {vsqrtq_f64(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {vabsq_f64(a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {vnegq_f64(vabsq_f64(a.v))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {vbslq_f64(vdupq_n_u64(0x8000000000000000ull), sign.v, magnitude.v)};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {vrndnq_f64(a.v)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const int64x2_t n = vaddq_s64(vcvtq_s64_f64(integer.v), vdupq_n_s64(1023));
    return {vreinterpretq_f64_s64(vshlq_n_s64(n, 52))};
  }
  // Adding it rounds |x| < 2^51 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr double rounder = 0x1.8p52 + 1023;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(t.v), 52))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {vcltq_f64(a.v, b.v)}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return {vcleq_f64(a.v, b.v)}; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {veorq_u64(vceqq_f64(a.v, a.v), vdupq_n_u64(~std::uint64_t{0}))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return {vbslq_f64(m.bits, yes.v, no.v)}; }

  DLKIT_INLINE double sum() const { return vaddvq_f64(v); }
  DLKIT_INLINE double maximum() const { return vmaxvq_f64(v); }
};

// While it lives, denormal operands and results are zeros on this thread: some processors take ten times as long for
// them, and a moving average whose input has become 0 ends among them.
struct FlushDenormals {
  std::uint64_t saved;
  DLKIT_INLINE FlushDenormals() {
    asm volatile("mrs %0, fpcr" : "=r"(saved));
    asm volatile("msr fpcr, %0" : : "r"(saved | std::uint64_t{1} << 24) : "memory");  // FZ
  }
  DLKIT_INLINE ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved) : "memory"); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// 64-bit integer lanes, for the random numbers of core/philox.h.
struct Lanes64 {
  static constexpr int lanes = 2;
  uint64x2_t v;

  static DLKIT_INLINE Lanes64 broadcast(std::uint64_t x) { return {vdupq_n_u64(x)}; }
  static DLKIT_INLINE Lanes64 load(const std::uint64_t* p) { return {vld1q_u64(p)}; }
  DLKIT_INLINE void store(std::uint64_t* p) const { vst1q_u64(p, v); }
  friend DLKIT_INLINE Lanes64 operator+(Lanes64 a, Lanes64 b) { return {vaddq_u64(a.v, b.v)}; }
  friend DLKIT_INLINE Lanes64 operator^(Lanes64 a, Lanes64 b) { return {veorq_u64(a.v, b.v)}; }
  // 32 x 32 -> 64 bits
  static DLKIT_INLINE Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) {
    return {vmull_u32(vmovn_u64(a.v), vmovn_u64(b.v))};
  }
  DLKIT_INLINE Lanes64 high_half() const { return {vshrq_n_u64(v, 32)}; }
  // The low halves of two vectors side by side: low below, high above.
  static DLKIT_INLINE Lanes64 join_low_halves(Lanes64 low, Lanes64 high) { return {vsliq_n_u64(low.v, high.v, 32)}; }
  // Of each 128 bits: the first (second) 64 of a, then the first (second) 64 of b.
  static DLKIT_INLINE Lanes64 interleave_first(Lanes64 a, Lanes64 b) { return {vtrn1q_u64(a.v, b.v)}; }
  static DLKIT_INLINE Lanes64 interleave_second(Lanes64 a, Lanes64 b) { return {vtrn2q_u64(a.v, b.v)}; }
};

}  // namespace dlkit::DLKIT_TARGET
