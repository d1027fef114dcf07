// How many blocks a cooperative launch may have.
#pragma once

#include <cstddef>

#include "core/cuda/grid.h"

namespace dlkit {

// For kernels whose blocks wait for each other: as many as there are multiprocessors, one on each, and the shared
// memory that each may have.
struct Residence {
  int blocks;
  std::size_t shared;
};
#if defined(DLKIT_SIMT)
inline Residence residence() { return {4, std::size_t{227} << 10}; }  // several, even for what is small
#else
inline Residence residence() {
  static std::atomic<int> known[16];
  int device = 0, shared = 0;
  check(cudaGetDevice(&device), "residence");
  if (device < 16) shared = known[device].load(std::memory_order_relaxed);
  if (shared == 0) {
    check(cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device), "residence");
    if (device < 16) known[device].store(shared, std::memory_order_relaxed);
  }
  return {multiprocessors(), static_cast<std::size_t>(shared)};
}
#endif

}  // namespace dlkit
