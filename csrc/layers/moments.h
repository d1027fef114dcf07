// Mean and variance of a row, or of runs of one length, on vectors.
//
// The corrected two-pass algorithm (Chan, Golub & LeVeque, 1983) over what fits the first-level cache: the mean m, then
// the sums of x - m and of (x - m)^2, of which the first, 0 but for the rounding of m, corrects both. So the variance
// is within some units in the last place whatever the mean is, where E x^2 - (E x)^2 would lose the square of mean /
// deviation; and results are of (x - m) - correction, so that a mean that T cannot hold does no harm either.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

DLKIT_INLINE float square_root(float x) { return __builtin_sqrtf(x); }
DLKIT_INLINE double square_root(double x) { return __builtin_sqrt(x); }

inline constexpr int kUnroll = 4;

// body(j, i) for whole registers at i and body(0, i, mask) for part of one: j in [0, kUnroll) numbers independent
// chains, for sums.
template <class T, class Body>
DLKIT_INLINE void in_chains(Index n, const Body& body) {
  using V = Vec<T>;
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j) body(j, i + j * V::lanes);
  for (; i + V::lanes <= n; i += V::lanes) body(0, i);
  if (i < n) body(0, i, V::first(n - i));
}

// What lanes outside the mask hold is not to be counted.
template <class T>
DLKIT_INLINE Vec<T> counted(Vec<T> v) {
  return v;
}
template <class T>
DLKIT_INLINE Vec<T> counted(Vec<T> v, typename Vec<T>::Mask mask) {
  return Vec<T>::select(mask, v, Vec<T>::zero());
}

template <class T>
DLKIT_INLINE T total(const Vec<T> (&sum)[kUnroll]) {
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

template <class T>
struct Sums {
  T shift;    // the mean, nearly
  T rest;     // what it lacks
  T squares;  // of the distances from the mean, summed
};

template <class T>
DLKIT_INLINE Sums<T> moments(const T* x, Index runs, Index length, Index stride) {
  using V = Vec<T>;
  const T count = static_cast<T>(runs * length);
  V sum[kUnroll];
  for (auto& s : sum) s = V::zero();
  for (Index run = 0; run < runs; ++run) {
    const T* at = x + run * stride;
    in_chains<T>(length, [&](int j, Index i, auto... mask)
                             __attribute__((always_inline)) { sum[j] = sum[j] + V::load(at + i, mask...); });
  }
  Sums<T> result;
  result.shift = total<T>(sum) / count;
  const V shift = V::broadcast(result.shift);
  V squares[kUnroll];
  for (int j = 0; j < kUnroll; ++j) sum[j] = squares[j] = V::zero();
  for (Index run = 0; run < runs; ++run) {
    const T* at = x + run * stride;
    in_chains<T>(length, [&](int j, Index i, auto... mask) __attribute__((always_inline)) {
      const V distance = counted<T>(V::load(at + i, mask...) - shift, mask...);
      sum[j] = sum[j] + distance;
      squares[j] = V::fma(distance, distance, squares[j]);
    });
  }
  const T off = total<T>(sum);
  result.rest = off / count;
  result.squares = total<T>(squares) - off * result.rest;
  if (result.squares < 0) result.squares = 0;
  return result;
}

}  // namespace dlkit::DLKIT_TARGET
