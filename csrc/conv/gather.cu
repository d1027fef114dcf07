// What stands around the kernels that gather: packing of weights before, sums of slices after.
//
// pack_weights reads each weight once and writes it once, lanes along rows: a warp's 32 loads are weight_row elements
// apart, a sector each, so that it moves 9 times the weights' bytes where they are not in the second-level cache; 590
// KB of a 3x3 of 128 channels take about 2 us, most of it the launch. sum_slices: one FLOP for 4 bytes, bound by the
// cache where the partial sums still are. Both: 30 registers, 64 warps a multiprocessor.
#include "conv/device_ladder.h"
#include "conv/gather.h"
#include "conv/weight_gradient.h"

namespace dlkit::device {
namespace {

constexpr int kNowhere = -(1 << 30);

// Block row y of the grid packs phase y: weights and, by the first of its blocks, the table.
template <class Element>
__global__ void __launch_bounds__(kConvThreads)
    pack_weights_kernel(ConvGather g, const real<float>* weight, Element* packed, ConvTap* taps) {
  const ConvPhase& phase = g.phase[blockIdx.y];
  const int padded = (phase.depth + kPackedDepth - 1) / kPackedDepth * kPackedDepth;
  const int taps_in = phase.taps_down * phase.taps_across;
  const Index at = conv_thread();
  if (at < padded) {
    const int k = static_cast<int>(at);
    ConvTap entry = {0, kNowhere, kNowhere, 0};
    if (k < phase.depth) {
      const int channel = k / taps_in, t = k % taps_in / phase.taps_across, s = k % phase.taps_across;
      entry.row = t * g.tap_row_step;
      entry.col = s * g.tap_col_step;
      entry.offset = (channel * g.in_h + entry.row) * g.in_w + entry.col;
    }
    taps[phase.first_tap + k] = entry;
  }
  if (at >= static_cast<Index>(padded) * g.rows_padded * g.groups) return;
  const int row = static_cast<int>(at % g.rows_padded);
  const Index rest = at / g.rows_padded;
  const int k = static_cast<int>(rest % padded), group = static_cast<int>(rest / padded);
  real<float> value(0);
  if (k < phase.depth && row < g.rows) {
    const int channel = k / taps_in, t = k % taps_in / phase.taps_across, s = k % phase.taps_across;
    value = weight[group * g.weight_group + row * g.weight_row + channel * g.weight_channel +
                   (phase.u + t * g.u_step) * g.kernel_w + phase.v + s * g.v_step];
  }
  packed[phase.first_weight + at] = convert<Element>(value);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads) sum_slices_kernel(SliceSum sum) {
  const Index i = conv_thread();
  if (i >= sum.count) return;
  const T* from = static_cast<const T*>(sum.partial) + i;
  T total(0);
#pragma unroll 4
  for (int s = 0; s < sum.slices; ++s) {
    total += *from;
    from += sum.slice;
  }
  if (sum.bias != nullptr) total += static_cast<const T*>(sum.bias)[i / sum.plane % sum.channels];
  T* const out = static_cast<T*>(sum.out) + i;
  *out = sum.accumulate ? *out + total : conv_relu(total, sum.relu);
}

}  // namespace

template <class Element>
void pack_weights(const ConvGather& g, const DeviceConv& p, Element* packed, ConvTap* taps) {
  const Index most =
      static_cast<Index>((g.most_depth() + kPackedDepth - 1) / kPackedDepth * kPackedDepth) * g.rows_padded * g.groups;
  if (most == 0) return;
  LaunchShape shape = one_each("pack_weights", most);
  shape.grid.y = static_cast<unsigned>(g.phases);
  launch("pack_weights", pack_weights_kernel<Element>, shape, p.stream, g, static_cast<const real<float>*>(p.weight),
         packed, taps);
}

template void pack_weights(const ConvGather&, const DeviceConv&, real<float>*, ConvTap*);
template void pack_weights(const ConvGather&, const DeviceConv&, bfloat16*, ConvTap*);

template <class T>
void sum_slices(const SliceSum& sum, void* stream) {
  launch("sum_slices", sum_slices_kernel<T>, one_each("sum_slices", sum.count), stream, sum);
}

void finish_weight_gradient(const DeviceConv& p, const WeightGradient& w) {
  if (w.slices == 1) return;
  const Index weights = p.shape.filters * p.shape.depth();
  sum_slices<real<float>>({w.out, w.slices, weights, w.out_slice, nullptr, 1, 1, false, p.accumulate, p.out}, p.stream);
  if (w.with_bias)
    sum_slices<real<float>>(
        {w.out_bias, w.slices, p.shape.filters, w.out_slice, nullptr, 1, 1, false, p.accumulate, p.out_bias}, p.stream);
}

template void sum_slices<real<float>>(const SliceSum&, void*);
template void sum_slices<real<double>>(const SliceSum&, void*);

}  // namespace dlkit::device
