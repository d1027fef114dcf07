// The definitions: one thread for each element of the result, which sums it up by itself. The reference of the steps
// that follow, on every machine.
//
// 2 FLOPs for two loads. Forward, lanes go along a row of the output: neighbours read neighbours of x, and all of them
// one weight, so that a warp's 32 multiply-adds take 4 to 5 sectors, all from the first-level cache at best: at 4
// sectors a cycle about an eighth of the multipliers' rate, less the time for indices. The gradient to the input is the
// same the other way round, with a division for each tap. A weight's thread walks through all images: as few threads as
// there are weights, neighbours of which read rows that mostly overlap. LeNet's first layer has 500 of them for 270,000
// that an H100 has room for: bound by the latency of a load, n Ho Wo times over.
//
//   sm_90a, float32: forward 39 registers, input's gradient 48, weights' 40, bias' 22: 5 to 8 blocks, 40 to 64 warps a
//   multiprocessor; no shared memory. H100: forward at most 8 TFLOP/s, by the first-level cache.
#include "conv/device_ladder.h"

namespace dlkit::device {
namespace {

// Where tap `tap` of an output's place is in the image, or -1 outside of it.
__device__ __forceinline__ Index source_of(Index place, Index stride, Index pad, Index tap, Index dilation,
                                           Index extent) {
  const Index at = place * stride - pad + tap * dilation;
  return at < extent && at >= 0 ? at : -1;
}

// Which place of the output reads pixel `at` with tap `tap`, or -1 where none does.
__device__ __forceinline__ Index reader_of(Index at, Index stride, Index pad, Index tap, Index dilation, Index extent) {
  const Index scaled = at + pad - tap * dilation;
  if (scaled < 0 || scaled % stride != 0) return -1;
  return scaled / stride < extent ? scaled / stride : -1;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    naive_forward_kernel(ConvExtent s, const T* x, const T* weight, const T* bias, T* y, bool relu) {
  const Index place = conv_thread();
  if (place >= s.n * s.filters * s.out_h * s.out_w) return;
  const Index j = place % s.out_w, i = place / s.out_w % s.out_h, plane = place / (s.out_w * s.out_h);
  const Index f = plane % s.filters, image = plane / s.filters;
  x += (image * s.channels + f / s.group_filters * s.group_channels) * s.height * s.width;
  weight += f * s.group_channels * s.kernel_h * s.kernel_w;
  T sum = bias != nullptr ? bias[f] : T(0);
  for (Index c = 0; c < s.group_channels; ++c)
    for (Index u = 0; u < s.kernel_h; ++u) {
      const Index h = source_of(i, s.stride_h, s.top, u, s.dilation_h, s.height);
      for (Index v = 0; v < s.kernel_w; ++v) {
        const Index w = source_of(j, s.stride_w, s.left, v, s.dilation_w, s.width);
        if (h >= 0 && w >= 0)
          sum += weight[(c * s.kernel_h + u) * s.kernel_w + v] * x[(c * s.height + h) * s.width + w];
      }
    }
  y[place] = conv_relu(sum, relu);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    naive_backward_input_kernel(ConvExtent s, const T* grad, const T* weight, T* dx) {
  const Index place = conv_thread();
  if (place >= s.n * s.channels * s.height * s.width) return;
  const Index w = place % s.width, h = place / s.width % s.height, plane = place / (s.width * s.height);
  const Index channel = plane % s.channels, image = plane / s.channels;
  const Index group = channel / s.group_channels, c = channel % s.group_channels, kernel = s.kernel_h * s.kernel_w;
  grad += (image * s.filters + group * s.group_filters) * s.out_h * s.out_w;
  weight += (group * s.group_filters * s.group_channels + c) * kernel;
  T sum(0);
  for (Index u = 0; u < s.kernel_h; ++u) {
    const Index i = reader_of(h, s.stride_h, s.top, u, s.dilation_h, s.out_h);
    if (i < 0) continue;
    for (Index v = 0; v < s.kernel_w; ++v) {
      const Index j = reader_of(w, s.stride_w, s.left, v, s.dilation_w, s.out_w);
      if (j < 0) continue;
      for (Index f = 0; f < s.group_filters; ++f)
        sum += weight[f * s.group_channels * kernel + u * s.kernel_w + v] * grad[(f * s.out_h + i) * s.out_w + j];
    }
  }
  dx[place] = sum;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    naive_backward_weight_kernel(ConvExtent s, const T* grad, const T* x, T* dweight, bool accumulate) {
  const Index at = conv_thread();
  if (at >= s.filters * s.group_channels * s.kernel_h * s.kernel_w) return;
  const Index v = at % s.kernel_w, u = at / s.kernel_w % s.kernel_h, row = at / (s.kernel_w * s.kernel_h);
  const Index c = row % s.group_channels, f = row / s.group_channels;
  const Index channel = f / s.group_filters * s.group_channels + c;
  T sum(0);
  for (Index image = 0; image < s.n; ++image) {
    const T* const g = grad + (image * s.filters + f) * s.out_h * s.out_w;
    const T* const from = x + (image * s.channels + channel) * s.height * s.width;
    for (Index i = 0; i < s.out_h; ++i) {
      const Index h = source_of(i, s.stride_h, s.top, u, s.dilation_h, s.height);
      if (h < 0) continue;
      for (Index j = 0; j < s.out_w; ++j) {
        const Index w = source_of(j, s.stride_w, s.left, v, s.dilation_w, s.width);
        if (w >= 0) sum += g[i * s.out_w + j] * from[h * s.width + w];
      }
    }
  }
  dweight[at] = accumulate ? dweight[at] + sum : sum;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    naive_backward_bias_kernel(ConvExtent s, const T* grad, T* dbias, bool accumulate) {
  const Index f = conv_thread(), places = s.out_h * s.out_w;
  if (f >= s.filters) return;
  T sum(0);
  for (Index image = 0; image < s.n; ++image)
    for (Index place = 0; place < places; ++place) sum += grad[(image * s.filters + f) * places + place];
  dbias[f] = accumulate ? dbias[f] + sum : sum;
}

}  // namespace

void conv_naive(const DeviceConv& p) {
  const ConvExtent s(p.shape);
  with_conv_type(p, [&]<class T>(T) {
    const auto *x = static_cast<const T*>(p.x), *weight = static_cast<const T*>(p.weight),
               *grad = static_cast<const T*>(p.grad), *bias = static_cast<const T*>(p.bias);
    auto *const out = static_cast<T*>(p.out), *const out_bias = static_cast<T*>(p.out_bias);
    switch (p.operation) {
      case ConvOperation::forward: {
        const auto shape = one_each("naive_forward", s.n * s.filters * s.out_h * s.out_w);
        if (shape.grid.x > 0)
          launch("naive_forward", naive_forward_kernel<T>, shape, p.stream, s, x, weight, bias, out, p.relu);
        return;
      }
      case ConvOperation::backward_input: {
        const auto shape = one_each("naive_backward_input", s.n * s.channels * s.height * s.width);
        if (shape.grid.x > 0)
          launch("naive_backward_input", naive_backward_input_kernel<T>, shape, p.stream, s, grad, weight, out);
        return;
      }
      case ConvOperation::backward_weight: {
        const auto shape = one_each("naive_backward_weight", s.filters * p.shape.depth());
        if (shape.grid.x > 0)
          launch("naive_backward_weight", naive_backward_weight_kernel<T>, shape, p.stream, s, grad, x, out,
                 p.accumulate);
        if (out_bias != nullptr && s.filters > 0)
          launch("naive_backward_bias", naive_backward_bias_kernel<T>, one_each("naive_backward_bias", s.filters),
                 p.stream, s, grad, out_bias, p.accumulate);
        return;
      }
    }
  });
}

}  // namespace dlkit::device
