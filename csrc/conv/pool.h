// Pooling: what a window that steps over each plane of x is worth. Maxima, means, drawn elements, and their gradients.
//
//   y[p, i, j] = max (or mean, or ...) over taps u, v of x[p, i s - pad + u d, j s - pad + v d]
//
// where a plane p is one channel of one image. Taps outside the plane are left out. In one dimension the height is 1.
// An operation or less for each element that is read, so memory bounds all of it.
//
// A maximum remembers where it was for the backward pass: as one byte, the number u kernel_w + v of the tap in its
// window (kNoPlace: nowhere, no gradient flows), which is an eighth of the traffic of PyTorch's int64; or as int64, the
// element's number in its plane (-1: nowhere), for who asks for it. Of equal elements it is the first in that order. A
// NaN in the window is the result, the last one where there are several, as in PyTorch.
//
// Arrays are contiguous, planes first, float or double. Results overlap no input.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "core/view.h"

namespace dlkit {

inline constexpr std::uint8_t kNoPlace = 255;
inline constexpr Index kMostPlaces = 255;  // taps of a window that a byte can number

struct PoolShape {
  Index planes, height, width;  // of x
  Index kernel_h, kernel_w;
  Index stride_h, stride_w;      // 1 or more, as dilations are
  Index dilation_h, dilation_w;  // 1 where means are taken
  Index pad_h, pad_w;            // 0 or more, above and left; at the other ends what the windows reach
  Index out_h, out_w;

  Index in_size() const { return height * width; }
  Index out_size() const { return out_h * out_w; }
  Index taps() const { return kernel_h * kernel_w; }
};

template <class T>
struct MaxPool {
  PoolShape shape;
  const T* x;
  T* y;
  std::uint8_t* places;   // as many as y has, or null; needs taps() <= kMostPlaces
  std::int64_t* indices;  // likewise; at most one of the two
  bool relu;              // y = max(0, y), and no place where that is 0
};

// dx = the gradient by x, given grad, that by y, and one of the two.
template <class T>
struct MaxPoolBackward {
  PoolShape shape;
  const T* grad;
  const std::uint8_t* places;
  const std::int64_t* indices;
  T* dx;
};

// The sum over the window, over the number of its taps: with include_pad those of the padding count, but not those
// beyond it; otherwise only those in the plane. Or over `divisor` where that is not 0.
template <class T>
struct AvgPool {
  PoolShape shape;
  const T* x;
  T* y;
  bool include_pad;
  Index divisor;
};

template <class T>
struct AvgPoolBackward {
  PoolShape shape;
  const T* grad;
  T* dx;
  bool include_pad;
  Index divisor;
};

// One tap of each window, drawn with a probability proportional to its element; negative elements count as 0. Where
// all are 0 so is the result, which has no place. Element e of y takes number offset + e of the stream of
// core/philox.h.
template <class T>
struct StochasticPool {
  PoolShape shape;
  const T* x;
  T* y;
  std::uint8_t* places;
  std::uint64_t seed, offset;
};

// What the above is on average: the sum of squares over the sum.
template <class T>
struct StochasticAverage {
  PoolShape shape;
  const T* x;
  T* y;
};

template <class T>
struct StochasticAverageBackward {
  PoolShape shape;
  const T* grad;
  const T* x;
  T* dx;
};

// Windows that cover the plane with no overlap but what rounding gives: [i H / out_h, (i + 1) H / out_h), the first
// rounded down and the second up. Of the shape, only the extents count.
template <class T>
struct AdaptiveMaxPool {
  PoolShape shape;
  const T* x;
  T* y;
  std::int64_t* indices;
};

template <class T>
struct AdaptiveAvgPool {
  PoolShape shape;
  const T* x;
  T* y;
};

template <class T>
struct AdaptiveAvgPoolBackward {
  PoolShape shape;
  const T* grad;
  T* dx;
};

// The k largest of each row, in the order in which they are there; of equal ones the first. NaN is largest.
template <class T>
struct KMaxPool {
  Index rows, cols, k;
  const T* x;
  T* y;
  std::int64_t* indices;  // (rows, k), within the row
};

// The largest of the first lengths[row / rows_per_length] elements of each row; of all where lengths is null.
template <class T>
struct MaxOverTime {
  Index rows, cols, rows_per_length;
  const T* x;
  const std::int64_t* lengths;
  T* y;
  std::int64_t* indices;
};

// One way to compute an operation; Problem is one of the above.
template <class Problem>
struct PoolVariant {
  const char* name;
  const char* idea;
  const char* needs;  // of the problem; "" where it takes any
  bool (*takes)(const Problem& problem);
  // Same bits on any number of threads. Throws std::bad_alloc, and BadPoolIndex.
  void (*run)(const Problem& problem, int threads);
};

// An element of `indices` that is no place in the plane.
struct BadPoolIndex : std::invalid_argument {
  explicit BadPoolIndex(std::int64_t index) : std::invalid_argument("an index is out of range"), value(index) {}
  std::int64_t value;
};

// The ladder of an operation; the first is the definition.
template <class Problem>
const std::vector<PoolVariant<Problem>>& pool_variants();

// Runs a variant, or where it is null the last that takes the problem and is expected to pay, on up to `threads`
// threads. Any number of planes.
template <class Problem>
void pool(const Problem& problem, const PoolVariant<Problem>* variant, int threads);

}  // namespace dlkit
