#include "core/peak.h"

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Enough independent chains to cover a latency of 4 to 5 cycles at two per cycle.
constexpr int kChains = 12;

template <class T>
double fused_multiply_adds(long iterations) {
  using V = Vec<T>;
  V chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = V::broadcast(T(1) / T(i + 2));
  V x = V::broadcast(T(0.5)), y = V::broadcast(T(0.25));
  // Opaque to the compiler: the operands stay registers and the loop stays a loop.
  asm volatile("" : "+m"(x), "+m"(y));
  for (long n = 0; n < iterations; ++n)
#pragma GCC unroll 12  // or the chains go through memory
    for (int i = 0; i < kChains; ++i) chain[i] = V::fma(chain[i], x, y);
  V total = chain[0];
  for (int i = 1; i < kChains; ++i) total = total + chain[i];
  T sum = total.sum();
  asm volatile("" : : "m"(sum));
  return 2.0 * V::lanes * kChains * static_cast<double>(iterations);
}

float read(const float* data, std::size_t count) {
  using V = Vec<float>;
  constexpr int kAhead = 4;
  V total[kAhead];
  for (auto& t : total) t = V::zero();
  for (std::size_t i = 0; i + V::lanes * kAhead <= count; i += V::lanes * kAhead)
#pragma GCC unroll 4
    for (int j = 0; j < kAhead; ++j) total[j] = total[j] + V::load(data + i + j * V::lanes);
  return (total[0] + total[1] + total[2] + total[3]).sum();
}

}  // namespace

extern const PeakKernels peak_table;
const PeakKernels peak_table = {fused_multiply_adds<float>, fused_multiply_adds<double>, read};

}  // namespace dlkit::DLKIT_TARGET
