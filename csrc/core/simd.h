// Vectors of the instruction set that this translation unit is compiled for.
//
// A source file that includes this header is compiled once per instruction set (see CMakeLists.txt), with
// DLKIT_TARGET naming the namespace that all of its code lives in: dlkit::avx512, dlkit::avx2, dlkit::baseline.
// That keeps the copies apart for the linker. For the same reason such files must not instantiate inline
// functions of other headers (the standard library's included) that are not marked always-inline: the linker
// would keep one copy for all, possibly the one that needs AVX-512. tests/core/test_isa_symbols.py holds this.
//
// Vec<T> is one register of T (float or double):
//   lanes               elements in a register
//   Mask                a subset of the lanes, as made by first(n), and by the comparisons
//   Few                 the first n lanes, 0 < n < lanes, as made by few(n), where much is stored by them
//   cheap_masks         whether masked loads and stores cost about what plain ones do (AVX2 stores: 28 cycles on Zen 3)
//   load, store         unaligned; with a mask or a Few, lanes outside are neither read nor written (read as 0)
//   fma(a, b, c)        a * b + c, rounded once where the instruction exists
//   add_product(sum, a, b)  sum += a * b; with AVX2 certain to stay in the register that sum is in
//   exp2_of_integer(n)  2^n for integral n within the exponent range of normal numbers
#pragma once

#include <cstddef>
#include <cstdint>

#define DLKIT_INLINE inline __attribute__((always_inline))
#define DLKIT_INLINE_LAMBDA __attribute__((always_inline))
#define DLKIT_NOINLINE __attribute__((noinline))

#if defined(DLKIT_TARGET_AVX512)
#include "core/simd_avx512.h"
#elif defined(DLKIT_TARGET_AVX2)
#include "core/simd_avx2.h"
#elif defined(__SSE4_1__)
#include "core/simd_sse4.h"
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include "core/simd_neon.h"
#else
#include "core/simd_scalar.h"
#endif

namespace dlkit::DLKIT_TARGET {

// Keeps a loaded vector in its register: the compiler may otherwise load it anew within each instruction that uses it.
template <class V>
DLKIT_INLINE void hold(V& x) {
#if defined(__x86_64__)
  asm("" : "+v"(x.v));
#elif defined(__aarch64__)
  asm("" : "+w"(x.v));
#else
  (void)x;
#endif
}

}  // namespace dlkit::DLKIT_TARGET
