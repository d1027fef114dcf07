// Any lanes of one register, or of two, to any lanes of another.
//
// Moves<T>: lane i of the result is lane from[i] of the first register, or from[i] - lanes of the second; 0 where
// from[i] is negative. One instruction with AVX-512; elsewhere it would go by way of memory, and what needs it is left
// out. Of float32 alone: the wheel is small.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

#if defined(DLKIT_TARGET_AVX512)

template <class T>
struct Moves;

template <>
struct Moves<float> {
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

#endif

}  // namespace dlkit::DLKIT_TARGET
