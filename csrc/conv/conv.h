// Convolution, as networks have it (a correlation: the kernel is not flipped), and its gradients.
//
//   y[n, f, i, j] = bias[f] + sum over c, u, v of weight[f, c, u, v] x[n, g C' + c, i s - p + u d, j s - p + v d]
//
// where f is in group g of `groups`, each of which reads C' = channels / groups channels, and x is 0 outside. In one
// dimension the height is 1. 2 N F Ho Wo C' Kh Kw floating-point operations.
//
// Arrays are contiguous, images first (NCHW), float or double. y, dx and the gradients overlap no input.
//
// Every variant in the tables computes the same; the tests hold each of them to naive.cpp. Read them in the order of
// the tables in variants.cpp: each is the previous one with one idea more.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "core/view.h"

namespace dlkit {

struct ConvShape {
  Index n, channels, height, width;   // of x
  Index filters, kernel_h, kernel_w;  // of the weight: (filters, channels / groups, kernel_h, kernel_w)
  Index stride_h, stride_w;           // 1 or more, as dilations and groups are
  Index dilation_h, dilation_w;
  Index pad_top, pad_left;  // 0 or more; what pads the other ends follows from the extents of the output
  Index groups;
  Index out_h, out_w;  // of y: (n, filters, out_h, out_w)

  Index group_channels() const { return channels / groups; }
  Index group_filters() const { return filters / groups; }
  Index in_size() const { return height * width; }
  Index out_size() const { return out_h * out_w; }
  Index kernel_size() const { return kernel_h * kernel_w; }
  Index depth() const { return group_channels() * kernel_size(); }  // what one output element is a sum of
  double flops() const { return 2.0 * static_cast<double>(n * filters * out_size()) * static_cast<double>(depth()); }
};

template <class T>
struct ConvForward {
  ConvShape shape;
  const T* x;
  const T* weight;
  const T* bias;  // filters, or null
  T* y;
  bool relu;  // y = max(0, y)
};

// dx = the gradient by x, given grad, that by y.
template <class T>
struct ConvBackwardInput {
  ConvShape shape;
  const T* grad;
  const T* weight;
  T* dx;
};

template <class T>
struct ConvBackwardWeight {
  ConvShape shape;
  const T* grad;
  const T* x;
  T* dweight;
  T* dbias;         // filters, or null
  bool accumulate;  // add to what dweight and dbias hold
};

// One way to compute one of the three; Problem is one of the above.
template <class Problem>
struct ConvVariant {
  const char* name;
  const char* idea;
  const char* needs;  // of the problem; "" where it takes any
  bool (*takes)(const ConvShape& shape);
  // Same bits for the same `threads`. Throws std::bad_alloc.
  void (*run)(const Problem& problem, int threads);
  // Bytes that it works in beside the arrays, whatever the batch, on one thread.
  std::size_t (*scratch)(const ConvShape& shape);
};

// The ladder of an operation; the first is the definition.
template <class Problem>
const std::vector<ConvVariant<Problem>>& conv_variants();

// The variant of that name, or nullptr.
template <class Problem>
const ConvVariant<Problem>* find_conv_variant(std::string_view name);

// The variant that the shape gets by default.
template <class Problem>
const ConvVariant<Problem>& choose_conv(const ConvShape& shape);

// Runs a variant, or where it is null the one of choose_conv, on up to `threads` threads. Any extents, zero included.
template <class Problem>
void convolve(const Problem& problem, const ConvVariant<Problem>* variant, int threads);

}  // namespace dlkit
