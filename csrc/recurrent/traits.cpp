#include <numeric>

#include "recurrent/normalised.h"

namespace dlkit {

const CellTraits& traits(Cell cell) {
  static constexpr CellTraits table[] = {
      {"tanh", 1, 2, false},        {"relu", 1, 2, false},       {"additive", 1, 2, false},
      {"interpolate", 2, 3, false}, {"input_gate", 3, 4, false}, {"lstm", 4, 6, true},
      {"coupled_lstm", 3, 5, true}, {"gru", 3, 5, false},        {"gru_reset_first", 3, 5, false},
  };
  static_assert(sizeof(table) / sizeof(table[0]) == static_cast<std::size_t>(Cell::count));
  return table[static_cast<int>(cell)];
}

Index RecurrentShape::rows() const { return std::accumulate(batch_sizes.begin(), batch_sizes.end(), Index{0}); }

Index RecurrentShape::kept() const { return normalised ? NormalisedRow(*this).size : slots() * hidden; }

}  // namespace dlkit
