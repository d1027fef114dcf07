// ARPA text to a trie: lines are checked as they come; what they claim is never believed before it is there.
//
// n-grams come in any order. They are sorted by their words read backwards, one pass of counting sort a word. A trie
// needs the parent of each n-gram (without its first word) and its context (without its last): where a pruned model
// lacks one, it is added with the probability that back-off gives it and weight 1, which changes no score.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <stdexcept>

#include "ngram/ngram.h"
#include "ngram/utf8.h"

namespace dlkit::ngram {
namespace {

constexpr std::size_t kLongestLine = 1 << 20;
constexpr std::uint64_t kMostHeaderLines = 1 << 16;
constexpr std::size_t kShown = 40;
// Another spelling of <unk>, which KenLM takes for the same word: where 1-grams have both, the later line counts.
constexpr std::string_view kUnknownToo = "<UNK>";
constexpr float kAdded =
    std::numeric_limits<float>::quiet_NaN();  // the probability of what is added, before it has one

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

// The first word of a text, which loses it; empty at its end.
std::string_view next_word(std::string_view& text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  std::size_t length = 0;
  while (length < text.size() && !is_space(text[length])) ++length;
  const std::string_view word = text.substr(0, length);
  text.remove_prefix(length);
  return word;
}

// A piece of a file, fit to be shown.
std::string shown(std::string_view text) {
  std::string result = "'";
  for (const char c : text.substr(0, kShown)) result += c >= 0x20 && c < 0x7F ? c : '?';
  return result + (text.size() > kShown ? "…'" : "'");
}

bool as_count(std::string_view text, std::uint64_t& value) {
  value = 0;
  if (text.empty() || text.size() > 18) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
  }
  return true;
}

// A decimal number such as -1.25e-3, whatever the locale; correctly rounded up to 15 digits.
bool as_number(std::string_view text, double& value) {
  std::size_t at = 0;
  const bool negative = at < text.size() && text[at] == '-';
  if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
  std::uint64_t digits = 0;
  int exponent = 0, count = 0;
  bool any = false, point = false;
  for (; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '.' && !point) {
      point = true;
    } else if (c >= '0' && c <= '9') {
      any = true;
      if (count < 18) {
        digits = digits * 10 + static_cast<std::uint64_t>(c - '0');
        count += digits != 0;
        exponent -= point;
      } else {
        exponent += !point;
      }
    } else {
      break;
    }
  }
  if (!any) return false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    const bool down = at < text.size() && text[at] == '-';
    if (at < text.size() && (text[at] == '-' || text[at] == '+')) ++at;
    std::uint64_t power;
    if (text.size() - at > 4 || !as_count(text.substr(at), power)) return false;
    exponent += down ? -static_cast<int>(power) : static_cast<int>(power);
    at = text.size();
  }
  if (at != text.size()) return false;
  const double mantissa = static_cast<double>(digits);
  value = exponent < 0 && exponent >= -22 ? mantissa / std::pow(10.0, -exponent) : mantissa * std::pow(10.0, exponent);
  if (negative) value = -value;
  return std::isfinite(value);
}

}  // namespace

void ArpaReader::fail(const std::string& text) const {
  throw std::invalid_argument("line " + std::to_string(line_) + ": " + text);
}

void ArpaReader::add(const char* bytes, std::size_t count) {
  const char* at = bytes;
  const char* const end = bytes + count;
  while (at < end) {
    const auto* newline = static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
    const char* const stop = newline != nullptr ? newline : end;
    const auto length = static_cast<std::size_t>(stop - at);
    if (rest_.size() + length > kLongestLine) {
      ++line_;
      fail("is longer than " + std::to_string(kLongestLine) + " bytes: this is no ARPA file");
    }
    if (newline == nullptr) {
      rest_.append(at, length);
      return;
    }
    if (rest_.empty()) {
      line({at, length});
    } else {
      rest_.append(at, length);
      line(rest_);
      rest_.clear();
    }
    at = stop + 1;
  }
}

void ArpaReader::finish() {
  if (!rest_.empty()) line(rest_);
  rest_.clear();
  switch (part_) {
    case Part::before: fail("the file ends without a line \\data\\: this is no ARPA file");
    case Part::counts: fail("the file ends within \\data\\");
    case Part::sections: fail("the file ends without \\end\\");
    case Part::ngrams: {
      const Level& level = levels_[current_ - 1];
      fail("the file ends within \\" + std::to_string(current_) + "-grams:, after " + std::to_string(level.read) +
           " of " + std::to_string(level.claimed) + " n-grams");
    }
    case Part::after: break;
  }
}

void ArpaReader::line(std::string_view raw) {
  ++line_;
  if (raw.find('\0') != std::string_view::npos) fail("holds a zero byte: this is no ARPA file");
  const std::string_view text = trimmed(raw);
  switch (part_) {
    case Part::before:
      if (text == "\\data\\")
        part_ = Part::counts;
      else if (line_ > kMostHeaderLines)
        fail("no line \\data\\ so far: this is no ARPA file");
      return;
    case Part::counts: {
      if (text.empty()) {
        if (!levels_.empty()) part_ = Part::sections;
        return;
      }
      if (text[0] == '\\' && !levels_.empty()) {
        part_ = Part::sections;
        section(text);
        return;
      }
      std::string_view left = text;
      std::uint64_t order = 0, count = 0;
      const bool named = next_word(left) == "ngram";
      const std::size_t equals = left.find('=');
      if (!named || equals == std::string_view::npos || !as_count(trimmed(left.substr(0, equals)), order) ||
          !as_count(trimmed(left.substr(equals + 1)), count))
        fail("is " + shown(text) + "; expected ngram N=COUNT");
      if (order != levels_.size() + 1)
        fail("counts " + std::to_string(order) + "-grams; expected ngram " + std::to_string(levels_.size() + 1) + "=…");
      if (order > kMostOrder)
        fail("is of order " + std::to_string(order) + "; expected at most " + std::to_string(kMostOrder));
      if (count > kMostTokens) fail("claims " + std::to_string(count) + " n-grams; expected fewer than 2^32");
      levels_.emplace_back();
      levels_.back().claimed = count;
      return;
    }
    case Part::sections:
      if (!text.empty()) section(text);
      return;
    case Part::ngrams:
      if (text.empty()) {
        // Some writers leave a line empty after the heading.
        if (levels_[current_ - 1].read == 0 && levels_[current_ - 1].claimed != 0) return;
        end_section();
      } else if (text[0] == '\\' && text.find_first_of(" \t") == std::string_view::npos) {
        end_section();
        section(text);
      } else {
        ngram(text);
      }
      return;
    case Part::after:
      if (!text.empty()) fail("is " + shown(text) + " after \\end\\; expected nothing more");
      return;
  }
}

void ArpaReader::section(std::string_view text) {
  const int next = current_ + 1;
  if (next > static_cast<int>(levels_.size())) {
    if (text != "\\end\\") fail("is " + shown(text) + "; expected \\end\\");
    part_ = Part::after;
    return;
  }
  const std::string expected = "\\" + std::to_string(next) + "-grams:";
  if (text != expected) fail("is " + shown(text) + "; expected " + expected);
  current_ = next;
  part_ = Part::ngrams;
}

void ArpaReader::end_section() {
  const Level& level = levels_[current_ - 1];
  if (level.read != level.claimed)
    fail("\\" + std::to_string(current_) + "-grams: ends after " + std::to_string(level.read) + " n-grams; expected " +
         std::to_string(level.claimed) + " as \\data\\ says");
  if (current_ == 1) {
    if (!begin_seen_) fail("\\1-grams: lacks <s>");
    if (!end_seen_) fail("\\1-grams: lacks </s>");
  }
  part_ = Part::sections;
}

void ArpaReader::ngram(std::string_view text) {
  const int n = current_;
  Level& level = levels_[n - 1];
  if (level.read >= level.claimed)
    fail("is " + shown(text) + ", one more than the " + std::to_string(level.claimed) + " n-grams of \\data\\");
  std::string_view left = text;
  const std::string_view number = next_word(left);
  double probability = 0, backoff = 0;
  if (number == "-inf")
    probability = -std::numeric_limits<double>::infinity();
  else if (!as_number(number, probability))
    fail("log-probability is " + shown(number) + "; expected a finite number or -inf");
  if (probability > 0) fail("log-probability is " + shown(number) + "; expected at most 0");
  if (level.read++ == 0) level.line = line_;
  for (int i = 0; i < n; ++i) {
    const std::string_view word = next_word(left);
    if (word.empty()) fail("has " + std::to_string(i) + " words; expected " + std::to_string(n));
    const bool unknown_too = word == kUnknownToo;
    Word id = kUnknown;
    if (n == 1) {
      if (!is_utf8(word)) fail("holds a word that is not UTF-8");
      bool added = false;
      if (!unknown_too) id = vocabulary.add(word, added);
      bool* const seen = unknown_too      ? &unknown_too_seen_
                         : id == kUnknown ? &unknown_seen_
                         : id == kBegin   ? &begin_seen_
                         : id == kEnd     ? &end_seen_
                                          : nullptr;
      if (seen != nullptr ? *seen : !added) fail("the word " + shown(word) + " is there twice");
      if (seen != nullptr) *seen = true;
    } else {
      if (!unknown_too) id = vocabulary.find(word);
      if (id == kNoWord || (id == kUnknown && !unknown_seen_ && !unknown_too_seen_))
        fail("the word " + shown(word) + " is not among the 1-grams");
      // Of texts that were read as one: no sentence has </s> <s>, so that such an n-gram is never asked for.
      const bool after_end = i > 0 && level.words.back() == kEnd;
      if (id == kBegin && i != 0 && !after_end) fail("<s> is not the first word of its n-gram");
      if (id != kBegin && after_end) fail("</s> is not the last word of its n-gram");
    }
    level.words.push_back(id);
  }
  const std::string_view weight = next_word(left);
  if (!weight.empty()) {
    const bool is_number = as_number(weight, backoff) && std::abs(backoff) <= 1e30;
    // Some writers put the 0 there that they have for every n-gram.
    if (n == static_cast<int>(levels_.size()) && !(is_number && backoff == 0))
      fail("has " + shown(weight) + " after its " + std::to_string(n) + " words; the longest n-grams have no back-off");
    if (!is_number) fail("back-off is " + shown(weight) + "; expected a finite number");
    if (!next_word(left).empty()) fail("has more than " + std::to_string(n) + " words and a back-off");
  }
  if (n == 1 && level.words.back() == kUnknown) {
    if (unknown_seen_ && unknown_too_seen_) {
      level.words.pop_back();
      level.probability[unknown_row_] = static_cast<float>(probability);
      level.backoff[unknown_row_] = static_cast<float>(backoff);
      return;
    }
    unknown_row_ = level.size();
  }
  level.probability.push_back(static_cast<float>(probability));
  level.backoff.push_back(static_cast<float>(backoff));
}

// Rows in the order of their words read backwards.
void ArpaReader::sort(int n) {
  Level& level = levels_[n - 1];
  const std::size_t size = level.size(), words = vocabulary.size();
  std::vector<std::uint32_t> rows(size), sorted(size);
  std::iota(rows.begin(), rows.end(), 0u);
  for (int column = 0; column < n; ++column) {
    std::vector<std::uint32_t> spot(words + 1, 0);
    for (std::size_t row = 0; row < size; ++row) ++spot[level.words[row * n + column] + 1];
    std::partial_sum(spot.begin(), spot.end(), spot.begin());
    for (const std::uint32_t row : rows) sorted[spot[level.words[std::size_t{row} * n + column]]++] = row;
    rows.swap(sorted);
  }
  Level result;
  result.claimed = level.claimed;
  result.line = level.line;
  result.words.resize(size * n);
  result.probability.resize(size);
  result.backoff.resize(size);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < size; ++i) {
    Word* const row = result.words.data() + kept * n;
    std::copy_n(level.words.begin() + std::size_t{rows[i]} * n, n, row);
    if (kept > 0 && std::equal(row, row + n, row - n)) {
      // With <unk> and with <UNK>: of such n-grams the first counts, as in KenLM's hash.
      if (unknown_seen_ && unknown_too_seen_ && std::find(row, row + n, kUnknown) != row + n) continue;
      line_ = level.line + std::max(rows[i - 1], rows[i]);
      std::string text;
      for (int k = 0; k < n; ++k) text += (k ? " " : "") + std::string(vocabulary.word(row[k]));
      fail("the n-gram " + shown(text) + " is there twice");
    }
    result.probability[kept] = level.probability[rows[i]];
    result.backoff[kept++] = level.backoff[rows[i]];
  }
  result.words.resize(kept * n);
  result.probability.resize(kept);
  result.backoff.resize(kept);
  level = std::move(result);
}

// Adds to level n - 1 the n-grams of level n without their first words that it lacks; both are sorted.
bool ArpaReader::add_missing_parents(int n) {
  const Level& level = levels_[n - 1];
  Level& shorter = levels_[n - 2];
  const int m = n - 1;
  const auto compare = [&](const Word* a, const Word* b) {  // of m words, read backwards
    for (int i = m - 1; i >= 0; --i)
      if (a[i] != b[i]) return a[i] < b[i] ? -1 : 1;
    return 0;
  };
  std::size_t at = 0;
  const std::size_t size = shorter.size();
  const Word* last = nullptr;
  std::vector<Word> missing;
  for (std::size_t i = 0; i < level.size(); ++i) {
    const Word* const parent = level.words.data() + i * n + 1;
    if (last != nullptr && compare(last, parent) == 0) continue;
    last = parent;
    int order = -1;
    while (at < size && (order = compare(shorter.words.data() + at * m, parent)) < 0) ++at;
    if (at == size || order != 0) missing.insert(missing.end(), parent, parent + m);
  }
  if (missing.empty()) return false;
  shorter.words.insert(shorter.words.end(), missing.begin(), missing.end());
  shorter.probability.resize(shorter.words.size() / m, kAdded);
  shorter.backoff.resize(shorter.words.size() / m, 0);
  return true;
}

Trie ArpaReader::build() {
  const int order = static_cast<int>(levels_.size());
  Level& first = levels_[0];
  if (!unknown_seen_ && !unknown_too_seen_) {
    // No probability for unknown words: KenLM's is 10^-100; so is ours.
    first.words.push_back(kUnknown);
    first.probability.push_back(-100);
    first.backoff.push_back(0);
  }
  for (int n = 1; n <= order; ++n) sort(n);
  std::vector<Shape> shapes;
  for (bool complete = false; !complete;) {
    complete = true;
    for (int n = order; n >= 2; --n)
      if (add_missing_parents(n)) sort(n - 1);
    shapes.assign(order, {});
    for (int n = 1; n <= order; ++n) {
      const Level& level = levels_[n - 1];
      Shape& shape = shapes[n - 1];
      shape.word.resize(level.size());
      for (std::size_t i = 0; i < level.size(); ++i) shape.word[i] = level.words[i * n];
      if (n == order) break;
      // Children are in the order of their parents, so that counting them is enough.
      const Level& longer = levels_[n];
      std::size_t at = 0;
      for (std::size_t i = 0; i < level.size(); ++i) {
        shape.child.push_back(static_cast<std::uint32_t>(at));
        while (at < longer.size() && std::equal(level.words.begin() + i * n, level.words.begin() + (i + 1) * n,
                                                longer.words.begin() + at * (n + 1) + 1))
          ++at;
      }
      shape.child.push_back(static_cast<std::uint32_t>(at));
    }
    std::vector<std::uint32_t> context;
    for (int n = 1; n <= order && complete; ++n) {
      context = contexts(shapes, n, context);
      Level& shorter = levels_[std::max(n - 2, 0)];
      for (std::size_t i = 0; i < context.size(); ++i) {
        if (context[i] != kNoNode) continue;
        if (complete ||
            !std::equal(shorter.words.end() - (n - 1), shorter.words.end(), levels_[n - 1].words.begin() + i * n)) {
          shorter.words.insert(shorter.words.end(), levels_[n - 1].words.begin() + i * n,
                               levels_[n - 1].words.begin() + (i + 1) * n - 1);
          shorter.probability.push_back(kAdded);
          shorter.backoff.push_back(0);
        }
        complete = false;
      }
      if (!complete) {
        // A context may have been added once for each word after it.
        Level& added = levels_[n - 2];
        const int m = n - 1;
        const std::size_t size = added.size();
        std::vector<std::uint32_t> rows;
        std::size_t begin = size;
        while (begin > 0 && std::isnan(added.probability[begin - 1])) --begin;
        for (std::size_t i = begin; i < size; ++i) rows.push_back(static_cast<std::uint32_t>(i));
        const auto row = [&](std::uint32_t i) { return added.words.begin() + std::size_t{i} * m; };
        std::sort(rows.begin(), rows.end(), [&](std::uint32_t a, std::uint32_t b) {
          return std::lexicographical_compare(row(a), row(a) + m, row(b), row(b) + m);
        });
        rows.erase(
            std::unique(rows.begin(), rows.end(),
                        [&](std::uint32_t a, std::uint32_t b) { return std::equal(row(a), row(a) + m, row(b)); }),
            rows.end());
        std::vector<Word> kept;
        for (const std::uint32_t i : rows) kept.insert(kept.end(), row(i), row(i) + m);
        added.words.resize(begin * m);
        added.words.insert(added.words.end(), kept.begin(), kept.end());
        added.probability.resize(added.words.size() / m);
        added.backoff.resize(added.words.size() / m);
        sort(m);
      }
    }
  }
  // What was added gets what back-off says, shortest first.
  std::vector<std::uint32_t> context;
  for (int n = 1; n <= order; ++n) {
    context = contexts(shapes, n, context);
    if (n == 1) continue;
    Level& level = levels_[n - 1];
    const Level& shorter = levels_[n - 2];
    each_with_parent(shapes, n, [&](std::uint32_t node, std::uint32_t parent) {
      if (std::isnan(level.probability[node]))
        level.probability[node] = std::min(shorter.backoff[context[node]] + shorter.probability[parent], 0.0f);
    });
  }
  Trie trie(order, vocabulary.size(), false);
  for (int n = 1; n <= order; ++n) {
    trie.set_level(n, shapes[n - 1], levels_[n - 1].probability, levels_[n - 1].backoff);
    levels_[n - 1] = {};
    shapes[n - 1] = {};
  }
  return trie;
}

}  // namespace dlkit::ngram
