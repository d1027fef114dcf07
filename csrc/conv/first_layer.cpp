// Strips of output rows as tasks, and how high they are.
#include "conv/first_layer.h"

#include <algorithm>
#include <numeric>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {
namespace {

constexpr Index kStripBytes = Index{320} << 10;  // about; a third of a second-level cache
constexpr double kMostBytes = 1 << 20;           // of the lines that one row of the output reads
constexpr double kWorthThread = 1 << 18;         // operations

const FirstLayerTable& table() { return DLKIT_SELECT(first_layer_table); }

// Whether registers are of 64 bytes, as AVX-512 has them.
template <class T>
bool wide() {
  return table().get(T()).lanes * static_cast<Index>(sizeof(T)) == 64;
}

// Bytes of the planes of a strip of `rows` rows.
double strip_bytes(const ConvShape& s, double rows, double item) {
  return static_cast<double>(s.channels * s.kernel_w * s.stride_h) *
         (rows + static_cast<double>(FirstLayerStrip::shift(s))) * static_cast<double>(s.out_w) * item;
}

}  // namespace

FirstLayerStrip::FirstLayerStrip(const ConvShape& s, Index item, Index parts_wanted) {
  const double one = strip_bytes(s, 1, static_cast<double>(item));
  const double more = strip_bytes(s, 2, static_cast<double>(item)) - one;
  const double fit = (static_cast<double>(kStripBytes) - one) / more + 1;
  const Index most = fit < 1 ? 1 : fit > static_cast<double>(s.out_h) ? s.out_h : static_cast<Index>(fit);
  rows = divide_up(s.out_h, std::max(divide_up(s.out_h, most), std::min(parts_wanted, s.out_h)));
  parts = divide_up(s.out_h, rows);
  plane = (rows + shift(s)) * s.out_w;
  size = s.channels * s.kernel_w * s.stride_h * plane + kFirstLayerSlack;
}

template <class T>
void conv_first_layer(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index useful = std::clamp<Index>(static_cast<Index>(s.flops() / kWorthThread), 1, threads);
  const FirstLayerStrip strip(s, sizeof(T), divide_up(useful, s.n));
  T* const packed = scratch<T>(Slot::pack_a, static_cast<std::size_t>(s.filters * s.depth()));
  table().get(T()).pack(p, packed);
  const Index units = s.n * strip.parts;
  const int tasks = static_cast<int>(std::min(units, useful == 1 ? Index{1} : 4 * useful));
  parallel_for(
      tasks,
      [&](int task) { table().get(T()).forward(p, strip, packed, units * task / tasks, units * (task + 1) / tasks); },
      static_cast<int>(useful));
}

template <class T>
void conv_first_layer(const ConvBackwardWeight<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const auto& kernels = table().get(T());
  const Index useful = std::clamp<Index>(static_cast<Index>(s.flops() / kWorthThread), 1, threads);
  const FirstLayerStrip strip(s, sizeof(T), divide_up(useful, s.n));
  const Index units = s.n * strip.parts, tasks = std::min(units, useful);
  const Index size = s.filters * (s.depth() + 1) * kernels.lanes;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(tasks * size));
  parallel_for(
      static_cast<int>(tasks),
      [&](int task) {
        kernels.accumulate(p, strip, units * task / tasks, units * (task + 1) / tasks, sums + task * size);
      },
      static_cast<int>(useful));
  kernels.finish(p, sums, tasks);
}

bool takes_first_layer(const ConvShape& s) {
  return s.groups == 1 && s.channels >= 1 && s.channels <= kFirstLayerChannels &&
         strip_bytes(s, 1, sizeof(double)) <= kMostBytes;
}

template <class T>
bool first_layer_pays(const ConvShape& s) {
  if (!takes_first_layer(s)) return false;
  constexpr Index kLanes = 64 / sizeof(T);
  // Without masked loads implicit GEMM copies every panel before it multiplies.
  if (!wide<T>() && s.channels <= 4 && s.depth() <= 256) return true;
  const Index pixels = s.out_size(), lanes = divide_up(pixels, kLanes) * kLanes;
  // Short sums, for which a panel of implicit GEMM is not worth its beginning.
  if (s.channels <= 4 && s.depth() <= (pixels >= 16 * kLanes ? 64 : 32)) return true;
  // Rows so short that a register has pixels of three, which implicit GEMM copies before it multiplies.
  return s.depth() >= 96 && s.depth() <= 256 && s.out_w + std::gcd(s.out_w, kLanes) < kLanes && 7 * lanes < 8 * pixels;
}

template <class T>
std::size_t first_layer_scratch(const ConvShape& s) {
  const FirstLayerStrip strip(s, sizeof(T), 1);
  return static_cast<std::size_t>(s.filters * s.depth() + strip.size) * sizeof(T) +
         static_cast<std::size_t>(s.depth()) * sizeof(Index);
}

template <class T>
bool first_layer_pays_by_weight(const ConvShape& s) {
  constexpr Index kPixels = 16 * 64 / sizeof(T);
  return takes_first_layer(s) && s.channels <= (wide<T>() ? 4 : 2) && s.depth() >= 16 && s.depth() <= 64 &&
         s.out_size() >= kPixels;
}

template <class T>
std::size_t first_layer_weight_scratch(const ConvShape& s) {
  const Index sums = s.filters * (s.depth() + 1) * table().get(T()).lanes;
  return static_cast<std::size_t>(sums + FirstLayerStrip(s, sizeof(T), 1).size) * sizeof(T) +
         static_cast<std::size_t>(s.depth()) * sizeof(Index);
}

#define DLKIT_INSTANTIATE(T)                                            \
  template void conv_first_layer(const ConvBackwardWeight<T>&, int);    \
  template bool first_layer_pays_by_weight<T>(const ConvShape&);        \
  template std::size_t first_layer_weight_scratch<T>(const ConvShape&); \
  template void conv_first_layer(const ConvForward<T>&, int);           \
  template bool first_layer_pays<T>(const ConvShape&);                  \
  template std::size_t first_layer_scratch<T>(const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
