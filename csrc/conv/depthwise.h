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
DLKIT_DECLARE_PER_ISA(DepthwiseTable, depthwise_interleaved_table)
DLKIT_DECLARE_PER_ISA(DepthwiseTable, depthwise_rows_table)

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

// The same with planes side by side in the lanes of registers (depthwise_interleaved.cpp).
template <class T>
void conv_depthwise_interleaved(const ConvForward<T>& p, int threads);
template <class T>
void conv_depthwise_interleaved(const ConvBackwardInput<T>& p, int threads);
template <class T>
void conv_depthwise_interleaved(const ConvBackwardWeight<T>& p, int threads);

// As many filters as channels, and rows of windows that are not too long.
bool takes_depthwise_interleaved(const ConvShape& shape);
template <class T>
std::size_t depthwise_interleaved_scratch(const ConvShape& shape);

// The same with rows of planes in registers, moved along their lanes (depthwise_rows.cpp).
template <class T>
void conv_depthwise_rows(const ConvForward<T>& p, int threads);
template <class T>
void conv_depthwise_rows(const ConvBackwardInput<T>& p, int threads);
template <class T>
void conv_depthwise_rows(const ConvBackwardWeight<T>& p, int threads);

// As many filters as channels, 3 x 3 or 5 x 5 with a stride of 1 or 2, planes that are not too large.
template <class T>
bool takes_depthwise_rows(const ConvShape& shape);
template <class T>
std::size_t depthwise_rows_scratch(const ConvShape& shape);

// Which of them is the fastest, by measurement.
enum class ConvPass { forward, input, weight };
template <class T>
bool depthwise_rows_pays(const ConvShape& shape, ConvPass pass);
bool depthwise_interleaves(const ConvShape& shape, ConvPass pass);

// Rows of a band, of the output or of x: as many as keep registers that are read and written within the second-level
// cache, in bands of one size.
inline Index interleaved_rows(const ConvShape& s, bool of_output) {
  constexpr Index kRegisters = 1024;
  Index all, step, more, cols;  // rows in all, and of what they read: for each, for the first, and their length
  if (of_output) {
    all = s.out_h;
    step = s.stride_h;
    more = (s.kernel_h - 1) * s.dilation_h + 1 - s.stride_h;
    cols = s.width + 2 * s.pad_left;
  } else {
    all = s.height;
    step = 1;
    more = (s.kernel_h - 1) * s.dilation_h / s.stride_h + 2;
    cols = s.out_w + 2 * ((s.kernel_w - 1) * s.dilation_w / s.stride_w);
  }
  Index rows = (kRegisters - (more > 0 ? more : 0) * cols) / (step * cols + (of_output ? s.out_w : s.width));
  rows = rows < 1 ? 1 : rows > all ? all : rows;
  const Index bands = (all + rows - 1) / rows;
  return (all + bands - 1) / bands;
}

// How a plane is cut into strips, the same for the kernels and for depthwise_scratch: rows of the output for which rows
// of what they read, `pitch` elements each, stay in the first-level cache.
inline constexpr Index kDepthwiseStrip = 24 * 1024;  // bytes

}  // namespace dlkit
