// Memory for the arrays that kernels return, kept when an array goes and given to the next of its size.
//
// A network's step makes and drops the same few arrays of megabytes. The C library gives such memory back to the
// system, and each page that comes anew is a fault: about 0.5 us, twenty times what a kernel needs to fill it. So
// blocks from kLeastKept bytes on are kept here, at most kMostKept bytes of them; beyond that the ones that have waited
// longest go back. They begin at a cache line, so that no vector of an array spans two.
//
// The arrays own their memory as others do: NumPy asks a handler for it (PyDataMem_SetHandler, NEP 49), which an array
// remembers for the day it is freed.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>

namespace dlkit {

inline constexpr std::size_t kLeastKept = std::size_t{16} << 10;  // smaller ones are malloc's own business
inline constexpr std::size_t kMostKept = std::size_t{128} << 20;

// While it lives, NumPy's new arrays on this thread have their memory from here, if `bytes` is large enough.
class ArrayMemory {
 public:
  explicit ArrayMemory(std::size_t bytes);
  ~ArrayMemory();
  ArrayMemory(const ArrayMemory&) = delete;
  ArrayMemory& operator=(const ArrayMemory&) = delete;

 private:
  PyObject* previous_ = nullptr;
};

std::size_t kept_memory();   // bytes that wait for the next array
void release_kept_memory();  // gives them back to the system

}  // namespace dlkit
