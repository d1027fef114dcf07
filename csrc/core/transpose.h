// Transposition of one register-sized square block, the step that packing a transposed operand is made of.
//
// transpose_block(from, stride, store) reads the block at `from`, row i at from + i * stride, and hands each column
// as a register to store(j, column). A block of 16 x 16 floats costs 64 loads and 32 in-lane shuffles with AVX-512:
// the lanes are put in place by the loads (masked broadcasts of 16 bytes, which need no shuffle unit), so that only
// 4 x 4 transposes within 16-byte lanes remain.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

#if defined(DLKIT_TARGET_AVX512)

// Rows i, i + 4, i + 8, i + 12 of a 16-byte chunk, one per 16-byte lane.
DLKIT_INLINE __m512 gather_lanes(const float* p, std::ptrdiff_t stride) {
  __m512 z = _mm512_castps128_ps512(_mm_loadu_ps(p));
  z = _mm512_mask_broadcast_f32x4(z, 0x00f0, _mm_loadu_ps(p + 4 * stride));
  z = _mm512_mask_broadcast_f32x4(z, 0x0f00, _mm_loadu_ps(p + 8 * stride));
  return _mm512_mask_broadcast_f32x4(z, 0xf000, _mm_loadu_ps(p + 12 * stride));
}

DLKIT_INLINE __m512d gather_lanes(const double* p, std::ptrdiff_t stride) {
  __m512d z = _mm512_castpd128_pd512(_mm_loadu_pd(p));
  z = _mm512_mask_broadcast_f64x2(z, 0x0c, _mm_loadu_pd(p + 2 * stride));
  z = _mm512_mask_broadcast_f64x2(z, 0x30, _mm_loadu_pd(p + 4 * stride));
  return _mm512_mask_broadcast_f64x2(z, 0xc0, _mm_loadu_pd(p + 6 * stride));
}

#define DLKIT_UNPACKLO_PD(a, b) _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define DLKIT_UNPACKHI_PD(a, b) _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)))
#define DLKIT_UNPACKLO_PS _mm512_unpacklo_ps
#define DLKIT_UNPACKHI_PS _mm512_unpackhi_ps
#define DLKIT_UNPACKLO_D _mm512_unpacklo_pd
#define DLKIT_UNPACKHI_D _mm512_unpackhi_pd

#elif defined(DLKIT_TARGET_AVX2)

DLKIT_INLINE __m256 gather_lanes(const float* p, std::ptrdiff_t stride) {
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(p)), _mm_loadu_ps(p + 4 * stride), 1);
}

DLKIT_INLINE __m256d gather_lanes(const double* p, std::ptrdiff_t stride) {
  return _mm256_insertf128_pd(_mm256_castpd128_pd256(_mm_loadu_pd(p)), _mm_loadu_pd(p + 2 * stride), 1);
}

#define DLKIT_UNPACKLO_PD(a, b) _mm256_castpd_ps(_mm256_unpacklo_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define DLKIT_UNPACKHI_PD(a, b) _mm256_castpd_ps(_mm256_unpackhi_pd(_mm256_castps_pd(a), _mm256_castps_pd(b)))
#define DLKIT_UNPACKLO_PS _mm256_unpacklo_ps
#define DLKIT_UNPACKHI_PS _mm256_unpackhi_ps
#define DLKIT_UNPACKLO_D _mm256_unpacklo_pd
#define DLKIT_UNPACKHI_D _mm256_unpackhi_pd

#elif defined(__SSE4_1__)

DLKIT_INLINE __m128 gather_lanes(const float* p, std::ptrdiff_t) { return _mm_loadu_ps(p); }
DLKIT_INLINE __m128d gather_lanes(const double* p, std::ptrdiff_t) { return _mm_loadu_pd(p); }

#define DLKIT_UNPACKLO_PD(a, b) _mm_castpd_ps(_mm_unpacklo_pd(_mm_castps_pd(a), _mm_castps_pd(b)))
#define DLKIT_UNPACKHI_PD(a, b) _mm_castpd_ps(_mm_unpackhi_pd(_mm_castps_pd(a), _mm_castps_pd(b)))
#define DLKIT_UNPACKLO_PS _mm_unpacklo_ps
#define DLKIT_UNPACKHI_PS _mm_unpackhi_ps
#define DLKIT_UNPACKLO_D _mm_unpacklo_pd
#define DLKIT_UNPACKHI_D _mm_unpackhi_pd

#endif

#if defined(DLKIT_UNPACKLO_PS)

template <class Store>
DLKIT_INLINE void transpose_block(const float* from, std::ptrdiff_t stride, const Store& store) {
  using V = Vec<float>;
#pragma GCC unroll 4
  for (int q = 0; q < V::lanes / 4; ++q) {
    const float* p = from + 4 * q;
    const auto r0 = gather_lanes(p, stride), r1 = gather_lanes(p + stride, stride);
    const auto r2 = gather_lanes(p + 2 * stride, stride), r3 = gather_lanes(p + 3 * stride, stride);
    const auto low01 = DLKIT_UNPACKLO_PS(r0, r1), low23 = DLKIT_UNPACKLO_PS(r2, r3);
    const auto high01 = DLKIT_UNPACKHI_PS(r0, r1), high23 = DLKIT_UNPACKHI_PS(r2, r3);
    store(4 * q + 0, V{DLKIT_UNPACKLO_PD(low01, low23)});
    store(4 * q + 1, V{DLKIT_UNPACKHI_PD(low01, low23)});
    store(4 * q + 2, V{DLKIT_UNPACKLO_PD(high01, high23)});
    store(4 * q + 3, V{DLKIT_UNPACKHI_PD(high01, high23)});
  }
}

template <class Store>
DLKIT_INLINE void transpose_block(const double* from, std::ptrdiff_t stride, const Store& store) {
  using V = Vec<double>;
#pragma GCC unroll 4
  for (int q = 0; q < V::lanes / 2; ++q) {
    const double* p = from + 2 * q;
    const auto r0 = gather_lanes(p, stride), r1 = gather_lanes(p + stride, stride);
    store(2 * q + 0, V{DLKIT_UNPACKLO_D(r0, r1)});
    store(2 * q + 1, V{DLKIT_UNPACKHI_D(r0, r1)});
  }
}

#undef DLKIT_UNPACKLO_PD
#undef DLKIT_UNPACKHI_PD
#undef DLKIT_UNPACKLO_PS
#undef DLKIT_UNPACKHI_PS
#undef DLKIT_UNPACKLO_D
#undef DLKIT_UNPACKHI_D

#else

template <class T, class Store>
DLKIT_INLINE void transpose_block(const T* from, std::ptrdiff_t stride, const Store& store) {
  using V = Vec<T>;
  for (int j = 0; j < V::lanes; ++j) {
    T column[V::lanes];
    for (int i = 0; i < V::lanes; ++i) column[i] = from[i * stride + j];
    store(j, V::load(column));
  }
}

#endif

}  // namespace dlkit::DLKIT_TARGET
