// The gradient to the weights as a matrix product: rows are a group's filters, columns its channels and taps, and the
// sum goes over the places of all images, of which the gradient is read as it is and the image is gathered.
//
// A thread copies elements of few places, for which it finds image, row and column once a panel by two quick divisions,
// and of the same columns all the time, whose channel and tap stay in registers. Places are cut into slices where there
// are too few tiles for the machine; the slices' sums are added up in order, by no atomics: the same bits every time.
#pragma once

#include "conv/gather.h"

namespace dlkit::device {

struct WeightGradient {
  const void* grad;
  const void* x;
  void* out;  // of slice 0
  Index out_slice;
  int slices, slice_depth;
  bool accumulate, with_bias;
  int n, filters, channels, columns;  // filters and channels of a group; columns: channels times taps
  int in_h, in_w, out_h, out_w, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left, groups;
  int places;  // of all images
  Divisor by_image = Divisor(1), by_row = Divisor(1), by_kernel = Divisor(1), by_kernel_row = Divisor(1);
  void* out_bias;  // likewise
};

// Where its problem's kernels work: slices of the weights' gradient, each followed by one of the bias'.
WeightGradient weight_gradient(const DeviceConv& problem, const ConvPlan& plan);
ConvPlan plan_weight_gradient(const DeviceConv& problem, const TileFamily& family);
std::size_t weight_gradient_workspace(const DeviceConv& problem, const TileFamily& family);
// After the kernel: adds up the slices.
void finish_weight_gradient(const DeviceConv& problem, const WeightGradient& w);

}  // namespace dlkit::device
