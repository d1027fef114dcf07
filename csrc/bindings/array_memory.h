// Memory for the arrays that kernels return, kept when an array goes and given to the next of its size.
//
// A network's step makes and drops the same few arrays of megabytes. The C library gives such memory back to the
// system, and each page that comes anew is a fault: about 0.5 us, twenty times what a kernel needs to fill it. So
// blocks from kLeastKept bytes on are kept here, at most most_kept_memory() of them; beyond that the ones that have
// waited longest go back. They begin at a cache line, so that no vector of an array spans two.
//
// The arrays own their memory as others do: NumPy asks a handler for it (PyDataMem_SetHandler, NEP 49), which an array
// remembers for the day it is freed.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>

namespace dlkit {

inline constexpr std::size_t kLeastKept = std::size_t{16} << 10;  // smaller ones are malloc's own business

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

std::size_t kept_memory();       // bytes that wait for the next array
std::size_t most_kept_memory();  // a 64th of the machine's memory, but from 128 to 512 MB
void release_kept_memory();      // gives what waits back to the system

}  // namespace dlkit
