// Phrases: pairs of words that stand beside each other more often than their counts let expect.
//
// Pairs are counted over the numbers of words of an encoded text, in a table of 16 bytes a slot, at most half full.
// Each pair is a line of the cache that is not there as a rule: some are asked for ahead. Where there are too many,
// rare ones are thrown away as in counting words. Joining copies the text; which pairs are phrases, a second table
// knows.
//
// Connectors, such as "of" and "the", neither begin nor end a phrase but may stand within one: a word with the
// connectors behind it is a chain, which has a number of its own, above those of words, and makes a pair with the word
// that follows.
//
// Source: Mikolov et al. 2013, section 4 (word2phrase); npmi: Bouma 2009; greedy joining from the left, connectors, and
// the number that stands for the size of the vocabulary, that of different words and pairs, are gensim's.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/hash_key.h"
#include "word2vec/corpus.h"

namespace dlkit::word2vec {

class PairTable {
 public:
  PairTable() : slots_(std::size_t{1} << kFirstBits), bits_(kFirstBits) {}

  static std::uint64_t key(std::int32_t first, std::int32_t second) {
    return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(first)) << 32 | static_cast<std::uint32_t>(second)) +
           1;
  }
  void prefetch(std::uint64_t key) const { __builtin_prefetch(&slots_[first_place(key)]); }
  std::uint64_t find(std::uint64_t key) const { return slots_[place(key)].value; }  // 0: is not there
  void add(std::uint64_t key, std::uint64_t value);
  void prune(std::uint64_t least);
  std::size_t size() const { return size_; }
  template <class Body>
  void each(const Body& body) const {
    for (const Slot& slot : slots_)
      if (slot.key != 0)
        body(static_cast<std::int32_t>((slot.key - 1) >> 32), static_cast<std::int32_t>(slot.key - 1), slot.value);
  }

 private:
  static constexpr int kFirstBits = 6;
  struct Slot {
    std::uint64_t key;  // 0: free
    std::uint64_t value;
  };
  std::size_t first_place(std::uint64_t key) const {
    const std::uint64_t mixed = (key ^ (key >> 32) ^ hash_key) * 0x9E3779B97F4A7C15u;
    return static_cast<std::size_t>(((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9u) >> (64 - bits_));
  }
  std::size_t place(std::uint64_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = first_place(key);
    while (slots_[at].key != 0 && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  void put_all(int bits, std::uint64_t least);

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
  int bits_;
};

// Words with the connectors behind them, numbered. A word alone has its own number.
class Chains {
 public:
  static constexpr int kLongest = 8;  // connectors; more end a phrase

  explicit Chains(std::int32_t words) : words_(words) {}
  // The chain that goes on with a connector; -1: there is none (find), or it is too long (add).
  std::int32_t find(std::int32_t chain, std::int32_t connector) const {
    const auto at = static_cast<std::int32_t>(links_.find(PairTable::key(chain, connector)));
    return at == 0 ? -1 : words_ + at - 1;
  }
  std::int32_t add(std::int32_t chain, std::int32_t connector);
  bool is_chain(std::int32_t number) const { return number >= words_; }
  std::size_t size() const { return links_of_.size(); }
  // Its word and its connectors.
  std::vector<std::int32_t> words(std::int32_t number) const;
  // Leaves out those that are not marked, nor the beginning of one that is: the new number of each.
  std::vector<std::int32_t> keep(std::vector<bool> marked);

 private:
  struct Link {
    std::int32_t before, connector;
    int length;
  };
  std::int32_t words_;
  PairTable links_;
  std::vector<Link> links_of_;
};

struct Phrase {
  std::vector<std::int32_t> words;
  std::uint64_t count;
  double score;
};

class PairCounting {
 public:
  // max_pairs: as max_vocab_size of Counting, after each kTokensOfPrune numbers; 0: no limit. words: how many there
  // are.
  PairCounting(std::uint64_t max_pairs, std::int32_t words, const std::vector<std::int32_t>& connectors);
  // Numbers that follow on those before; -1: no neighbours across here.
  void add(const std::int32_t* tokens, std::uint64_t count);
  std::size_t distinct() const { return table_.size(); }
  // The pairs whose score is above the threshold. counts: of each word; words: of the text; different: how many words.
  std::vector<Phrase> phrases(const std::vector<std::uint64_t>& counts, std::uint64_t words, std::uint64_t different,
                              std::uint64_t min_count, double threshold, bool npmi) const;

 private:
  static constexpr std::uint64_t kTokensOfPrune = 1u << 18;
  bool connects(std::int32_t word) const {
    return word >= 0 && static_cast<std::size_t>(word) < connects_.size() && connects_[static_cast<std::size_t>(word)];
  }
  void prune();

  PairTable table_;
  std::vector<bool> connects_;  // by word; empty: none does
  Chains chains_;
  std::uint64_t max_pairs_, since_ = 0, min_reduce_ = 1;
  std::int32_t last_ = -1;
};

// The text with its phrases joined: words with a space between, sentences as lines.
class Joining {
 public:
  // phrases: numbers of words of the vocabulary, two for each, or with connectors between.
  Joining(const Text& text, const Vocabulary& vocabulary, const std::vector<std::vector<std::int32_t>>& phrases,
          const std::vector<std::int32_t>& connectors, std::string delimiter, Broken broken, int file, int workers);
  bool step();
  std::uint64_t bytes_done() const { return std::min(next_ * text_.piece(), text_.size()); }
  std::uint64_t joined() const { return joined_; }

 private:
  struct Word {
    std::string_view bytes;  // empty: the end of a sentence
    std::int32_t number;
  };
  struct Piece {
    std::vector<std::uint8_t> buffer;
    std::vector<Word> words;
    std::vector<std::string> mended;
  };
  void read_piece(std::uint64_t number, Piece& piece);
  void append(const Piece& piece);
  void put(std::string_view word);
  void put_pending();
  void write();

  Text text_;
  const Vocabulary& vocabulary_;
  PairTable pairs_;
  Chains chains_;
  std::vector<bool> begins_, connects_;  // by word: whether a phrase begins with it, whether it is a connector
  std::string delimiter_;
  Broken broken_;
  int file_, workers_;
  std::uint64_t next_ = 0, joined_ = 0;
  bool finished_ = false, line_has_words_ = false;
  std::vector<std::string> pending_words_;  // what may become a phrase
  std::int32_t pending_chain_ = -1;
  std::vector<Piece> pieces_;
  std::string out_;
  FirstFault fault_;
};

}  // namespace dlkit::word2vec
