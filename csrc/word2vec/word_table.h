// A table of words: from the bytes of a word to a number beside it.
//
// Linear probing, at most half full, 32 bytes a slot. The first eight bytes of a word lie in its slot, so that a
// shorter word, which most words of a text are, costs one line of the cache; what is longer lies end to end elsewhere.
// 64 to 128 bytes a word, beside the bytes of long ones.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash_key.h"

namespace dlkit::word2vec {

static_assert(std::endian::native == std::endian::little);  // the first byte of a word is the lowest of its prefix

// A word as it is found in a text.
struct Token {
  const std::uint8_t* at;
  std::uint64_t prefix;  // the first eight bytes, 0 behind the end
  std::uint32_t tag;     // from a hash of all bytes
  std::uint32_t length;  // 0: no word, but the end of a sentence
};

inline std::uint64_t load_eight(const std::uint8_t* at) {
  std::uint64_t value;
  std::memcpy(&value, at, 8);
  return value;
}

// The first 1 to 8 bytes.
inline std::uint64_t first_bytes(std::uint64_t eight, std::size_t count) { return eight & (~0ull >> (64 - 8 * count)); }

inline std::uint32_t tag_of(std::uint64_t mixed, std::size_t length) {
  std::uint64_t hash = (mixed ^ hash_key ^ (length * 0xD1342543DE82EF95u)) * 0x9E3779B97F4A7C15u;
  hash = (hash ^ (hash >> 32)) * 0xBF58476D1CE4E5B9u;
  return static_cast<std::uint32_t>(hash >> 32);
}

// Of one byte or more. Seven bytes behind the word can be read.
inline Token token_at(const std::uint8_t* at, std::size_t length) {
  const std::uint64_t first = load_eight(at);
  if (length <= 8) {
    const std::uint64_t prefix = first_bytes(first, length);
    return {at, prefix, tag_of(prefix, length), static_cast<std::uint32_t>(length)};
  }
  std::uint64_t mixed = first ^ hash_key;
  std::size_t done = 8;
  for (; done + 8 <= length; done += 8) {
    mixed = (mixed ^ (mixed >> 29)) * 0x9E3779B97F4A7C15u;
    mixed ^= load_eight(at + done);
  }
  if (done < length) {
    mixed = (mixed ^ (mixed >> 29)) * 0x9E3779B97F4A7C15u;
    mixed ^= first_bytes(load_eight(at + done), length - done);
  }
  return {at, first, tag_of(mixed, length), static_cast<std::uint32_t>(length)};
}

class WordTable {
 public:
  struct Entry {
    std::uint64_t prefix;
    std::uint32_t tag;
    std::uint32_t length;   // 0: free
    std::uint64_t letters;  // where those of a word of more than eight bytes begin
    std::uint64_t value;
  };

  WordTable() : entries_(1u << kFirstBits), bits_(kFirstBits) {}

  void prefetch(const Token& token) const { __builtin_prefetch(&entries_[token.tag >> (32 - bits_)]); }
  // The word's entry, or null.
  const Entry* find(const Token& token) const {
    const Entry& entry = entries_[place(token)];
    return entry.length == 0 ? nullptr : &entry;
  }
  // The word's entry, made with the value 0 where there is none. Good until the next call.
  Entry& add(const Token& token) {
    std::size_t at = place(token);
    return entries_[at].length != 0 ? entries_[at] : insert(token, at);
  }
  std::string_view word(const Entry& entry) const {
    return {reinterpret_cast<const char*>(entry.length <= 8 ? reinterpret_cast<const std::uint8_t*>(&entry.prefix)
                                                            : letters_.data() + entry.letters),
            entry.length};
  }
  Token token(const Entry& entry) const {
    return {reinterpret_cast<const std::uint8_t*>(word(entry).data()), entry.prefix, entry.tag, entry.length};
  }

  // All slots, free ones too.
  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t size() const { return size_; }
  // As many slots as another has, at least: words that come in the order of another's slots would else lie in one heap.
  void reserve(const WordTable& other);
  // Adds the values of another.
  void merge(const WordTable& other);
  // Keeps the words whose value is at least this.
  void prune(std::uint64_t least);
  // Empty; the memory is kept.
  void clear();

 private:
  static constexpr int kFirstBits = 6, kMostBits = 31;

  std::size_t place(const Token& token) const {
    const std::size_t mask = entries_.size() - 1;
    for (std::size_t at = token.tag >> (32 - bits_);; at = (at + 1) & mask) {
      const Entry& entry = entries_[at];
      if (entry.length == 0) return at;
      if (entry.prefix == token.prefix && entry.length == token.length &&
          (token.length <= 8 || (entry.tag == token.tag && std::memcmp(letters_.data() + entry.letters + 8,
                                                                       token.at + 8, token.length - 8) == 0)))
        return at;
    }
  }
  Entry& insert(const Token& token, std::size_t at);
  void grow(int bits);

  std::vector<Entry> entries_;
  std::vector<std::uint8_t> letters_;
  std::size_t size_ = 0;
  int bits_;
};

}  // namespace dlkit::word2vec
