// SSE4.2 (x86-64-v2): 128-bit registers, no fused multiply-add, tails lane by lane.
#pragma once

#include <nmmintrin.h>

#include <cstdint>

namespace dlkit::DLKIT_TARGET {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  struct Mask {
    __m128i bits;  // all ones in a lane that is in the subset
  };
  static constexpr int lanes = 4;
  static constexpr int registers = 16;
  static constexpr bool cheap_masks = false;
  __m128 v;

  static DLKIT_INLINE Vec zero() { return {_mm_setzero_ps()}; }
  static DLKIT_INLINE Vec broadcast(float x) { return {_mm_set1_ps(x)}; }
  static DLKIT_INLINE Vec load(const float* p) { return {_mm_loadu_ps(p)}; }
  static DLKIT_INLINE Vec load(const float* p, Mask m) { return load_some(p, m); }
  DLKIT_INLINE void store(float* p) const { _mm_storeu_ps(p, v); }
  DLKIT_INLINE void store(float* p, Mask m) const { store_some(p, *this, m); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(float* p) const { _mm_stream_ps(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    return {_mm_cmpgt_epi32(_mm_set1_epi32(static_cast<int>(n > lanes ? lanes : n)), _mm_setr_epi32(0, 1, 2, 3))};
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return {_mm_set1_epi32(-1)}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm_add_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm_sub_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm_mul_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm_div_ps(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm_add_ps(_mm_mul_ps(a.v, b.v), c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm_sub_ps(c.v, _mm_mul_ps(a.v, b.v))}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm_max_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm_min_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm_sqrt_ps(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm_andnot_ps(_mm_set1_ps(-0.0f), a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm_or_ps(a.v, _mm_set1_ps(-0.0f))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {_mm_or_ps(abs(magnitude).v, _mm_and_ps(_mm_set1_ps(-0.0f), sign.v))};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {_mm_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m128i n = _mm_add_epi32(_mm_cvtps_epi32(integer.v), _mm_set1_epi32(127));
    return {_mm_castsi128_ps(_mm_slli_epi32(n, 23))};
  }
  // Adding it rounds |x| < 2^22 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr float rounder = 0x1.8p23f + 127;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(t.v), 23))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5f));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {_mm_castps_si128(_mm_cmplt_ps(a.v, b.v))}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return {_mm_castps_si128(_mm_cmple_ps(a.v, b.v))}; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {_mm_castps_si128(_mm_cmpunord_ps(a.v, a.v))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm_blendv_ps(no.v, yes.v, _mm_castsi128_ps(m.bits))};
  }

  DLKIT_INLINE float sum() const {
    const __m128 x = _mm_add_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  DLKIT_INLINE float maximum() const {
    const __m128 x = _mm_max_ps(v, _mm_movehl_ps(v, v));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }

 private:
  static DLKIT_INLINE bool member(Mask m, int lane) { return (_mm_movemask_ps(_mm_castsi128_ps(m.bits)) >> lane) & 1; }
  // Functions of their own: in place they would be a twentieth of the kernels' code.
  static DLKIT_NOINLINE Vec load_some(const float* p, Mask m) {
    alignas(16) float lane[4] = {0, 0, 0, 0};
    for (int i = 0; i < 4; ++i)
      if (member(m, i)) lane[i] = p[i];
    return {_mm_load_ps(lane)};
  }
  static DLKIT_NOINLINE void store_some(float* p, Vec x, Mask m) {
    alignas(16) float lane[4];
    _mm_store_ps(lane, x.v);
    for (int i = 0; i < 4; ++i)
      if (member(m, i)) p[i] = lane[i];
  }
};

template <>
struct Vec<double> {
  struct Mask {
    __m128i bits;  // all ones in a lane that is in the subset
  };
  static constexpr int lanes = 2;
  static constexpr int registers = 16;
  static constexpr bool cheap_masks = false;
  __m128d v;

  static DLKIT_INLINE Vec zero() { return {_mm_setzero_pd()}; }
  static DLKIT_INLINE Vec broadcast(double x) { return {_mm_set1_pd(x)}; }
  static DLKIT_INLINE Vec load(const double* p) { return {_mm_loadu_pd(p)}; }
  static DLKIT_INLINE Vec load(const double* p, Mask m) { return load_some(p, m); }
  DLKIT_INLINE void store(double* p) const { _mm_storeu_pd(p, v); }
  DLKIT_INLINE void store(double* p, Mask m) const { store_some(p, *this, m); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(double* p) const { _mm_stream_pd(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    return {_mm_cmpgt_epi64(_mm_set1_epi64x(n > lanes ? lanes : n), _mm_set_epi64x(1, 0))};
  }
  using Few = Mask;
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return first(n); }
  static DLKIT_INLINE Mask all() { return {_mm_set1_epi32(-1)}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm_add_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm_sub_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm_mul_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm_div_pd(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm_add_pd(_mm_mul_pd(a.v, b.v), c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm_sub_pd(c.v, _mm_mul_pd(a.v, b.v))}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm_max_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm_min_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm_sqrt_pd(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm_andnot_pd(_mm_set1_pd(-0.0), a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm_or_pd(a.v, _mm_set1_pd(-0.0))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {_mm_or_pd(abs(magnitude).v, _mm_and_pd(_mm_set1_pd(-0.0), sign.v))};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {_mm_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m128i n = _mm_cvtepi32_epi64(_mm_cvtpd_epi32(integer.v));
    return {_mm_castsi128_pd(_mm_slli_epi64(_mm_add_epi64(n, _mm_set1_epi64x(1023)), 52))};
  }
  // Adding it rounds |x| < 2^51 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr double rounder = 0x1.8p52 + 1023;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm_castsi128_pd(_mm_slli_epi64(_mm_castpd_si128(t.v), 52))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {_mm_castpd_si128(_mm_cmplt_pd(a.v, b.v))}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) { return {_mm_castpd_si128(_mm_cmple_pd(a.v, b.v))}; }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {_mm_castpd_si128(_mm_cmpunord_pd(a.v, a.v))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm_blendv_pd(no.v, yes.v, _mm_castsi128_pd(m.bits))};
  }

  DLKIT_INLINE double sum() const { return _mm_cvtsd_f64(_mm_add_sd(v, _mm_unpackhi_pd(v, v))); }
  DLKIT_INLINE double maximum() const { return _mm_cvtsd_f64(_mm_max_sd(v, _mm_unpackhi_pd(v, v))); }

 private:
  static DLKIT_INLINE bool member(Mask m, int lane) { return (_mm_movemask_pd(_mm_castsi128_pd(m.bits)) >> lane) & 1; }
  static DLKIT_NOINLINE Vec load_some(const double* p, Mask m) {
    alignas(16) double lane[2] = {0, 0};
    for (int i = 0; i < 2; ++i)
      if (member(m, i)) lane[i] = p[i];
    return {_mm_load_pd(lane)};
  }
  static DLKIT_NOINLINE void store_some(double* p, Vec x, Mask m) {
    alignas(16) double lane[2];
    _mm_store_pd(lane, x.v);
    for (int i = 0; i < 2; ++i)
      if (member(m, i)) p[i] = lane[i];
  }
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
  static constexpr int lanes = 2;
  __m128i v;

  static DLKIT_INLINE Lanes64 broadcast(std::uint64_t x) { return {_mm_set1_epi64x(static_cast<long long>(x))}; }
  static DLKIT_INLINE Lanes64 load(const std::uint64_t* p) {
    return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
  }
  DLKIT_INLINE void store(std::uint64_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), v); }
  friend DLKIT_INLINE Lanes64 operator+(Lanes64 a, Lanes64 b) { return {_mm_add_epi64(a.v, b.v)}; }
  friend DLKIT_INLINE Lanes64 operator^(Lanes64 a, Lanes64 b) { return {_mm_xor_si128(a.v, b.v)}; }
  // 32 x 32 -> 64 bits
  static DLKIT_INLINE Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return {_mm_mul_epu32(a.v, b.v)}; }
  DLKIT_INLINE Lanes64 high_half() const { return {_mm_srli_epi64(v, 32)}; }
  // The low halves of two vectors side by side: low below, high above.
  static DLKIT_INLINE Lanes64 join_low_halves(Lanes64 low, Lanes64 high) {
    return {_mm_blend_epi16(low.v, _mm_slli_epi64(high.v, 32), 0xcc)};
  }
  // Of each 128 bits: the first (second) 64 of a, then the first (second) 64 of b.
  static DLKIT_INLINE Lanes64 interleave_first(Lanes64 a, Lanes64 b) { return {_mm_unpacklo_epi64(a.v, b.v)}; }
  static DLKIT_INLINE Lanes64 interleave_second(Lanes64 a, Lanes64 b) { return {_mm_unpackhi_epi64(a.v, b.v)}; }
};

}  // namespace dlkit::DLKIT_TARGET
