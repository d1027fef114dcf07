// Which rung runs, and on how many threads: images are shared out, each whole to one thread.
#include "augment/augment.h"

#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "core/scratch.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr Index kPixelsPerTask = 8192;  // tens of microseconds

}  // namespace

template <class T>
void gaussian(double sigma, Index radius, T* weights) {
  double sum = 0;
  for (Index k = -radius; k <= radius; ++k) {
    const double u = static_cast<double>(k) / sigma;
    sum += std::exp(-0.5 * u * u);
  }
  for (Index k = -radius; k <= radius; ++k) {
    const double u = static_cast<double>(k) / sigma;
    weights[radius + k] = static_cast<T>(std::exp(-0.5 * u * u) / sum);
  }
}

template <class T>
void distort(const Distortion<T>& work, const T* x, T* y, DistortRung rung) {
  const Index size = work.channels * work.pixels();
  if (work.count == 0 || size == 0) return;
  const Index group = std::clamp<Index>(kPixelsPerTask / work.pixels(), 1, work.count);
  const int tasks = static_cast<int>((work.count + group - 1) / group);
  std::vector<T> weights(static_cast<std::size_t>(2 * work.radius() + 1));
  if (work.alpha != 0) gaussian(work.sigma, work.radius(), weights.data());
  static const BothDistortKernels& table = DLKIT_SELECT(distort_table);
  parallel_for(tasks, [&](int task) {
    const Index first = task * group, last = std::min(first + group, work.count);
    if (rung == DistortRung::naive) {
      for (Index i = first; i < last; ++i) distort_naive(work, i, x + i * size, y + i * size);
      return;
    }
    T* memory = scratch<T>(Slot::columns, static_cast<std::size_t>(distort_scratch(work)));
    for (Index i = first; i < last; ++i) {
      if constexpr (std::is_same_v<T, float>)
        table.f32.image(work, i, weights.data(), x + i * size, y + i * size, memory);
      else
        table.f64.image(work, i, weights.data(), x + i * size, y + i * size, memory);
    }
  });
}

template void gaussian(double, Index, float*);
template void gaussian(double, Index, double*);
template void distort(const Distortion<float>&, const float*, float*, DistortRung);
template void distort(const Distortion<double>&, const double*, double*, DistortRung);

}  // namespace dlkit
