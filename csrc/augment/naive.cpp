// The definition: each smoothed value is a sum over a square of random numbers, each of them made anew.
//
// FLOPs per pixel: 4 (6 sigma + 1)^2 and a Philox block for each term. The reference of the tests.
#include <algorithm>
#include <cmath>
#include <vector>

#include "augment/augment.h"
#include "core/philox.h"

namespace dlkit {
namespace {

double noise(std::uint64_t seed, std::uint64_t element) {
  return static_cast<double>(static_cast<std::int32_t>(Philox::element(seed, element))) * 0x1p-31;
}

}  // namespace

template <class T>
void distort_naive(const Distortion<T>& work, Index image, const T* x, T* y) {
  const Index height = work.height, width = work.width, pixels = work.pixels(), radius = work.radius();
  std::vector<double> weights(static_cast<std::size_t>(2 * radius + 1));
  if (work.alpha != 0) gaussian(work.sigma, radius, weights.data());
  const std::uint64_t first =
      static_cast<std::uint64_t>(work.numbers[image]) * static_cast<std::uint64_t>(work.stride());
  const T* m = work.matrices + image * 6;
  const double middle_x = static_cast<double>(width - 1) / 2, middle_y = static_cast<double>(height - 1) / 2;
  for (Index row = 0; row < height; ++row)
    for (Index col = 0; col < width; ++col) {
      double moved[2] = {0, 0};
      for (int field = 0; field < 2 && work.alpha != 0; ++field)
        for (Index r = std::max<Index>(row - radius, 0); r <= std::min(row + radius, height - 1); ++r)
          for (Index c = std::max<Index>(col - radius, 0); c <= std::min(col + radius, width - 1); ++c)
            moved[field] += weights[static_cast<std::size_t>(r - row + radius)] *
                            weights[static_cast<std::size_t>(c - col + radius)] *
                            noise(work.seed, first + static_cast<std::uint64_t>(field * pixels + r * width + c));
      const double across = static_cast<double>(col) - middle_x, down = static_cast<double>(row) - middle_y;
      double sx = m[0] * across + m[1] * down + m[2] + work.alpha * moved[0] + middle_x;
      double sy = m[3] * across + m[4] * down + m[5] + work.alpha * moved[1] + middle_y;
      // Whatever is further out is 0, too. Not a number: outside.
      sx = sx > -1 ? std::min(sx, static_cast<double>(width)) : -1;
      sy = sy > -1 ? std::min(sy, static_cast<double>(height)) : -1;
      const Index left = static_cast<Index>(std::floor(sx)), top = static_cast<Index>(std::floor(sy));
      const double fx = sx - static_cast<double>(left), fy = sy - static_cast<double>(top);
      for (Index channel = 0; channel < work.channels; ++channel) {
        const T* plane = x + channel * pixels;
        const auto at = [&](Index r, Index c) -> double {
          return r < 0 || r >= height || c < 0 || c >= width ? 0.0 : static_cast<double>(plane[r * width + c]);
        };
        const double above = (1 - fx) * at(top, left) + fx * at(top, left + 1);
        const double below = (1 - fx) * at(top + 1, left) + fx * at(top + 1, left + 1);
        y[channel * pixels + row * width + col] = static_cast<T>((1 - fy) * above + fy * below);
      }
    }
}

template void distort_naive(const Distortion<float>&, Index, const float*, float*);
template void distort_naive(const Distortion<double>&, Index, const double*, double*);

}  // namespace dlkit
