// Images in parallel, each thread with sums of its own, and when it pays.
#include "conv/conv_pool_grads.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "core/scratch.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr double kMostBytes = 1 << 20;  // of the pieces of an image

const UnpoolTable& table() { return DLKIT_SELECT(unpool_table); }

double real(Index n) { return static_cast<double>(n); }

// Cycles of a multiply-add of a register: those of less than 64 bytes go two at a time.
template <class T>
double fma_cycles() {
  return table().get(T()).lanes * static_cast<Index>(sizeof(T)) < 64 ? 0.6 : 1;
}

// Cycles for an image: `pieces` registers for each element of the pooled output, and what else happens to it.
template <class T>
double sparse_cycles(const ConvShape& s, const PoolShape& p, double registers, double beside) {
  constexpr double kFma = 1.3, kEntry = 14;
  return real(s.filters * p.out_size()) * (registers * kFma * fma_cycles<T>() + kEntry) + beside;
}

// Of the convolution's gradient as it is by default, and the gradient of the pooling before it.
template <class Problem, class T>
double dense_cycles(const ConvShape& s) {
  const bool winograd = std::string_view(choose_conv<Problem>(s).name).substr(0, 8) == "winograd";
  const double lanes = real(table().get(T()).lanes);
  const double products = real(s.filters * s.out_size()) * real(s.depth()) / lanes;
  return products * (winograd ? 0.5 : 1.25) * fma_cycles<T>() + real(s.filters * s.out_size()) / lanes * 4;
}

}  // namespace

bool takes_unpool(const ConvShape& s, const PoolShape& p) {
  if (s.groups != 1 || s.dilation_w != 1 || s.flops() == 0 || s.in_size() == 0 || p.kernel_h > kMostPlaces ||
      p.taps() > kMostPlaces)
    return false;
  constexpr Index kLanes = 16;
  const double rows = real(s.out_h - 1) * real(s.stride_h) + real(s.kernel_h - 1) * real(s.dilation_h) + 1;
  const double cols = real(s.out_w - 1) * real(s.stride_w) + real(s.kernel_w), run = real(s.kernel_w * s.channels);
  return rows * cols * real(s.channels) * sizeof(double) <= kMostBytes &&
         rows * real(s.out_w) * (run + kLanes) * sizeof(double) <= 2 * kMostBytes &&
         real(s.out_size()) * (run * real(s.kernel_h) + kLanes) * sizeof(double) <= 8 * kMostBytes;
}

template <class T>
bool unpool_pays_by_input(const ConvShape& s, const PoolShape& p) {
  if (!takes_unpool(s, p)) return false;
  const Index lanes = table().get(T()).lanes;
  const UnpoolLayout layout(s, lanes);
  const double registers = real(s.kernel_h * layout.weight_width) / real(lanes);
  const double beside = real(s.out_size()) * registers * 3 + 2 * real(s.channels * s.in_size());
  return sparse_cycles<T>(s, p, registers, beside) < dense_cycles<ConvBackwardInput<T>, T>(s);
}

template <class T>
bool unpool_pays_by_weight(const ConvShape& s, const PoolShape& p) {
  if (!takes_unpool(s, p)) return false;
  const Index lanes = table().get(T()).lanes;
  const UnpoolLayout layout(s, lanes);
  const double registers = real(layout.segments * layout.width) / real(lanes);
  const double pieces = layout.whole ? real(s.out_size() * s.kernel_h) : real(layout.rows * s.out_w);
  const double beside = pieces * real(layout.weight_width) / real(lanes) * 3 + 2 * real(s.channels * s.in_size());
  return sparse_cycles<T>(s, p, registers, beside) < dense_cycles<ConvBackwardWeight<T>, T>(s);
}

template <class T>
void conv_unpool(const ConvMaxPoolBackwardInput<T>& p, int threads) {
  const auto& kernels = table().get(T());
  const ConvShape& s = p.conv;
  const UnpoolLayout layout(s, kernels.lanes);
  T* const packed = scratch<T>(Slot::pack_a, static_cast<std::size_t>(s.filters * s.kernel_h * layout.weight_width));
  kernels.pack(s, layout, p.weight, packed);
  const int tasks = static_cast<int>(std::min<Index>(s.n, threads == 1 ? 1 : 4 * threads));
  parallel_for(
      tasks, [&](int task) { kernels.input(p, layout, packed, s.n * task / tasks, s.n * (task + 1) / tasks); },
      threads);
}

template <class T>
void conv_unpool(const ConvMaxPoolBackwardWeight<T>& p, int threads) {
  const auto& kernels = table().get(T());
  const ConvShape& s = p.conv;
  const UnpoolLayout layout(s, kernels.lanes);
  const int tasks = static_cast<int>(std::min<Index>(s.n, threads));
  const Index size = s.filters * layout.segments * layout.width, stride = size + s.filters;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(stride * tasks));
  std::fill(sums, sums + stride * tasks, T(0));
  parallel_for(
      tasks,
      [&](int task) {
        kernels.weight(p, layout, s.n * task / tasks, s.n * (task + 1) / tasks, sums + task * stride,
                       p.dbias != nullptr ? sums + task * stride + size : nullptr);
      },
      threads);
  for (int task = 1; task < tasks; ++task)
    for (Index i = 0; i < stride; ++i) sums[i] += sums[task * stride + i];
  // From (filter, row, column, channel) to (filter, channel, row, column).
  for (Index f = 0; f < s.filters; ++f)
    for (Index c = 0; c < s.channels; ++c)
      for (Index u = 0; u < s.kernel_h; ++u) {
        const T* const from =
            sums + f * layout.segments * layout.width + (layout.whole ? u * layout.run : u * layout.width) + c;
        T* const to = p.dweight + ((f * s.channels + c) * s.kernel_h + u) * s.kernel_w;
        for (Index v = 0; v < s.kernel_w; ++v)
          to[v] = p.accumulate ? to[v] + from[v * s.channels] : from[v * s.channels];
      }
  if (p.dbias != nullptr)
    for (Index f = 0; f < s.filters; ++f) p.dbias[f] = p.accumulate ? p.dbias[f] + sums[size + f] : sums[size + f];
}

#define DLKIT_INSTANTIATE(T)                                                  \
  template bool unpool_pays_by_input<T>(const ConvShape&, const PoolShape&);  \
  template bool unpool_pays_by_weight<T>(const ConvShape&, const PoolShape&); \
  template void conv_unpool(const ConvMaxPoolBackwardInput<T>&, int);         \
  template void conv_unpool(const ConvMaxPoolBackwardWeight<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
