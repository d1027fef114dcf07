// What pooling asks of vectors beyond core/simd.h: every second element, and places as bytes.
//
//   even, odd = every second element of two registers that follow each other; join is the inverse
//   Places    the bytes of one register's lanes; is(k): the lanes whose byte is k
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

// Whether common windows and strides have code of their own. Float64 is for gradients to be checked in: small code.
template <class T>
constexpr bool kSpecial = sizeof(T) == sizeof(float);

template <class T>
struct Pair {
  Vec<T> first, second;
};

template <class M>
DLKIT_INLINE M either(M a, M b) {
  if constexpr (std::is_arithmetic_v<M>)
    return static_cast<M>(a | b);
  else
    return {a.bits | b.bits};
}

template <class M>
DLKIT_INLINE M both(M a, M b) {
  if constexpr (std::is_arithmetic_v<M>)
    return static_cast<M>(a & b);
  else
    return {a.bits & b.bits};
}

// The lanes [begin, end), which may lie outside the register.
template <class T>
DLKIT_INLINE typename Vec<T>::Mask between(Index begin, Index end) {
  using M = typename Vec<T>::Mask;
  const M before = Vec<T>::first(begin), until = Vec<T>::first(end);
  if constexpr (std::is_arithmetic_v<M>)
    return static_cast<M>(until & ~before);
  else
    return {until.bits & ~before.bits};
}

// A bit for each lane of a mask.
template <class T>
DLKIT_INLINE std::uint64_t lane_bits(typename Vec<T>::Mask mask) {
#if defined(DLKIT_TARGET_AVX512)
  return mask;
#elif defined(DLKIT_TARGET_AVX2)
  return static_cast<unsigned>(sizeof(T) == 4 ? _mm256_movemask_ps(_mm256_castsi256_ps(mask.bits))
                                              : _mm256_movemask_pd(_mm256_castsi256_pd(mask.bits)));
#elif defined(__SSE4_1__)
  return static_cast<unsigned>(sizeof(T) == 4 ? _mm_movemask_ps(_mm_castsi128_ps(mask.bits))
                                              : _mm_movemask_pd(_mm_castsi128_pd(mask.bits)));
#else
  T lane[Vec<T>::lanes];
  Vec<T>::select(mask, Vec<T>::broadcast(T(1)), Vec<T>::zero()).store(lane);
  std::uint64_t bits = 0;
  for (int i = 0; i < Vec<T>::lanes; ++i) bits |= lane[i] != 0 ? std::uint64_t{1} << i : 0;
  return bits;
#endif
}

// The number of the first lane of a mask, or as many as there are lanes.
template <class T>
DLKIT_INLINE int first_lane(typename Vec<T>::Mask mask) {
  const std::uint64_t bits = lane_bits<T>(mask);
  return bits == 0 ? Vec<T>::lanes : __builtin_ctzll(bits);
}

// --- every second element -------------------------------------------------------------------------------------------

#if defined(DLKIT_TARGET_AVX512)

DLKIT_INLINE Pair<float> split(Vec<float> a, Vec<float> b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return {{_mm512_permutex2var_ps(a.v, even, b.v)}, {_mm512_permutex2var_ps(a.v, odd, b.v)}};
}
DLKIT_INLINE Pair<double> split(Vec<double> a, Vec<double> b) {
  const __m512i even = _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14);
  const __m512i odd = _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15);
  return {{_mm512_permutex2var_pd(a.v, even, b.v)}, {_mm512_permutex2var_pd(a.v, odd, b.v)}};
}
DLKIT_INLINE Pair<float> join(Vec<float> even, Vec<float> odd) {
  const __m512i low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const __m512i high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  return {{_mm512_permutex2var_ps(even.v, low, odd.v)}, {_mm512_permutex2var_ps(even.v, high, odd.v)}};
}
DLKIT_INLINE Pair<double> join(Vec<double> even, Vec<double> odd) {
  const __m512i low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
  const __m512i high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
  return {{_mm512_permutex2var_pd(even.v, low, odd.v)}, {_mm512_permutex2var_pd(even.v, high, odd.v)}};
}

#elif defined(DLKIT_TARGET_AVX2)

DLKIT_INLINE Pair<float> split(Vec<float> a, Vec<float> b) {
  const auto in_order = [](__m256 v) __attribute__((always_inline)) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(v), 0xd8));
  };
  return {{in_order(_mm256_shuffle_ps(a.v, b.v, 0x88))}, {in_order(_mm256_shuffle_ps(a.v, b.v, 0xdd))}};
}
DLKIT_INLINE Pair<double> split(Vec<double> a, Vec<double> b) {
  return {{_mm256_permute4x64_pd(_mm256_unpacklo_pd(a.v, b.v), 0xd8)},
          {_mm256_permute4x64_pd(_mm256_unpackhi_pd(a.v, b.v), 0xd8)}};
}
DLKIT_INLINE Pair<float> join(Vec<float> even, Vec<float> odd) {
  const __m256 low = _mm256_unpacklo_ps(even.v, odd.v), high = _mm256_unpackhi_ps(even.v, odd.v);
  return {{_mm256_permute2f128_ps(low, high, 0x20)}, {_mm256_permute2f128_ps(low, high, 0x31)}};
}
DLKIT_INLINE Pair<double> join(Vec<double> even, Vec<double> odd) {
  const __m256d low = _mm256_unpacklo_pd(even.v, odd.v), high = _mm256_unpackhi_pd(even.v, odd.v);
  return {{_mm256_permute2f128_pd(low, high, 0x20)}, {_mm256_permute2f128_pd(low, high, 0x31)}};
}

#elif defined(__SSE4_1__)

DLKIT_INLINE Pair<float> split(Vec<float> a, Vec<float> b) {
  return {{_mm_shuffle_ps(a.v, b.v, 0x88)}, {_mm_shuffle_ps(a.v, b.v, 0xdd)}};
}
DLKIT_INLINE Pair<double> split(Vec<double> a, Vec<double> b) {
  return {{_mm_unpacklo_pd(a.v, b.v)}, {_mm_unpackhi_pd(a.v, b.v)}};
}
DLKIT_INLINE Pair<float> join(Vec<float> even, Vec<float> odd) {
  return {{_mm_unpacklo_ps(even.v, odd.v)}, {_mm_unpackhi_ps(even.v, odd.v)}};
}
DLKIT_INLINE Pair<double> join(Vec<double> even, Vec<double> odd) { return split(even, odd); }

#elif defined(__ARM_NEON) && defined(__aarch64__)

DLKIT_INLINE Pair<float> split(Vec<float> a, Vec<float> b) { return {{vuzp1q_f32(a.v, b.v)}, {vuzp2q_f32(a.v, b.v)}}; }
DLKIT_INLINE Pair<double> split(Vec<double> a, Vec<double> b) {
  return {{vuzp1q_f64(a.v, b.v)}, {vuzp2q_f64(a.v, b.v)}};
}
DLKIT_INLINE Pair<float> join(Vec<float> even, Vec<float> odd) {
  return {{vzip1q_f32(even.v, odd.v)}, {vzip2q_f32(even.v, odd.v)}};
}
DLKIT_INLINE Pair<double> join(Vec<double> even, Vec<double> odd) {
  return {{vzip1q_f64(even.v, odd.v)}, {vzip2q_f64(even.v, odd.v)}};
}

#else

template <class T>
DLKIT_INLINE Pair<T> split(Vec<T> a, Vec<T> b) {
  return {a, b};
}
template <class T>
DLKIT_INLINE Pair<T> join(Vec<T> even, Vec<T> odd) {
  return {even, odd};
}

#endif

// --- every third
// ------------------------------------------------------------------------------------------------------

#if defined(DLKIT_TARGET_AVX512)

constexpr bool kHasThirds = true;

// The elements k, k + 3, ... of three registers that follow each other.
template <int k>
DLKIT_INLINE Vec<float> third(Vec<float> a, Vec<float> b, Vec<float> c) {
  const __m512i at = _mm512_setr_epi32(k, 3 + k, 6 + k, 9 + k, 12 + k, 15 + k, 18 + k, 21 + k, 24 + k, 27 + k, 30 + k,
                                       33 + k, 36 + k, 39 + k, 42 + k, 45 + k);
  const __mmask16 in_c = _mm512_cmpge_epi32_mask(at, _mm512_set1_epi32(32));
  return {_mm512_mask_permutexvar_ps(_mm512_permutex2var_ps(a.v, at, b.v), in_c, at, c.v)};
}
template <int k>
DLKIT_INLINE Vec<double> third(Vec<double> a, Vec<double> b, Vec<double> c) {
  const __m512i at = _mm512_setr_epi64(k, 3 + k, 6 + k, 9 + k, 12 + k, 15 + k, 18 + k, 21 + k);
  const __mmask8 in_c = _mm512_cmpge_epi64_mask(at, _mm512_set1_epi64(16));
  return {_mm512_mask_permutexvar_pd(_mm512_permutex2var_pd(a.v, at, b.v), in_c, at, c.v)};
}

#else

constexpr bool kHasThirds = false;

template <int k, class V>
DLKIT_INLINE V third(V a, V, V) {
  return a;  // never asked for
}

#endif

// --- places ---------------------------------------------------------------------------------------------------------

#if defined(DLKIT_TARGET_AVX512)

template <class T>
struct Places {
  __m128i v;
  static DLKIT_INLINE Places load(const std::uint8_t* p) {
    if constexpr (sizeof(T) == 4)
      return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
    else
      return {_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))};
  }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index n) {
    return {_mm_maskz_loadu_epi8(Vec<T>::first(n), p)};
  }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index begin, Index end) {
    return {_mm_maskz_loadu_epi8(between<T>(begin, end), p)};
  }
  DLKIT_INLINE typename Vec<T>::Mask is(int k) const {
    return static_cast<typename Vec<T>::Mask>(_mm_cmpeq_epi8_mask(v, _mm_set1_epi8(static_cast<char>(k))));
  }
};

// Small integers, or -1, as bytes.
DLKIT_INLINE __m128i as_bytes(Vec<float> places) { return _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(places.v)); }
DLKIT_INLINE __m128i as_bytes(Vec<double> places) { return _mm512_cvtepi64_epi8(_mm512_cvttpd_epi64(places.v)); }

template <class T>
DLKIT_INLINE void store_places(Vec<T> places, std::uint8_t* p) {
  if constexpr (sizeof(T) == 4)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), as_bytes(places));
  else
    _mm_storel_epi64(reinterpret_cast<__m128i*>(p), as_bytes(places));
}
template <class T>
DLKIT_INLINE void store_places(Vec<T> places, std::uint8_t* p, Index n) {
  _mm_mask_storeu_epi8(p, Vec<T>::first(n), as_bytes(places));
}

#else

#if defined(DLKIT_TARGET_AVX2)

template <class T>
struct Places {
  __m256i v;  // a byte in each lane
  static DLKIT_INLINE Places load(const std::uint8_t* p) {
    if constexpr (sizeof(T) == 4) {
      return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
    } else {
      int four;
      __builtin_memcpy(&four, p, 4);
      return {_mm256_cvtepu8_epi64(_mm_cvtsi32_si128(four))};
    }
  }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index n) {
    std::uint8_t lane[8] = {};
    for (Index i = 0; i < n; ++i) lane[i] = p[i];
    return load(lane);
  }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index begin, Index end) {
    if (begin <= 0 && end >= Vec<T>::lanes) return load(p);
    std::uint8_t lane[8] = {};
    for (Index i = begin > 0 ? begin : 0; i < end && i < Vec<T>::lanes; ++i) lane[i] = p[i];
    return load(lane);
  }
  DLKIT_INLINE typename Vec<T>::Mask is(int k) const {
    if constexpr (sizeof(T) == 4)
      return {_mm256_cmpeq_epi32(v, _mm256_set1_epi32(k))};
    else
      return {_mm256_cmpeq_epi64(v, _mm256_set1_epi64x(k))};
  }
};

DLKIT_INLINE void store_places(Vec<float> places, std::uint8_t* p) {
  const __m256i lanes = _mm256_and_si256(_mm256_cvttps_epi32(places.v), _mm256_set1_epi32(255));
  const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
}
DLKIT_INLINE void store_places(Vec<double> places, std::uint8_t* p) {
  const __m128i lanes = _mm_and_si128(_mm256_cvttpd_epi32(places.v), _mm_set1_epi32(255));
  const __m128i words = _mm_packus_epi32(lanes, lanes);
  const int four = _mm_cvtsi128_si32(_mm_packus_epi16(words, words));
  __builtin_memcpy(p, &four, 4);
}

#else

template <class T>
struct Places {
  Vec<T> v;
  static DLKIT_INLINE Places load(const std::uint8_t* p) { return load(p, Vec<T>::lanes); }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index n) {
    T lane[Vec<T>::lanes] = {};
    for (Index i = 0; i < n; ++i) lane[i] = T(p[i]);
    return {Vec<T>::load(lane)};
  }
  static DLKIT_INLINE Places load(const std::uint8_t* p, Index begin, Index end) {
    T lane[Vec<T>::lanes] = {};
    for (Index i = begin > 0 ? begin : 0; i < end && i < Vec<T>::lanes; ++i) lane[i] = T(p[i]);
    return {Vec<T>::load(lane)};
  }
  DLKIT_INLINE typename Vec<T>::Mask is(int k) const {
    const Vec<T> wanted = Vec<T>::broadcast(T(k));
    return both(Vec<T>::less_equal(v, wanted), Vec<T>::less_equal(wanted, v));
  }
};

template <class T>
DLKIT_INLINE void store_places(Vec<T> places, std::uint8_t* p) {
  T lane[Vec<T>::lanes];
  places.store(lane);
  for (int i = 0; i < Vec<T>::lanes; ++i) p[i] = static_cast<std::uint8_t>(static_cast<int>(lane[i]));
}

#endif

template <class T>
DLKIT_INLINE void store_places(Vec<T> places, std::uint8_t* p, Index n) {
  std::uint8_t lane[Vec<T>::lanes];
  store_places(places, lane);
  for (Index i = 0; i < n; ++i) p[i] = lane[i];
}

#endif

// --- the ends of rows -----------------------------------------------------------------------------------------------

// The first n lanes, 0 to all of them; the others are read as 0.
template <class T>
DLKIT_INLINE Vec<T> load_first(const T* p, Index n) {
  if (n >= Vec<T>::lanes) return Vec<T>::load(p);
  return Vec<T>::load(p, Vec<T>::first(n));
}

template <class T>
DLKIT_INLINE void store_first(Vec<T> x, T* p, Index n) {
  if (n >= Vec<T>::lanes) return x.store(p);
  if constexpr (Vec<T>::cheap_masks) {
    x.store(p, Vec<T>::first(n));
  } else {
    T lane[Vec<T>::lanes];
    x.store(lane);
    for (Index i = 0; i < n; ++i) p[i] = lane[i];
  }
}

// Whether a value takes the place of the largest so far: it is larger, or NaN.
template <class T>
DLKIT_INLINE typename Vec<T>::Mask wins(Vec<T> value, Vec<T> best) {
  return either(Vec<T>::less(best, value), Vec<T>::is_nan(value));
}

// The larger, or NaN where either is.
template <class T>
DLKIT_INLINE Vec<T> nan_max(Vec<T> a, Vec<T> b) {
  return Vec<T>::select(Vec<T>::is_nan(a), a, Vec<T>::max(a, b));  // max gives b where either is NaN
}

}  // namespace dlkit::DLKIT_TARGET
