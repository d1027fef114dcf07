// Scores of whole texts. The state after a word hangs on the last order - 1 words alone, so that a text can be cut
// anywhere: a piece begins that many words earlier, and the words before its own are read without being scored.
#include <algorithm>
#include <limits>

#include "core/thread_pool.h"
#include "ngram/ngram.h"

namespace dlkit::ngram {
namespace {

constexpr std::size_t kPiece = 1 << 14;

}  // namespace

void score_stream(const Trie& trie, const std::vector<Word>& stream, double* log10, std::uint8_t* matched) {
  const std::size_t tokens = stream.size(), pieces = (tokens + kPiece - 1) / kPiece;
  std::vector<std::size_t> before(pieces + 1, 0);  // scores of the pieces before
  for (std::size_t piece = 0; piece < pieces; ++piece) {
    const auto begin = stream.begin() + piece * kPiece, end = stream.begin() + std::min(tokens, (piece + 1) * kPiece);
    before[piece + 1] = before[piece] + (end - begin) - std::count(begin, end, kBegin);
  }
  parallel_for(static_cast<int>(pieces), [&](int piece) {
    const std::size_t begin = piece * kPiece, end = std::min(tokens, begin + kPiece);
    std::size_t to = before[piece];
    State state = trie.empty();
    for (std::size_t i = begin - std::min<std::size_t>(begin, trie.order() - 1); i < end; ++i) {
      if (stream[i] == kBegin) {
        state = trie.begin();
        continue;
      }
      const Score score = trie.next(state, stream[i]);
      if (i < begin) continue;
      log10[to] = score.log10;
      matched[to++] = static_cast<std::uint8_t>(score.matched);
    }
  });
}

void distribution(const Trie& trie, const State& state, double* log10) {
  for (Word word = 0; word < trie.words(); ++word) {
    State copy = state;
    log10[word] = word == kBegin ? -std::numeric_limits<double>::infinity() : trie.next(copy, word).log10;
  }
}

}  // namespace dlkit::ngram
