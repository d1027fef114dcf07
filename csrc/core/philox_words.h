// Many words of a stream of core/philox.h at once, on vectors. For files that are compiled once per instruction set.
#pragma once

#include <cstdint>

#include "core/philox.h"
#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

// The words of `count` blocks from `block` on, in order; count is rounded up to a whole number of vectors.
inline void philox_words(std::uint64_t seed, std::uint64_t block, Index count, std::uint64_t* words) {
  using L = Lanes64;
  constexpr int kLanes = L::lanes;
  // In each 128 bits, block i beside block i + kLanes / 2: interleaving then leaves the words in order.
  std::uint64_t offset[kLanes];
  for (int i = 0; i < kLanes; ++i) offset[i] = static_cast<std::uint64_t>(i / 2 + (i % 2) * (kLanes / 2));
  const L offsets = L::load(offset);
  const L multiplier0 = L::broadcast(Philox::kMultiplier0), multiplier1 = L::broadcast(Philox::kMultiplier1);
  for (Index done = 0; done < count; done += kLanes, words += 2 * kLanes) {
    const L counter = L::broadcast(block + static_cast<std::uint64_t>(done)) + offsets;
    // Only the low half of each lane counts; the high half is whatever earlier steps left there.
    L c0 = counter, c1 = counter.high_half(), c2 = L::broadcast(0), c3 = c2;
    std::uint32_t key0 = static_cast<std::uint32_t>(seed), key1 = static_cast<std::uint32_t>(seed >> 32);
    for (int round = 0; round < Philox::kRounds; ++round) {
      const L product0 = L::multiply_low_halves(c0, multiplier0);
      const L product1 = L::multiply_low_halves(c2, multiplier1);
      c0 = product1.high_half() ^ c1 ^ L::broadcast(key0);
      c1 = product1;
      c2 = product0.high_half() ^ c3 ^ L::broadcast(key1);
      c3 = product0;
      key0 += Philox::kWeyl0;
      key1 += Philox::kWeyl1;
    }
    const L first = L::join_low_halves(c0, c1), second = L::join_low_halves(c2, c3);
    L::interleave_first(first, second).store(words);
    L::interleave_second(first, second).store(words + kLanes);
  }
}

}  // namespace dlkit::DLKIT_TARGET
