// Convolution with a kernel of 1 x 1 (pointwise.cpp).
#pragma once

#include "conv/conv.h"

namespace dlkit {

template <class T>
void conv_pointwise(const ConvForward<T>& p, int threads);
template <class T>
void conv_pointwise(const ConvBackwardInput<T>& p, int threads);

bool takes_pointwise(const ConvShape& shape);

}  // namespace dlkit
