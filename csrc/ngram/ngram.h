// n-gram language models with back-off: counted, estimated, stored in a compact trie, asked, read and written as ARPA.
//
// A trie over n-grams read backwards: the path of the n-gram w1 … wn is wn, …, w1. What follows from that:
// - the n-gram's parent is w2 … wn, whose probability it is smoothed with;
// - the number of its children is the number of different words that precede it: Kneser and Ney's continuation count;
// - a query goes down one path from the word asked for through the words before it, and the longest n-gram that
//   matches is where the path ends (Heafield, "KenLM: Faster and Smaller Language Model Queries", WMT 2011).
// Where the probability of a word after a context of n - 1 words is missing, it is that of the shorter context times
// the context's back-off weight.
//
// Each level of the trie is an array in the order of its paths, siblings side by side.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/view.h"
#include "ngram/vocabulary.h"

namespace dlkit::ngram {

constexpr int kMostOrder = 12;
// Places in a text and n-grams of a level are numbered in 32 bits.
constexpr std::uint64_t kMostTokens = 0xFFFFFFF0u;
// What stands for the logarithm of zero in ARPA files.
constexpr float kLogZero = -99;

// --- Text to numbers -------------------------------------------------------------------------------------------------

// Sentences as numbers, end to end: <s> … </s>. A line is a sentence; bytes that ASCII calls white space end words.
class Text {
 public:
  // With grow, words that are new get numbers; else they are <unk>. Lines without words are left out or, with
  // keep_empty, are sentences of </s> alone.
  Text(const Vocabulary& known, bool keep_empty) : known_(&known), keep_empty_(keep_empty) {}
  Text(Vocabulary& grown, bool keep_empty) : known_(&grown), grown_(&grown), keep_empty_(keep_empty) {}

  // The next piece of the text; it may end within a word. Throws std::invalid_argument that names the line.
  void add(const char* bytes, std::size_t count);
  // Ends the last sentence.
  void finish();

  std::vector<Word> stream;
  std::vector<std::uint8_t> known;  // of each place of the stream, whether the word is known; only without grow
  std::uint64_t sentences = 0;

 private:
  void word(std::string_view letters);
  void end_line();
  void check_room(std::size_t more) const;

  const Vocabulary* known_;
  Vocabulary* grown_ = nullptr;
  bool keep_empty_;
  std::string rest_;  // of a word that goes on in the next piece
  std::uint64_t line_ = 1;
  bool open_ = false;  // whether the line has a word
};

// --- Counting --------------------------------------------------------------------------------------------------------

// The nodes of one level: their last words (the n-gram's first), and where their children begin in the next level, with
// one entry more than nodes; empty at the last level. Level 1 has every word at its number.
struct Shape {
  std::vector<Word> word;
  std::vector<std::uint32_t> child;
  std::size_t size() const { return word.size(); }
};

struct Counts {
  Vocabulary vocabulary;                           // the most frequent words first
  std::vector<Shape> shapes;                       // of levels 1 to order
  std::vector<std::vector<std::uint32_t>> counts;  // how often each node's n-gram occurs
  std::uint64_t tokens = 0, sentences = 0;         // tokens: </s> counted, <s> not

  int order() const { return static_cast<int>(shapes.size()); }
  std::size_t bytes() const;
  // How often an n-gram occurs, in the order of its words; at most order() of them.
  std::uint64_t of(const std::vector<Word>& words) const;
};

// Words that occur less than min_count times are counted as <unk>. Takes the text's memory.
Counts count_ngrams(const Vocabulary& vocabulary, Text&& text, int order, std::uint64_t min_count);

// For each node of level n >= 2, the node of level n - 1 of its n-gram without its last word. Where there is none, the
// number is kNoNode. `above` are those of level n - 1.
constexpr std::uint32_t kNoNode = 0xFFFFFFFFu;
std::vector<std::uint32_t> contexts(const std::vector<Shape>& shapes, int level,
                                    const std::vector<std::uint32_t>& above);

// For each node of a level, its parent, one after the other: body(node, parent).
template <class Body>
void each_with_parent(const std::vector<Shape>& shapes, int level, const Body& body) {
  if (level == 1) {
    for (std::uint32_t node = 0; node < shapes[0].size(); ++node) body(node, std::uint32_t{0});
    return;
  }
  const auto& begin = shapes[level - 2].child;
  for (std::uint32_t parent = 0; parent + 1 < begin.size(); ++parent)
    for (std::uint32_t node = begin[parent]; node < begin[parent + 1]; ++node) body(node, parent);
}

// --- The trie that is asked ------------------------------------------------------------------------------------------

// What a query carries from word to word: the last words, most recent first, as far as the model knows an n-gram of
// them, and the back-off weight of each of those n-grams.
struct State {
  Word words[kMostOrder];
  float backoff[kMostOrder];
  int length = 0;
  int history = 0;  // words there are, at most order - 1
};

struct Score {
  double log10;
  int matched;  // words of the n-gram whose probability it is
};

// One level, a record for each node: word, first child, probability, back-off weight; the first two in as many bytes as
// they need, and one record more whose first child ends the last node's. Level 1 has no words, the last level neither
// children nor weights. Probabilities and weights are logarithms to the base 10 in float32.
struct PackedLevel {
  std::uint64_t count = 0;
  int word_width = 0, child_width = 0;  // bytes
  bool inner = false;
  std::vector<std::uint8_t> bytes;

  std::uint64_t record() const { return static_cast<std::uint64_t>(word_width + child_width + 4 + 4 * inner); }
  std::uint64_t bytes_needed() const { return (count + 1) * record() + 4; }
};

class Trie {
 public:
  // flat: no back-off; the weight of a context is the probability of each word that never followed it, and every word
  // is as likely as another after a context that is not known. Add-k is that.
  Trie(int order, std::size_t words, bool flat);

  int order() const { return static_cast<int>(levels_.size()); }
  bool flat() const { return flat_; }
  double uniform() const { return uniform_; }
  std::size_t words() const { return words_; }
  const PackedLevel& level(int n) const { return levels_[n - 1]; }

  void set_level(int n, const Shape& shape, const std::vector<float>& probability, const std::vector<float>& backoff);
  // Bytes of a file. Throws std::invalid_argument where they are no level of this trie.
  void set_bytes(int n, std::uint64_t count, const std::uint8_t* bytes, std::size_t size);
  // Throws std::invalid_argument where the levels do not fit together: to be called after set_bytes of all.
  void check() const;

  State begin() const;                     // before a sentence: after <s>
  State empty() const { return State{}; }  // before anything
  Score next(State& state, Word word) const;

  Word word(int n, std::uint64_t node) const;
  std::uint64_t child(int n, std::uint64_t node) const;
  float probability(int n, std::uint64_t node) const;
  float backoff(int n, std::uint64_t node) const;

 private:
  bool find(int n, std::uint64_t begin, std::uint64_t end, Word target, std::uint64_t& found) const;

  std::vector<PackedLevel> levels_;
  std::size_t words_;
  bool flat_;
  double uniform_;
};

// --- Estimation ------------------------------------------------------------------------------------------------------

enum class Smoothing { mle, add_k, katz, kneser_ney, modified_kneser_ney };

struct Estimation {
  Smoothing smoothing;
  double k = 1;         // of add_k
  int katz_cutoff = 5;  // counts above it are taken at their word
};

// What was subtracted, or multiplied with, at each order, for a reader: Kneser-Ney's D1, D2, D3+; Katz's d1 … dk.
struct Discounts {
  std::vector<std::vector<double>> of_order;
  std::vector<bool> fallback;  // whether the counts did not allow the formula
};

// A model of the first `order` levels of the counts.
Trie estimate(const Counts& counts, int order, const Estimation& how, Discounts& discounts);

// --- Scores of texts -------------------------------------------------------------------------------------------------

// For each place of a stream of sentences but those of <s>, in order. Any number of threads gives the same bits.
void score_stream(const Trie& trie, const std::vector<Word>& stream, double* log10, std::uint8_t* matched);
// log10[w] for every word after a context; that of <s> is minus infinity.
void distribution(const Trie& trie, const State& state, double* log10);

// --- ARPA ------------------------------------------------------------------------------------------------------------

// Lines of n-grams of a level, `count` from `first` on.
std::string arpa_lines(const Vocabulary& vocabulary, const Trie& trie, int n, std::uint64_t first, std::uint64_t count);

// Reads a file piece by piece. Throws std::invalid_argument that names the line.
class ArpaReader {
 public:
  void add(const char* bytes, std::size_t count);
  void finish();
  // After finish.
  Vocabulary vocabulary;
  Trie build();

 private:
  struct Level {
    std::uint64_t claimed = 0, read = 0;  // n-grams: what the header says, lines so far
    std::uint64_t line = 0;               // of its first n-gram
    std::vector<Word> words;              // n a row
    std::vector<float> probability, backoff;
    std::size_t size() const { return probability.size(); }
  };
  enum class Part { before, counts, sections, ngrams, after };

  void line(std::string_view text);
  void ngram(std::string_view text);
  void section(std::string_view text);
  void end_section();
  [[noreturn]] void fail(const std::string& text) const;
  void sort(int n);
  bool add_missing_parents(int n);

  Part part_ = Part::before;
  int current_ = 0;  // the section
  std::uint64_t line_ = 0;
  std::string rest_;
  std::vector<Level> levels_;
  bool begin_seen_ = false, end_seen_ = false, unknown_seen_ = false, unknown_too_seen_ = false;
  std::size_t unknown_row_ = 0;
};

}  // namespace dlkit::ngram
