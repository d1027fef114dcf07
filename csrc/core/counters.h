// How much work the kernels have done, for reports of GFLOP/s.
#pragma once

#include <atomic>
#include <cstdint>

namespace dlkit {

struct Counters {
  std::atomic<std::uint64_t> flops{0};  // multiplications and additions of matrix products
  std::atomic<std::uint64_t> bytes{0};  // operands read once and results written once
  std::atomic<std::uint64_t> calls{0};
};

inline Counters counters;

inline void count_work(std::uint64_t flops, std::uint64_t bytes) {
  counters.flops.fetch_add(flops, std::memory_order_relaxed);
  counters.bytes.fetch_add(bytes, std::memory_order_relaxed);
  counters.calls.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace dlkit
