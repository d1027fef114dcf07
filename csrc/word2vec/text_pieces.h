// A file of text in pieces that threads may take in any order, and the words of each.
//
// A piece has the words that begin in its bytes, and the ends of sentences that lie there: what is found depends on the
// bytes of the file alone, not on where pieces begin. A word that crosses into the next piece is read to its end.
//
// Files are read by pread, block by block, not mapped: where a file that is mapped becomes shorter, a read beyond its
// new end kills the process; here it is an error. The copy costs some 20 ms for 100 MB, less than a tenth of what
// counting costs.
//
// Words are found eight bytes at a time: a subtraction and two masks mark the bytes below 0x21 (a word that is at most
// seven bytes long is one load, with no loop), and a table says which of them are white space.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "word2vec/word_table.h"

namespace dlkit::word2vec {

constexpr std::uint64_t kLongestWord = 1u << 16;  // bytes
constexpr int kBatch = 64;                        // tokens that are looked at together

// What cannot be read on from: which place in the file, and why.
struct Fault {
  std::uint64_t offset;
  std::string text;
};

class Tokens;

class Text {
 public:
  // An open file, whose first `size` bytes are the text. `own`: words are ended by the byte 0xFE and sentences by 0xFF,
  // which no UTF-8 has, not by white space and '\n'. piece: bytes, 1 or more.
  Text(int file, std::uint64_t size, std::uint64_t piece, bool own)
      : file_(file), size_(size), piece_(piece), own_(own) {}

  std::uint64_t size() const { return size_; }
  std::uint64_t piece() const { return piece_; }
  std::uint64_t pieces() const { return (size_ + piece_ - 1) / piece_; }
  bool own() const { return own_; }
  // The words of a piece, in `buffer`, which is grown to what it needs. Throws std::invalid_argument where the file has
  // become shorter, std::runtime_error where it cannot be read.
  Tokens read(std::uint64_t number, std::vector<std::uint8_t>& buffer) const;
  // "line 3" or "sentence 3": where a byte is.
  std::string place_of(std::uint64_t offset) const;

 private:
  void read_bytes(std::uint64_t begin, std::uint64_t count, std::uint8_t* to) const;

  int file_;
  std::uint64_t size_, piece_;
  bool own_;
};

class Tokens {
 public:
  // Up to kBatch words and ends of sentences; 0: there are no more. Throws Fault at a word that is too long.
  int next(Token* to) { return own_ ? fill<true>(to) : fill<false>(to); }
  // Where in the file a token is.
  std::uint64_t offset(const Token& token) const { return offset_ + static_cast<std::uint64_t>(token.at - begin_); }

 private:
  friend class Text;
  Tokens(const std::uint8_t* begin, const std::uint8_t* at, const std::uint8_t* last, std::uint64_t offset, bool own)
      : begin_(begin), at_(at), last_(last), offset_(offset), own_(own) {}
  template <bool kOwn>
  int fill(Token* to);

  const std::uint8_t *begin_, *at_, *last_;
  std::uint64_t offset_;
  bool own_;
};

// The first fault of a file, whichever thread meets one.
class FirstFault {
 public:
  void keep(const Fault& fault) {
    const std::lock_guard lock(mutex_);
    if (!first_ || fault.offset < first_->offset) first_ = fault;
  }
  // Whether what begins at a byte is of no interest any more.
  bool before(std::uint64_t offset) const {
    const std::lock_guard lock(mutex_);
    return first_ && first_->offset < offset;
  }
  // Throws it, where there is one.
  void raise(const Text& text) const;

 private:
  mutable std::mutex mutex_;
  std::optional<Fault> first_;
};

}  // namespace dlkit::word2vec
