// Numbers of one to four bytes each, side by side; up to three bytes past the last one may be read.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

namespace dlkit::ngram {

static_assert(std::endian::native == std::endian::little, "records are read as little-endian words");

inline std::uint32_t mask_of(int width) { return 0xFFFFFFFFu >> (32 - 8 * width); }

inline std::uint32_t read_number(const std::uint8_t* bytes, std::uint32_t mask) {
  std::uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word & mask;
}

inline float read_float(const std::uint8_t* bytes) {
  float value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

}  // namespace dlkit::ngram
