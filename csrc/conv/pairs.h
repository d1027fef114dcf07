// Registers of elements by turns, as a stride of 2 reads and writes them.
//
// split_pairs: of the elements of a, then b, those at even places and those at odd ones. join_pairs: the reverse.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

#if defined(DLKIT_TARGET_AVX512)

DLKIT_INLINE void split_pairs(Vec<float> a, Vec<float> b, Vec<float>& even, Vec<float>& odd) {
  const __m512i places = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  even.v = _mm512_permutex2var_ps(a.v, places, b.v);
  odd.v = _mm512_permutex2var_ps(a.v, _mm512_add_epi32(places, _mm512_set1_epi32(1)), b.v);
}
DLKIT_INLINE void split_pairs(Vec<double> a, Vec<double> b, Vec<double>& even, Vec<double>& odd) {
  const __m512i places = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  even.v = _mm512_permutex2var_pd(a.v, places, b.v);
  odd.v = _mm512_permutex2var_pd(a.v, _mm512_add_epi64(places, _mm512_set1_epi64(1)), b.v);
}
DLKIT_INLINE void join_pairs(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  const __m512i places = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  a.v = _mm512_permutex2var_ps(even.v, places, odd.v);
  b.v = _mm512_permutex2var_ps(even.v, _mm512_add_epi32(places, _mm512_set1_epi32(8)), odd.v);
}
DLKIT_INLINE void join_pairs(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  const __m512i places = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  a.v = _mm512_permutex2var_pd(even.v, places, odd.v);
  b.v = _mm512_permutex2var_pd(even.v, _mm512_add_epi64(places, _mm512_set1_epi64(4)), odd.v);
}

#elif defined(DLKIT_TARGET_AVX2)

DLKIT_INLINE void split_pairs(Vec<float> a, Vec<float> b, Vec<float>& even, Vec<float>& odd) {
  const __m256d e = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0x88));
  const __m256d o = _mm256_castps_pd(_mm256_shuffle_ps(a.v, b.v, 0xdd));
  even.v = _mm256_castpd_ps(_mm256_permute4x64_pd(e, 0xd8));
  odd.v = _mm256_castpd_ps(_mm256_permute4x64_pd(o, 0xd8));
}
DLKIT_INLINE void split_pairs(Vec<double> a, Vec<double> b, Vec<double>& even, Vec<double>& odd) {
  even.v = _mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), 0xd8);
  odd.v = _mm256_permute4x64_pd(_mm256_unpackhi_pd(a.v, b.v), 0xd8);
}
DLKIT_INLINE void join_pairs(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  const __m256 low = _mm256_unpacklo_ps(even.v, odd.v), high = _mm256_unpackhi_ps(even.v, odd.v);
  a.v = _mm256_permute2f128_ps(low, high, 0x20);
  b.v = _mm256_permute2f128_ps(low, high, 0x31);
}
DLKIT_INLINE void join_pairs(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  const __m256d low = _mm256_unpacklo_pd(even.v, odd.v), high = _mm256_unpackhi_pd(even.v, odd.v);
  a.v = _mm256_permute2f128_pd(low, high, 0x20);
  b.v = _mm256_permute2f128_pd(low, high, 0x31);
}

#elif defined(__SSE4_1__)

DLKIT_INLINE void split_pairs(Vec<float> a, Vec<float> b, Vec<float>& even, Vec<float>& odd) {
  even.v = _mm_shuffle_ps(a.v, b.v, 0x88);
  odd.v = _mm_shuffle_ps(a.v, b.v, 0xdd);
}
DLKIT_INLINE void split_pairs(Vec<double> a, Vec<double> b, Vec<double>& even, Vec<double>& odd) {
  even.v = _mm_unpacklo_pd(a.v, b.v);
  odd.v = _mm_unpackhi_pd(a.v, b.v);
}
DLKIT_INLINE void join_pairs(Vec<float> even, Vec<float> odd, Vec<float>& a, Vec<float>& b) {
  a.v = _mm_unpacklo_ps(even.v, odd.v);
  b.v = _mm_unpackhi_ps(even.v, odd.v);
}
DLKIT_INLINE void join_pairs(Vec<double> even, Vec<double> odd, Vec<double>& a, Vec<double>& b) {
  a.v = _mm_unpacklo_pd(even.v, odd.v);
  b.v = _mm_unpackhi_pd(even.v, odd.v);
}

#else

template <class V>
DLKIT_INLINE void split_pairs(V a, V b, V& even, V& odd) {
  using T = decltype(a.sum());
  T all[2 * V::lanes], out[2 * V::lanes];
  a.store(all);
  b.store(all + V::lanes);
  for (int i = 0; i < V::lanes; ++i) out[i] = all[2 * i], out[V::lanes + i] = all[2 * i + 1];
  even = V::load(out);
  odd = V::load(out + V::lanes);
}
template <class V>
DLKIT_INLINE void join_pairs(V even, V odd, V& a, V& b) {
  using T = decltype(even.sum());
  T all[2 * V::lanes], out[2 * V::lanes];
  even.store(all);
  odd.store(all + V::lanes);
  for (int i = 0; i < V::lanes; ++i) out[2 * i] = all[i], out[2 * i + 1] = all[V::lanes + i];
  a = V::load(out);
  b = V::load(out + V::lanes);
}

#endif

}  // namespace dlkit::DLKIT_TARGET
