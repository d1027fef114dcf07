// Convolution, bias, ReLU and max-pooling as one pass: the output of the convolution is never in memory as a whole.
#pragma once

#include "conv/conv.h"
#include "conv/pool.h"

namespace dlkit {

// y = pool(conv(x)), with what the parts have (conv.h, pool.h). The extents of pool are those of the convolution's
// output: planes n * filters, of out_h x out_w.
template <class T>
struct ConvMaxPool {
  ConvShape conv;
  PoolShape pool;
  const T* x;
  const T* weight;
  const T* bias;  // filters, or null
  T* y;
  std::uint8_t* places;  // as many as y has, or null
  bool relu;             // y = max(0, y), and no place where that is 0
};

// The same bits as the convolution's variant (null: the one that the shape gets) and then max-pooling give. Any
// extents, zero included, but those of the pooling's planes.
template <class T>
void convolve_and_pool(const ConvMaxPool<T>& p, const ConvVariant<ConvForward<T>>* variant, int threads);

}  // namespace dlkit
