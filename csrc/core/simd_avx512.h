// AVX-512 (F, DQ, BW, VL): 512-bit registers, tails by mask registers.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace dlkit::DLKIT_TARGET {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  using Mask = __mmask16;
  static constexpr int lanes = 16;
  static constexpr int registers = 32;
  static constexpr bool cheap_masks = true;
  __m512 v;

  static DLKIT_INLINE Vec zero() { return {_mm512_setzero_ps()}; }
  static DLKIT_INLINE Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  static DLKIT_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static DLKIT_INLINE Vec load(const float* p, Mask m) { return {_mm512_maskz_loadu_ps(m, p)}; }
  // The lanes of the mask from p, the others as they are.
  DLKIT_INLINE Vec merge(const float* p, Mask m) const { return {_mm512_mask_loadu_ps(v, m, p)}; }
  DLKIT_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  DLKIT_INLINE void store(float* p, Mask m) const { _mm512_mask_storeu_ps(p, m, v); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    return static_cast<Mask>(n >= lanes ? ~0u : (1u << (n > 0 ? n : 0)) - 1u);
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return static_cast<Mask>(~0u); }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_ps(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm512_abs_ps(a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm512_or_ps(a.v, _mm512_set1_ps(-0.0f))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    // 0xd8: the second operand where the third has ones, else the first.
    return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(magnitude.v), _mm512_castps_si512(sign.v),
                                                          _mm512_set1_epi32(INT32_MIN), 0xd8))};
  }
  static DLKIT_INLINE Vec round(Vec a) {
    return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m512i n = _mm512_add_epi32(_mm512_cvtps_epi32(integer.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(n, 23))};
  }
  // Adding it rounds |x| < 2^22 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr float rounder = 0x1.8p23f + 127;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(t.v), 23))};
  }
  // p * 2^n for integral n, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) { return {_mm512_scalef_ps(p.v, n.v)}; }
  // 1 / a within 1 ulp: an estimate of 14 bits and a Newton step. On processors that divide slowly this is faster.
  // Where the step has no meaning (a zero, infinite, or its reciprocal infinite) the estimate is the result.
  static DLKIT_INLINE Vec reciprocal(Vec a) {
    const __m512 r = _mm512_rcp14_ps(a.v);
    const __m512 error = _mm512_fnmadd_ps(a.v, r, _mm512_set1_ps(1));
    const __mmask16 valid = _mm512_cmp_ps_mask(error, _mm512_set1_ps(-1), _CMP_GT_OQ);
    return {_mm512_mask_fmadd_ps(r, valid, error, r)};
  }
  // sqrt(a) within 1 ulp: an estimate of 1 / sqrt(a) of 14 bits and a Newton step.
  static DLKIT_INLINE Vec fast_sqrt(Vec a) {
    const __m512 r = _mm512_rsqrt14_ps(a.v);
    const __m512 s = _mm512_mul_ps(a.v, r);
    const __m512 error = _mm512_fnmadd_ps(s, r, _mm512_set1_ps(1));
    const __m512 root = _mm512_fmadd_ps(_mm512_mul_ps(s, _mm512_set1_ps(0.5f)), error, s);
    const __mmask16 special = _mm512_fpclass_ps_mask(a.v, 0x02 | 0x04 | 0x08);  // +0, -0, +inf: their own roots
    return {_mm512_mask_blend_ps(special, root, a.v)};
  }

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ); }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LE_OQ); }
  static DLKIT_INLINE Mask is_nan(Vec a) { return _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q); }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_ps(m, no.v, yes.v)}; }

  DLKIT_INLINE float sum() const { return _mm512_reduce_add_ps(v); }
  DLKIT_INLINE float maximum() const { return _mm512_reduce_max_ps(v); }
};

template <>
struct Vec<double> {
  using Mask = __mmask8;
  static constexpr int lanes = 8;
  static constexpr int registers = 32;
  static constexpr bool cheap_masks = true;
  __m512d v;

  static DLKIT_INLINE Vec zero() { return {_mm512_setzero_pd()}; }
  static DLKIT_INLINE Vec broadcast(double x) { return {_mm512_set1_pd(x)}; }
  static DLKIT_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static DLKIT_INLINE Vec load(const double* p, Mask m) { return {_mm512_maskz_loadu_pd(m, p)}; }
  // The lanes of the mask from p, the others as they are.
  DLKIT_INLINE Vec merge(const double* p, Mask m) const { return {_mm512_mask_loadu_pd(v, m, p)}; }
  DLKIT_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  DLKIT_INLINE void store(double* p, Mask m) const { _mm512_mask_storeu_pd(p, m, v); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(double* p) const { _mm512_stream_pd(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    return static_cast<Mask>(n >= lanes ? ~0u : (1u << (n > 0 ? n : 0)) - 1u);
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return static_cast<Mask>(~0u); }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm512_div_pd(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm512_fnmadd_pd(a.v, b.v, c.v)}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm512_max_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm512_min_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm512_sqrt_pd(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm512_abs_pd(a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm512_or_pd(a.v, _mm512_set1_pd(-0.0))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {_mm512_castsi512_pd(_mm512_ternarylogic_epi64(_mm512_castpd_si512(magnitude.v), _mm512_castpd_si512(sign.v),
                                                          _mm512_set1_epi64(INT64_MIN), 0xd8))};
  }
  static DLKIT_INLINE Vec round(Vec a) {
    return {_mm512_roundscale_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
  }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m512i n = _mm512_add_epi64(_mm512_cvtpd_epi64(integer.v), _mm512_set1_epi64(1023));
    return {_mm512_castsi512_pd(_mm512_slli_epi64(n, 52))};
  }
  // Adding it rounds |x| < 2^51 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr double rounder = 0x1.8p52 + 1023;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t.v), 52))};
  }
  // p * 2^n for integral n, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) { return {_mm512_scalef_pd(p.v, n.v)}; }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LT_OQ); }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return _mm512_cmp_pd_mask(a.v, b.v, _CMP_LE_OQ); }
  static DLKIT_INLINE Mask is_nan(Vec a) { return _mm512_cmp_pd_mask(a.v, a.v, _CMP_UNORD_Q); }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) { return {_mm512_mask_blend_pd(m, no.v, yes.v)}; }

  DLKIT_INLINE double sum() const { return _mm512_reduce_add_pd(v); }
  DLKIT_INLINE double maximum() const { return _mm512_reduce_max_pd(v); }
};

// While it lives, denormal operands and results are zeros on this thread: some processors take ten times as long for
// them, and a moving average whose input has become 0 ends among them.
struct FlushDenormals {
  unsigned saved;
  DLKIT_INLINE FlushDenormals() : saved(_mm_getcsr()) {
    _mm_setcsr(saved | 0x8040);  // FTZ, DAZ
    asm volatile("" : : : "memory");
  }
  DLKIT_INLINE ~FlushDenormals() {
    asm volatile("" : : : "memory");
    _mm_setcsr(saved);
  }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;
};

// 64-bit integer lanes, for the random numbers of core/philox.h.
struct Lanes64 {
  static constexpr int lanes = 8;
  __m512i v;

  static DLKIT_INLINE Lanes64 broadcast(std::uint64_t x) { return {_mm512_set1_epi64(static_cast<long long>(x))}; }
  static DLKIT_INLINE Lanes64 load(const std::uint64_t* p) { return {_mm512_loadu_si512(p)}; }
  DLKIT_INLINE void store(std::uint64_t* p) const { _mm512_storeu_si512(p, v); }
  friend DLKIT_INLINE Lanes64 operator+(Lanes64 a, Lanes64 b) { return {_mm512_add_epi64(a.v, b.v)}; }
  friend DLKIT_INLINE Lanes64 operator^(Lanes64 a, Lanes64 b) { return {_mm512_xor_si512(a.v, b.v)}; }
  // 32 x 32 -> 64 bits
  static DLKIT_INLINE Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return {_mm512_mul_epu32(a.v, b.v)}; }
  DLKIT_INLINE Lanes64 high_half() const { return {_mm512_srli_epi64(v, 32)}; }
  // The low halves of two vectors side by side: low below, high above.
  static DLKIT_INLINE Lanes64 join_low_halves(Lanes64 low, Lanes64 high) {
    return {_mm512_mask_blend_epi32(0xaaaa, low.v, _mm512_slli_epi64(high.v, 32))};
  }
  // Of each 128 bits: the first (second) 64 of a, then the first (second) 64 of b.
  static DLKIT_INLINE Lanes64 interleave_first(Lanes64 a, Lanes64 b) { return {_mm512_unpacklo_epi64(a.v, b.v)}; }
  static DLKIT_INLINE Lanes64 interleave_second(Lanes64 a, Lanes64 b) { return {_mm512_unpackhi_epi64(a.v, b.v)}; }
};

}  // namespace dlkit::DLKIT_TARGET
