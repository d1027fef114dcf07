// Philox4x32-10: counter-based random numbers. Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as
// 1, 2, 3", SC 2011.
//
// A block of four 32-bit words is a pure function of a 128-bit counter and a 64-bit key, so any element's number can
// be had in any order, by any number of threads, on a CPU or a GPU, and is the same. dlkit's convention:
// the key is the seed; element i of a stream is word i mod 4 of the block whose counter is (i div 4, 0).
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DLKIT_PHILOX_FUNCTION __host__ __device__ __forceinline__
#else
#define DLKIT_PHILOX_FUNCTION inline __attribute__((always_inline))
#endif

namespace dlkit {

struct Philox {
  static constexpr std::uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
  static constexpr std::uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
  static constexpr int kRounds = 10;

  std::uint32_t word[4];

  static DLKIT_PHILOX_FUNCTION Philox block(std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                                            std::uint32_t key0, std::uint32_t key1) {
    for (int round = 0; round < kRounds; ++round) {
      const std::uint64_t product0 = static_cast<std::uint64_t>(kMultiplier0) * c0;
      const std::uint64_t product1 = static_cast<std::uint64_t>(kMultiplier1) * c2;
      c0 = static_cast<std::uint32_t>(product1 >> 32) ^ c1 ^ key0;
      c1 = static_cast<std::uint32_t>(product1);
      c2 = static_cast<std::uint32_t>(product0 >> 32) ^ c3 ^ key1;
      c3 = static_cast<std::uint32_t>(product0);
      key0 += kWeyl0;
      key1 += kWeyl1;
    }
    return {{c0, c1, c2, c3}};
  }

  static DLKIT_PHILOX_FUNCTION std::uint32_t element(std::uint64_t seed, std::uint64_t index) {
    const std::uint64_t counter = index >> 2;
    return block(static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0,
                 static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32))
        .word[index & 3];
  }
};

}  // namespace dlkit
