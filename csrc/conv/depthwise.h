// Convolution where each group has one channel, and its gradients, plane by plane (depthwise_planes.cpp).
#pragma once

#include "conv/conv.h"
#include "core/dispatch.h"

namespace dlkit {

template <class T>
struct DepthwiseKernels {
  // Planes [begin, end) of the n * channels of x.
  void (*forward)(const ConvForward<T>& p, Index begin, Index end);
  void (*backward_input)(const ConvBackwardInput<T>& p, Index begin, Index end);
  // Channels [begin, end).
  void (*backward_weight)(const ConvBackwardWeight<T>& p, Index begin, Index end);
};

struct DepthwiseTable {
  DepthwiseKernels<float> of_float;
  DepthwiseKernels<double> of_double;

  const DepthwiseKernels<float>& get(float) const { return of_float; }
  const DepthwiseKernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(DepthwiseTable, depthwise_table)

template <class T>
void conv_depthwise(const ConvForward<T>& p, int threads);
template <class T>
void conv_depthwise(const ConvBackwardInput<T>& p, int threads);
template <class T>
void conv_depthwise(const ConvBackwardWeight<T>& p, int threads);

// One channel in a group, and rows that are not too long, padding and dilation included.
bool takes_depthwise(const ConvShape& shape);

// Bytes on one thread, of the operation that takes the most.
template <class T>
std::size_t depthwise_scratch(const ConvShape& shape);

// How a plane is cut into strips, the same for the kernels and for depthwise_scratch: rows of the output for which rows
// of what they read, `pitch` elements each, stay in the first-level cache.
inline constexpr Index kDepthwiseStrip = 24 * 1024;  // bytes

}  // namespace dlkit
