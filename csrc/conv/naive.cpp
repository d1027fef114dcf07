// The definitions, and the reference of the tests: seven loops, the innermost three of which sum up one element.
//
// 2 FLOPs for two loads, and additions that wait for each other: about 1 GFLOP/s, bound by the latency of an addition.
// One thread.
#include "conv/naive.h"

#include <algorithm>
#include <cstddef>
#include <vector>

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

// body(image, i, j, place): every element of a filter's output, and its number in the whole.
template <class Body>
void outputs_of(const ConvShape& s, Index filter, const Body& body) {
  for (Index image = 0; image < s.n; ++image) {
    Index place = (image * s.filters + filter) * s.out_h * s.out_w;
    for (Index i = 0; i < s.out_h; ++i)
      for (Index j = 0; j < s.out_w; ++j) body(image, i, j, place++);
  }
}

// body(image, filter, i, j, place): every element of the output.
template <class Body>
void outputs(const ConvShape& s, const Body& body) {
  for (Index filter = 0; filter < s.filters; ++filter)
    outputs_of(s, filter, [&](Index image, Index i, Index j, Index place) { body(image, filter, i, j, place); });
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
  // What there is to accumulate on is added last: in a sum that began with it, every addition would be rounded at its
  // size.
  const auto store = [&](T& element, T sum) { element = p.accumulate ? element + sum : sum; };
  std::vector<T> kernel(static_cast<std::size_t>(s.kernel_size()));
  for (Index filter = 0; filter < s.filters; ++filter) {
    for (Index c = 0; c < s.group_channels(); ++c) {
      std::fill(kernel.begin(), kernel.end(), T(0));
      outputs_of(s, filter, [&](Index image, Index i, Index j, Index place) {
        const T* x = p.x + (image * s.channels + first_channel(s, filter) + c) * s.in_size();
        taps(s, i, j, [&](Index tap, Index at) { kernel[static_cast<std::size_t>(tap)] += x[at] * p.grad[place]; });
      });
      T* dweight = p.dweight + (filter * s.group_channels() + c) * s.kernel_size();
      for (const T sum : kernel) store(*dweight++, sum);
    }
    if (p.dbias == nullptr) continue;
    T sum = 0;
    outputs_of(s, filter, [&](Index, Index, Index, Index place) { sum += p.grad[place]; });
    store(p.dbias[filter], sum);
  }
}

#define DLKIT_INSTANTIATE(T)                            \
  template void conv(const ConvForward<T>&, int);       \
  template void conv(const ConvBackwardInput<T>&, int); \
  template void conv(const ConvBackwardWeight<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::naive
