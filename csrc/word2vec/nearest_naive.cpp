// The definition: all scores of a query, sorted.
#include <algorithm>
#include <limits>

#include "word2vec/nearest.h"

namespace dlkit::naive {

template <class T>
void nearest(const NearestProblem<T>& p, int) {
  std::vector<Candidate<T>> all;
  for (Index q = 0; q < p.queries.rows; ++q) {
    all.clear();
    for (Index row = 0; row < p.rows.rows; ++row) {
      T sum = 0;
      for (Index d = 0; d < p.rows.cols; ++d) sum += p.queries(q, d) * p.rows(row, d);
      if (p.scale != nullptr) sum *= p.scale[row];
      if (sum > -std::numeric_limits<T>::infinity()) all.push_back({sum, row});
    }
    const Index found = std::min<Index>(p.k, static_cast<Index>(all.size()));
    std::partial_sort(all.begin(), all.begin() + found, all.end(), Better<T>());
    for (Index i = 0; i < p.k; ++i) {
      const Index at = q * p.k + i;
      p.indices[at] = i < found ? all[static_cast<std::size_t>(i)].index : -1;
      p.scores[at] = i < found ? all[static_cast<std::size_t>(i)].score : -std::numeric_limits<T>::infinity();
    }
  }
}

template void nearest(const NearestProblem<float>&, int);
template void nearest(const NearestProblem<double>&, int);

}  // namespace dlkit::naive
