// SplitMix64 (Steele, Lea & Flood 2014) as what it is, a function of a counter: the n-th number of a seed, from 0 on.
//
// The engine's workers draw one after the other (train.cpp); whoever knows how many came before can begin anywhere, as
// on a GPU, where the words of a sentence are many threads' work. Of a piece of the text, which has a seed of its own,
// are drawn, sentence by sentence
//
//   32 bits for each word that subsampling may throw away; and of the n that are left, if there are two or more,
//   with k negatives:  k numbers for each of the words 0, 1 and 2; then, for each word i from 0 on, k for word i + 3,
//   where there is one, and one for the window of word i, where windows are drawn.
#pragma once

#include <cstdint>

#if defined(__CUDACC__)
#define DLKIT_SPLIT_MIX_FUNCTION __host__ __device__ __forceinline__
#else
#define DLKIT_SPLIT_MIX_FUNCTION inline __attribute__((always_inline))
#endif

namespace dlkit::word2vec {

struct SplitMix {
  static constexpr std::uint64_t kStep = 0x9E3779B97F4A7C15u;
  // Words that negatives are drawn early, so that their rows can be fetched.
  static constexpr std::uint64_t kAhead = 3;

  static DLKIT_SPLIT_MIX_FUNCTION std::uint64_t number(std::uint64_t seed, std::uint64_t n) {
    std::uint64_t z = seed + (n + 1) * kStep;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  // A seed from two.
  static DLKIT_SPLIT_MIX_FUNCTION std::uint64_t mixed(std::uint64_t a, std::uint64_t b) {
    return number(a ^ (b * 0xD1342543DE82EF95u), 0);
  }

  // How many numbers of a sentence, of which n words are left, come before the negatives and the window of word i.
  static DLKIT_SPLIT_MIX_FUNCTION std::uint64_t before_negatives(std::uint64_t i, std::uint64_t k, bool windows) {
    return i * k + (windows && i > kAhead ? i - kAhead : 0);
  }
  static DLKIT_SPLIT_MIX_FUNCTION std::uint64_t before_window(std::uint64_t i, std::uint64_t n, std::uint64_t k) {
    return (i + kAhead + 1 < n ? i + kAhead + 1 : n) * k + i;
  }
};

}  // namespace dlkit::word2vec
