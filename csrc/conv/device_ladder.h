// What the convolution's kernels share: extents as kernels take them, and grids.
#pragma once

#include <string>

#include "conv/device_steps.h"
#include "conv/divisor.h"
#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"

namespace dlkit::device {

constexpr int kConvThreads = 256;

// ConvShape for kernels.
struct ConvExtent {
  Index n, channels, height, width, filters, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
  Index group_channels, group_filters, out_h, out_w;

  explicit ConvExtent(const ConvShape& s)
      : n(s.n), channels(s.channels), height(s.height), width(s.width), filters(s.filters), kernel_h(s.kernel_h),
        kernel_w(s.kernel_w), stride_h(s.stride_h), stride_w(s.stride_w), dilation_h(s.dilation_h),
        dilation_w(s.dilation_w), top(s.pad_top), left(s.pad_left), group_channels(s.group_channels()),
        group_filters(s.group_filters()), out_h(s.out_h), out_w(s.out_w) {}
};

// Threads one after another for each of n elements, in blocks of kConvThreads.
inline LaunchShape one_each(const char* kernel, Index n) {
  const Index blocks = ceil_div<Index>(n, kConvThreads);
  if (blocks > 0x7FFFFFFF)
    throw DeviceError(std::string("kernel '") + kernel + "': " + std::to_string(n) +
                      " elements; expected fewer than 2^39");
  return {static_cast<unsigned>(blocks), kConvThreads};
}

// body(T()) of the problem's type.
template <class Body>
void with_conv_type(const DeviceConv& p, const Body& body) {
  if (p.type == DeviceType::float64) return body(real<double>());
  body(real<float>());
}

#if defined(__CUDACC__) || defined(DLKIT_SIMT)

__device__ __forceinline__ Index conv_thread() {
  return static_cast<Index>(blockIdx.x) * kConvThreads + static_cast<Index>(threadIdx.x);
}

// n / d, of an n from 0 to 2^31 - 1.
__device__ __forceinline__ int quotient(int n, const Divisor& d) {
  return static_cast<int>((__umulhi(static_cast<unsigned>(n), d.factor) + static_cast<unsigned>(n)) >> d.shift);
}

template <class T>
__device__ __forceinline__ T conv_relu(T x, bool relu) {
  return relu && x < T(0) ? T(0) : x;  // a NaN stays
}

#endif

}  // namespace dlkit::device
