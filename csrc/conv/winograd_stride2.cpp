// The weight at the points, and strips of output rows as tasks.
#include "conv/winograd_stride2.h"

#include <algorithm>

#include "core/scratch.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr Index kStripBytes = Index{320} << 10;  // about; a third of a second-level cache
constexpr double kMostBytes = 1 << 20;           // of the lines that one row of the output reads
constexpr double kWorthThread = 1 << 18;         // operations

const Stride2Table& table() { return DLKIT_SELECT_BEYOND_BASELINE(stride2_table); }

// Planes of all points.
double planes_of(const ConvShape& s) {
  return static_cast<double>(kStride2Outputs + stride2_taps(s) - 1) * 2 * static_cast<double>(s.channels * s.stride_h);
}

// Bytes of the planes of a strip of `rows` rows.
double strip_bytes(const ConvShape& s, double rows, double item) {
  const double tiles = static_cast<double>(divide_up(s.out_w, kStride2Outputs));
  return planes_of(s) * (rows + static_cast<double>(Stride2Strip::shift(s))) * tiles * item;
}

template <class T>
Index packed_size(const ConvShape& s, const Stride2Strip& strip) {
  const Index points = kStride2Outputs + stride2_taps(s) - 1;
  return s.filters * ((points - 1) * strip.depth(false) + strip.depth(true));
}

// The weight of every point, filters side by side, a tile of them after the other.
template <class T, int Taps>
void pack(const ConvForward<T>& p, const Stride2Strip& strip, Index most_rows, T* to) {
  static constexpr Stride2Transform<Taps> kTransform;
  const ConvShape& s = p.shape;
  const EvenSplit tiles(s.filters, most_rows);
  for (int point = 0; point < kTransform.points; ++point) {
    const Index depth = strip.depth(point + 1 == kTransform.points);
    for (Index tile = 0; tile < tiles.parts; ++tile)
      for (Index k = 0; k < depth; ++k)
        for (Index i = 0; i < tiles.size(tile); ++i) {
          const Index line = (tiles.begin(tile) + i) * strip.short_depth + k % strip.short_depth;
          const T* const row = p.weight + line * s.kernel_w;
          T sum = 0;
          for (Index tap = 0, v = k / strip.short_depth; v < s.kernel_w; ++tap, v += 2)
            sum += static_cast<T>(kTransform.weight[point][tap]) * row[v];
          *to++ = sum;
        }
  }
}

template <class T>
Stride2Strip strip_of(const ConvShape& s, Index parts_wanted) {
  return {s, sizeof(T), table().get(T()).lanes, parts_wanted};
}

}  // namespace

Stride2Strip::Stride2Strip(const ConvShape& s, Index item, Index lanes, Index parts_wanted)
    : tiles(divide_up(s.out_w, kStride2Outputs)) {
  const double one = strip_bytes(s, 1, static_cast<double>(item));
  const double more = strip_bytes(s, 2, static_cast<double>(item)) - one;
  const double fit = (static_cast<double>(kStripBytes) - one) / more + 1;
  const Index most = fit < 1 ? 1 : fit > static_cast<double>(s.out_h) ? s.out_h : static_cast<Index>(fit);
  rows = divide_up(s.out_h, std::max(divide_up(s.out_h, most), std::min(parts_wanted, s.out_h)));
  parts = divide_up(s.out_h, rows);
  // A register more than the lines: what is written past a line's end, and read past the last one's.
  plane = (rows + shift(s)) * tiles + 2 * lanes;
  point = 2 * s.channels * s.stride_h * plane;
  columns = divide_up(tiles + 1, lanes) * lanes + lanes;
  short_depth = s.channels * s.kernel_h;
  odd_is_shorter = s.kernel_w % 2 == 1;
}

template <class T>
void conv_winograd_stride2(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const auto& kernels = table().get(T());
  const Index useful = std::clamp<Index>(static_cast<Index>(s.flops() / kWorthThread), 1, threads);
  const Stride2Strip strip = strip_of<T>(s, divide_up(useful, s.n));
  const bool four = stride2_taps(s) == 4;
  T* const packed = scratch<T>(Slot::pack_a, static_cast<std::size_t>(packed_size<T>(s, strip)));
  four ? pack<T, 4>(p, strip, kernels.most_rows, packed) : pack<T, 3>(p, strip, kernels.most_rows, packed);
  const Index units = s.n * strip.parts;
  const int tasks = static_cast<int>(std::min(units, useful == 1 ? Index{1} : 4 * useful));
  parallel_for(
      tasks,
      [&](int task) {
        kernels.forward[four ? 1 : 0](p, strip, packed, units * task / tasks, units * (task + 1) / tasks);
      },
      static_cast<int>(useful));
}

bool takes_winograd_stride2(const ConvShape& s) {
  return beyond_baseline() && s.groups == 1 && s.stride_w == 2 && s.dilation_w == 1 && s.kernel_w >= 5 &&
         s.kernel_w <= 8 && s.channels >= 1 && strip_bytes(s, 1, sizeof(double)) <= kMostBytes;
}

// In multiply-adds of a register, as measured: a sum of a tile is begun and ended, or turned into outputs, in about so
// many; a row of the image is brought to its points in kRow for each register of tiles.
template <class T>
bool winograd_stride2_pays(const ConvShape& s) {
  // With more channels the weight at all points leaves the cache between two panels.
  constexpr Index kMostChannels = 16;
  constexpr double kEfficiency = 0.87, kDirectEnds = 6, kEnds = 12, kRow = 300, kAhead = 0.95;
  if (!takes_winograd_stride2(s) || s.channels > kMostChannels) return false;
  const Stride2Strip strip = strip_of<T>(s, 1);
  const Index lanes = table().get(T()).lanes, points = kStride2Outputs + stride2_taps(s) - 1;
  const double n = static_cast<double>(s.n), filters = static_cast<double>(s.filters);
  const double registers = n * filters * static_cast<double>(s.out_size()) / static_cast<double>(lanes);
  const double wider = static_cast<double>(kStride2Outputs * strip.tiles) / static_cast<double>(s.out_w);
  const double products = static_cast<double>((points - 1) * strip.depth(false) + strip.depth(true)) / kStride2Outputs;
  const double rows = n * static_cast<double>(strip.parts * (strip.rows + Stride2Strip::shift(s)) * s.stride_h) *
                      static_cast<double>(s.channels * divide_up(strip.tiles, lanes));
  const double direct = registers * (static_cast<double>(s.depth()) / kEfficiency + kDirectEnds);
  return registers * wider * (products / kEfficiency + kEnds) + rows * kRow < kAhead * direct;
}

template <class T>
std::size_t winograd_stride2_scratch(const ConvShape& s) {
  const Stride2Strip strip = strip_of<T>(s, 1);
  const auto& kernels = table().get(T());
  const Index points = kStride2Outputs + stride2_taps(s) - 1;
  const Index elements =
      packed_size<T>(s, strip) + points * (strip.point + kernels.most_rows * 2 * kernels.lanes) + 24 * strip.columns;
  return static_cast<std::size_t>(elements) * sizeof(T) +
         static_cast<std::size_t>(2 * strip.short_depth) * sizeof(Index);
}

#define DLKIT_INSTANTIATE(T)                                       \
  template void conv_winograd_stride2(const ConvForward<T>&, int); \
  template bool winograd_stride2_pays<T>(const ConvShape&);        \
  template std::size_t winograd_stride2_scratch<T>(const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
