#include "word2vec/phrases.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "core/thread_pool.h"
#include "ngram/utf8.h"
#include "word2vec/write_all.h"

namespace dlkit::word2vec {
namespace {

constexpr std::uint64_t kBytesOfStep = std::uint64_t{1} << 26;
constexpr std::uint64_t kAhead = 16;  // pairs that are asked for before they are counted

}  // namespace

void PairTable::add(std::uint64_t key, std::uint64_t value) {
  std::size_t at = place(key);
  if (slots_[at].key == 0) {
    if (2 * (size_ + 1) > slots_.size()) {
      put_all(bits_ + 1, 0);
      at = place(key);
    }
    slots_[at].key = key;
    ++size_;
  }
  slots_[at].value += value;
}

void PairTable::prune(std::uint64_t least) { put_all(bits_, least); }

void PairTable::put_all(int bits, std::uint64_t least) {
  std::vector<Slot> old(std::size_t{1} << bits);
  old.swap(slots_);
  bits_ = bits;
  size_ = 0;
  for (const Slot& slot : old)
    if (slot.key != 0 && slot.value >= least) {
      slots_[place(slot.key)] = slot;
      ++size_;
    }
}

void PairCounting::add(const std::int32_t* tokens, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i + kAhead + 1 < count) table_.prefetch(PairTable::key(tokens[i + kAhead], tokens[i + kAhead + 1]));
    const std::int32_t word = tokens[i];
    if (last_ >= 0 && word >= 0) table_.add(PairTable::key(last_, word), 1);
    last_ = word;
    if (++since_ >= kTokensOfPrune) {
      since_ = 0;
      if (max_pairs_ > 0 && table_.size() > max_pairs_) table_.prune(min_reduce_++);
    }
  }
}

std::vector<Phrase> PairCounting::phrases(const std::vector<std::uint64_t>& counts, std::uint64_t words,
                                          std::uint64_t different, std::uint64_t min_count, double threshold,
                                          bool npmi) const {
  std::vector<Phrase> found;
  bool known = true;
  const auto size = static_cast<double>(different + table_.size());
  const auto all = static_cast<double>(words);
  table_.each([&](std::int32_t first, std::int32_t second, std::uint64_t count) {
    if (count < min_count) return;
    if (static_cast<std::size_t>(first) >= counts.size() || static_cast<std::size_t>(second) >= counts.size()) {
      known = false;
      return;
    }
    const auto of_pair = static_cast<double>(count);
    const auto of_first = static_cast<double>(counts[static_cast<std::size_t>(first)]);
    const auto of_second = static_cast<double>(counts[static_cast<std::size_t>(second)]);
    double score = -std::numeric_limits<double>::infinity();
    if (npmi) {
      const double share = of_pair / all;
      if (share < 1) score = std::log(share / ((of_first / all) * (of_second / all))) / -std::log(share);
    } else {
      score = (of_pair - static_cast<double>(min_count)) / (of_first * of_second) * size;
    }
    if (score > threshold) found.push_back({first, second, count, score});
  });
  if (!known) throw std::invalid_argument("a number of a word is beyond the counts");
  std::sort(found.begin(), found.end(), [](const Phrase& a, const Phrase& b) {
    return a.score != b.score ? a.score > b.score
                              : PairTable::key(a.first, a.second) < PairTable::key(b.first, b.second);
  });
  return found;
}

Joining::Joining(const Text& text, const Vocabulary& vocabulary, const std::vector<std::int32_t>& pairs,
                 std::string delimiter, Broken broken, int file, int workers)
    : text_(text), vocabulary_(vocabulary), begins_(vocabulary.size()), delimiter_(std::move(delimiter)),
      broken_(broken), file_(file) {
  workers_ = static_cast<int>(std::clamp<std::uint64_t>(text_.pieces(), 1, static_cast<std::uint64_t>(workers)));
  pieces_.resize(std::clamp<std::uint64_t>(text_.pieces(), 1, 4 * static_cast<std::uint64_t>(workers_)));
  if (pairs.size() % 2 != 0) throw std::invalid_argument("pairs are an odd number of words");
  for (std::size_t i = 0; i < pairs.size(); i += 2) {
    for (const std::int32_t word : {pairs[i], pairs[i + 1]})
      if (word < 0 || static_cast<std::size_t>(word) >= vocabulary.size())
        throw std::invalid_argument("pairs have word " + std::to_string(word) + ", expected 0 to " +
                                    std::to_string(vocabulary.size()) + " or less");
    pairs_.add(PairTable::key(pairs[i], pairs[i + 1]), 1);
    begins_[static_cast<std::size_t>(pairs[i])] = true;
  }
}

void Joining::read_piece(std::uint64_t number, Piece& piece) {
  piece.words.clear();
  piece.mended.clear();
  if (fault_.before(number * text_.piece())) return;
  Tokens tokens = text_.read(number, piece.buffer);
  Token batch[kBatch];
  std::vector<std::size_t> mended;  // places of words whose bytes lie there: they move until all are there
  try {
    for (int count = 0; (count = tokens.next(batch)) > 0;)
      for (int i = 0; i < count; ++i) {
        const Token& token = batch[i];
        if (token.length == 0) {
          piece.words.push_back({{}, -1});
          continue;
        }
        std::string_view bytes{reinterpret_cast<const char*>(token.at), token.length};
        if (text_.own() &&
            std::any_of(bytes.begin(), bytes.end(), [](char c) { return c == ' ' || ('\t' <= c && c <= '\r'); }))
          throw Fault{tokens.offset(token), "has a word with white space, which a file of text cannot hold"};
        std::int64_t found = vocabulary_.find(token);
        if (found < 0 && !ngram::is_utf8(bytes)) {
          if (broken_ == Broken::strict) throw Fault{tokens.offset(token), kNoUtf8};
          std::string word = repaired(bytes, broken_);
          if (word.empty()) continue;
          found = vocabulary_.find(word);
          mended.push_back(piece.words.size());
          piece.mended.push_back(std::move(word));
        }
        piece.words.push_back({bytes, static_cast<std::int32_t>(found)});
      }
  } catch (const Fault& fault) {
    fault_.keep(fault);
  }
  for (std::size_t i = 0; i < mended.size(); ++i) piece.words[mended[i]].bytes = piece.mended[i];
}

void Joining::put(std::string_view word) {
  if (line_has_words_) out_ += ' ';
  out_ += word;
  line_has_words_ = true;
}

void Joining::put_pending() {
  if (pending_) put(pending_bytes_);
  pending_ = false;
}

void Joining::append(const Piece& piece) {
  for (const Word& word : piece.words) {
    if (word.bytes.empty()) {
      put_pending();
      out_ += '\n';
      line_has_words_ = false;
      continue;
    }
    if (pending_ && word.number >= 0 && pairs_.find(PairTable::key(pending_number_, word.number)) > 0) {
      put_pending();
      out_ += delimiter_;
      out_ += word.bytes;
      ++joined_;
      continue;
    }
    put_pending();
    if (word.number >= 0 && begins_[static_cast<std::size_t>(word.number)]) {
      pending_ = true;
      pending_bytes_ = word.bytes;
      pending_number_ = word.number;
    } else {
      put(word.bytes);
    }
  }
}

void Joining::write() {
  write_all(file_, out_.data(), out_.size());
  out_.clear();
}

bool Joining::step() {
  if (finished_) return false;
  const std::uint64_t end = next_ + std::min(text_.pieces() - next_, kBytesOfStep / text_.piece() + 1);
  while (next_ < end) {
    const std::uint64_t count = std::min<std::uint64_t>(end - next_, pieces_.size());
    parallel_for(
        static_cast<int>(count),
        [&](int task) {
          read_piece(next_ + static_cast<std::uint64_t>(task), pieces_[static_cast<std::size_t>(task)]);
        },
        workers_);
    fault_.raise(text_);
    for (std::uint64_t i = 0; i < count; ++i) {
      append(pieces_[i]);
      write();
    }
    next_ += count;
  }
  if (next_ < text_.pieces()) return true;
  put_pending();
  if (line_has_words_) out_ += '\n';
  write();
  finished_ = true;
  return false;
}

}  // namespace dlkit::word2vec
