#include "word2vec/naive.h"

namespace dlkit::naive {

template <class T>
double update_pairs(const PairUpdate<T>& p) {
  return update_pairs(p, [](T x) { return 1 / (1 + std::exp(-x)); });
}

template double update_pairs(const PairUpdate<float>&);
template double update_pairs(const PairUpdate<double>&);

}  // namespace dlkit::naive
