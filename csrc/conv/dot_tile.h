// Dot products of a few rows of grad with shifted rows of x, a tile of them in registers as vectors: each step loads
// Filters + Taps registers for Filters * Taps fused multiply-adds.
#pragma once

#include <utility>

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
struct DotTile {
  const T* const* x;     // a pointer for each tap
  const T* const* grad;  // and for each filter
  Index x_image, grad_image;
  Index run, images;
  T* sums;  // a vector for each tap, those of the next filter `sums_stride` on
  Index sums_stride;
  bool add;
};

template <class T, int Filters, int Taps>
__attribute__((noinline)) void dot_tile(const DotTile<T>& t) {
  using V = Vec<T>;
  V sum[Filters][Taps];
  const T* x[Taps];
  const T* grad[Filters];
#pragma GCC unroll 32
  for (int j = 0; j < Taps; ++j) x[j] = t.x[j];
#pragma GCC unroll 8
  for (int i = 0; i < Filters; ++i) {
    grad[i] = t.grad[i];
#pragma GCC unroll 32
    for (int j = 0; j < Taps; ++j) sum[i][j] = V::zero();
  }
  const Index whole = t.run / V::lanes * V::lanes;
  const auto mask = V::first(t.run - whole);
  for (Index image = 0; image < t.images; ++image) {
    Index at = image * t.x_image, grad_at = image * t.grad_image;
    for (Index k = whole; k > 0; k -= V::lanes) {
      V y[Filters];
#pragma GCC unroll 8
      for (int i = 0; i < Filters; ++i) {
        y[i] = V::load(grad[i] + grad_at);
        hold(y[i]);
      }
#pragma GCC unroll 32
      for (int j = 0; j < Taps; ++j) {
        const V tap = V::load(x[j] + at);
#pragma GCC unroll 8
        for (int i = 0; i < Filters; ++i) sum[i][j] = V::fma(tap, y[i], sum[i][j]);
      }
      at += V::lanes;
      grad_at += V::lanes;
#if defined(__GNUC__)
      asm("" : "+r"(at), "+r"(grad_at));  // one index for all rows, not a moving pointer for each
#endif
    }
    if (whole == t.run) continue;
    V y[Filters];
#pragma GCC unroll 8
    for (int i = 0; i < Filters; ++i) y[i] = V::load(grad[i] + grad_at, mask);
#pragma GCC unroll 32
    for (int j = 0; j < Taps; ++j) {
      const V tap = V::load(x[j] + at, mask);
#pragma GCC unroll 8
      for (int i = 0; i < Filters; ++i) sum[i][j] = V::fma(tap, y[i], sum[i][j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < Filters; ++i)
#pragma GCC unroll 32
    for (int j = 0; j < Taps; ++j) {
      T* sums = t.sums + i * t.sums_stride + j * V::lanes;
      if (t.add) sum[i][j] = sum[i][j] + V::load(sums);
      sum[i][j].store(sums);
    }
}

// Which tiles there are: accumulators, a register for each filter and one for x.
template <class T>
struct DotTiles {
  static constexpr int most_filters = Vec<T>::registers >= 32 ? 6 : 3;
  static constexpr int most_taps = Vec<T>::registers >= 32 ? 25 : 12;

  static constexpr int max_taps(int filters) {
    if (Vec<T>::registers >= 32) return filters == 1 ? 25 : filters == 5 ? 5 : 24 / filters;
    return 12 / filters;
  }
};

template <class T>
using DotKernel = void (*)(const DotTile<T>&);

template <class T, int Filters, int... Tap>
DotKernel<T> pick(int taps, std::integer_sequence<int, Tap...>) {
  static constexpr DotKernel<T> table[] = {dot_tile<T, Filters, Tap + 1>...};
  return table[taps - 1];
}

// filters from 1 to DotTiles::most_filters, taps from 1 to DotTiles::max_taps(filters)
template <class T, int Filters = 1>
DotKernel<T> dot_kernel(int filters, int taps) {
  if constexpr (Filters < DotTiles<T>::most_filters)
    if (filters > Filters) return dot_kernel<T, Filters + 1>(filters, taps);
  return pick<T, Filters>(taps, std::make_integer_sequence<int, DotTiles<T>::max_taps(Filters)>{});
}

}  // namespace dlkit::DLKIT_TARGET
