// The gradient by x, tap by tap (tap_sums.cpp).
#pragma once

#include "conv/conv.h"

namespace dlkit {

template <class T>
void conv_tap_sums(const ConvBackwardInput<T>& p, int threads);

template <class T>
std::size_t tap_sums_scratch(const ConvShape& shape);

}  // namespace dlkit
