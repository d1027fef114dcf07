#include "word2vec/text_pieces.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace dlkit::word2vec {
namespace {

constexpr std::uint64_t kOnes = 0x0101010101010101u, kHighs = 0x8080808080808080u;
constexpr std::size_t kPadding = 16;  // separators behind the last byte: loads of eight find one

constexpr std::array<bool, 256> kWhite = [] {
  std::array<bool, 256> white{};
  for (const char c : {' ', '\t', '\n', '\v', '\f', '\r'}) white[static_cast<unsigned char>(c)] = true;
  return white;
}();

template <bool kOwn>
constexpr std::uint8_t kEnd = kOwn ? 0xFF : '\n';

template <bool kOwn>
inline bool is_separator(std::uint8_t byte) {
  return kOwn ? byte >= 0xFE : kWhite[byte];
}

// The high bit of each byte that may be a separator. Only the lowest is certain: the subtraction borrows.
template <bool kOwn>
inline std::uint64_t marks(std::uint64_t eight) {
  if constexpr (kOwn)
    return (~eight - 2 * kOnes) & eight & kHighs;
  else
    return (eight - 0x21 * kOnes) & ~eight & kHighs;
}

template <bool kOwn>
inline const std::uint8_t* end_of_word(const std::uint8_t* at) {
  for (;;) {
    const std::uint64_t found = marks<kOwn>(load_eight(at));
    if (found == 0) {
      at += 8;
      continue;
    }
    at += std::countr_zero(found) >> 3;
    if (is_separator<kOwn>(*at)) return at;
    ++at;
  }
}

}  // namespace

template <bool kOwn>
int Tokens::fill(Token* to) {
  int count = 0;
  const std::uint8_t* at = at_;
  while (count < kBatch && at < last_) {
    const std::uint64_t eight = load_eight(at);
    const std::uint64_t found = marks<kOwn>(eight);
    const std::size_t within = static_cast<std::size_t>(std::countr_zero(found)) >> 3;  // 8: nowhere
    if (within < 8 && is_separator<kOwn>(at[within])) {
      if (within == 0) {
        if (*at == kEnd<kOwn>) to[count++] = {at, 0, 0, 0};
        ++at;
        continue;
      }
      const std::uint64_t prefix = first_bytes(eight, within);
      to[count++] = {at, prefix, tag_of(prefix, within), static_cast<std::uint32_t>(within)};
      at += within;
    } else {
      const std::uint8_t* const end = end_of_word<kOwn>(at + within);
      const auto length = static_cast<std::size_t>(end - at);
      if (length > kLongestWord)
        throw Fault{offset_ + static_cast<std::uint64_t>(at - begin_),
                    "has a word of more than " + std::to_string(kLongestWord) + " bytes"};
      to[count++] = token_at(at, length);
      at = end;
    }
    at += *at != kEnd<kOwn>;  // the separator, where it is no token of its own
  }
  at_ = at;
  return count;
}

template int Tokens::fill<true>(Token*);
template int Tokens::fill<false>(Token*);

void Text::read_bytes(std::uint64_t begin, std::uint64_t count, std::uint8_t* to) const {
  while (count > 0) {
    const ::ssize_t got =
        ::pread(file_, to, std::min<std::uint64_t>(count, std::uint64_t{1} << 30), static_cast<::off_t>(begin));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw std::runtime_error(std::string("cannot be read: ") + std::strerror(errno));
    if (got == 0)
      throw std::invalid_argument("became shorter while it was read: " + std::to_string(begin) + " bytes, expected " +
                                  std::to_string(size_));
    begin += static_cast<std::uint64_t>(got);
    count -= static_cast<std::uint64_t>(got);
    to += got;
  }
}

Tokens Text::read(std::uint64_t number, std::vector<std::uint8_t>& buffer) const {
  const std::uint64_t first = number * piece_;
  const std::uint64_t end = first + std::min(piece_, size_ - first);
  const std::uint64_t from = first - (first > 0);  // the byte before says whether a word goes on
  const std::uint64_t to = end + std::min(kLongestWord + 1, size_ - end);
  const std::size_t count = to - from;
  if (buffer.size() < count + kPadding) buffer.resize(count + kPadding);
  read_bytes(from, count, buffer.data());
  std::memset(buffer.data() + count, own_ ? 0xFE : ' ', kPadding);
  const std::uint8_t* at = buffer.data();
  const std::uint8_t* const last = at + (end - from);
  if (first > 0) {
    const bool goes_on = !(own_ ? is_separator<true>(*at) : is_separator<false>(*at));
    ++at;
    if (goes_on) at = own_ ? end_of_word<true>(at) : end_of_word<false>(at);
  }
  return {buffer.data(), at, last, from, own_};
}

std::string Text::place_of(std::uint64_t offset) const {
  std::vector<std::uint8_t> buffer(std::min<std::uint64_t>(offset, 1u << 20));
  std::uint64_t line = 1;
  for (std::uint64_t at = 0; at < offset;) {
    const std::uint64_t count = std::min<std::uint64_t>(offset - at, buffer.size());
    read_bytes(at, count, buffer.data());
    line += static_cast<std::uint64_t>(std::count(buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count),
                                                  own_ ? kEnd<true> : kEnd<false>));
    at += count;
  }
  return (own_ ? "sentence " : "line ") + std::to_string(line);
}

void FirstFault::raise(const Text& text) const {
  if (first_) throw std::invalid_argument(text.place_of(first_->offset) + " " + first_->text);
}

}  // namespace dlkit::word2vec
