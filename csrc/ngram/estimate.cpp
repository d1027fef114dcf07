// Probabilities and back-off weights from counts, one level of the trie after the other, shortest n-grams first, in
// double; stored as float32.
//
// Each level needs, for every context, sums over the words that follow it. A node knows its context's number
// (contexts(), one galloping search each), so that two passes over a level do: one adds to its context's sums, one
// reads them. A few random reads an n-gram; memory latency bounds it. 40 bytes an n-gram of two levels at once.
//
// With c(hw) the count of a word after a context, a(hw) = the number of different words before it (for the longest
// n-grams and those that begin with <s>: its count), h' the context without its first word, V the words but <s>:
// - modified Kneser-Ney: P(w|h) = max(a(hw) - D(a), 0) / sum a(h·) + g(h) P(w|h'), g(h) = sum D(a(h·)) / sum a(h·),
//   down to the uniform 1/V, with D1, D2, D3+ of each order from the counts of counts n1 … n4
//   (Chen & Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling", 1999, equation 26);
//   Kneser-Ney: the same with one D = n1 / (n1 + 2 n2)
//   (Kneser & Ney, "Improved backing-off for M-gram language modeling", ICASSP 1995).
// - Katz: P(w|h) = d(c) c(hw) / c(h) of words seen, and the mass that is left in proportion to P(w|h') of the others;
//   d by Good and Turing (Katz, "Estimation of probabilities from sparse data", 1987).
// - maximum likelihood: c(hw) / c(h), after the longest context that has been seen; add-k: (c(hw) + k) / (c(h) + k V).
#include <algorithm>
#include <cmath>
#include <limits>

#include "ngram/ngram.h"

namespace dlkit::ngram {
namespace {

constexpr double kSmallestMass = 1e-12;

float logarithm(double value) { return static_cast<float>(std::log10(value)); }

struct Level {
  const Counts& counts;
  int n, order;
  Smoothing smoothing;

  bool continuation() const {
    return n < order && (smoothing == Smoothing::kneser_ney || smoothing == Smoothing::modified_kneser_ney);
  }
  // What the formulas call the count of a node's n-gram. <s> is never predicted and has none.
  std::uint32_t operator()(std::uint32_t node) const {
    const Word word = counts.shapes[n - 1].word[node];
    if (n == 1 && word == kBegin) return 0;
    const std::uint32_t count = counts.counts[n - 1][node];
    if (!continuation() || word == kBegin) return count;
    const auto& child = counts.shapes[n - 1].child;
    return child[node + 1] - child[node];
  }
};

// counted[r]: n-grams with count r, r <= most.
std::vector<double> counts_of_counts(const Level& count, std::size_t nodes, int most) {
  std::vector<double> counted(most + 1, 0);
  for (std::uint32_t node = 0; node < nodes; ++node) {
    const std::uint32_t r = count(node);
    if (r <= static_cast<std::uint32_t>(most)) ++counted[r];
  }
  return counted;
}

// D1, D2, D3+. Where an n-gram of some count is missing, or one comes out of its range: 1/2, 1, 3/2.
std::vector<double> kneser_ney_discounts(const Level& count, std::size_t nodes, bool modified, bool& fallback) {
  const std::vector<double> n = counts_of_counts(count, nodes, 4);
  fallback = false;
  if (!modified) {
    fallback = n[1] == 0 || n[2] == 0;
    return std::vector<double>(3, fallback ? 0.5 : n[1] / (n[1] + 2 * n[2]));
  }
  std::vector<double> discounts(3);
  if (n[1] > 0 && n[2] > 0 && n[3] > 0) {
    const double y = n[1] / (n[1] + 2 * n[2]);
    for (int j = 1; j <= 3; ++j) {
      discounts[j - 1] = j - (j + 1) * y * n[j + 1] / n[j];
      if (!(discounts[j - 1] >= 0 && discounts[j - 1] <= j)) fallback = true;
    }
  } else {
    fallback = true;
  }
  if (fallback) discounts = {0.5, 1, 1.5};
  return discounts;
}

// d1 … dk, k the largest up to the cut-off with which all lie in (0, 1). Where there is none: d_r = (r - 1/2) / r.
std::vector<double> good_turing(const Level& count, std::size_t nodes, int cutoff, bool& fallback) {
  const std::vector<double> n = counts_of_counts(count, nodes, cutoff + 1);
  for (int k = cutoff; k >= 2; --k) {
    std::vector<double> discounts(k);
    const double share = (k + 1) * n[k + 1] / n[1];
    bool good = n[1] > 0;
    for (int r = 1; r <= k && good; ++r) {
      discounts[r - 1] = ((r + 1) * n[r + 1] / (r * n[r]) - share) / (1 - share);
      good = n[r] > 0 && discounts[r - 1] > 0 && discounts[r - 1] < 1;
    }
    if (good) {
      fallback = k < cutoff;
      return discounts;
    }
  }
  fallback = true;
  std::vector<double> discounts(cutoff);
  for (int r = 1; r <= cutoff; ++r) discounts[r - 1] = (r - 0.5) / r;
  return discounts;
}

// Of a context: the sum over the words after it, and what the smoothing needs beside.
struct Sums {
  double total = 0, first = 0, second = 0;
  std::uint32_t kinds = 0;
};

}  // namespace

Trie estimate(const Counts& counts, int order, const Estimation& how, Discounts& discounts) {
  const Smoothing smoothing = how.smoothing;
  const bool kneser_ney = smoothing == Smoothing::kneser_ney || smoothing == Smoothing::modified_kneser_ney;
  const std::size_t words = counts.vocabulary.size();
  const double predicted = static_cast<double>(words - 1);
  const double zero = -std::numeric_limits<double>::infinity();
  Trie trie(order, words, smoothing == Smoothing::add_k);
  discounts = {};

  std::vector<double> above(1, 1 / predicted), now;  // probabilities of the level above and of this one
  std::vector<float> stored(1);
  std::vector<std::uint32_t> context;
  for (int n = 1; n <= order; ++n) {
    const Shape& shape = counts.shapes[n - 1];
    const std::size_t nodes = shape.size(), outer = n == 1 ? 1 : counts.shapes[n - 2].size();
    const Level count{counts, n, order, smoothing};
    context = contexts(counts.shapes, n, context);

    bool fallback = false;
    std::vector<double> d;
    if (kneser_ney) {
      d = kneser_ney_discounts(count, nodes, smoothing == Smoothing::modified_kneser_ney, fallback);
    } else if (smoothing == Smoothing::katz) {
      d = good_turing(count, nodes, how.katz_cutoff, fallback);
    }
    discounts.of_order.push_back(d);
    discounts.fallback.push_back(fallback);
    const auto discount = [&](std::uint32_t r) { return d[std::min<std::uint32_t>(r, 3) - 1]; };
    const auto kept = [&](std::uint32_t r) { return r <= d.size() ? d[r - 1] * r : static_cast<double>(r); };

    std::vector<Sums> sums(outer);
    each_with_parent(counts.shapes, n, [&](std::uint32_t node, std::uint32_t parent) {
      const std::uint32_t r = count(node);
      if (r == 0) return;
      Sums& sum = sums[context[node]];
      sum.total += r;
      ++sum.kinds;
      if (kneser_ney) {
        sum.first += discount(r);
      } else if (smoothing == Smoothing::katz) {
        sum.first += kept(r);
        sum.second += n == 1 ? 0 : above[parent];
      }
    });

    // The weights of the contexts. A context that nothing follows gets 1: it leaves all to the shorter one.
    std::vector<double> weight(outer);
    for (std::size_t c = 0; c < outer; ++c) {
      Sums& sum = sums[c];
      double value = 1;
      if (sum.total > 0) switch (smoothing) {
          case Smoothing::mle: value = 0; break;
          case Smoothing::add_k: value = how.k / (sum.total + how.k * predicted); break;
          case Smoothing::katz: {
            // The mass that is left goes to the words that never followed; at level 1 they share it equally.
            const double unseen = n == 1 ? predicted - sum.kinds : 1 - sum.second;
            const bool all_seen = sum.kinds >= predicted;
            if (!all_seen && sum.first >= sum.total * (1 - kSmallestMass)) {
              // Every count is above the cut-off: one more occurrence, of a word that has not been seen.
              sum.total += 1;
            }
            const double left = 1 - sum.first / sum.total;
            if (all_seen || !(unseen > kSmallestMass)) {
              sum.total = sum.first;  // nothing is unseen: the discounted counts are divided by their own sum
              value = 0;
            } else {
              value = left / unseen;
            }
            break;
          }
          case Smoothing::kneser_ney:
          case Smoothing::modified_kneser_ney: value = sum.first / sum.total; break;
        }
      weight[c] = value;
    }
    if (n > 1) {
      std::vector<float> backoff(outer);
      for (std::size_t c = 0; c < outer; ++c)
        backoff[c] = logarithm(smoothing == Smoothing::add_k && sums[c].total == 0 ? 1 / predicted : weight[c]);
      trie.set_level(n - 1, counts.shapes[n - 2], stored, backoff);
    }

    now.resize(nodes);
    each_with_parent(counts.shapes, n, [&](std::uint32_t node, std::uint32_t parent) {
      const std::uint32_t r = count(node);
      const Sums& sum = sums[context[node]];
      double p = 0;
      switch (smoothing) {
        case Smoothing::mle: p = r / sum.total; break;
        case Smoothing::add_k: p = (r + how.k) / (sum.total + how.k * predicted); break;
        case Smoothing::katz: p = r == 0 ? weight[0] : kept(r) / sum.total; break;  // r is 0 at level 1 alone
        case Smoothing::kneser_ney:
        case Smoothing::modified_kneser_ney:
          p = (r == 0 ? 0 : (r - discount(r)) / sum.total) + weight[context[node]] * above[n == 1 ? 0 : parent];
          break;
      }
      now[node] = p;
    });
    if (n == 1) now[kBegin] = 0;  // never predicted
    stored.resize(nodes);
    for (std::size_t node = 0; node < nodes; ++node)
      stored[node] = now[node] > 0 ? logarithm(now[node]) : static_cast<float>(zero);
    if (n == 1) stored[kBegin] = kLogZero;
    above.swap(now);
  }
  trie.set_level(order, counts.shapes[order - 1], stored, {});
  return trie;
}

}  // namespace dlkit::ngram
