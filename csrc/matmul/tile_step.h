// A step of k of the 4 x 3 tile of AVX2, in assembly.
//
// It takes all 16 registers: 12 sums, 3 vectors of B, one element of A. Where four steps stand in a row GCC does not
// keep to that: it broadcasts an element early, or multiplies into the register of a factor, then moves registers and
// spills sums. And four steps in a row are worth it: 20 instructions a step instead of 24. On a core of its own the
// multipliers bound both; where another program shares the front end of the core, instructions do (Zen 3;
// docs/matmul.md).
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

#if defined(DLKIT_TARGET_AVX2)

// clang-format off

// A row of the tile: its element of A in register 12, the panel in 13, 14 and 15.
#define DLKIT_ROW(ELEMENT, I)                     \
  "vbroadcastss %c[at_a](" ELEMENT "), %%ymm12\n\t" \
  "vfmadd231ps %%ymm13, %%ymm12, %[s" I "0]\n\t"    \
  "vfmadd231ps %%ymm14, %%ymm12, %[s" I "1]\n\t"    \
  "vfmadd231ps %%ymm15, %%ymm12, %[s" I "2]\n\t"

// sum += the product of A's elements a[0], a[row], a[2 row], a3[0] by the three vectors at b. `row` is in bytes, and so
// are the offsets, which are added to each address.
template <int AOffset, int BOffset>
DLKIT_INLINE void step_4x3(Vec<float> (&sum)[4][3], const float* a, const float* a3, std::ptrdiff_t row,
                           const float* b) {
  asm("vmovups %c[at_b](%[b]), %%ymm13\n\t"
      "vmovups %c[at_b]+32(%[b]), %%ymm14\n\t"
      "vmovups %c[at_b]+64(%[b]), %%ymm15\n\t"
      DLKIT_ROW("%[a]", "0")
      DLKIT_ROW("%[a], %[row]", "1")
      DLKIT_ROW("%[a], %[row], 2", "2")
      DLKIT_ROW("%[a3]", "3")
      : [s00] "+x"(sum[0][0].v), [s01] "+x"(sum[0][1].v), [s02] "+x"(sum[0][2].v), [s10] "+x"(sum[1][0].v),
        [s11] "+x"(sum[1][1].v), [s12] "+x"(sum[1][2].v), [s20] "+x"(sum[2][0].v), [s21] "+x"(sum[2][1].v),
        [s22] "+x"(sum[2][2].v), [s30] "+x"(sum[3][0].v), [s31] "+x"(sum[3][1].v), [s32] "+x"(sum[3][2].v)
      : [a] "r"(a), [a3] "r"(a3), [row] "r"(row), [b] "r"(b), [at_a] "i"(AOffset), [at_b] "i"(BOffset)
      : "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

// clang-format on

#undef DLKIT_ROW

#endif

}  // namespace dlkit::DLKIT_TARGET
