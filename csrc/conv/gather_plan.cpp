// A convolution, or its gradient to the input, as a gather; and which tile, in how many slices.
#include <algorithm>
#include <numeric>

#include "conv/gather.h"

namespace dlkit::device {
namespace {

constexpr Index kMost = Index{1} << 30;

template <class... Sizes>
bool small(Sizes... sizes) {
  Index product = 1;
  return ((!__builtin_mul_overflow(product, static_cast<Index>(sizes), &product) && product < kMost) && ...);
}

// One axis of a phase: which taps, and what they read.
struct AxisPhase {
  int places, out, source, taps, tap;
};

AxisPhase axis_phase(Index phase, Index extent, Index pad, Index kernel, Index stride, Index dilation) {
  const Index step = stride / std::gcd(stride, dilation);
  AxisPhase axis = {static_cast<int>((extent - phase + stride - 1) / stride), static_cast<int>(phase), 0, 0, 0};
  for (Index u = 0; u < std::min(step, kernel); ++u)
    if ((phase + pad - u * dilation) % stride == 0) {
      axis.source = static_cast<int>((phase + pad - u * dilation) / stride);
      axis.taps = static_cast<int>((kernel - 1 - u) / step + 1);
      axis.tap = static_cast<int>(u);
      break;
    }
  return axis;
}

}  // namespace

int ConvGather::most_places() const {
  int most = 0;
  for (int i = 0; i < phases; ++i) most = std::max(most, n * phase[i].down * phase[i].across);
  return most;
}

int ConvGather::most_depth() const {
  int most = 0;
  for (int i = 0; i < phases; ++i) most = std::max(most, phase[i].depth);
  return most;
}

bool fits_ints(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  const Index reach_h = (s.kernel_h - 1) * s.dilation_h + 1, reach_w = (s.kernel_w - 1) * s.dilation_w + 1;
  return small(s.n, s.out_h, s.out_w) && small(s.n, s.height, s.width) &&
         small(s.group_channels() + 1, s.height + reach_h, s.width + reach_w) &&
         small(s.group_filters() + 1, s.out_h + reach_h, s.out_w + reach_w) &&
         small(s.group_filters() + kPackedRows, s.depth() + kPackedDepth) &&
         small(s.group_channels() + kPackedRows, s.group_filters() * s.kernel_size() + kPackedDepth) &&
         small((s.out_h - 1) * s.stride_h + reach_h + s.pad_top) &&
         small((s.out_w - 1) * s.stride_w + reach_w + s.pad_left) && small(s.stride_h) && small(s.stride_w);
}

bool fits_tiles(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  return p.type == DeviceType::float32 && s.groups <= 65535 / kMostPhases && fits_ints(p) &&
         (p.operation != ConvOperation::backward_input || s.stride_h * s.stride_w <= kMostPhases);
}

bool fits_depthwise(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  return s.group_channels() == 1 && fits_ints(p) && small(s.n, s.filters, s.out_h, s.out_w) &&
         small(s.n, s.channels, s.height, s.width) && s.pad_top < kMost && s.pad_left < kMost;
}

ConvGather conv_gather(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  const Index kernel = s.kernel_size();
  ConvGather g = {};
  g.n = static_cast<int>(s.n);
  g.groups = static_cast<int>(s.groups);
  g.kernel_w = static_cast<int>(s.kernel_w);
  g.weight_group = s.group_filters() * s.depth();
  if (p.operation == ConvOperation::forward) {
    g.channels = static_cast<int>(s.group_channels());
    g.rows = static_cast<int>(s.group_filters());
    g.in_h = static_cast<int>(s.height);
    g.in_w = static_cast<int>(s.width);
    g.out_h = static_cast<int>(s.out_h);
    g.out_w = static_cast<int>(s.out_w);
    g.row_step = static_cast<int>(s.stride_h);
    g.col_step = static_cast<int>(s.stride_w);
    g.tap_row_step = static_cast<int>(s.dilation_h);
    g.tap_col_step = static_cast<int>(s.dilation_w);
    g.out_row_step = g.out_col_step = g.u_step = g.v_step = 1;
    g.weight_row = s.depth();
    g.weight_channel = kernel;
    g.phases = 1;
    ConvPhase& phase = g.phase[0];
    phase.down = g.out_h;
    phase.across = g.out_w;
    phase.row = -static_cast<int>(s.pad_top);
    phase.col = -static_cast<int>(s.pad_left);
    phase.taps_down = static_cast<int>(s.kernel_h);
    phase.taps_across = static_cast<int>(s.kernel_w);
  } else {
    const Index common_h = std::gcd(s.stride_h, s.dilation_h), common_w = std::gcd(s.stride_w, s.dilation_w);
    g.channels = static_cast<int>(s.group_filters());
    g.rows = static_cast<int>(s.group_channels());
    g.in_h = static_cast<int>(s.out_h);
    g.in_w = static_cast<int>(s.out_w);
    g.out_h = static_cast<int>(s.height);
    g.out_w = static_cast<int>(s.width);
    g.row_step = g.col_step = 1;
    g.tap_row_step = -static_cast<int>(s.dilation_h / common_h);
    g.tap_col_step = -static_cast<int>(s.dilation_w / common_w);
    g.out_row_step = static_cast<int>(s.stride_h);
    g.out_col_step = static_cast<int>(s.stride_w);
    g.u_step = static_cast<int>(s.stride_h / common_h);
    g.v_step = static_cast<int>(s.stride_w / common_w);
    g.weight_row = kernel;
    g.weight_channel = s.depth();
    for (Index a = 0; a < std::min(s.stride_h, s.height); ++a)
      for (Index b = 0; b < std::min(s.stride_w, s.width); ++b) {
        const AxisPhase down = axis_phase(a, s.height, s.pad_top, s.kernel_h, s.stride_h, s.dilation_h);
        const AxisPhase across = axis_phase(b, s.width, s.pad_left, s.kernel_w, s.stride_w, s.dilation_w);
        ConvPhase& phase = g.phase[g.phases++];
        phase.down = down.places;
        phase.across = across.places;
        phase.out_row = down.out;
        phase.out_col = across.out;
        phase.row = down.source;
        phase.col = across.source;
        phase.taps_down = down.taps;
        phase.taps_across = across.taps;
        phase.u = down.tap;
        phase.v = across.tap;
      }
  }
  g.rows_padded = (g.rows + kPackedRows - 1) / kPackedRows * kPackedRows;
  for (int i = 0; i < g.phases; ++i) {
    ConvPhase& phase = g.phase[i];
    phase.by_image = Divisor(static_cast<Index>(phase.down) * phase.across);
    phase.by_row = Divisor(phase.across);
    phase.depth = g.channels * phase.taps_down * phase.taps_across;
    phase.first_tap = g.packed_taps;
    phase.first_weight = g.packed_weights;
    const int padded = (phase.depth + kPackedDepth - 1) / kPackedDepth * kPackedDepth;
    g.packed_taps += padded;
    g.packed_weights += static_cast<Index>(padded) * g.rows_padded * g.groups;
  }
  return g;
}

ConvPlan plan_conv(Index rows, Index cols, Index depth, Index count, std::size_t slice_bytes, const TileFamily& family,
                   int tile) {
  DeviceMatmul p = {};
  p.m = rows;
  p.n = cols;
  p.k = depth;
  p.batch = count;
  p.tile = tile;
  const TilePlan whole = plan_tiles(p, family, false);
  // Slices take memory, so that they have to gain something, and 64 MB are enough.
  constexpr double kGain = 0.9;
  constexpr std::size_t kMostBytes = std::size_t{64} << 20;
  const TilePlan split = plan_tiles(p, family, true);
  if (split.slices.count < 2 || split.cycles > kGain * whole.cycles ||
      static_cast<std::size_t>(split.slices.count) * slice_bytes > kMostBytes)
    return {whole.tile, {1, static_cast<int>((depth + family.depth - 1) / family.depth) * family.depth}, whole.cycles};
  return {split.tile, split.slices, split.cycles};
}

ConvPlan plan_gather(const DeviceConv& p, const ConvGather& g, const TileFamily& family) {
  return plan_conv(g.rows, g.most_places(), g.most_depth(), static_cast<Index>(g.groups) * g.phases,
                   static_cast<std::size_t>(g.result()) * sizeof(float), family, p.tile);
}

GatherWorkspace::GatherWorkspace(const ConvGather& gather, std::size_t element, int slices) {
  const auto up = [](std::size_t size) { return (size + 255) / 256 * 256; };
  weights = up(static_cast<std::size_t>(gather.packed_taps) * sizeof(ConvTap));
  partial = weights + up(static_cast<std::size_t>(gather.packed_weights) * element);
  bytes = partial + (slices > 1 ? static_cast<std::size_t>(slices * gather.result()) * sizeof(float) : 0);
}

}  // namespace dlkit::device
