// Convolution as a matrix product whose second matrix is formed a panel at a time (implicit_gemm.cpp).
#pragma once

#include "conv/conv.h"

namespace dlkit {

template <class T>
void conv_implicit_gemm(const ConvForward<T>& p, int threads);
template <class T>
void conv_implicit_gemm(const ConvBackwardInput<T>& p, int threads);

// Whether a copy of an image with its padding, where the instruction set needs one, is not out of all proportion.
template <class T>
bool takes_implicit_gemm(const ConvShape& shape);

template <class T>
std::size_t implicit_gemm_scratch(const ConvForward<T>*, const ConvShape& shape);
template <class T>
std::size_t implicit_gemm_scratch(const ConvBackwardInput<T>*, const ConvShape& shape);

}  // namespace dlkit
