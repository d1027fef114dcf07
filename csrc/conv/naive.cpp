// The definitions, and the reference of the tests: seven loops, the innermost three of which sum up one element.
//
// 2 FLOPs for two loads, and additions that wait for each other: about 1 GFLOP/s, bound by the latency of an addition.
// One thread.
#include "conv/naive.h"

#include <algorithm>

namespace dlkit::naive {
namespace {

// body(tap, place): every tap of the kernel that meets the image, for one output element, as numbers of elements of a
// channel's kernel and of its image.
template <class Body>
void taps(const ConvShape& s, Index i, Index j, const Body& body) {
  for (Index u = 0; u < s.kernel_h; ++u)
    for (Index v = 0; v < s.kernel_w; ++v) {
      const Index h = i * s.stride_h - s.pad_top + u * s.dilation_h;
      const Index w = j * s.stride_w - s.pad_left + v * s.dilation_w;
      if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;
      body(u * s.kernel_w + v, h * s.width + w);
    }
}

// body(image, filter, i, j, place): every element of the output, and its number.
template <class Body>
void outputs(const ConvShape& s, const Body& body) {
  Index place = 0;
  for (Index image = 0; image < s.n; ++image)
    for (Index filter = 0; filter < s.filters; ++filter)
      for (Index i = 0; i < s.out_h; ++i)
        for (Index j = 0; j < s.out_w; ++j) body(image, filter, i, j, place++);
}

// First channel that a filter reads.
Index first_channel(const ConvShape& s, Index filter) { return filter / s.group_filters() * s.group_channels(); }

}  // namespace

template <class T>
void conv(const ConvForward<T>& p, int) {
  const ConvShape& s = p.shape;
  outputs(s, [&](Index image, Index filter, Index i, Index j, Index place) {
    T sum = p.bias != nullptr ? p.bias[filter] : T(0);
    for (Index c = 0; c < s.group_channels(); ++c) {
      const T* x = p.x + (image * s.channels + first_channel(s, filter) + c) * s.in_size();
      const T* weight = p.weight + (filter * s.group_channels() + c) * s.kernel_size();
      taps(s, i, j, [&](Index tap, Index at) { sum += weight[tap] * x[at]; });
    }
    p.y[place] = p.relu && sum < 0 ? T(0) : sum;
  });
}

template <class T>
void conv(const ConvBackwardInput<T>& p, int) {
  const ConvShape& s = p.shape;
  std::fill(p.dx, p.dx + s.n * s.channels * s.in_size(), T(0));
  outputs(s, [&](Index image, Index filter, Index i, Index j, Index place) {
    for (Index c = 0; c < s.group_channels(); ++c) {
      T* dx = p.dx + (image * s.channels + first_channel(s, filter) + c) * s.in_size();
      const T* weight = p.weight + (filter * s.group_channels() + c) * s.kernel_size();
      taps(s, i, j, [&](Index tap, Index at) { dx[at] += weight[tap] * p.grad[place]; });
    }
  });
}

template <class T>
void conv(const ConvBackwardWeight<T>& p, int) {
  const ConvShape& s = p.shape;
  if (!p.accumulate) {
    std::fill(p.dweight, p.dweight + s.filters * s.depth(), T(0));
    if (p.dbias != nullptr) std::fill(p.dbias, p.dbias + s.filters, T(0));
  }
  outputs(s, [&](Index image, Index filter, Index i, Index j, Index place) {
    if (p.dbias != nullptr) p.dbias[filter] += p.grad[place];
    for (Index c = 0; c < s.group_channels(); ++c) {
      const T* x = p.x + (image * s.channels + first_channel(s, filter) + c) * s.in_size();
      T* dweight = p.dweight + (filter * s.group_channels() + c) * s.kernel_size();
      taps(s, i, j, [&](Index tap, Index at) { dweight[tap] += x[at] * p.grad[place]; });
    }
  });
}

#define DLKIT_INSTANTIATE(T)                            \
  template void conv(const ConvForward<T>&, int);       \
  template void conv(const ConvBackwardInput<T>&, int); \
  template void conv(const ConvBackwardWeight<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::naive
