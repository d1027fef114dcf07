// Any lanes of one register, or of two, to any lanes of another.
//
// Moves<T>: lane i of the result is lane from[i] of the first register, or from[i] - lanes of the second; 0 where
// from[i] is negative. One instruction with AVX-512; elsewhere by way of memory, which no default chooses.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

#if defined(DLKIT_TARGET_AVX512)

template <class T>
struct Moves;

template <>
struct Moves<float> {
  static constexpr bool fast = true;
  alignas(64) std::int32_t lane[16];
  __mmask16 mask;

  DLKIT_INLINE void set(const Index* from) {
    unsigned bits = 0;
    for (int i = 0; i < 16; ++i) {
      lane[i] = static_cast<std::int32_t>(from[i]);
      bits |= from[i] >= 0 ? 1u << i : 0u;
    }
    mask = static_cast<__mmask16>(bits);
  }
  DLKIT_INLINE Vec<float> of(Vec<float> a) const {
    return {_mm512_maskz_permutexvar_ps(mask, _mm512_load_si512(lane), a.v)};
  }
  DLKIT_INLINE Vec<float> of(Vec<float> a, Vec<float> b) const {
    return {_mm512_maskz_permutex2var_ps(mask, a.v, _mm512_load_si512(lane), b.v)};
  }
};

template <>
struct Moves<double> {
  static constexpr bool fast = true;
  alignas(64) std::int64_t lane[8];
  __mmask8 mask;

  DLKIT_INLINE void set(const Index* from) {
    unsigned bits = 0;
    for (int i = 0; i < 8; ++i) {
      lane[i] = static_cast<std::int64_t>(from[i]);
      bits |= from[i] >= 0 ? 1u << i : 0u;
    }
    mask = static_cast<__mmask8>(bits);
  }
  DLKIT_INLINE Vec<double> of(Vec<double> a) const {
    return {_mm512_maskz_permutexvar_pd(mask, _mm512_load_si512(lane), a.v)};
  }
  DLKIT_INLINE Vec<double> of(Vec<double> a, Vec<double> b) const {
    return {_mm512_maskz_permutex2var_pd(mask, a.v, _mm512_load_si512(lane), b.v)};
  }
};

#else

template <class T>
struct Moves {
  static constexpr bool fast = false;
  Index lane[Vec<T>::lanes];

  DLKIT_INLINE void set(const Index* from) {
    for (int i = 0; i < Vec<T>::lanes; ++i) lane[i] = from[i];
  }
  DLKIT_INLINE Vec<T> of(Vec<T> a) const { return of(a, a); }
  DLKIT_INLINE Vec<T> of(Vec<T> a, Vec<T> b) const {
    T from[2 * Vec<T>::lanes], to[Vec<T>::lanes];
    a.store(from);
    b.store(from + Vec<T>::lanes);
    for (int i = 0; i < Vec<T>::lanes; ++i) to[i] = lane[i] >= 0 ? from[lane[i]] : T(0);
    return Vec<T>::load(to);
  }
};

#endif

}  // namespace dlkit::DLKIT_TARGET
