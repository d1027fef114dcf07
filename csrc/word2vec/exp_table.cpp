// The original program's sigmoid: a table of 1,000 values from -6 to 6, beyond which it is 0 or 1.
//
// Saves the exponential; the sums are those of naive.h, and they bound it. The sigmoid is off by up to 0.003 (the
// distance of two entries, 0.012, by the slope, 1/4), and by 0.0025 beyond 6: a pair that is sure and right does not
// learn any more.
//
// Source: the program word2vec (Mikolov et al. 2013).
#include <array>

#include "word2vec/naive.h"

namespace dlkit {
namespace {

constexpr int kEntries = 1000;
constexpr double kMost = 6;

struct Table {
  std::array<double, kEntries> values;

  Table() {
    for (int i = 0; i < kEntries; ++i) values[i] = 1 / (1 + std::exp(-(2.0 * i / kEntries - 1) * kMost));
  }
};

}  // namespace

template <class T>
double update_pairs_by_table(const PairUpdate<T>& p) {
  static const Table table;
  return naive::update_pairs(p, [](T x) {
    if (!(x > T(-kMost))) return std::isnan(x) ? x : T(0);
    if (x >= T(kMost)) return T(1);
    const int entry = static_cast<int>((double(x) + kMost) * (kEntries / kMost / 2));
    return static_cast<T>(table.values[std::min(entry, kEntries - 1)]);
  });
}

template double update_pairs_by_table(const PairUpdate<float>&);
template double update_pairs_by_table(const PairUpdate<double>&);

}  // namespace dlkit
