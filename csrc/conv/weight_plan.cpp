// The gradient to the weights: numbers for its kernels, tile and slices.
#include "conv/weight_gradient.h"

namespace dlkit::device {
namespace {

// Weights and, where it is asked for, the bias; a multiple of 4, for packs.
Index slice_elements(const DeviceConv& p) { return (p.shape.filters * (p.shape.depth() + 1) + 3) / 4 * 4; }

}  // namespace

ConvPlan plan_weight_gradient(const DeviceConv& p, const TileFamily& family) {
  const ConvShape& s = p.shape;
  return plan_conv(s.group_filters(), s.depth(), s.n * s.out_size(), s.groups,
                   static_cast<std::size_t>(slice_elements(p)) * sizeof(float), family, p.tile);
}

std::size_t weight_gradient_workspace(const DeviceConv& p, const TileFamily& family) {
  const int slices = plan_weight_gradient(p, family).slices.count;
  return slices == 1 ? 0 : static_cast<std::size_t>(slices * slice_elements(p)) * sizeof(float);
}

WeightGradient weight_gradient(const DeviceConv& p, const ConvPlan& plan) {
  const ConvShape& s = p.shape;
  const bool split = plan.slices.count > 1;
  WeightGradient w = {};
  w.grad = p.grad;
  w.x = p.x;
  w.out = split ? p.workspace : p.out;
  w.out_slice = split ? slice_elements(p) : 0;
  w.slices = plan.slices.count;
  w.slice_depth = plan.slices.depth;
  w.with_bias = p.out_bias != nullptr;
  w.out_bias = split ? static_cast<float*>(p.workspace) + s.filters * s.depth() : p.out_bias;
  w.accumulate = p.accumulate && !split;
  w.n = static_cast<int>(s.n);
  w.filters = static_cast<int>(s.group_filters());
  w.channels = static_cast<int>(s.group_channels());
  w.columns = static_cast<int>(s.depth());
  w.in_h = static_cast<int>(s.height);
  w.in_w = static_cast<int>(s.width);
  w.out_h = static_cast<int>(s.out_h);
  w.out_w = static_cast<int>(s.out_w);
  w.kernel_w = static_cast<int>(s.kernel_w);
  w.stride_h = static_cast<int>(s.stride_h);
  w.stride_w = static_cast<int>(s.stride_w);
  w.dilation_h = static_cast<int>(s.dilation_h);
  w.dilation_w = static_cast<int>(s.dilation_w);
  w.top = static_cast<int>(s.pad_top);
  w.left = static_cast<int>(s.pad_left);
  w.groups = static_cast<int>(s.groups);
  w.places = static_cast<int>(s.n * s.out_size());
  w.by_image = Divisor(s.out_size());
  w.by_row = Divisor(s.out_w);
  w.by_kernel = Divisor(s.kernel_size());
  w.by_kernel_row = Divisor(s.kernel_w);
  return w;
}

}  // namespace dlkit::device
