// Chooses, once, which build of a table of kernels to use.
//
// A chapter declares `struct LayerKernels { void (*relu)(...); ... };` and, compiled once per instruction set,
// defines `const LayerKernels layer_kernels` in namespace dlkit::DLKIT_TARGET. DLKIT_DISPATCH then makes
// `const LayerKernels& kernels()` of the four.
#pragma once

#include "core/cpu.h"

#if defined(DLKIT_ONLY_ISA)
#define DLKIT_DECLARE_PER_ISA(Type, object) \
  namespace DLKIT_ONLY_ISA { extern const Type object; }
#define DLKIT_SELECT(object) (DLKIT_ONLY_ISA::object)
#elif defined(DLKIT_HAVE_X86_ISAS)
#define DLKIT_DECLARE_PER_ISA(Type, object)        \
  namespace baseline { extern const Type object; } \
  namespace avx2 { extern const Type object; }     \
  namespace avx512 { extern const Type object; }
#define DLKIT_SELECT(object) \
  (active_isa() == Isa::avx512 ? avx512::object : active_isa() == Isa::avx2 ? avx2::object : baseline::object)
#elif defined(__aarch64__)
#define DLKIT_DECLARE_PER_ISA(Type, object) \
  namespace neon { extern const Type object; }
#define DLKIT_SELECT(object) (neon::object)
#else
#define DLKIT_DECLARE_PER_ISA(Type, object) \
  namespace baseline { extern const Type object; }
#define DLKIT_SELECT(object) (baseline::object)
#endif
