// The trie that is asked: records of as few bytes as they need, side by side, and a search among siblings.
//
// Siblings are in the order of their words' numbers; a search halves them without branches. Memory latency bounds it,
// and the dependence of each step on the one before: query.cpp searches for many words at once. Size: an inner n-gram
// takes 8 bytes and those of its word and of its first child's number, one of the longest 4 and its word's: 13 and 7 of
// 16 million n-grams and 200,000 words. After Heafield (2011), section 3.2; his records are of bits, a tenth smaller,
// but each number then costs shifts, and he searches by interpolation among hashed words.
#include <cmath>
#include <cstring>
#include <limits>
#include <stdexcept>

#include "ngram/ngram.h"
#include "ngram/packed.h"

namespace dlkit::ngram {
namespace {

int width_for(std::uint64_t most) { return most < 0x100 ? 1 : most < 0x10000 ? 2 : most < 0x1000000 ? 3 : 4; }

[[noreturn]] void fail(int n, const std::string& text) {
  throw std::invalid_argument("level " + std::to_string(n) + " " + text);
}

}  // namespace

Trie::Trie(int order, std::size_t words, bool flat)
    : levels_(order), words_(words), flat_(flat), uniform_(-std::log10(static_cast<double>(words - 1))) {
  for (int n = 1; n <= order; ++n) {
    levels_[n - 1].word_width = n == 1 ? 0 : width_for(words - 1);
    levels_[n - 1].inner = n < order;
  }
}

void Trie::set_level(int n, const Shape& shape, const std::vector<float>& probability,
                     const std::vector<float>& backoff) {
  PackedLevel& level = levels_[n - 1];
  level.count = shape.size();
  level.child_width = level.inner ? width_for(shape.child.back()) : 0;
  level.bytes.assign(level.bytes_needed(), 0);
  std::uint8_t* to = level.bytes.data();
  const auto put = [&](const auto& value, int width) {
    std::memcpy(to, &value, static_cast<std::size_t>(width));
    to += width;
  };
  for (std::size_t node = 0; node < shape.size(); ++node) {
    put(shape.word[node], level.word_width);
    if (level.inner) put(shape.child[node], level.child_width);
    put(probability[node], 4);
    if (level.inner) put(backoff[node], 4);
  }
  if (level.inner) std::memcpy(to + level.word_width, &shape.child.back(), static_cast<std::size_t>(level.child_width));
}

void Trie::set_bytes(int n, std::uint64_t count, const std::uint8_t* bytes, std::size_t size) {
  PackedLevel& level = levels_[n - 1];
  if (count > kMostTokens) fail(n, "has " + std::to_string(count) + " n-grams; expected fewer than 2^32");
  if (n == 1 && count != words_)
    fail(n, "has " + std::to_string(count) + " n-grams; expected one for each of " + std::to_string(words_) + " words");
  if (level.inner && level.child_width == 0) fail(n, "comes before the next one's size is known");
  level.count = count;
  if (size != level.bytes_needed())
    fail(n, "has " + std::to_string(size) + " bytes; expected " + std::to_string(level.bytes_needed()) + " for " +
                std::to_string(count) + " n-grams");
  level.bytes.assign(bytes, bytes + size);
  if (n > 1) levels_[n - 2].child_width = width_for(count);
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
  return read_number(level.bytes.data() + node * level.record(), mask_of(level.word_width));
}

std::uint64_t Trie::child(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return read_number(level.bytes.data() + node * level.record() + level.word_width, mask_of(level.child_width));
}

float Trie::probability(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return read_float(level.bytes.data() + node * level.record() + level.word_width + level.child_width);
}

float Trie::backoff(int n, std::uint64_t node) const {
  const PackedLevel& level = levels_[n - 1];
  return read_float(level.bytes.data() + node * level.record() + level.word_width + level.child_width + 4);
}

bool Trie::find(int n, std::uint64_t begin, std::uint64_t end, Word target, std::uint64_t& found) const {
  if (begin == end) return false;
  for (std::uint64_t left = end - begin; left > 1;) {
    const std::uint64_t half = left / 2;
    begin += word(n, begin + half - 1) < target ? half : 0;
    left -= half;
  }
  found = begin;
  return word(n, begin) == target;
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
  double p = probability(1, word);
  int matched = 1;
  std::uint64_t node = word;
  if (longest > 0) after.backoff[0] = backoff(1, word);
  while (matched <= state.length && matched <= longest) {
    const Word before = state.words[matched - 1];
    if (!find(matched + 1, child(matched, node), child(matched, node + 1), before, node)) break;
    ++matched;
    p = probability(matched, node);
    if (matched > longest) break;
    after.words[matched - 1] = before;
    after.backoff[matched - 1] = backoff(matched, node);
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
