// Text to numbers: one pass over the bytes, a hash look-up for each word. Bound by the memory latency of those
// look-ups.
#include <stdexcept>

#include "ngram/ngram.h"
#include "ngram/utf8.h"

namespace dlkit::ngram {
namespace {

constexpr std::size_t kLongestWord = 1 << 16;

enum class Kind : std::uint8_t { letter, space, newline, zero };

struct Kinds {
  Kind of[256];
  constexpr Kinds() : of() {
    for (auto& kind : of) kind = Kind::letter;
    for (const char space : {' ', '\t', '\r', '\v', '\f'}) of[static_cast<unsigned char>(space)] = Kind::space;
    of[static_cast<unsigned char>('\n')] = Kind::newline;
    of[0] = Kind::zero;
  }
};
constexpr Kinds kKinds;

[[noreturn]] void fail(std::uint64_t line, const std::string& text) {
  throw std::invalid_argument("line " + std::to_string(line) + ": " + text);
}

}  // namespace

void Text::add(const char* bytes, std::size_t count) {
  const char* const end = bytes + count;
  const char* at = bytes;
  while (at < end) {
    const char* const begin = at;
    while (at < end && kKinds.of[static_cast<unsigned char>(*at)] == Kind::letter) ++at;
    const std::size_t length = static_cast<std::size_t>(at - begin);
    if (rest_.size() + length > kLongestWord)
      fail(line_, "a word has more than " + std::to_string(kLongestWord) + " bytes: this is no text");
    if (at == end) {
      rest_.append(begin, length);
      break;
    }
    if (!rest_.empty()) {
      rest_.append(begin, length);
      word(rest_);
      rest_.clear();
    } else if (length != 0) {
      word({begin, length});
    }
    const Kind kind = kKinds.of[static_cast<unsigned char>(*at++)];
    if (kind == Kind::zero) fail(line_, "holds a zero byte: this is no text");
    if (kind == Kind::newline) {
      end_line();
      ++line_;
    }
  }
}

void Text::finish() {
  if (!rest_.empty()) {
    word(rest_);
    rest_.clear();
  }
  if (open_) end_line();
}

void Text::word(std::string_view letters) {
  Word number;
  if (grown_ != nullptr) {
    bool added = false;
    number = grown_->add(letters, added);
    if (added && !is_utf8(letters)) fail(line_, "holds a word that is not UTF-8");
  } else {
    number = known_->find(letters);
    // Known words have been through here before.
    if (number == kNoWord && !is_utf8(letters)) fail(line_, "holds a word that is not UTF-8");
  }
  if (number == kBegin || number == kEnd)
    fail(line_, "holds the word " + std::string(letters) +
                    ", which stands for where sentences begin or end; expected lines of words alone");
  check_room(3);
  if (!open_) {
    stream.push_back(kBegin);
    if (grown_ == nullptr) known.push_back(1);
    open_ = true;
  }
  stream.push_back(number == kNoWord ? kUnknown : number);
  if (grown_ == nullptr) known.push_back(number != kNoWord);
}

// Of a line's words each leaves room for </s>.
void Text::check_room(std::size_t more) const {
  if (stream.size() + more > kMostTokens) fail(line_, "the text has more than 2^32 words");
}

void Text::end_line() {
  if (!open_) {
    if (!keep_empty_) return;
    check_room(2);
    stream.push_back(kBegin);
    if (grown_ == nullptr) known.push_back(1);
  }
  stream.push_back(kEnd);
  if (grown_ == nullptr) known.push_back(1);
  ++sentences;
  open_ = false;
}

}  // namespace dlkit::ngram
