// Quick division in kernels by numbers that the host knows. Plain C++ may include this.
#pragma once

#include <bit>
#include <cstdint>

#include "core/view.h"

namespace dlkit::device {

// Division of numbers below 2^31 by one that is known beforehand: a product and a shift instead of some twenty
// instructions. Granlund, Montgomery, "Division by invariant integers using multiplication", PLDI 1994.
struct Divisor {
  unsigned by, factor, shift;

  explicit Divisor(Index divisor) : by(static_cast<unsigned>(divisor)) {
    shift = static_cast<unsigned>(std::bit_width(by - 1));
    factor = static_cast<unsigned>((std::uint64_t{1} << 32) * ((std::uint64_t{1} << shift) - by) / by + 1);
  }
};

}  // namespace dlkit::device
