// Winograd's convolution of kernels 5 to 8 wide with a horizontal stride of 2, along rows (winograd_stride2.cpp,
// winograd_stride2_strip.cpp).
//
// Output j of a row reads the even columns of the kernel at x[2 (j + k)] and the odd ones at x[2 (j + k) + 1]: the sum
// of two convolutions without a stride, of rows of every second element with kernels half as wide. Both are computed at
// the same points (Toom 1963, Cook 1966) and summed there, so that 4 outputs take as many products as there are points,
// once for each parity: 7 x 2 instead of 4 x 7 for a kernel 7 wide, and 13 where the odd columns are one fewer, which
// have nothing at infinity.
#pragma once

#include "conv/conv.h"
#include "core/beyond_baseline.h"
#include "matmul/split.h"

namespace dlkit {

inline constexpr Index kStride2Outputs = 4;  // of a row, from the products of one tile

// The finite points: 0, pairs +-p, and perhaps one alone; infinity is the last point of all. By measurement over pairs
// and singles of quarters and eighths, as those of winograd_transform.h.
template <int Taps>
struct Stride2Points;
template <>
struct Stride2Points<3> {
  static constexpr int pairs = 2;
  static constexpr double at[] = {0, 0.625, -0.625, 1.5, -1.5};
};
template <>
struct Stride2Points<4> {
  static constexpr int pairs = 2;
  static constexpr double at[] = {0, 0.5, -0.5, 1, -1, 2};
};

// The three matrices for 4 outputs of `Taps` taps: interpolation of the product of two polynomials, transposed.
template <int Taps>
struct Stride2Transform {
  static constexpr int outputs = static_cast<int>(kStride2Outputs), points = outputs + Taps - 1, finite = points - 1;
  double weight[points][Taps] = {};   // powers of a point, over the differences to the others
  double input[points][points] = {};  // coefficients of the product of x - q over the other points q
  double power[finite][outputs] = {};

  constexpr Stride2Transform() {
    const double* const at = Stride2Points<Taps>::at;
    for (int i = 0; i < points; ++i) {
      int degree = 0;
      input[i][0] = 1;
      double differences = 1;
      for (int j = 0; j < finite; ++j) {
        if (j == i) continue;
        input[i][++degree] = 1;
        for (int k = degree - 1; k >= 0; --k) input[i][k] = (k > 0 ? input[i][k - 1] : 0) - at[j] * input[i][k];
        if (i < finite) differences *= at[i] - at[j];
      }
      if (i == finite) {
        weight[i][Taps - 1] = 1;
        continue;
      }
      double p = 1;
      for (int k = 0; k < points; ++k, p *= at[i]) {
        if (k < Taps) weight[i][k] = p / differences;
        if (k < outputs) power[i][k] = p;
      }
    }
  }
};

inline int stride2_taps(const ConvShape& s) { return static_cast<int>((s.kernel_w + 1) / 2); }

// How a strip of output rows has its tiles in scratch: for each point, parity of columns, channel and remainder of rows
// by the stride a plane of lines of `tiles` elements. Line k of remainder r has the points of row
// (first + k) stride + r - pad of the image, so that tile q of the strip finds a row of the kernel at q + offset.
struct Stride2Strip {
  Index tiles;          // of an output row
  Index rows, parts;    // most output rows of a strip; strips of an image
  Index plane;          // elements from one plane to the next
  Index point;          // of all planes of a point
  Index columns;        // elements of a row of the image, padded to whole registers, eight of them side by side
  Index short_depth;    // rows of the kernel over all channels: what a parity sums up
  bool odd_is_shorter;  // and has nothing at infinity

  Stride2Strip(const ConvShape& s, Index item, Index lanes, Index parts_wanted);

  static __attribute__((always_inline)) inline Index shift(const ConvShape& s) {
    return (s.kernel_h - 1) * s.dilation_h / s.stride_h;
  }
  // Of the k-th of the sum: first the even columns' rows, channel by channel, then the odd ones'.
  __attribute__((always_inline)) inline Index offset(const ConvShape& s, Index k) const {
    const Index line = k % short_depth, down = line % s.kernel_h * s.dilation_h;
    const Index channel = k / short_depth * s.channels + line / s.kernel_h;
    return (channel * s.stride_h + down % s.stride_h) * plane + down / s.stride_h * tiles;
  }
  __attribute__((always_inline)) inline Index depth(bool last_point) const {
    return last_point && odd_is_shorter ? short_depth : 2 * short_depth;
  }
};

template <class T>
struct Stride2Kernels {
  // Strips [begin, end) of all images, for 3 taps and for 4. packed: for each point, for each tile of `most_rows`
  // filters at most, depth x filters of the transformed weight.
  void (*forward[2])(const ConvForward<T>& p, const Stride2Strip& strip, const T* packed, Index begin, Index end);
  Index most_rows, lanes;
};

struct Stride2Table {
  Stride2Kernels<float> of_float;
  Stride2Kernels<double> of_double;

  const Stride2Kernels<float>& get(float) const { return of_float; }
  const Stride2Kernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_BEYOND_BASELINE(Stride2Table, stride2_table)

template <class T>
void conv_winograd_stride2(const ConvForward<T>& p, int threads);

bool takes_winograd_stride2(const ConvShape& shape);

// Whether it is faster than the direct variants.
template <class T>
bool winograd_stride2_pays(const ConvShape& shape);

// Bytes on one thread.
template <class T>
std::size_t winograd_stride2_scratch(const ConvShape& shape);

}  // namespace dlkit
