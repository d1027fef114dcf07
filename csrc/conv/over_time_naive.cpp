// The definition of convolution and maximum over time.
#include <cmath>

#include "conv/over_time.h"

namespace dlkit::naive {

template <class T>
void conv_max(const OverTimeForward<T>& p) {
  const OverTimeShape& s = p.shape;
  for (Index n = 0; n < s.n; ++n)
    for (Index f = 0; f < s.filters; ++f) {
      T best = 0;
      Index place = 0;
      for (Index t = 0; t < s.windows(); ++t) {
        T sum = 0;
        for (Index j = 0; j < s.size; ++j)
          for (Index c = 0; c < s.channels; ++c)
            sum += p.weight[(f * s.channels + c) * s.size + j] * p.x[(n * s.length + t + j) * s.channels + c];
        if (t == 0 || sum > best || (std::isnan(sum) && !std::isnan(best))) {
          best = sum;
          place = t;
        }
      }
      p.y[n * s.filters + f] = best + (p.bias != nullptr ? p.bias[f] : T(0));
      p.place[n * s.filters + f] = place;
    }
}

template <class T>
void conv_max_backward(const OverTimeBackward<T>& p) {
  const OverTimeShape& s = p.shape;
  if (p.dx != nullptr)
    for (Index i = 0; i < s.n * s.length * s.channels; ++i) p.dx[i] = 0;
  if (p.dweight != nullptr && !p.accumulate)
    for (Index i = 0; i < s.filters * s.depth(); ++i) p.dweight[i] = 0;
  if (p.dbias != nullptr && !p.accumulate)
    for (Index f = 0; f < s.filters; ++f) p.dbias[f] = 0;
  for (Index n = 0; n < s.n; ++n)
    for (Index f = 0; f < s.filters; ++f) {
      const T grad = p.grad[n * s.filters + f];
      const Index first = n * s.length + p.place[n * s.filters + f];
      if (p.dbias != nullptr) p.dbias[f] += grad;
      for (Index j = 0; j < s.size; ++j)
        for (Index c = 0; c < s.channels; ++c) {
          const Index at_x = (first + j) * s.channels + c, at_weight = (f * s.channels + c) * s.size + j;
          if (p.dx != nullptr) p.dx[at_x] += grad * p.weight[at_weight];
          if (p.dweight != nullptr) p.dweight[at_weight] += grad * p.x[at_x];
        }
    }
}

#define DLKIT_INSTANTIATE(T)                         \
  template void conv_max(const OverTimeForward<T>&); \
  template void conv_max_backward(const OverTimeBackward<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::naive
