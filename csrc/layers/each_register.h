// Walks over arrays a register at a time.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

// body(i) for whole registers and body(i, mask) for parts of one, so that i covers [0, n) once, in order. For results
// that depend on their own element alone: the first part is such that the registers of `out` are aligned from there
// on. NumPy's arrays begin 16 bytes past a multiple of 64, so that else every load and store of 64 bytes would touch
// two cache lines: an Adam step takes half as long again then.
template <class T, class Body>
DLKIT_INLINE void each_register(const T* out, Index n, const Body& body) {
  using V = Vec<T>;
  constexpr Index kBytes = V::lanes * static_cast<Index>(sizeof(T));
  Index i = 0;
  if (n >= 8 * V::lanes) {
    const Index past = static_cast<Index>(reinterpret_cast<std::uintptr_t>(out) % static_cast<std::uintptr_t>(kBytes));
    if (past != 0) {
      i = (kBytes - past) / static_cast<Index>(sizeof(T));
      body(Index{0}, V::first(i));
    }
  }
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    body(i);
    body(i + V::lanes);
  }
  if (i + V::lanes <= n) {
    body(i);
    i += V::lanes;
  }
  if (i < n) body(i, V::first(n - i));
}

}  // namespace dlkit::DLKIT_TARGET
