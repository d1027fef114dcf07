// Planes side by side: an element of as many planes as a register has lanes, plane p in lane p. What a window does is
// then the same for all lanes, whatever its size, stride, dilation and padding are: no edges within a register, no
// shuffles along rows, small planes as good as large ones.
//
// interleave and its inverse transpose blocks of a register's square (core/transpose.h): about 6 cycles for each
// register, each way, on Zen 4.
#pragma once

#include "conv/pool_lanes.h"
#include "core/transpose.h"

namespace dlkit::DLKIT_TARGET {

// So many registers at the end of rows are put together element by element.
constexpr Index kFew = 2;

// A byte for each lane, as a number.
template <class T>
DLKIT_INLINE Vec<T> load_numbers(const std::uint8_t* p, Index n) {
#if defined(DLKIT_TARGET_AVX512)
  const __m128i bytes = n >= Vec<T>::lanes ? Places<T>::load(p).v : Places<T>::load(p, n).v;
  if constexpr (sizeof(T) == 4)
    return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
  else
    return {_mm512_cvtepi64_pd(_mm512_cvtepu8_epi64(bytes))};
#else
  T lane[Vec<T>::lanes] = {};
  for (Index i = 0; i < n && i < Vec<T>::lanes; ++i) lane[i] = static_cast<T>(p[i]);
  return Vec<T>::load(lane);
#endif
}
template <class T>
DLKIT_INLINE Vec<T> load_numbers(const T* p, Index n) {
  return load_first(p, n);
}

// The first n lanes, of integers that T holds exactly, as what is at p: bytes (of which -1 is 255), int64, or T.
template <class T>
DLKIT_INLINE void store_numbers(Vec<T> x, std::uint8_t* p, Index n) {
  if (n >= Vec<T>::lanes)
    store_places(x, p);
  else
    store_places(x, p, n);
}
template <class T>
DLKIT_INLINE void store_numbers(Vec<T> x, std::int64_t* p, Index n) {
#if defined(DLKIT_TARGET_AVX512)
  if constexpr (sizeof(T) == 4) {
    const __m512i whole = _mm512_cvttps_epi32(x.v);
    const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(whole));
    const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(whole, 1));
    if (n >= 16) {
      _mm512_storeu_si512(p, low);
      _mm512_storeu_si512(p + 8, high);
    } else {
      _mm512_mask_storeu_epi64(p, Vec<double>::first(n), low);
      _mm512_mask_storeu_epi64(p + 8, Vec<double>::first(n - 8), high);
    }
  } else {
    _mm512_mask_storeu_epi64(p, Vec<double>::first(n), _mm512_cvttpd_epi64(x.v));
  }
#else
  T lane[Vec<T>::lanes];
  x.store(lane);
  for (Index i = 0; i < n && i < Vec<T>::lanes; ++i) p[i] = static_cast<std::int64_t>(lane[i]);
#endif
}
template <class T>
DLKIT_INLINE void store_numbers(Vec<T> x, T* p, Index n) {
  store_first(x, p, n);
}

// The elements of planes side by side: register i of `to`, at to + place(i), is from[p * pitch + i] in lane p, i <
// count, for p < planes <= lanes; other lanes are 0. From: T or bytes. With kFindNan: whether there is one. What lies
// `ahead` elements on is prefetched: as many streams as there are planes are more than processors foresee.
template <bool kFindNan, class T, class From, class Place>
DLKIT_INLINE bool interleave_to(const From* from, Index pitch, Index planes, Index count, T* to, const Place& place,
                                Index ahead) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  auto nan = V::is_nan(V::zero());
  T block[kLanes * kLanes];
  if (count == 1 && pitch == 1) {
    const V x = load_numbers<T>(from, planes);
    x.store(to + place(0));
    return kFindNan && first_lane<T>(V::is_nan(x)) < kLanes;
  }
  for (Index i = 0; i < count; i += kLanes) {
    const T* source = block;
    Index step = kLanes, first = i;
    if (sizeof(From) == sizeof(T) && count - i <= kFew && planes == kLanes && i > 0) {
      for (; first < count; ++first) {
        T* const at = to + place(first);
        for (Index p = 0; p < kLanes; ++p) at[p] = static_cast<T>(from[p * pitch + first]);
        if constexpr (kFindNan) nan = either(nan, V::is_nan(V::load(at)));
      }
      break;
    }
    if (sizeof(From) == sizeof(T) && planes == kLanes && count >= kLanes) {
      if (count - i < kLanes) first = count - kLanes;  // overlaps what has been done
      source = reinterpret_cast<const T*>(from) + first;
      for (Index p = 0; p < kLanes; ++p) __builtin_prefetch(source + p * pitch + ahead);
      step = pitch;
    } else {
      for (Index p = 0; p < kLanes; ++p)
        (p < planes ? load_numbers<T>(from + p * pitch + i, count - i) : V::zero()).store(block + p * kLanes);
    }
    const Index rows = count - first;
    if (rows >= kLanes)
      transpose_block(source, step, [&](int j, V x) __attribute__((always_inline)) {
        if constexpr (kFindNan) nan = either(nan, V::is_nan(x));
        x.store(to + place(first + j));
      });
    else
      transpose_block(source, step, [&](int j, V x) __attribute__((always_inline)) {
        if constexpr (kFindNan) nan = either(nan, V::is_nan(x));
        if (j < rows) x.store(to + place(first + j));
      });
  }
  return kFindNan && first_lane<T>(nan) < kLanes;
}

// The same, registers one after another, from rows `pitch` apart that are read one after another.
template <bool kFindNan, class T, class From>
__attribute__((noinline)) bool interleave(const From* from, Index pitch, Index planes, Index count, T* to) {
  return interleave_to<kFindNan>(
      from, pitch, planes, count, to, [](Index i) { return i * Vec<T>::lanes; },
      count < pitch ? count : Vec<T>::lanes * pitch);
}

DLKIT_INLINE void put(float x, float* to) { *to = x; }
DLKIT_INLINE void put(double x, double* to) { *to = x; }
template <class T>
DLKIT_INLINE void put(T x, std::uint8_t* to) {
  *to = static_cast<std::uint8_t>(static_cast<int>(x));
}
template <class T>
DLKIT_INLINE void put(T x, std::int64_t* to) {
  *to = static_cast<std::int64_t>(x);
}

// to[p * pitch + i] = from[i * lanes + p], the inverse. To: T, or what store_numbers knows.
template <class T, class To>
__attribute__((noinline)) void deinterleave(const T* from, Index count, Index planes, To* to, Index pitch) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  const Index ahead = count < pitch ? count : kLanes * pitch;
  if (count == 1 && pitch == 1) return store_numbers(V::load(from), to, planes);
  T block[kLanes * kLanes];
  for (Index i = 0; i < count; i += kLanes) {
    const T* source = from + i * kLanes;
    Index first = i;
    if (count - i <= kFew && i > 0) {
      for (; first < count; ++first)
        for (Index p = 0; p < planes; ++p) put(from[first * kLanes + p], to + p * pitch + first);
      break;
    }
    if (count - i < kLanes) {
      if (count >= kLanes) {
        first = count - kLanes;
        source = from + first * kLanes;
      } else {
        for (Index k = 0; k < kLanes; ++k)
          (k < count ? V::load(from + k * kLanes) : V::zero()).store(block + k * kLanes);
        source = block;
      }
    }
    To* const at = to + first;
    if (count > 4 * kLanes)
      for (Index p = 0; p < kLanes; ++p) __builtin_prefetch(at + p * pitch + ahead, 1);
    const Index n = count - first;
    if (n >= kLanes && planes == kLanes)
      transpose_block(source, kLanes,
                      [&](int p, V x) __attribute__((always_inline)) { store_numbers(x, at + p * pitch, kLanes); });
    else
      transpose_block(source, kLanes, [&](int p, V x) __attribute__((always_inline)) {
        if (p < planes) store_numbers(x, at + p * pitch, n);
      });
  }
}

}  // namespace dlkit::DLKIT_TARGET
