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

// By word: whether it is one of these. Empty if there are none.
std::vector<bool> marked(const std::vector<std::int32_t>& some, std::size_t words) {
  std::vector<bool> marks(some.empty() ? 0 : words);
  for (const std::int32_t word : some) {
    if (word < 0 || static_cast<std::size_t>(word) >= words)
      throw std::invalid_argument("connectors have word " + std::to_string(word) + ", expected 0 to " +
                                  std::to_string(words) + " or less");
    marks[static_cast<std::size_t>(word)] = true;
  }
  return marks;
}

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

std::int32_t Chains::add(std::int32_t chain, std::int32_t connector) {
  const std::int32_t there = find(chain, connector);
  if (there >= 0) return there;
  const int length = is_chain(chain) ? links_of_[static_cast<std::size_t>(chain - words_)].length + 1 : 1;
  const auto all = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max() - words_);
  if (length > kLongest || links_of_.size() >= all) return -1;
  links_of_.push_back({chain, connector, length});
  links_.add(PairTable::key(chain, connector), links_of_.size());
  return words_ + static_cast<std::int32_t>(links_of_.size()) - 1;
}

std::vector<std::int32_t> Chains::words(std::int32_t number) const {
  std::vector<std::int32_t> found;
  while (is_chain(number)) {
    const Link& link = links_of_[static_cast<std::size_t>(number - words_)];
    found.push_back(link.connector);
    number = link.before;
  }
  found.push_back(number);
  std::reverse(found.begin(), found.end());
  return found;
}

std::vector<std::int32_t> Chains::keep(std::vector<bool> marked) {
  // A chain's number is above that of its beginning.
  for (std::size_t i = links_of_.size(); i-- > 0;)
    if (marked[i] && is_chain(links_of_[i].before))
      marked[static_cast<std::size_t>(links_of_[i].before - words_)] = true;
  std::vector<std::int32_t> number(links_of_.size(), -1);
  Chains kept(words_);
  for (std::size_t i = 0; i < links_of_.size(); ++i) {
    if (!marked[i]) continue;
    const std::int32_t before = links_of_[i].before;
    number[i] =
        kept.add(is_chain(before) ? number[static_cast<std::size_t>(before - words_)] : before, links_of_[i].connector);
  }
  *this = std::move(kept);
  return number;
}

PairCounting::PairCounting(std::uint64_t max_pairs, std::int32_t words, const std::vector<std::int32_t>& connectors)
    : connects_(marked(connectors, static_cast<std::size_t>(words))), chains_(words), max_pairs_(max_pairs) {}

void PairCounting::prune() {
  table_.prune(min_reduce_++);
  if (chains_.size() == 0) return;
  const auto base = static_cast<std::int32_t>(connects_.size());
  std::vector<bool> used(chains_.size());
  const auto mark = [&](std::int32_t first) {
    if (chains_.is_chain(first)) used[static_cast<std::size_t>(first - base)] = true;
  };
  table_.each([&](std::int32_t first, std::int32_t, std::uint64_t) { mark(first); });
  mark(last_);
  const std::vector<std::int32_t> number = chains_.keep(std::move(used));
  const auto renumbered = [&](std::int32_t first) {
    return first < base ? first : number[static_cast<std::size_t>(first - base)];
  };
  PairTable table;
  table_.each([&](std::int32_t first, std::int32_t second, std::uint64_t count) {
    table.add(PairTable::key(renumbered(first), second), count);
  });
  table_ = std::move(table);
  last_ = renumbered(last_);
}

void PairCounting::add(const std::int32_t* tokens, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    if (i + kAhead + 1 < count) table_.prefetch(PairTable::key(tokens[i + kAhead], tokens[i + kAhead + 1]));
    const std::int32_t word = tokens[i];
    if (chains_.is_chain(word)) throw std::invalid_argument("a number of a word is beyond the vocabulary");
    if (connects(word)) {
      if (last_ >= 0) last_ = chains_.add(last_, word);
    } else {
      if (last_ >= 0 && word >= 0) table_.add(PairTable::key(last_, word), 1);
      last_ = word;
    }
    if (++since_ >= kTokensOfPrune) {
      since_ = 0;
      if (max_pairs_ > 0 && table_.size() + chains_.size() > max_pairs_) prune();
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
  table_.each([&](std::int32_t chain, std::int32_t second, std::uint64_t count) {
    if (count < min_count) return;
    const std::int32_t first = chains_.is_chain(chain) ? chains_.words(chain).front() : chain;
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
    if (score <= threshold) return;
    found.push_back({chains_.words(chain), count, score});
    found.back().words.push_back(second);
  });
  if (!known) throw std::invalid_argument("a number of a word is beyond the counts");
  std::sort(found.begin(), found.end(), [](const Phrase& a, const Phrase& b) {
    return a.score != b.score ? a.score > b.score : a.words < b.words;
  });
  return found;
}

Joining::Joining(const Text& text, const Vocabulary& vocabulary, const std::vector<std::vector<std::int32_t>>& phrases,
                 const std::vector<std::int32_t>& connectors, std::string delimiter, Broken broken, int file,
                 int workers)
    : text_(text), vocabulary_(vocabulary), chains_(static_cast<std::int32_t>(vocabulary.size())),
      begins_(vocabulary.size()), connects_(marked(connectors, vocabulary.size())), delimiter_(std::move(delimiter)),
      broken_(broken), file_(file) {
  workers_ = static_cast<int>(std::clamp<std::uint64_t>(text_.pieces(), 1, static_cast<std::uint64_t>(workers)));
  pieces_.resize(std::clamp<std::uint64_t>(text_.pieces(), 1, 4 * static_cast<std::uint64_t>(workers_)));
  for (const std::vector<std::int32_t>& phrase : phrases) {
    if (phrase.size() < 2) throw std::invalid_argument("a phrase is of less than two words");
    for (const std::int32_t word : phrase)
      if (word < 0 || static_cast<std::size_t>(word) >= vocabulary.size())
        throw std::invalid_argument("a phrase has word " + std::to_string(word) + ", expected 0 to " +
                                    std::to_string(vocabulary.size()) + " or less");
    std::int32_t chain = phrase.front();
    for (std::size_t i = 1; i + 1 < phrase.size() && chain >= 0; ++i) chain = chains_.add(chain, phrase[i]);
    if (chain < 0) throw std::invalid_argument("a phrase is too long");
    pairs_.add(PairTable::key(chain, phrase.back()), 1);
    begins_[static_cast<std::size_t>(phrase.front())] = true;
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
  for (const std::string& word : pending_words_) put(word);
  pending_words_.clear();
}

void Joining::append(const Piece& piece) {
  for (const Word& word : piece.words) {
    if (word.bytes.empty()) {
      put_pending();
      out_ += '\n';
      line_has_words_ = false;
      continue;
    }
    const bool known = word.number >= 0, pending = !pending_words_.empty();
    const auto at = static_cast<std::size_t>(word.number);
    if (known && !connects_.empty() && connects_[at]) {
      if (pending) pending_chain_ = chains_.find(pending_chain_, word.number);
      if (pending && pending_chain_ >= 0) {
        pending_words_.emplace_back(word.bytes);
      } else {  // no phrase goes on so
        put_pending();
        put(word.bytes);
      }
      continue;
    }
    if (pending && known && pairs_.find(PairTable::key(pending_chain_, word.number)) > 0) {
      put(pending_words_.front());
      for (std::size_t i = 1; i < pending_words_.size(); ++i) (out_ += delimiter_) += pending_words_[i];
      (out_ += delimiter_) += word.bytes;
      pending_words_.clear();
      ++joined_;
      continue;
    }
    put_pending();
    if (known && begins_[at]) {
      pending_words_.emplace_back(word.bytes);
      pending_chain_ = word.number;
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
