// The sums of as many registers as one has lanes, as the lanes of one: three instructions a register with AVX-512,
// where Vec::sum takes eight.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

// By their sum(), one after the other; the overloads below for what is worth more.
template <class T>
DLKIT_INLINE Vec<T> lane_sums(const Vec<T> (&v)[Vec<T>::lanes]) {
  T sums[Vec<T>::lanes];
#pragma GCC unroll 16
  for (int i = 0; i < Vec<T>::lanes; ++i) sums[i] = v[i].sum();
  return Vec<T>::load(sums);
}

#if defined(DLKIT_TARGET_AVX512)

// In each quarter of 128 bits the sums of that quarter of a, b, c and d.
DLKIT_INLINE __m512 quarter_sums(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512d x = _mm512_castps_pd(ab), y = _mm512_castps_pd(cd);
  return _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(x, y)), _mm512_castpd_ps(_mm512_unpackhi_pd(x, y)));
}

// Of pairs of quarters: a's two, b's two.
DLKIT_INLINE __m512 add_quarters(__m512 a, __m512 b) {
  return _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
}

DLKIT_INLINE Vec<float> lane_sums(const Vec<float> (&v)[16]) {
  const __m512 a = quarter_sums(v[0].v, v[1].v, v[2].v, v[3].v), b = quarter_sums(v[4].v, v[5].v, v[6].v, v[7].v);
  const __m512 c = quarter_sums(v[8].v, v[9].v, v[10].v, v[11].v);
  const __m512 d = quarter_sums(v[12].v, v[13].v, v[14].v, v[15].v);
  return {add_quarters(add_quarters(a, b), add_quarters(c, d))};
}

#elif defined(DLKIT_TARGET_AVX2)

DLKIT_INLINE __m256 half_sums(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
  const __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
  const __m256d x = _mm256_castps_pd(ab), y = _mm256_castps_pd(cd);
  return _mm256_add_ps(_mm256_castpd_ps(_mm256_unpacklo_pd(x, y)), _mm256_castpd_ps(_mm256_unpackhi_pd(x, y)));
}

DLKIT_INLINE Vec<float> lane_sums(const Vec<float> (&v)[8]) {
  const __m256 a = half_sums(v[0].v, v[1].v, v[2].v, v[3].v), b = half_sums(v[4].v, v[5].v, v[6].v, v[7].v);
  return {_mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31))};
}

#endif

}  // namespace dlkit::DLKIT_TARGET
