// Tables of kernels that the copy for x86 processors without AVX2 goes without: a smaller wheel is worth more there.
//
// As core/dispatch.h has it, but that nothing of the table may be called unless beyond_baseline(). Their sources are
// named in CMakeLists.txt.
#pragma once

#include "core/dispatch.h"

#if defined(DLKIT_HAVE_X86_ISAS) && !defined(DLKIT_ONLY_ISA)
#define DLKIT_DECLARE_BEYOND_BASELINE(Type, object) \
  namespace avx2 { extern const Type object; }      \
  namespace avx512 { extern const Type object; }
#define DLKIT_SELECT_BEYOND_BASELINE(object) (active_isa() == Isa::avx512 ? avx512::object : avx2::object)
namespace dlkit {
inline bool beyond_baseline() { return active_isa() != Isa::baseline; }
}  // namespace dlkit
#else  // one copy of everything
#define DLKIT_DECLARE_BEYOND_BASELINE DLKIT_DECLARE_PER_ISA
#define DLKIT_SELECT_BEYOND_BASELINE DLKIT_SELECT
namespace dlkit {
constexpr bool beyond_baseline() { return true; }
}  // namespace dlkit
#endif
