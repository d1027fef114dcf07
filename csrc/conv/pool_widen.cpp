// From places in windows, a byte each, to places in planes, an int64 each.
//
// index = first tap's element, which moves on by the stride along a row, + where the tap lies from it, from a table. In
// a register for windows of 16 taps at most (AVX-512), else one load for each. 1 byte is read and 8 are written for
// each output: bound by the store, and by the memory where they go.
#include "conv/pool_kernels.h"
#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {
namespace {

void widen(const WideTaps& taps, const std::uint8_t* places, Index first, Index stride, Index count, std::int64_t* to) {
  Index i = 0;
#if defined(DLKIT_TARGET_AVX512)
  if (taps.count <= 16) {
    const __m512i table = _mm512_loadu_si512(taps.at);
    const __m512i step = _mm512_set1_epi32(static_cast<int>(16 * stride));
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i here = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(first)),
                                    _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(stride))));
    for (; i < count; i += 16, here = _mm512_add_epi32(here, step)) {
      const Index left = count - i;
      const __m128i bytes = _mm_maskz_loadu_epi8(Vec<float>::first(left), places + i);
      const __m512i at = _mm512_add_epi32(here, _mm512_permutexvar_epi32(_mm512_cvtepu8_epi32(bytes), table));
      const __mmask16 nowhere = _mm_cmpeq_epi8_mask(bytes, _mm_set1_epi8(static_cast<char>(kNoPlace)));
      const __m512i index = _mm512_mask_set1_epi32(at, nowhere, -1);
      const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(index));
      const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(index, 1));
      if (left >= 16) {
        _mm512_storeu_si512(to + i, low);
        _mm512_storeu_si512(to + i + 8, high);
      } else {
        _mm512_mask_storeu_epi64(to + i, Vec<double>::first(left), low);
        _mm512_mask_storeu_epi64(to + i + 8, Vec<double>::first(left - 8), high);
      }
    }
  }
#endif
  for (first += i * stride; i < count; ++i, first += stride)
    to[i] = places[i] < taps.count ? first + taps.at[places[i]] : -1;
}

}  // namespace

extern const PoolWiden pool_widen;
const PoolWiden pool_widen = {widen};

}  // namespace dlkit::DLKIT_TARGET
