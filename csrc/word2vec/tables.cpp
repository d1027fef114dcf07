// What the engine looks up: the noise that negatives come from, and the paths of hierarchical softmax.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "word2vec/engine.h"

namespace dlkit::word2vec {

AliasTable::AliasTable(const std::vector<double>& weights) : entries_(weights.size()) {
  const double mean = std::accumulate(weights.begin(), weights.end(), 0.0) / static_cast<double>(weights.size());
  std::vector<double> share(weights.size());  // of a mean one
  std::vector<std::int32_t> small, large;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    share[i] = weights[i] / mean;
    (share[i] < 1 ? small : large).push_back(static_cast<std::int32_t>(i));
  }
  constexpr double kAll = 4294967296.0;
  const auto set = [&](std::int32_t i, double part, std::int32_t other) {
    entries_[i] = {static_cast<std::uint32_t>(std::min(part * kAll, kAll - 1)), other};
  };
  while (!small.empty() && !large.empty()) {
    const std::int32_t less = small.back(), more = large.back();
    small.pop_back();
    set(less, share[less], more);
    share[more] -= 1 - share[less];
    if (share[more] < 1) {
      large.pop_back();
      small.push_back(more);
    }
  }
  // What rounding has left over is whole.
  for (const std::int32_t i : small) set(i, 1, i);
  for (const std::int32_t i : large) set(i, 1, i);
}

HuffmanTree::HuffmanTree(const std::vector<std::uint64_t>& counts) {
  const std::size_t words = counts.size();
  begins.assign(words + 1, 0);
  if (words < 2) return;  // its path is empty: there is nothing to tell apart
  // Two queues, leaves from the rarest on and unions in the order of their making: the two least are at their heads
  // (van Leeuwen 1976). Of equal ones a leaf comes first.
  const std::size_t unions = words - 1;
  std::vector<std::uint64_t> weight(unions);
  std::vector<std::int32_t> parent(words + unions, -1);
  std::vector<std::uint8_t> code(words + unions, 0);
  std::size_t leaf = words, inner = 0;  // leaves below `leaf` and unions from `inner` on are without a parent
  for (std::size_t made = 0; made < unions; ++made) {
    const auto least = [&](std::uint64_t& taken) {
      const bool is_leaf = leaf > 0 && (inner == made || counts[leaf - 1] <= weight[inner]);
      taken += is_leaf ? counts[leaf - 1] : weight[inner];
      return is_leaf ? --leaf : words + inner++;
    };
    std::uint64_t sum = 0;
    const std::size_t first = least(sum), second = least(sum);
    weight[made] = sum;
    parent[first] = parent[second] = static_cast<std::int32_t>(made);
    code[second] = 1;
  }
  std::vector<std::uint32_t> path;
  for (std::size_t word = 0; word < words; ++word) {
    path.clear();
    for (std::size_t at = word; parent[at] >= 0; at = words + static_cast<std::size_t>(parent[at]))
      path.push_back(2 * static_cast<std::uint32_t>(parent[at]) + code[at]);
    turns.insert(turns.end(), path.rbegin(), path.rend());
    begins[word + 1] = static_cast<std::int64_t>(turns.size());
  }
}

Trainer::Trainer(const Settings& settings, const std::vector<std::uint64_t>& counts, double sample, double exponent)
    : settings_(settings), keep_(counts.size(), 0xFFFFFFFFu) {
  if (sample > 0) {
    // The program's: sqrt(sample / f) + sample / f of a word of the share f stays.
    const double total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), std::uint64_t{0}));
    for (std::size_t i = 0; i < counts.size(); ++i) {
      const double over = sample * total / static_cast<double>(counts[i]), part = std::sqrt(over) + over;
      keep_[i] = part >= 1 ? 0xFFFFFFFFu : static_cast<std::uint32_t>(part * 4294967295.0);
    }
  }
  if (settings.negatives > 0) {
    std::vector<double> weights(counts.size());
    for (std::size_t i = 0; i < counts.size(); ++i) weights[i] = std::pow(static_cast<double>(counts[i]), exponent);
    noise_ = AliasTable(weights);
  }
  if (settings.hierarchical) tree_ = HuffmanTree(counts);
}

}  // namespace dlkit::word2vec
