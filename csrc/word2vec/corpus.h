// From a file of text to what the engine trains on: a vocabulary, and the text as numbers of words.
//
// Counting: each thread takes pieces of the file and counts them in a table of its own; the tables are added in the
// end. With a limit to the words, pieces have tables of their own, which are added in the order of the file, so that
// what is thrown away does not depend on threads. Some 20 ns a word: the table's slot comes from the L2 cache or from
// farther, and is asked for a batch ahead.
//
// Encoding: threads look up the words of some pieces; one then goes through the numbers in order, leaves out what is
// not in the vocabulary, cuts sentences, and writes. Memory is that of the pieces in flight.
//
// Source: the rule of max_vocab_size and max_final_vocab is gensim's (Řehůřek & Sojka 2010).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "word2vec/text_pieces.h"
#include "word2vec/word_table.h"

namespace dlkit::word2vec {

// What becomes of words that are no UTF-8: an error; U+FFFD for each ill-formed sequence; these sequences left out.
enum class Broken { strict, replace, ignore };
constexpr const char* kNoUtf8 = "has a word that is no UTF-8 (errors='replace' or 'ignore' reads on)";

// A word with its ill-formed sequences replaced or left out, as Python decodes bytes.
std::string repaired(std::string_view word, Broken broken);

// Words by falling count, those of the same count by their bytes.
class Vocabulary {
 public:
  Vocabulary() = default;
  // Throws std::invalid_argument where a word is empty, too long, or there twice, or counts do not fall.
  Vocabulary(const std::vector<std::string>& words, const std::vector<std::uint64_t>& counts);

  std::size_t size() const { return counts_.size(); }
  std::string_view word(std::size_t number) const {
    return {letters_.data() + begins_[number], static_cast<std::size_t>(begins_[number + 1] - begins_[number])};
  }
  const std::vector<std::uint64_t>& counts() const { return counts_; }
  // Of each word its number in the vocabulary that this one extends, or -1.
  const std::vector<std::int64_t>& previous() const { return previous_; }
  const WordTable& table() const { return table_; }
  // The number of a word, or -1.
  std::int64_t find(const Token& token) const {
    const WordTable::Entry* const entry = table_.find(token);
    return entry == nullptr ? -1 : static_cast<std::int64_t>(entry->value);
  }
  std::int64_t find(std::string_view word) const;

 private:
  friend class Counting;
  void append(std::string_view word, std::uint64_t count, std::int64_t previous);

  std::vector<char> letters_;
  std::vector<std::uint64_t> begins_ = {0};
  std::vector<std::uint64_t> counts_;
  std::vector<std::int64_t> previous_;
  WordTable table_;
};

class Counting {
 public:
  // max_vocab_size: above it, after a piece, words with a count below a threshold are thrown away, and the threshold
  // grows by one; 0: never.
  Counting(const Text& text, Broken broken, std::uint64_t max_vocab_size, int workers);
  // Some more pieces. False: all are done. Throws std::invalid_argument where the text has a fault.
  bool step();
  std::uint64_t bytes_done() const { return std::min(next_ * text_.piece(), text_.size()); }
  std::uint64_t words() const { return words_; }

  // Once all is counted:
  std::size_t distinct() const { return tables_[0].size(); }
  std::uint64_t largest() const;
  // The words with min_count or more, at most max_final_vocab of them (0: all): where that cuts between words of one
  // count, none of these is kept. Those of `old` are kept in any case, and have both counts.
  Vocabulary vocabulary(std::uint64_t min_count, std::uint64_t max_final_vocab, const Vocabulary* old) const;

 private:
  void count_pieces(std::uint64_t end);
  void count_round(std::uint64_t end);
  std::uint64_t count_piece(std::uint64_t number, std::vector<std::uint8_t>& buffer, WordTable& table);
  void mend(WordTable& table) const;
  void raise_first_broken() const;

  Text text_;
  Broken broken_;
  std::uint64_t max_vocab_size_;
  int workers_;
  std::uint64_t next_ = 0, words_ = 0, min_reduce_ = 1;
  bool finished_ = false;
  std::vector<WordTable> tables_;  // the first has the result
  std::vector<WordTable> rounds_;  // of pieces, with a limit to the words
  std::vector<std::vector<std::uint8_t>> buffers_;
  FirstFault fault_;
};

class Encoding {
 public:
  // Writes int32 to the end of an open file: numbers of words, and -1 after each sentence that has some. Sentences end
  // after max_sentence words of the text, too; with `breaks` also at words that are not in the vocabulary, so that
  // words are neighbours in the text where they are in the numbers.
  Encoding(const Text& text, const Vocabulary& vocabulary, Broken broken, std::uint64_t max_sentence, bool breaks,
           int file, int workers);
  bool step();
  std::uint64_t bytes_done() const { return std::min(next_ * text_.piece(), text_.size()); }
  std::uint64_t words() const { return words_; }
  std::uint64_t kept() const { return kept_; }
  std::uint64_t sentences() const { return sentences_; }

 private:
  void encode_piece(std::uint64_t number, std::vector<std::uint8_t>& buffer, std::vector<std::int32_t>& to);
  std::int32_t number_of_rare(const Tokens& tokens, const Token& token) const;
  void append(const std::vector<std::int32_t>& piece);
  void end_run();
  void end_sentence();
  void write();

  Text text_;
  const Vocabulary& vocabulary_;
  Broken broken_;
  std::uint64_t max_sentence_;
  bool breaks_;
  int file_, workers_;
  std::uint64_t next_ = 0, words_ = 0, kept_ = 0, sentences_ = 0;
  std::uint64_t words_of_sentence_ = 0, kept_of_sentence_ = 0;
  bool finished_ = false;
  std::vector<std::vector<std::uint8_t>> buffers_;
  std::vector<std::vector<std::int32_t>> pieces_;
  std::vector<std::int32_t> out_;
  FirstFault fault_;
};

}  // namespace dlkit::word2vec
