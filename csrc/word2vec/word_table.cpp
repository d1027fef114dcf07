#include "word2vec/word_table.h"

#include <algorithm>
#include <stdexcept>

namespace dlkit::word2vec {

WordTable::Entry& WordTable::insert(const Token& token, std::size_t at) {
  if (2 * (size_ + 1) > entries_.size()) {
    if (bits_ == kMostBits) throw std::invalid_argument("there are more than 2^30 different words");
    grow(bits_ + 1);
    at = place(token);
  }
  std::uint64_t letters = 0;
  if (token.length > 8) {
    letters = letters_.size();
    letters_.insert(letters_.end(), token.at, token.at + token.length);
  }
  ++size_;
  return entries_[at] = {token.prefix, token.tag, token.length, letters, 0};
}

void WordTable::grow(int bits) {
  std::vector<Entry> old(std::size_t{1} << bits);
  old.swap(entries_);
  bits_ = bits;
  const std::size_t mask = entries_.size() - 1;
  for (const Entry& entry : old) {
    if (entry.length == 0) continue;
    std::size_t at = entry.tag >> (32 - bits_);
    while (entries_[at].length != 0) at = (at + 1) & mask;
    entries_[at] = entry;
  }
}

void WordTable::reserve(const WordTable& other) {
  if (other.bits_ > bits_) grow(other.bits_);
}

void WordTable::merge(const WordTable& other) {
  reserve(other);
  for (const Entry& entry : other.entries_)
    if (entry.length != 0) add(other.token(entry)).value += entry.value;
}

void WordTable::prune(std::uint64_t least) {
  WordTable kept;
  kept.reserve(*this);
  for (const Entry& entry : entries_)
    if (entry.length != 0 && entry.value >= least) kept.add(token(entry)).value = entry.value;
  *this = std::move(kept);
}

void WordTable::clear() {
  std::fill(entries_.begin(), entries_.end(), Entry{});
  letters_.clear();
  size_ = 0;
}

}  // namespace dlkit::word2vec
