// Distortion of images for training: a linear map and an elastic displacement of each image's own.
//
// Place (x, y) of the result, from the centre, takes the source's value at
//
//   (a x + b y + c + alpha u(x, y),  d x + e y + f + alpha v(x, y))
//
// between whose pixels values are interpolated linearly; outside the image they are 0. The fields u and v are uniform
// random numbers in [-1, 1), one for each pixel, smoothed by a Gaussian of deviation sigma that is cut off at three
// deviations, with zeros around the image. All channels of an image move alike.
//
// Random numbers are those of core/philox.h: image number i has the elements from i * 2HW, rounded up to a multiple of
// 4, on: u first, then v, row by row. They depend on nothing else: not on batches, nor on threads.
//
// Source: Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks Applied to Visual Document
// Analysis", ICDAR 2003.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/view.h"

namespace dlkit {

template <class T>
struct Distortion {
  Index count, channels, height, width;  // of contiguous images
  const T* matrices;                     // (count, 2, 3): a b c, d e f
  const std::int64_t* numbers;           // (count), not negative: which part of the random stream is an image's
  std::uint64_t seed;
  double alpha, sigma;  // alpha 0: no displacement, sigma is not read; else sigma above 0

  Index pixels() const { return height * width; }
  // Elements of the random stream per image.
  Index stride() const { return (2 * pixels() + 3) / 4 * 4; }
  Index radius() const { return alpha == 0 ? 0 : static_cast<Index>(3 * sigma + 0.5); }
};

enum class DistortRung { naive, separable };

// x and y do not overlap. Scratch of each thread: six planes of an image.
template <class T>
void distort(const Distortion<T>& work, const T* x, T* y, DistortRung rung);

// weights[radius + k], k = -radius .. radius: a Gaussian with sum 1.
template <class T>
void gaussian(double sigma, Index radius, T* weights);

// One image, by the definition, in double.
template <class T>
void distort_naive(const Distortion<T>& work, Index image, const T* x, T* y);

// One image on vectors. `scratch` has room for distort_scratch elements; weights as gaussian makes them.
template <class T>
struct DistortKernels {
  void (*image)(const Distortion<T>& work, Index image, const T* weights, const T* x, T* y, T* scratch);
};
struct BothDistortKernels {
  DistortKernels<float> f32;
  DistortKernels<double> f64;
};
DLKIT_DECLARE_PER_ISA(BothDistortKernels, distort_table)

// A row of a plane, padded to whole vectors of any instruction set.
constexpr Index kPlaneLanes = 16;
inline Index plane_stride(Index width) { return (width + kPlaneLanes - 1) / kPlaneLanes * kPlaneLanes; }

template <class T>
Index distort_scratch(const Distortion<T>& work) {
  const Index stride = plane_stride(work.width);
  // Random words, the noise and two fields; the source with its frame of zeros; a row of sums, and rows of places.
  return 2 * (2 * work.pixels() + 64) + 3 * work.height * stride + (work.height + 3) * (work.width + 3) +
         (stride + 2 * work.radius() + kPlaneLanes) + 4 * stride + 8 * kPlaneLanes;
}

}  // namespace dlkit
