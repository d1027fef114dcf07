// AVX2 and FMA: 256-bit registers, tails by vector masks.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace dlkit::DLKIT_TARGET {

template <class T>
struct Vec;

template <>
struct Vec<float> {
  struct Mask {
    __m256i bits;  // all ones in a lane that is in the subset
  };
  struct Few {
    Mask mask;
    int count;
  };
  static constexpr int lanes = 8;
  static constexpr int registers = 16;
  static constexpr bool cheap_masks = false;
  __m256 v;

  static DLKIT_INLINE Vec zero() { return {_mm256_setzero_ps()}; }
  static DLKIT_INLINE Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  static DLKIT_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static DLKIT_INLINE Vec load(const float* p, Mask m) { return {_mm256_maskload_ps(p, m.bits)}; }
  static DLKIT_INLINE Vec load(const float* p, Few few) { return load(p, few.mask); }
  DLKIT_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  DLKIT_INLINE void store(float* p, Mask m) const { _mm256_maskstore_ps(p, m.bits, v); }
  DLKIT_INLINE void store(float* p, Few few) const { store_few(p, v, few.count); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    alignas(32) static const std::int32_t table[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    const std::ptrdiff_t skip = n >= lanes ? 0 : lanes - (n > 0 ? n : 0);
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(table + skip))};
  }
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return {first(n), static_cast<int>(n)}; }
  static DLKIT_INLINE Mask all() { return {_mm256_set1_epi32(-1)}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) {
    asm("vfmadd231ps %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_ps(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm256_or_ps(a.v, _mm256_set1_ps(-0.0f))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {_mm256_or_ps(abs(magnitude).v, _mm256_and_ps(_mm256_set1_ps(-0.0f), sign.v))};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m256i n = _mm256_add_epi32(_mm256_cvtps_epi32(integer.v), _mm256_set1_epi32(127));
    return {_mm256_castsi256_ps(_mm256_slli_epi32(n, 23))};
  }
  // Adding it rounds |x| < 2^22 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr float rounder = 0x1.8p23f + 127;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(t.v), 23))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5f));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ))}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) {
    return {_mm256_castps_si256(_mm256_cmp_ps(a.v, b.v, _CMP_LE_OQ))};
  }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {_mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm256_blendv_ps(no.v, yes.v, _mm256_castsi256_ps(m.bits))};
  }

  // A function of its own, which keeps the code about it small. A masked store takes 28 cycles on Zen 3.
  static DLKIT_NOINLINE void store_few(float* p, __m256 x, int count) {
    __m128 part = _mm256_castps256_ps128(x);
    if (count & 4) {
      _mm_storeu_ps(p, part);
      part = _mm256_extractf128_ps(x, 1);
      p += 4;
    }
    if (count & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
      part = _mm_movehl_ps(part, part);
      p += 2;
    }
    if (count & 1) _mm_store_ss(p, part);
  }

  DLKIT_INLINE float sum() const {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
  }
  DLKIT_INLINE float maximum() const {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
  }
};

template <>
struct Vec<double> {
  struct Mask {
    __m256i bits;  // all ones in a lane that is in the subset
  };
  struct Few {
    Mask mask;
    int count;
  };
  static constexpr int lanes = 4;
  static constexpr int registers = 16;
  static constexpr bool cheap_masks = false;
  __m256d v;

  static DLKIT_INLINE Vec zero() { return {_mm256_setzero_pd()}; }
  static DLKIT_INLINE Vec broadcast(double x) { return {_mm256_set1_pd(x)}; }
  static DLKIT_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static DLKIT_INLINE Vec load(const double* p, Mask m) { return {_mm256_maskload_pd(p, m.bits)}; }
  static DLKIT_INLINE Vec load(const double* p, Few few) { return load(p, few.mask); }
  DLKIT_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
  DLKIT_INLINE void store(double* p, Mask m) const { _mm256_maskstore_pd(p, m.bits, v); }
  DLKIT_INLINE void store(double* p, Few few) const { store_few(p, v, few.count); }
  // Past the caches; p must be aligned to the register.
  DLKIT_INLINE void stream(double* p) const { _mm256_stream_pd(p, v); }

  static DLKIT_INLINE Mask first(std::ptrdiff_t n) {
    alignas(32) static const std::int64_t table[8] = {-1, -1, -1, -1, 0, 0, 0, 0};
    const std::ptrdiff_t skip = n >= lanes ? 0 : lanes - (n > 0 ? n : 0);
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(table + skip))};
  }
  static DLKIT_INLINE Few few(std::ptrdiff_t n) { return {first(n), static_cast<int>(n)}; }
  static DLKIT_INLINE Mask all() { return {_mm256_set1_epi32(-1)}; }

  friend DLKIT_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }
  friend DLKIT_INLINE Vec operator/(Vec a, Vec b) { return {_mm256_div_pd(a.v, b.v)}; }
  static DLKIT_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static DLKIT_INLINE void add_product(Vec& sum, Vec a, Vec b) {
    asm("vfmadd231pd %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v));
  }
  static DLKIT_INLINE Vec fnma(Vec a, Vec b, Vec c) { return {_mm256_fnmadd_pd(a.v, b.v, c.v)}; }  // c - a * b
  static DLKIT_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec min(Vec a, Vec b) { return {_mm256_min_pd(a.v, b.v)}; }  // b where either is NaN
  static DLKIT_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_pd(a.v)}; }
  static DLKIT_INLINE Vec abs(Vec a) { return {_mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v)}; }
  static DLKIT_INLINE Vec minus_abs(Vec a) { return {_mm256_or_pd(a.v, _mm256_set1_pd(-0.0))}; }
  static DLKIT_INLINE Vec copysign(Vec magnitude, Vec sign) {
    return {_mm256_or_pd(abs(magnitude).v, _mm256_and_pd(_mm256_set1_pd(-0.0), sign.v))};
  }
  static DLKIT_INLINE Vec round(Vec a) { return {_mm256_round_pd(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
  static DLKIT_INLINE Vec exp2_of_integer(Vec integer) {
    const __m256i n = _mm256_cvtepi32_epi64(_mm256_cvtpd_epi32(integer.v));
    return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_add_epi64(n, _mm256_set1_epi64x(1023)), 52))};
  }
  // Adding it rounds |x| < 2^51 to an integer, which the last bits then hold, biased as an exponent is.
  static constexpr double rounder = 0x1.8p52 + 1023;
  // 2^n where t = n + rounder, n as above
  static DLKIT_INLINE Vec exp2_of_rounded(Vec t) {
    return {_mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t.v), 52))};
  }
  // p * 2^n for integral |n| up to twice the exponent range, rounded once: results may be denormal or infinite.
  static DLKIT_INLINE Vec ldexp(Vec p, Vec n) {
    const Vec half = round(n * broadcast(0.5));
    return p * exp2_of_integer(half) * exp2_of_integer(n - half);
  }
  static DLKIT_INLINE Vec reciprocal(Vec a) { return broadcast(1) / a; }  // within 1 ulp
  static DLKIT_INLINE Vec fast_sqrt(Vec a) { return sqrt(a); }            // within 1 ulp

  static DLKIT_INLINE Mask less(Vec a, Vec b) { return {_mm256_castpd_si256(_mm256_cmp_pd(a.v, b.v, _CMP_LT_OQ))}; }
  static DLKIT_INLINE Mask less_equal(Vec a, Vec b) {
    return {_mm256_castpd_si256(_mm256_cmp_pd(a.v, b.v, _CMP_LE_OQ))};
  }
  static DLKIT_INLINE Mask is_nan(Vec a) { return {_mm256_castpd_si256(_mm256_cmp_pd(a.v, a.v, _CMP_UNORD_Q))}; }
  static DLKIT_INLINE Vec select(Mask m, Vec yes, Vec no) {
    return {_mm256_blendv_pd(no.v, yes.v, _mm256_castsi256_pd(m.bits))};
  }

  static DLKIT_NOINLINE void store_few(double* p, __m256d x, int count) {
    __m128d part = _mm256_castpd256_pd128(x);
    if (count & 2) {
      _mm_storeu_pd(p, part);
      part = _mm256_extractf128_pd(x, 1);
      p += 2;
    }
    if (count & 1) _mm_store_sd(p, part);
  }

  DLKIT_INLINE double sum() const {
    const __m128d x = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_add_sd(x, _mm_unpackhi_pd(x, x)));
  }
  DLKIT_INLINE double maximum() const {
    const __m128d x = _mm_max_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
    return _mm_cvtsd_f64(_mm_max_sd(x, _mm_unpackhi_pd(x, x)));
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
  static constexpr int lanes = 4;
  __m256i v;

  static DLKIT_INLINE Lanes64 broadcast(std::uint64_t x) { return {_mm256_set1_epi64x(static_cast<long long>(x))}; }
  static DLKIT_INLINE Lanes64 load(const std::uint64_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  DLKIT_INLINE void store(std::uint64_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  friend DLKIT_INLINE Lanes64 operator+(Lanes64 a, Lanes64 b) { return {_mm256_add_epi64(a.v, b.v)}; }
  friend DLKIT_INLINE Lanes64 operator^(Lanes64 a, Lanes64 b) { return {_mm256_xor_si256(a.v, b.v)}; }
  // 32 x 32 -> 64 bits
  static DLKIT_INLINE Lanes64 multiply_low_halves(Lanes64 a, Lanes64 b) { return {_mm256_mul_epu32(a.v, b.v)}; }
  DLKIT_INLINE Lanes64 high_half() const { return {_mm256_srli_epi64(v, 32)}; }
  // The low halves of two vectors side by side: low below, high above.
  static DLKIT_INLINE Lanes64 join_low_halves(Lanes64 low, Lanes64 high) {
    return {_mm256_blend_epi32(low.v, _mm256_slli_epi64(high.v, 32), 0xaa)};
  }
  // Of each 128 bits: the first (second) 64 of a, then the first (second) 64 of b.
  static DLKIT_INLINE Lanes64 interleave_first(Lanes64 a, Lanes64 b) { return {_mm256_unpacklo_epi64(a.v, b.v)}; }
  static DLKIT_INLINE Lanes64 interleave_second(Lanes64 a, Lanes64 b) { return {_mm256_unpackhi_epi64(a.v, b.v)}; }
};

}  // namespace dlkit::DLKIT_TARGET
