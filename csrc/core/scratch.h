// Memory for packed panels and other intermediates of a kernel: aligned, one set per thread, reused from call to
// call. A slot grows to the largest request made of it, which every kernel bounds by its block sizes.
#pragma once

#include <cstddef>

namespace dlkit {

// passed_on: what one operation leaves for the next one in the same call; no kernel uses it for itself.
enum class Slot { pack_a, pack_b, result, columns, windows, passed_on, count };

// Not for sources that are compiled without exceptions (CMakeLists.txt): it throws std::bad_alloc.
#if defined(__cpp_exceptions)

// At least `bytes` bytes, aligned to 64, valid until this thread next asks for the same slot. The contents are
// whatever they were.
void* scratch_bytes(Slot slot, std::size_t bytes);

template <class T>
T* scratch(Slot slot, std::size_t count) {
  return static_cast<T*>(scratch_bytes(slot, count * sizeof(T)));
}

#endif

}  // namespace dlkit
