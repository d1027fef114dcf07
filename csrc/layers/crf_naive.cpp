// The conditional random field by its definition, in logarithms: each step's log-sum over the K tags before it, K^2
// exponentials of the C library a step and direction (5 to 20 ns each), which bound it. In float64 whatever the type:
// no score that a float32 can have leaves its range, so that this is also what a sequence falls back on whose
// probabilities do not fit float32.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "layers/crf.h"

namespace dlkit::naive {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

double log_sum_exp(const std::vector<double>& terms) {
  double most = kNothing;
  for (const double x : terms) most = x > most || std::isnan(x) ? x : most;
  if (!(most > kNothing)) return most;  // no path at all, or a NaN
  double sum = 0;
  for (const double x : terms) sum += std::exp(x - most);
  return most + std::log(sum);
}

template <class T>
double or_zero(const T* x, Index i) {
  return x == nullptr ? 0.0 : static_cast<double>(x[i]);
}

}  // namespace

template <class T>
double crf_sequence(const CrfLoss<T>& work, Index sequence, CrfSums<T>* sums) {
  const auto& m = work.model;
  const Index steps = m.lengths[sequence], tags = m.tags;
  const auto emission = [&](Index t, Index j) {
    return static_cast<double>(m.emissions[(m.first_row[t] + sequence) * tags + j]);
  };
  const auto transition = [&](Index i, Index j) { return static_cast<double>(m.transitions[i * tags + j]); };
  const auto at = [&](Index t, Index j) { return static_cast<std::size_t>(t * tags + j); };
  std::vector<double> alpha(static_cast<std::size_t>(steps * tags)), terms(static_cast<std::size_t>(tags));
  for (Index j = 0; j < tags; ++j) alpha[at(0, j)] = or_zero(m.start, j) + emission(0, j);
  for (Index t = 1; t < steps; ++t)
    for (Index j = 0; j < tags; ++j) {
      for (Index i = 0; i < tags; ++i) terms[at(0, i)] = alpha[at(t - 1, i)] + transition(i, j);
      alpha[at(t, j)] = log_sum_exp(terms) + emission(t, j);
    }
  for (Index j = 0; j < tags; ++j) terms[at(0, j)] = alpha[at(steps - 1, j)] + or_zero(m.end, j);
  const double log_z = log_sum_exp(terms);
  if (sums == nullptr) return log_z;

  const double weight = static_cast<double>(work.weights[sequence]);
  std::vector<double> beta(alpha.size());
  for (Index j = 0; j < tags; ++j) beta[at(steps - 1, j)] = or_zero(m.end, j);
  for (Index t = steps - 1; t-- > 0;)
    for (Index i = 0; i < tags; ++i) {
      for (Index j = 0; j < tags; ++j) terms[at(0, j)] = transition(i, j) + emission(t + 1, j) + beta[at(t + 1, j)];
      beta[at(t, i)] = log_sum_exp(terms);
    }
  for (Index t = 0; t < steps; ++t)
    for (Index j = 0; j < tags; ++j) {
      const double share = weight * std::exp(alpha[at(t, j)] + beta[at(t, j)] - log_z);
      work.d_emissions[(m.first_row[t] + sequence) * tags + j] = static_cast<T>(share);
      if (t == 0) sums->d_start[j] += static_cast<T>(share);
      if (t + 1 == steps) sums->d_end[j] += static_cast<T>(share);
      if (t == 0) continue;
      for (Index i = 0; i < tags; ++i)
        sums->d_transitions[i * tags + j] += static_cast<T>(
            weight * std::exp(alpha[at(t - 1, i)] + transition(i, j) + emission(t, j) + beta[at(t, j)] - log_z));
    }
  return log_z;
}

template <class T>
void crf_decode(const CrfDecode<T>& work, Index sequence) {
  const auto& m = work.model;
  const Index steps = m.lengths[sequence], tags = m.tags;
  const auto at = [&](Index t, Index j) { return static_cast<std::size_t>(t * tags + j); };
  const T nothing = -std::numeric_limits<T>::infinity();
  std::vector<T> score(static_cast<std::size_t>(tags)), next(score.size());
  std::vector<Index> from(static_cast<std::size_t>(steps * tags));
  const auto emission = [&](Index t, Index j) { return m.emissions[(m.first_row[t] + sequence) * tags + j]; };
  for (Index j = 0; j < tags; ++j) score[at(0, j)] = (m.start == nullptr ? T(0) : m.start[j]) + emission(0, j);
  for (Index t = 1; t < steps; ++t) {
    for (Index j = 0; j < tags; ++j) {
      T most = nothing;
      Index best = 0;
      for (Index i = 0; i < tags; ++i) {
        const T candidate = score[at(0, i)] + m.transitions[i * tags + j];
        if (candidate > most) most = candidate, best = i;
      }
      next[at(0, j)] = most + emission(t, j);
      from[at(t, j)] = best;
    }
    score.swap(next);
  }
  T most = nothing;
  Index best = 0;
  for (Index j = 0; j < tags; ++j) {
    const T candidate = score[at(0, j)] + (m.end == nullptr ? T(0) : m.end[j]);
    if (candidate > most) most = candidate, best = j;
  }
  work.scores[sequence] = most;
  for (Index t = steps; t-- > 0;) {
    work.path[m.first_row[t] + sequence] = best;
    best = from[at(t, best)];
  }
}

#define DLKIT_INSTANTIATE(T)                                           \
  template double crf_sequence(const CrfLoss<T>&, Index, CrfSums<T>*); \
  template void crf_decode(const CrfDecode<T>&, Index);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::naive
