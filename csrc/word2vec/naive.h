// The definition: pair by pair, each of which sees what the ones before it have changed, as in the original program.
//
// 6 dim operations a pair, in three passes over the two vectors; one sum is a chain of additions, each of which waits
// for the one before.
#pragma once

#include <algorithm>
#include <cmath>

#include "word2vec/word2vec.h"

namespace dlkit::naive {

template <class T, class Sigmoid>
double update_pairs(const PairUpdate<T>& p, const Sigmoid& sigmoid) {
  double loss = 0;
  T* const step = p.scratch;
  for (Index i = 0; i < p.m; ++i) {
    const T* const x = p.x[i];
    std::fill(step, step + p.dim, T(0));
    for (Index j = 0; j < p.n; ++j) {
      T* const w = p.w[j];
      T dot = 0;
      for (Index k = 0; k < p.dim; ++k) dot += x[k] * w[k];
      const T g = p.lr * (p.labels[j] - sigmoid(dot));
      if (p.with_loss) {
        // -log sigmoid(z) without overflow.
        const double z = p.labels[j] != 0 ? double(dot) : -double(dot);
        loss += std::log1p(std::exp(-std::abs(z))) + std::max(-z, 0.0);
      }
      for (Index k = 0; k < p.dim; ++k) step[k] += g * w[k];
      for (Index k = 0; k < p.dim; ++k) w[k] += g * x[k];
    }
    for (Index k = 0; k < p.dim; ++k) p.dx[i][k] += step[k];
  }
  return loss;
}

}  // namespace dlkit::naive
