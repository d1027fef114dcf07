// The nearest of many vectors, block by block: a matrix product of the queries with some rows, whose scores are still
// in the cache when they are scanned for what exceeds the query's k-th best so far.
//
// 2 queries rows dim operations, and the rows read once from memory: bound by multiplications from about 20 queries on,
// by memory below that. The scores of a million rows are never all there: a block's take 1 MB, about what a core's
// second-level cache holds, the candidates of a query at most 2 k + 512. Threads take ranges of whole blocks, so that
// scores do not depend on how many there are.
//
// Candidates are gathered in no order, and cut to the k best where there are twice as many at the end of a block, or
// their room is used up (std::nth_element): O(1) for each, where a heap of k has O(log k). Of rows in random order some
// 2 k log(rows / k) are candidates.
//
// Source: the blocks and the fusion of product and selection are those of Johnson, Douze & Jégou 2017 (billion-scale
// similarity search with GPUs, section 4.1), here on a CPU.
#include "word2vec/nearest.h"

#include <algorithm>
#include <limits>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

constexpr Index kBlock = 256;               // rows
constexpr Index kMostQueries = 1024;        // at a time
constexpr Index kMostCandidates = 1 << 22;  // of all queries at a time, of one thread

template <class T>
constexpr T kNone = -std::numeric_limits<T>::infinity();

// The candidates of one query.
template <class T>
struct Best {
  Index count = 0;
  T threshold = kNone<T>;

  void cut(Candidate<T>* candidates, Index k) {
    if (count < k) return;
    std::nth_element(candidates, candidates + (k - 1), candidates + count, Better<T>());
    count = k;
    threshold = candidates[k - 1].score;
  }
};

template <class T>
class Range {
 public:
  Range(const NearestProblem<T>& p, Index most_queries, Index room)
      : p_(p), room_(room), best_(static_cast<std::size_t>(most_queries)),
        candidates_(static_cast<std::size_t>(most_queries * room)) {}

  // Some queries against some rows, whole blocks of them but for the last.
  void search(Index first_query, Index queries, Index begin, Index end) {
    std::fill_n(best_.begin(), queries, Best<T>());
    const auto scan = DLKIT_SELECT(scan_table).get(T()).scan;
    for (Index row = begin; row < end; row += kBlock) {
      const Index n = std::min(kBlock, end - row);
      T* const scores = scratch<T>(Slot::windows, static_cast<std::size_t>(queries * n));
      const MatmulProblem<T> product = {p_.queries.block(first_query, 0, queries, p_.queries.cols),
                                        p_.rows.block(row, 0, n, p_.rows.cols).transposed(),
                                        {scores, queries, n, n, 1}};
      matmul<T>(product, nullptr, 1);
      for (Index q = 0; q < queries; ++q) {
        Best<T>& best = best_[static_cast<std::size_t>(q)];
        for (Index at = 0;;) {
          at = scan(scores + q * n, p_.scale == nullptr ? nullptr : p_.scale + row, at, n, best.threshold, row,
                    candidates(q), best.count, room_);
          if (at >= n) break;
          best.cut(candidates(q), p_.k);
        }
        // A threshold that lags behind lets more pass: for each cut there are k candidates more.
        if (best.count >= 2 * p_.k) best.cut(candidates(q), p_.k);
      }
    }
  }

  Candidate<T>* candidates(Index query) { return candidates_.data() + query * room_; }
  Index count(Index query) const { return best_[static_cast<std::size_t>(query)].count; }

 private:
  const NearestProblem<T>& p_;
  Index room_;
  std::vector<Best<T>> best_;
  std::vector<Candidate<T>> candidates_;
};

template <class T>
void nearest_by_blocks(const NearestProblem<T>& p, int threads) {
  if (p.queries.rows == 0 || p.k == 0) return;
  const Index room = 2 * p.k + 4 * kMostScanned;
  const Index at_once = std::clamp<Index>(kMostCandidates / room, 1, std::min<Index>(kMostQueries, p.queries.rows));
  const Index blocks = (p.rows.rows + kBlock - 1) / kBlock;
  const int parts = static_cast<int>(std::min<Index>(threads > 0 ? threads : num_threads(), blocks));
  std::vector<Range<T>> ranges;
  ranges.reserve(static_cast<std::size_t>(parts));
  for (int part = 0; part < parts; ++part) ranges.emplace_back(p, at_once, room);
  std::vector<Candidate<T>> all;
  for (Index first = 0; first < p.queries.rows; first += at_once) {
    const Index queries = std::min(at_once, p.queries.rows - first);
    parallel_for(
        parts,
        [&](int part) {
          const Index begin = blocks * part / parts * kBlock, end = blocks * (part + 1) / parts * kBlock;
          ranges[static_cast<std::size_t>(part)].search(first, queries, begin, std::min(end, p.rows.rows));
        },
        parts);
    for (Index q = 0; q < queries; ++q) {
      all.clear();
      for (Range<T>& range : ranges) all.insert(all.end(), range.candidates(q), range.candidates(q) + range.count(q));
      const Index found = std::min<Index>(p.k, static_cast<Index>(all.size()));
      std::partial_sort(all.begin(), all.begin() + found, all.end(), Better<T>());
      for (Index i = 0; i < p.k; ++i) {
        const Index at = (first + q) * p.k + i;
        p.indices[at] = i < found ? all[static_cast<std::size_t>(i)].index : -1;
        p.scores[at] = i < found ? all[static_cast<std::size_t>(i)].score : kNone<T>;
      }
    }
  }
}

}  // namespace

const std::vector<NearestVariant>& nearest_variants() {
  static const std::vector<NearestVariant> table = {
      {"naive", "query by query: all scores, then sorted", "", naive::nearest<float>, naive::nearest<double>},
      {"blocks", "a matrix product of all queries with a block of rows, scanned while it is in the cache", "",
       nearest_by_blocks<float>, nearest_by_blocks<double>},
  };
  return table;
}

}  // namespace dlkit
