// Words and their numbers.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace dlkit::ngram {

using Word = std::uint32_t;
constexpr Word kUnknown = 0, kBegin = 1, kEnd = 2;
constexpr Word kNoWord = 0xFFFFFFFFu;
constexpr std::size_t kMostWords = 1u << 31;

// A hash table with linear probing, at most half full, over letters that lie end to end: 8 bytes a slot and 8 a word
// beside its letters. <unk>, <s> and </s> are always there.
class Vocabulary {
 public:
  Vocabulary();
  // The word's number, or kNoWord.
  Word find(std::string_view word) const;
  // The word's number, a new one if need be; `added` says which.
  Word add(std::string_view word, bool& added);
  std::string_view word(Word number) const {
    return {letters_.data() + begins_[number], static_cast<std::size_t>(begins_[number + 1] - begins_[number])};
  }
  std::size_t size() const { return begins_.size() - 1; }
  std::size_t bytes() const;

 private:
  struct Entry {
    std::uint32_t tag;
    Word word;  // kNoWord: free
  };
  std::size_t place(std::string_view word, std::uint32_t& tag) const;
  void grow();

  std::vector<char> letters_;
  std::vector<std::uint64_t> begins_;
  std::vector<Entry> table_;
};

}  // namespace dlkit::ngram
