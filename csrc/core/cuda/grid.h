// How many blocks fill the machine.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/cuda/launch.h"

namespace dlkit {

// Of the current device.
#if defined(DLKIT_SIMT)
inline int multiprocessors() { return 1; }  // so that small arrays too are more than the grid holds
#else
inline int multiprocessors() {
  static std::atomic<int> known[16];
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "multiprocessors");
  if (device < 16 && (count = known[device].load(std::memory_order_relaxed)) != 0) return count;
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "multiprocessors");
  if (device < 16) known[device].store(count, std::memory_order_relaxed);
  return count;
}
#endif

// For kernels whose blocks take more work when they have done theirs: `blocks`, or what the machine holds four times
// over, if that is less. (Once over would do if all blocks ran at one speed.)
inline unsigned full_grid(std::int64_t blocks, int threads) {
  constexpr int kResidentThreads = 2048, kWaves = 4;
  const std::int64_t most = static_cast<std::int64_t>(multiprocessors()) * (kResidentThreads / threads) * kWaves;
  return static_cast<unsigned>(std::min(blocks, most));
}

}  // namespace dlkit
