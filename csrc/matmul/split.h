// Whole numbers in even parts.
#pragma once

#include "core/view.h"

namespace dlkit {

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }
constexpr Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// `total` in the fewest parts of at most `limit`, as even as whole numbers allow.
struct EvenSplit {
  Index parts, small, larger;  // the first `larger` parts have small + 1

  constexpr EvenSplit(Index total, Index limit)
      : parts(divide_up(total, limit)), small(parts == 0 ? 0 : total / parts), larger(total - small * parts) {}
  constexpr Index begin(Index part) const { return part * small + smaller(part, larger); }
  constexpr Index size(Index part) const { return small + (part < larger ? 1 : 0); }
};

}  // namespace dlkit
