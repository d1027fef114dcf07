// The training engine: texts as numbers of words, several workers, no Python on the way.
//
// A text is an array of words' numbers, sentences end to end, with kSentenceEnd after each. Workers take pieces of it
// in turn and change the two matrices without locks (Recht, Re, Wright & Niu 2011, Hogwild): two workers rarely meet in
// a row, and a lost step is one of millions. What is random of a piece depends on the seed, the epoch and the piece
// alone, so that one worker gives the same bits in every run.
//
// For each word that subsampling keeps: the words around it, up to a distance that is drawn for it, and its update
// (word2vec.h). Negatives are drawn once for a word, or for a few in succession, from an alias table (Walker 1977; Vose
// 1991); the rows that the words to come will need are fetched ahead. Several workers have their own copies of the rows
// that all of them change (hot_rows.h).
//
// Source: Mikolov et al. 2013 for all that is computed; Ji et al. 2016 for the sharing.
#pragma once

#include <atomic>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/view.h"
#include "word2vec/word2vec.h"

namespace dlkit::word2vec {

constexpr std::int32_t kSentenceEnd = -1;

// Each token is looked at where it is used, so that a call of train reads no more of a text than it trains on.
inline void expect_word(std::int32_t token, Index words) {
  if (token < 0 || token >= words) throw std::out_of_range("word2vec: tokens has word " + std::to_string(token));
}

// The words of a text, without the ends. Throws std::out_of_range where a token is neither.
inline Index count_words(const std::int32_t* tokens, Index count, Index words) {
  Index found = 0;
  for (Index i = 0; i < count; ++i) {
    if (tokens[i] == kSentenceEnd) continue;
    expect_word(tokens[i], words);
    ++found;
  }
  return found;
}

struct Settings {
  bool skip_gram;  // else CBOW
  bool mean;       // of CBOW: the contexts' mean, not their sum
  bool divide;     // and each gets its part of the step
  int negatives;   // drawn for each word; 0: none
  bool hierarchical;
  int window;
  bool shrink;  // whether a word's own window is drawn from 1 to window
  Index dim;    // elements of a row, a multiple of kMostLanes; what is beyond the vectors' size is 0 and remains so
  std::uint64_t seed;
  const PairVariant* variant;
  bool prefetch = true;        // the rows of the words to come are fetched
  bool reuse_window = false;   // input rows are the worker's own while they are in the window (window_rows.h)
  Index shared_negatives = 1;  // so many words of a sentence in succession have the same
  Index hot_rows = 0;          // of each output matrix: the worker's own where there are several (hot_rows.h)
};

// What is drawn from: 8 bytes a word.
class AliasTable {
 public:
  AliasTable() = default;
  // Weights are finite and not negative, with a sum above 0.
  explicit AliasTable(const std::vector<double>& weights);
  // By 64 random bits.
  std::int32_t draw(std::uint64_t bits) const {
    const std::uint64_t at = ((bits >> 32) * entries_.size()) >> 32;
    const Entry& entry = entries_[at];
    // Without a branch, which would be foretold wrong half of the time.
    const std::int32_t own = -static_cast<std::int32_t>(static_cast<std::uint32_t>(bits) < entry.below);
    return (static_cast<std::int32_t>(at) & own) | (entry.other & ~own);
  }
  std::size_t size() const { return entries_.size(); }

  struct Entry {
    std::uint32_t below;  // the share of its own, of 2^32
    std::int32_t other;
  };
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

// The paths of all words in a Huffman tree by their counts, which fall. Words of the same count are taken in their
// order, so that the tree is one for each text. Node i is that of the (i + 1)-th union; there is one fewer than words.
struct HuffmanTree {
  std::vector<std::int64_t> begins;  // words + 1
  std::vector<std::uint32_t> turns;  // of each word, from the root on: twice the node, and 1 where it turns right

  static Index node(std::uint32_t turn) { return static_cast<Index>(turn >> 1); }
  static int code(std::uint32_t turn) { return static_cast<int>(turn & 1); }

  explicit HuffmanTree(const std::vector<std::uint64_t>& counts);
  HuffmanTree() = default;
};

// Seen, and asked to stop, from other threads.
struct Progress {
  std::atomic<std::uint64_t> words{0};  // of the text, kept or not
  std::atomic<std::uint64_t> kept{0};
  std::atomic<double> loss{0};          // the sum over the pairs that were looked at
  std::atomic<std::uint64_t> pairs{0};  // how many these are
  std::atomic<bool> stop{false};
};

struct Piece {
  const std::int32_t* tokens;
  Index count;
  std::uint64_t words;  // the tokens without the ends
  int epoch;
  double first_rate, last_rate;  // of the whole training
  std::uint64_t before, total;   // words of the whole training, and those before this text
};

class Trainer {
 public:
  // counts: of each word, falling. sample: the share above which a word is thrown away now and then; 0: none is.
  // exponent: of the counts in what negatives are drawn from. Throws std::bad_alloc.
  Trainer(const Settings& settings, const std::vector<std::uint64_t>& counts, double sample, double exponent);

  // Over the text, from one of its pieces on. w_in has a row for each word, w_out, too; w_nodes one for each node; each
  // null where it is not needed, aligned to 64 bytes. Returns how many pieces are done: fewer than there are where it
  // was asked to stop. All that is done is then in the matrices, so that training may go on from there. Throws
  // std::out_of_range where it meets a token that is no word.
  Index train(const Piece& text, Index first, float* w_in, float* w_out, float* w_nodes, int workers,
              Progress& progress) const;

  // Of a text of so many tokens.
  static Index pieces(Index tokens);

  Index words() const { return static_cast<Index>(keep_.size()); }
  const HuffmanTree& tree() const { return tree_; }
  const AliasTable& noise() const { return noise_; }
  const std::vector<std::uint32_t>& keep() const { return keep_; }  // of each word, the share that stays, of 2^32

 private:
  friend class Worker;
  Settings settings_;
  std::vector<std::uint32_t> keep_;  // of 2^32
  AliasTable noise_;
  HuffmanTree tree_;
};

}  // namespace dlkit::word2vec
