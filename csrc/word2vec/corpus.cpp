#include "word2vec/corpus.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <stdexcept>

#include "core/thread_pool.h"
#include "ngram/utf8.h"
#include "word2vec/engine.h"
#include "word2vec/write_all.h"

namespace dlkit::word2vec {
namespace {

constexpr std::int32_t kUnknown = -2;
constexpr std::uint64_t kBytesOfStep = std::uint64_t{1} << 26;  // between two looks at interrupts
constexpr std::uint64_t kPiecesOfRound = 8;                     // for each worker

// Pieces until the next look, at least one.
std::uint64_t end_of_step(const Text& text, std::uint64_t next) {
  return next + std::min(text.pieces() - next, kBytesOfStep / text.piece() + 1);
}

// A word outside a text, where bytes behind it can be read.
struct Padded {
  std::string bytes;
  explicit Padded(std::string_view word) : bytes(word) { bytes.append(8, '\0'); }
  Token token() const { return token_at(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size() - 8); }
};

std::string_view view_of(const Token& token) { return {reinterpret_cast<const char*>(token.at), token.length}; }

}  // namespace

std::string repaired(std::string_view word, Broken broken) {
  std::string result;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(word.data());
  for (std::size_t at = 0; at < word.size();) {
    const unsigned first = bytes[at];
    const int more = first < 0x80 ? 0 : first < 0xC2 ? -1 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : first < 0xF5 ? 3 : -1;
    std::size_t end = at + 1;
    // The longest beginning of a well-formed sequence is one error (Unicode 15, 3.9, table 3-7).
    for (int i = 0; i < more && end < word.size(); ++i, ++end) {
      unsigned low = 0x80, high = 0xBF;
      if (i == 0) {
        if (first == 0xE0) low = 0xA0;
        if (first == 0xED) high = 0x9F;
        if (first == 0xF0) low = 0x90;
        if (first == 0xF4) high = 0x8F;
      }
      if (bytes[end] < low || bytes[end] > high) break;
    }
    if (more >= 0 && end == at + 1 + static_cast<std::size_t>(more))
      result.append(word.substr(at, end - at));
    else if (broken == Broken::replace)
      result.append("\xEF\xBF\xBD");
    at = end;
  }
  return result;
}

Vocabulary::Vocabulary(const std::vector<std::string>& words, const std::vector<std::uint64_t>& counts) {
  if (words.size() != counts.size())
    throw std::invalid_argument("there are " + std::to_string(words.size()) + " words but " +
                                std::to_string(counts.size()) + " counts");
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].empty() || words[i].size() > kLongestWord)
      throw std::invalid_argument("word " + std::to_string(i) + " has " + std::to_string(words[i].size()) +
                                  " bytes, expected 1 to " + std::to_string(kLongestWord));
    if (i > 0 && counts[i] > counts[i - 1])
      throw std::invalid_argument("the count of word " + std::to_string(i) + " is above the one before");
    if (find(words[i]) >= 0) throw std::invalid_argument("word " + std::to_string(i) + " is there twice");
    append(words[i], counts[i], -1);
  }
}

std::int64_t Vocabulary::find(std::string_view word) const {
  return word.empty() || word.size() > kLongestWord ? -1 : find(Padded(word).token());
}

void Vocabulary::append(std::string_view word, std::uint64_t count, std::int64_t previous) {
  if (size() == static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max()))
    throw std::invalid_argument("the vocabulary has more than 2^31 - 1 words");
  table_.add(Padded(word).token()).value = size();
  letters_.insert(letters_.end(), word.begin(), word.end());
  begins_.push_back(letters_.size());
  counts_.push_back(count);
  previous_.push_back(previous);
}

Counting::Counting(const Text& text, Broken broken, std::uint64_t max_vocab_size, int workers)
    : text_(text), broken_(broken), max_vocab_size_(max_vocab_size), workers_(workers) {
  workers_ = static_cast<int>(std::clamp<std::uint64_t>(text_.pieces(), 1, static_cast<std::uint64_t>(workers)));
  const std::size_t threads = static_cast<std::size_t>(workers_);
  tables_.resize(max_vocab_size_ > 0 ? 1 : threads);
  rounds_.resize(max_vocab_size_ > 0 ? 2 * threads : 0);
  buffers_.resize(max_vocab_size_ > 0 ? 2 * threads : threads);
}

std::uint64_t Counting::count_piece(std::uint64_t number, std::vector<std::uint8_t>& buffer, WordTable& table) {
  std::uint64_t words = 0;
  if (fault_.before(number * text_.piece())) return 0;
  Tokens tokens = text_.read(number, buffer);
  Token batch[kBatch];
  try {
    for (int count = 0; (count = tokens.next(batch)) > 0;) {
      for (int i = 0; i < count; ++i) table.prefetch(batch[i]);
      for (int i = 0; i < count; ++i) {
        if (batch[i].length == 0) continue;
        ++table.add(batch[i]).value;
        ++words;
      }
    }
  } catch (const Fault& fault) {
    fault_.keep(fault);
  }
  return words;
}

void Counting::count_pieces(std::uint64_t end) {
  std::atomic<std::uint64_t> next{next_}, words{0};
  parallel_for(
      workers_,
      [&](int worker) {
        const auto own = static_cast<std::size_t>(worker);
        std::uint64_t sum = 0;
        for (std::uint64_t number; (number = next.fetch_add(1)) < end;)
          sum += count_piece(number, buffers_[own], tables_[own]);
        words += sum;
      },
      workers_);
  words_ += words;
  next_ = end;
}

void Counting::count_round(std::uint64_t end) {
  end = std::min<std::uint64_t>(end, next_ + rounds_.size());
  std::atomic<std::uint64_t> words{0};
  parallel_for(
      static_cast<int>(end - next_),
      [&](int task) {
        const auto own = static_cast<std::size_t>(task);
        rounds_[own].clear();
        words += count_piece(next_ + own, buffers_[own], rounds_[own]);
        mend(rounds_[own]);
      },
      workers_);
  words_ += words;
  WordTable& all = tables_[0];
  for (std::uint64_t i = 0; i < end - next_; ++i) {
    all.merge(rounds_[i]);
    if (all.size() > max_vocab_size_) all.prune(min_reduce_++);
  }
  next_ = end;
}

bool Counting::step() {
  if (finished_) return false;
  const std::uint64_t end = end_of_step(text_, next_);
  if (max_vocab_size_ == 0)
    count_pieces(end);
  else
    while (next_ < end) count_round(end);
  fault_.raise(text_);
  if (next_ < text_.pieces()) return true;
  if (max_vocab_size_ == 0) {
    for (std::size_t i = 1; i < tables_.size(); ++i) tables_[0].merge(tables_[i]);
    tables_.resize(1);
    mend(tables_[0]);
  }
  finished_ = true;
  return false;
}

// Words that are no UTF-8 become what they are repaired to.
void Counting::mend(WordTable& table) const {
  const auto is_broken = [&](const WordTable::Entry& entry) {
    return entry.length != 0 && !ngram::is_utf8(table.word(entry));
  };
  const auto& entries = table.entries();
  if (std::none_of(entries.begin(), entries.end(), is_broken)) return;
  if (broken_ == Broken::strict) raise_first_broken();
  WordTable mended;
  mended.reserve(table);
  for (const WordTable::Entry& entry : entries) {
    if (entry.length == 0) continue;
    const std::string word = is_broken(entry) ? repaired(table.word(entry), broken_) : std::string(table.word(entry));
    if (word.size() > kLongestWord)
      throw std::invalid_argument("has a word of more than " + std::to_string(kLongestWord) +
                                  " bytes once its broken UTF-8 is replaced");
    if (!word.empty()) mended.add(Padded(word).token()).value += entry.value;
  }
  table = std::move(mended);
}

void Counting::raise_first_broken() const {
  std::vector<std::uint8_t> buffer;
  FirstFault first;
  for (std::uint64_t number = 0; number < text_.pieces(); ++number) {
    Tokens tokens = text_.read(number, buffer);
    Token batch[kBatch];
    try {
      for (int count = 0; (count = tokens.next(batch)) > 0;)
        for (int i = 0; i < count; ++i)
          if (!ngram::is_utf8(view_of(batch[i]))) throw Fault{tokens.offset(batch[i]), kNoUtf8};
    } catch (const Fault& fault) {
      first.keep(fault);
      first.raise(text_);
    }
  }
  throw std::invalid_argument("was changed while it was read");
}

std::uint64_t Counting::largest() const {
  std::uint64_t most = 0;
  for (const auto& entry : tables_[0].entries()) most = std::max(most, entry.value);
  return most;
}

Vocabulary Counting::vocabulary(std::uint64_t min_count, std::uint64_t max_final_vocab, const Vocabulary* old) const {
  struct Kept {
    std::uint64_t count;
    std::string_view word;
    std::int64_t previous;
  };
  if (!finished_) throw std::invalid_argument("the text has not been counted");
  const WordTable& table = tables_[0];
  min_count = std::max<std::uint64_t>(min_count, 1);
  if (max_final_vocab > 0) {
    std::vector<std::uint64_t> counts;  // of new words: old ones stay
    for (const auto& entry : table.entries())
      if (entry.length != 0 && (old == nullptr || old->find(table.token(entry)) < 0)) counts.push_back(entry.value);
    const std::uint64_t taken = old == nullptr ? 0 : old->size();
    const std::uint64_t left = max_final_vocab > taken ? max_final_vocab - taken : 0;
    if (left < counts.size()) {
      const auto nth = counts.begin() + static_cast<std::ptrdiff_t>(left);
      std::nth_element(counts.begin(), nth, counts.end(), std::greater<>());
      min_count = std::max(min_count, *nth + 1);
    }
  }
  std::vector<Kept> kept;
  std::vector<bool> met(old == nullptr ? 0 : old->size());
  for (const auto& entry : table.entries()) {
    if (entry.length == 0) continue;
    const std::int64_t previous = old == nullptr ? -1 : old->find(table.token(entry));
    if (previous >= 0) met[static_cast<std::size_t>(previous)] = true;
    if (previous >= 0 || entry.value >= min_count)
      kept.push_back({entry.value + (previous >= 0 ? old->counts()[static_cast<std::size_t>(previous)] : 0),
                      table.word(entry), previous});
  }
  for (std::size_t i = 0; i < met.size(); ++i)
    if (!met[i]) kept.push_back({old->counts()[i], old->word(i), static_cast<std::int64_t>(i)});
  std::sort(kept.begin(), kept.end(),
            [](const Kept& a, const Kept& b) { return a.count != b.count ? a.count > b.count : a.word < b.word; });
  Vocabulary result;
  for (const Kept& each : kept) result.append(each.word, each.count, each.previous);
  return result;
}

Encoding::Encoding(const Text& text, const Vocabulary& vocabulary, Broken broken, std::uint64_t max_sentence,
                   bool breaks, int file, int workers)
    : text_(text), vocabulary_(vocabulary), broken_(broken), max_sentence_(max_sentence), breaks_(breaks), file_(file) {
  workers_ = static_cast<int>(std::clamp<std::uint64_t>(text_.pieces(), 1, static_cast<std::uint64_t>(workers)));
  const std::size_t pieces =
      std::clamp<std::uint64_t>(text_.pieces(), 1, kPiecesOfRound * static_cast<std::uint64_t>(workers_));
  buffers_.resize(pieces);
  pieces_.resize(pieces);
}

// A word that is not in the vocabulary as it stands.
std::int32_t Encoding::number_of_rare(const Tokens& tokens, const Token& token) const {
  if (ngram::is_utf8(view_of(token))) return kUnknown;
  if (broken_ == Broken::strict) throw Fault{tokens.offset(token), kNoUtf8};
  const std::string word = repaired(view_of(token), broken_);
  const std::int64_t number = vocabulary_.find(word);
  return number < 0 ? kUnknown : static_cast<std::int32_t>(number);
}

void Encoding::encode_piece(std::uint64_t number, std::vector<std::uint8_t>& buffer, std::vector<std::int32_t>& to) {
  to.clear();
  if (fault_.before(number * text_.piece())) return;
  Tokens tokens = text_.read(number, buffer);
  const WordTable& table = vocabulary_.table();
  Token batch[kBatch];
  std::int32_t numbers[kBatch];
  try {
    for (int count = 0; (count = tokens.next(batch)) > 0;) {
      for (int i = 0; i < count; ++i) table.prefetch(batch[i]);
      for (int i = 0; i < count; ++i) {
        if (batch[i].length == 0) {
          numbers[i] = kSentenceEnd;
          continue;
        }
        const WordTable::Entry* const entry = table.find(batch[i]);
        numbers[i] = entry != nullptr ? static_cast<std::int32_t>(entry->value) : number_of_rare(tokens, batch[i]);
      }
      to.insert(to.end(), numbers, numbers + count);
    }
  } catch (const Fault& fault) {
    fault_.keep(fault);
  }
}

void Encoding::end_run() {
  if (kept_of_sentence_ == 0) return;
  out_.push_back(kSentenceEnd);
  ++sentences_;
  kept_of_sentence_ = 0;
}

void Encoding::end_sentence() {
  end_run();
  words_of_sentence_ = 0;
}

void Encoding::append(const std::vector<std::int32_t>& piece) {
  for (const std::int32_t number : piece) {
    if (number == kSentenceEnd) {
      end_sentence();
      continue;
    }
    if (words_of_sentence_ == max_sentence_) end_sentence();
    ++words_of_sentence_;
    ++words_;
    if (number == kUnknown) {
      if (breaks_) end_run();
      continue;
    }
    ++kept_of_sentence_;
    ++kept_;
    out_.push_back(number);
  }
}

void Encoding::write() {
  write_all(file_, reinterpret_cast<const char*>(out_.data()), out_.size() * sizeof(std::int32_t));
  out_.clear();
}

bool Encoding::step() {
  if (finished_) return false;
  const std::uint64_t end = end_of_step(text_, next_);
  while (next_ < end) {
    const std::uint64_t count = std::min<std::uint64_t>(end - next_, pieces_.size());
    parallel_for(
        static_cast<int>(count),
        [&](int task) {
          const auto own = static_cast<std::size_t>(task);
          encode_piece(next_ + own, buffers_[own], pieces_[own]);
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
  end_sentence();
  write();
  finished_ = true;
  return false;
}

}  // namespace dlkit::word2vec
