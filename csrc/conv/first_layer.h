// Convolution of images of few channels (first_layer.cpp, first_layer_strip.cpp).
#pragma once

#include "conv/conv.h"
#include "core/dispatch.h"

namespace dlkit {

// How a strip of output rows has its pixels in scratch: for each channel, column of the kernel and remainder of rows by
// the stride a plane of lines of out_w elements. Line k of remainder r has what the column reads in row
// (first + k) stride + r - pad of the image, so that output pixel q of the strip finds a tap at q + offset(tap).
struct FirstLayerStrip {
  Index rows, parts;  // most output rows of a strip; strips of an image
  Index plane, size;  // elements of a plane; of them all

  FirstLayerStrip(const ConvShape& s, Index item, Index parts_wanted);

  static __attribute__((always_inline)) inline Index shift(const ConvShape& s) {
    return (s.kernel_h - 1) * s.dilation_h / s.stride_h;
  }
  __attribute__((always_inline)) inline Index offset(const ConvShape& s, Index c, Index u, Index v) const {
    const Index down = u * s.dilation_h;
    return ((c * s.kernel_w + v) * s.stride_h + down % s.stride_h) * plane + down / s.stride_h * s.out_w;
  }
};

template <class T>
struct FirstLayerKernels {
  // The weight as the tiles read it: filters side by side, a tile after the other; filters * depth elements.
  void (*pack)(const ConvForward<T>& p, T* to);
  // Strips [begin, end) of all images.
  void (*forward)(const ConvForward<T>& p, const FirstLayerStrip& strip, const T* packed, Index begin, Index end);
  // The gradient by the weight of strips [begin, end), as filters * (depth + 1) registers, the last of a filter its
  // bias's; and from those of `parts` tasks, in order, the result.
  void (*accumulate)(const ConvBackwardWeight<T>& p, const FirstLayerStrip& strip, Index begin, Index end, T* sums);
  void (*finish)(const ConvBackwardWeight<T>& p, const T* sums, Index parts);
  Index lanes;
};

struct FirstLayerTable {
  FirstLayerKernels<float> of_float;
  FirstLayerKernels<double> of_double;

  const FirstLayerKernels<float>& get(float) const { return of_float; }
  const FirstLayerKernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(FirstLayerTable, first_layer_table)

inline constexpr Index kFirstLayerChannels = 16;
inline constexpr Index kFirstLayerSlack = 64;  // elements that may be read and written past the end of a strip

template <class T>
void conv_first_layer(const ConvForward<T>& p, int threads);
template <class T>
void conv_first_layer(const ConvBackwardWeight<T>& p, int threads);

// One group of few channels, and rows of which a strip stays in the cache.
bool takes_first_layer(const ConvShape& shape);

// Whether it is faster than implicit GEMM.
template <class T>
bool first_layer_pays(const ConvShape& shape);
// Whether the gradient by the weight is than that from vectors of pixels.
template <class T>
bool first_layer_pays_by_weight(const ConvShape& shape);

// Bytes on one thread.
template <class T>
std::size_t first_layer_scratch(const ConvShape& shape);
template <class T>
std::size_t first_layer_weight_scratch(const ConvShape& shape);

}  // namespace dlkit
