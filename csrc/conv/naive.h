// The definitions of this chapter (naive.cpp).
#pragma once

#include "conv/conv.h"

namespace dlkit::naive {

template <class T>
void conv(const ConvForward<T>& p, int threads);
template <class T>
void conv(const ConvBackwardInput<T>& p, int threads);
template <class T>
void conv(const ConvBackwardWeight<T>& p, int threads);

}  // namespace dlkit::naive
