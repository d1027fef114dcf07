#include "ngram/vocabulary.h"

#include <cstring>
#include <stdexcept>

#include "core/hash_key.h"

namespace dlkit::ngram {
namespace {

std::uint64_t hash_of(std::string_view word) {
  constexpr std::uint64_t multiplier = 0x9E3779B97F4A7C15u;
  std::uint64_t hash = (word.size() * multiplier) ^ hash_key;
  const char* at = word.data();
  std::size_t left = word.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t piece;
    std::memcpy(&piece, at, 8);
    hash = (hash ^ piece) * multiplier;
    hash ^= hash >> 32;
  }
  std::uint64_t piece = 0;
  std::memcpy(&piece, at, left);
  hash = (hash ^ piece) * multiplier;
  hash ^= hash >> 29;
  hash *= 0xBF58476D1CE4E5B9u;
  return hash ^ (hash >> 32);
}

}  // namespace

Vocabulary::Vocabulary() : begins_{0}, table_(64, Entry{0, kNoWord}) {
  bool added = false;
  for (const char* special : {"<unk>", "<s>", "</s>"}) add(special, added);
}

std::size_t Vocabulary::place(std::string_view word, std::uint32_t& tag) const {
  const std::uint64_t hash = hash_of(word);
  const std::size_t mask = table_.size() - 1;
  tag = static_cast<std::uint32_t>(hash >> 32);
  std::size_t at = hash & mask;
  while (table_[at].word != kNoWord && (table_[at].tag != tag || this->word(table_[at].word) != word))
    at = (at + 1) & mask;
  return at;
}

Word Vocabulary::find(std::string_view word) const {
  std::uint32_t tag;
  return table_[place(word, tag)].word;
}

Word Vocabulary::add(std::string_view word, bool& added) {
  std::uint32_t tag;
  std::size_t at = place(word, tag);
  added = table_[at].word == kNoWord;
  if (!added) return table_[at].word;
  if (size() >= kMostWords) throw std::invalid_argument("n-grams: more than 2^31 different words");
  if (2 * (size() + 1) > table_.size()) {
    grow();
    at = place(word, tag);
  }
  const Word number = static_cast<Word>(size());
  letters_.insert(letters_.end(), word.begin(), word.end());
  begins_.push_back(letters_.size());
  table_[at] = {tag, number};
  return number;
}

void Vocabulary::grow() {
  const std::size_t words = size();
  std::vector<Entry>(2 * table_.size(), Entry{0, kNoWord}).swap(table_);
  for (Word number = 0; number < words; ++number) {
    std::uint32_t tag;
    const std::size_t at = place(word(number), tag);
    table_[at] = {tag, number};
  }
}

std::size_t Vocabulary::bytes() const {
  return letters_.capacity() + begins_.capacity() * sizeof(std::uint64_t) + table_.size() * sizeof(Entry);
}

}  // namespace dlkit::ngram
