// The trie that is asked: records of as few bits as they need, side by side, and a search among siblings.
//
// Siblings are in the order of their words' numbers, and frequent words have small numbers: the search doubles its step
// from the first sibling on, so that a frequent word is found in the cache line where it starts; then it halves.
// A query of an order-n model reads about one cache line a level; memory latency bounds it.
// Size: an inner n-gram takes 64 bits and those of its word and of its first child's number, one of the longest 32 and
// its word's. After Heafield (2011), section 3.2; he has a sorted array by hashed words and searches by interpolation.
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "ngram/ngram.h"

namespace dlkit::ngram {
namespace {

static_assert(std::endian::native == std::endian::little, "records are read as little-endian words");

int bits_for(std::uint64_t most) { return most == 0 ? 1 : static_cast<int>(std::bit_width(most)); }

inline std::uint64_t read_bits(const std::uint8_t* bytes, std::uint64_t bit, int width) {
  std::uint64_t word;
  std::memcpy(&word, bytes + (bit >> 3), sizeof word);
  return (word >> (bit & 7)) & ((std::uint64_t{1} << width) - 1);
}

// Into bits that are still 0.
inline void write_bits(std::uint8_t* bytes, std::uint64_t bit, std::uint64_t value) {
  std::uint64_t word;
  std::memcpy(&word, bytes + (bit >> 3), sizeof word);
  word |= value << (bit & 7);
  std::memcpy(bytes + (bit >> 3), &word, sizeof word);
}

inline float as_float(std::uint64_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits)); }

[[noreturn]] void fail(int n, const std::string& text) {
  throw std::invalid_argument("level " + std::to_string(n) + " " + text);
}

}  // namespace

Trie::Trie(int order, std::size_t words, bool flat)
    : levels_(order), words_(words), flat_(flat), uniform_(-std::log10(static_cast<double>(words - 1))) {
  for (int n = 1; n <= order; ++n) {
    levels_[n - 1].word_bits = n == 1 ? 0 : bits_for(words - 1);
    levels_[n - 1].inner = n < order;
  }
}

void Trie::set_level(int n, const Shape& shape, const std::vector<float>& probability,
                     const std::vector<float>& backoff) {
  PackedLevel& level = levels_[n - 1];
  level.count = shape.size();
  level.child_bits = level.inner ? bits_for(shape.child.back()) : 0;
  level.bytes.assign(level.bytes_needed(), 0);
  std::uint8_t* const bytes = level.bytes.data();
  std::uint64_t bit = 0;
  const auto put = [&](std::uint64_t value, int width) {
    write_bits(bytes, bit, value);
    bit += width;
  };
  for (std::size_t node = 0; node < shape.size(); ++node) {
    if (n > 1) put(shape.word[node], level.word_bits);
    if (level.inner) put(shape.child[node], level.child_bits);
    put(std::bit_cast<std::uint32_t>(probability[node]), 32);
    if (level.inner) put(std::bit_cast<std::uint32_t>(backoff[node]), 32);
  }
  if (level.inner) write_bits(bytes, bit + level.word_bits, shape.child.back());
}

void Trie::set_bytes(int n, std::uint64_t count, const std::uint8_t* bytes, std::size_t size) {
  PackedLevel& level = levels_[n - 1];
  if (count > kMostTokens) fail(n, "has " + std::to_string(count) + " n-grams; expected fewer than 2^32");
  if (n == 1 && count != words_)
    fail(n, "has " + std::to_string(count) + " n-grams; expected one for each of " + std::to_string(words_) + " words");
  if (level.inner && level.child_bits == 0) fail(n, "comes before the next one's size is known");
  level.count = count;
  if (size != level.bytes_needed())
    fail(n, "has " + std::to_string(size) + " bytes; expected " + std::to_string(level.bytes_needed()) + " for " +
                std::to_string(count) + " n-grams");
  level.bytes.assign(bytes, bytes + size);
  if (n > 1) levels_[n - 2].child_bits = bits_for(count);
}

void Trie::check() const {
  for (int n = 1; n <= order(); ++n) {
    const PackedLevel& here = levels_[n - 1];
    std::uint64_t before = 0;
    if (here.inner) {
      const std::uint64_t below = levels_[n].count;
      for (std::uint64_t node = 0; node <= here.count; ++node) {
        const std::uint64_t begin = child(n, node);
        if (begin < before || begin > below || (node == 0 && begin != 0) || (node == here.count && begin != below))
          fail(n, "has an n-gram " + std::to_string(node) + " whose children are out of order");
        for (std::uint64_t i = before + 1; node > 0 && i < begin; ++i)
          if (word(n + 1, i) <= word(n + 1, i - 1)) fail(n + 1, "has words that are out of order");
        before = begin;
      }
    }
    for (std::uint64_t node = 0; node < here.count; ++node) {
      if (n > 1 && word(n, node) >= words_) fail(n, "has a word that the vocabulary lacks");
      const float p = probability(n, node), weight = here.inner ? backoff(n, node) : 0;
      if (!(p <= 0) || std::isnan(weight) || weight == std::numeric_limits<float>::infinity())
        fail(n, "has an n-gram " + std::to_string(node) + " whose probability or weight is none");
    }
  }
}

Word Trie::word(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  if (n == 1) return static_cast<Word>(node);
  return static_cast<Word>(read_bits(level.bytes.data(), node * level.record_bits(), level.word_bits));
}

std::uint64_t Trie::child(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return read_bits(level.bytes.data(), node * level.record_bits() + level.word_bits, level.child_bits);
}

float Trie::probability(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return as_float(
      read_bits(level.bytes.data(), node * level.record_bits() + level.word_bits + level.child_bits, 32));
}

float Trie::backoff(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return as_float(
      read_bits(level.bytes.data(), node * level.record_bits() + level.word_bits + level.child_bits + 32, 32));
}

bool Trie::find(const PackedLevel& level, std::uint64_t begin, std::uint64_t end, Word word,
                std::uint64_t& found) const {
  const std::uint8_t* const bytes = level.bytes.data();
  const std::uint64_t record = level.record_bits();
  const int width = level.word_bits;
  std::uint64_t step = 1;
  while (begin + step <= end && read_bits(bytes, (begin + step - 1) * record, width) < word) {
    begin += step;
    step *= 2;
  }
  if (begin + step < end) end = begin + step;
  while (begin < end) {
    const std::uint64_t middle = begin + (end - begin) / 2;
    const std::uint64_t there = read_bits(bytes, middle * record, width);
    if (there == word) {
      found = middle;
      return true;
    }
    if (there < word)
      begin = middle + 1;
    else
      end = middle;
  }
  return false;
}

State Trie::begin() const {
  State state;
  if (order() == 1) return state;
  state.words[0] = kBegin;
  state.backoff[0] = backoff(1, kBegin);
  state.length = state.history = 1;
  return state;
}

Score Trie::next(State& state, Word word) const {
  const int longest = order() - 1;
  State after;
  after.words[0] = word;
  const PackedLevel& first = levels_[0];
  const std::uint64_t record = word * static_cast<std::uint64_t>(first.record_bits());
  double p = as_float(read_bits(first.bytes.data(), record + first.child_bits, 32));
  int matched = 1;
  if (longest > 0) {
    after.backoff[0] = as_float(read_bits(first.bytes.data(), record + first.child_bits + 32, 32));
    std::uint64_t begin = read_bits(first.bytes.data(), record, first.child_bits);
    std::uint64_t end = read_bits(first.bytes.data(), record + first.record_bits(), first.child_bits);
    while (matched <= state.length) {
      const PackedLevel& level = levels_[matched];
      const Word before = state.words[matched - 1];
      std::uint64_t node;
      if (!find(level, begin, end, before, node)) break;
      const std::uint64_t bit = node * level.record_bits() + level.word_bits;
      p = as_float(read_bits(level.bytes.data(), bit + level.child_bits, 32));
      if (level.inner) {
        after.words[matched] = before;
        after.backoff[matched] = as_float(read_bits(level.bytes.data(), bit + level.child_bits + 32, 32));
        begin = read_bits(level.bytes.data(), bit, level.child_bits);
        end = read_bits(level.bytes.data(), bit + level.record_bits(), level.child_bits);
      }
      ++matched;
    }
  }
  if (flat_) {
    if (matched != state.history + 1)
      p = state.history > 0 && state.length == state.history ? state.backoff[state.history - 1] : uniform_;
  } else {
    for (int length = matched; length <= state.length; ++length) p += state.backoff[length - 1];
  }
  after.length = matched < longest ? matched : longest;
  after.history = state.history < longest ? state.history + 1 : longest;
  state = after;
  return {p, matched};
}

}  // namespace dlkit::ngram
