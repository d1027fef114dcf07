// Counting n-grams of all orders at once, by sorting the places of the text.
//
// The places are put in the order of the words at them read backwards, `order` words deep: the order of depth d follows
// from that of depth d - 1 by one pass of counting sort, since the place after each place of the shallower order goes
// to the next free spot of its own word's bucket. Equal n-grams then lie side by side, and so do those that share their
// last words: one pass over the order makes every level of the trie.
//
// Cost: order passes, each with a random read and a random write a token; memory latency bounds them, and prefetching
// hides most of it. Memory: 12 bytes a token while it sorts, then 9 a token and 12 an n-gram while it counts.
// Idea: induced sorting of suffixes (Itoh & Tanaka, "An Efficient Method for in Memory Construction of Suffix Arrays",
// SPIRE 1999), cut off at the order.
#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "ngram/ngram.h"

namespace dlkit::ngram {
namespace {

using Places = std::vector<std::uint32_t>;

constexpr std::size_t kAhead = 24;  // places that are prefetched

// Numbers by frequency, the specials first; rare words become <unk>.
Vocabulary renumber(const Vocabulary& vocabulary, std::uint64_t min_count, std::vector<Word>& stream) {
  std::vector<std::uint32_t> count(vocabulary.size(), 0);
  for (const Word word : stream) ++count[word];
  std::vector<Word> order;
  for (Word word = kEnd + 1; word < vocabulary.size(); ++word)
    if (count[word] >= std::max<std::uint64_t>(min_count, 1)) order.push_back(word);
  std::stable_sort(order.begin(), order.end(), [&](Word a, Word b) { return count[a] > count[b]; });
  Vocabulary sorted;
  std::vector<Word> number(vocabulary.size(), kUnknown);
  number[kBegin] = kBegin;
  number[kEnd] = kEnd;
  for (const Word word : order) {
    bool added = false;
    number[word] = sorted.add(vocabulary.word(word), added);
  }
  for (Word& word : stream) word = number[word];
  return sorted;
}

// The places in the order of their words read backwards, `depth` words deep. What lies before a <s> counts, too; it
// only shuffles n-grams that are the same.
Places sort_places(const std::vector<Word>& stream, std::size_t words, int depth) {
  const std::size_t tokens = stream.size();
  std::vector<std::uint32_t> begin(words + 1, 0), spot(words);
  for (const Word word : stream) ++begin[word + 1];
  std::partial_sum(begin.begin(), begin.end(), begin.begin());
  Places places(tokens), deeper(tokens);
  std::copy_n(begin.begin(), words, spot.begin());
  for (std::size_t i = 0; i < tokens; ++i) places[spot[stream[i]]++] = static_cast<std::uint32_t>(i);
  for (int pass = 1; pass < depth; ++pass) {
    std::copy_n(begin.begin(), words, spot.begin());
    deeper[spot[stream[0]]++] = 0;
    for (std::size_t i = 0; i < tokens; ++i) {
      if (i + kAhead < tokens) __builtin_prefetch(stream.data() + places[i + kAhead] + 1);
      const std::size_t next = std::size_t{places[i]} + 1;
      if (next < tokens) deeper[spot[stream[next]]++] = static_cast<std::uint32_t>(next);
    }
    places.swap(deeper);
  }
  return places;
}

// How many words the n-grams that end at two places share, read backwards; `length` is that of the second one, which
// ends at `order` words or at its <s>.
int shared(const Word* stream, std::size_t before, std::size_t place, int order, int& length) {
  int same = 0;
  bool differ = false;
  for (length = 0; length < order; ++length) {
    const Word word = stream[place - length];
    // A place where both agreed so far is followed by another: <s> ends both at once.
    if (!differ && stream[before - length] == word)
      ++same;
    else
      differ = true;
    if (word == kBegin) {
      ++length;
      break;
    }
  }
  return same;
}

}  // namespace

Counts count_ngrams(const Vocabulary& vocabulary, Text&& text, int order, std::uint64_t min_count) {
  if (text.stream.empty()) throw std::invalid_argument("the text has no words");
  Counts result;
  std::vector<Word> stream = std::move(text.stream);
  result.vocabulary = renumber(vocabulary, min_count, stream);
  result.sentences = text.sentences;
  result.tokens = stream.size() - text.sentences;
  const std::size_t words = result.vocabulary.size(), tokens = stream.size();
  const Places places = sort_places(stream, words, order);

  // How many nodes each level gets, so that none is copied as it grows.
  std::vector<std::uint8_t> same(tokens);
  std::vector<std::size_t> nodes(order + 1, 0);
  for (std::size_t i = 0; i < tokens; ++i) {
    if (i + kAhead < tokens) __builtin_prefetch(stream.data() + places[i + kAhead]);
    int length = 0;
    // The first place is compared with itself, and shares nothing.
    const int depth = shared(stream.data(), places[i == 0 ? 0 : i - 1], places[i], order, length);
    same[i] = static_cast<std::uint8_t>(i == 0 ? 0 : depth);
    for (int n = same[i] + 1; n <= length; ++n) ++nodes[n];
  }

  result.shapes.resize(order);
  result.counts.resize(order);
  for (int n = 1; n <= order; ++n) {
    const std::size_t size = n == 1 ? words : nodes[n];
    result.shapes[n - 1].word.reserve(size);
    if (n < order) result.shapes[n - 1].child.reserve(size + 1);
    result.counts[n - 1].reserve(size);
  }
  const auto push = [&](int n, Word word) {
    Shape& shape = result.shapes[n - 1];
    shape.word.push_back(word);
    result.counts[n - 1].push_back(0);
    if (n < order) shape.child.push_back(static_cast<std::uint32_t>(result.shapes[n].size()));
  };
  for (std::size_t i = 0; i < tokens; ++i) {
    if (i + kAhead < tokens) __builtin_prefetch(stream.data() + places[i + kAhead]);
    const std::size_t place = places[i];
    for (int n = 1; n <= order; ++n) {
      const Word word = stream[place - (n - 1)];
      if (n > same[i]) {
        // Words that the text lacks, such as <unk>, have their place at level 1 all the same.
        if (n == 1)
          while (result.shapes[0].size() < word) push(1, static_cast<Word>(result.shapes[0].size()));
        push(n, word);
      }
      ++result.counts[n - 1].back();
      if (word == kBegin) break;
    }
  }
  while (result.shapes[0].size() < words) push(1, static_cast<Word>(result.shapes[0].size()));
  for (int n = 1; n < order; ++n)
    result.shapes[n - 1].child.push_back(static_cast<std::uint32_t>(result.shapes[n].size()));
  return result;
}

std::size_t Counts::bytes() const {
  std::size_t sum = vocabulary.bytes();
  for (int n = 0; n < order(); ++n)
    sum += 4 * (shapes[n].word.capacity() + shapes[n].child.capacity() + counts[n].capacity());
  return sum;
}

std::uint64_t Counts::of(const std::vector<Word>& words) const {
  std::uint32_t node = words.back();
  for (std::size_t n = 2; n <= words.size(); ++n) {
    const Shape& above = shapes[n - 2];
    const auto begin = shapes[n - 1].word.begin();
    const Word word = words[words.size() - n];
    const auto end = begin + above.child[node + 1], found = std::lower_bound(begin + above.child[node], end, word);
    if (found == end || *found != word) return 0;
    node = static_cast<std::uint32_t>(found - begin);
  }
  return counts[words.size() - 1][node];
}

std::vector<std::uint32_t> contexts(const std::vector<Shape>& shapes, int level,
                                    const std::vector<std::uint32_t>& above) {
  const Shape& shape = shapes[level - 1];
  std::vector<std::uint32_t> result(shape.size());
  if (level == 1) return result;  // the empty context, number 0
  if (level == 2) {
    result.assign(shape.word.begin(), shape.word.end());
    return result;
  }
  const Shape& parents = shapes[level - 2];
  // Children of a node are among those of its context's, both in order: each is found by going on from the last.
  for (std::size_t parent = 0; parent < parents.size(); ++parent) {
    const std::uint32_t begin = parents.child[parent], end = parents.child[parent + 1];
    if (begin == end) continue;
    const std::uint32_t context = above[parent];
    if (context == kNoNode) {
      std::fill(result.begin() + begin, result.begin() + end, kNoNode);
      continue;
    }
    const Shape& level_above = shapes[level - 3];
    const Word* words = parents.word.data();
    std::uint32_t at = level_above.child[context];
    const std::uint32_t last = level_above.child[context + 1];
    for (std::uint32_t node = begin; node < end; ++node) {
      const Word word = shape.word[node];
      std::uint32_t step = 1;
      while (at + std::uint64_t{step} < last && words[at + step] < word) {
        at += step;
        step *= 2;
      }
      const std::uint32_t stop =
          static_cast<std::uint32_t>(std::min<std::uint64_t>(at + std::uint64_t{step} + 1, last));
      at = static_cast<std::uint32_t>(std::lower_bound(words + at, words + stop, word) - words);
      result[node] = at < last && words[at] == word ? at : kNoNode;
    }
  }
  return result;
}

}  // namespace dlkit::ngram
