// Models as ARPA text: numbers in as few digits as give the same float32 back.
#include <charconv>
#include <cmath>

#include "ngram/ngram.h"

namespace dlkit::ngram {
namespace {

void append(std::string& text, float value) {
  char digits[32];
  if (!(value > kLogZero)) value = kLogZero;  // minus infinity among them
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  text.append(digits, end);
}

// The node of level n whose children the given one of level n + 1 is among.
std::uint64_t parent(const Trie& trie, int n, std::uint64_t node) {
  std::uint64_t begin = 0, end = trie.level(n).count;
  while (end - begin > 1) {
    const std::uint64_t middle = begin + (end - begin) / 2;
    if (trie.child(n, middle) <= node)
      begin = middle;
    else
      end = middle;
  }
  return begin;
}

}  // namespace

std::string arpa_lines(const Vocabulary& vocabulary, const Trie& trie, int n, std::uint64_t first,
                       std::uint64_t count) {
  std::string text;
  const std::uint64_t end = std::min(trie.level(n).count, first + std::min(count, trie.level(n).count));
  if (first >= end) return text;
  std::uint64_t path[kMostOrder];  // of level 1 to n
  path[n - 1] = first;
  for (int level = n - 1; level >= 1; --level) path[level - 1] = parent(trie, level, path[level]);
  for (std::uint64_t node = first; node < end; ++node) {
    path[n - 1] = node;
    for (int level = n - 1; level >= 1 && trie.child(level, path[level - 1] + 1) <= path[level]; --level)
      while (trie.child(level, path[level - 1] + 1) <= path[level]) ++path[level - 1];
    append(text, trie.probability(n, node));
    char apart = '\t';
    for (int level = n; level >= 1; --level) {
      text += apart;
      text += vocabulary.word(trie.word(level, path[level - 1]));
      apart = ' ';
    }
    if (n < trie.order()) {
      text += '\t';
      append(text, trie.backoff(n, node));
    }
    text += '\n';
  }
  return text;
}

}  // namespace dlkit::ngram
