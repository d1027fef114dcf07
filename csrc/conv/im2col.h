// Convolution by way of an explicit matrix of patches (im2col.cpp).
#pragma once

#include "conv/conv.h"

namespace dlkit {

template <class T>
void conv_im2col(const ConvForward<T>& p, int threads);
template <class T>
void conv_im2col(const ConvBackwardInput<T>& p, int threads);
template <class T>
void conv_im2col(const ConvBackwardWeight<T>& p, int threads);

// The matrix of one image and one group.
std::size_t im2col_scratch(const ConvShape& shape);

}  // namespace dlkit
