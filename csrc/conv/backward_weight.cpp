// Units and threads of the weight gradient.
//
// A unit has enough pixels that reading and writing the sums costs little beside them, and few enough that what it
// reads stays in the second-level cache. Threads share out the units, each with sums of its own, which are added up in
// order at the end; or, where there are few units or many sums, the rows of the tiles. Which of the two, is a matter of
// estimated cycles, not of timing: the same number of threads gives the same bits.
#include "conv/backward_weight.h"

#include <algorithm>

#include "core/scratch.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr Index kWindow = 96 * 1024;    // elements of a unit's window of all channels
constexpr Index kNarrow = 1024;         // columns of the output that are never cut
constexpr Index kMostWindow = 1 << 22;  // of the smallest unit's: beyond it other variants take less memory

Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

const WeightTable& filter_vectors() { return DLKIT_SELECT(filter_vectors_table); }
const WeightTable& channel_vectors() { return DLKIT_SELECT(channel_vectors_table); }
const WeightTable& pixel_vectors() { return DLKIT_SELECT(pixel_vectors_table); }

// A kernel of one element that moves by one reads the image as one long row.
ConvShape flattened(ConvShape s) {
  const bool plain = s.kernel_size() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0;
  if (!plain || s.out_h != s.height || s.out_w != s.width) return s;
  s.width = s.out_w = s.in_size();
  s.height = s.out_h = 1;
  return s;
}

Index reach(Index outputs, Index stride, Index kernel, Index dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

// Elements of x that so many rows and columns of the output read, of all channels of a group.
Index window(const ConvShape& s, Index rows, Index cols) {
  return s.group_channels() * reach(rows, s.stride_h, s.kernel_h, s.dilation_h) *
         reach(cols, s.stride_w, s.kernel_w, s.dilation_w);
}

WeightUnits cut(const ConvShape& s, Index pixels) {
  WeightUnits units{1, 1, 1, 0};
  if (s.out_w > kNarrow) units.col_parts = divide_up(s.out_w, kNarrow);
  const Index cols = divide_up(s.out_w, units.col_parts);
  Index rows = std::clamp<Index>(pixels / cols, 1, s.out_h);
  while (rows > 1 && window(s, rows, cols) > kWindow) --rows;
  units.row_parts = divide_up(s.out_h, rows);
  if (units.row_parts == 1 && units.col_parts == 1)
    units.images = std::clamp<Index>(std::min(pixels / s.out_size(), kWindow / window(s, s.out_h, s.out_w)), 1, s.n);
  // Units of about the same size.
  units.images = divide_up(s.n, divide_up(s.n, units.images));
  units.count = divide_up(s.n, units.images) * units.row_parts * units.col_parts;
  return units;
}

// How many tasks share out the units; the rest of the threads share out the rows.
template <class T>
int unit_parts(const WeightKernels<T>& kernels, const ConvShape& s, Index units, int threads) {
  const double whole = kernels.cycles(s), sums = static_cast<double>(s.groups * kernels.rows(s) * kernels.cols(s));
  const Index rows = kernels.rows(s);
  int best = 1;
  double least = 0;
  for (int parts = 1; parts <= threads && parts <= units; ++parts) {
    const Index row_parts = std::min<Index>(threads / parts, rows);
    // A twentieth is work that every thread does for itself, but for its units.
    const double share = static_cast<double>(divide_up(units, parts)) / static_cast<double>(units);
    const double rows_share = static_cast<double>(divide_up(rows, row_parts)) / static_cast<double>(rows);
    const double cycles = whole * share * (0.05 + 0.95 * rows_share) +
                          sums * (1 + parts) * 4 / static_cast<double>(kernels.lanes * threads);
    if (parts > 1 && cycles >= least) continue;
    best = parts;
    least = cycles;
  }
  return best;
}

template <class T>
void run(ConvBackwardWeight<T> p, const WeightTable& table, int threads) {
  const WeightKernels<T>& kernels = table.get(T());
  p.shape = flattened(p.shape);
  const ConvShape& s = p.shape;
  const WeightUnits units = cut(s, kernels.pixels);
  const Index rows = kernels.rows(s), size = s.groups * rows * kernels.cols(s), filters = s.group_filters();
  const Index padded_filters = divide_up(filters, kernels.lanes) * kernels.lanes;
  const Index bias_size = p.dbias != nullptr ? s.groups * padded_filters : 0;
  const int parts = unit_parts(kernels, s, units.count, threads);
  const Index row_parts = std::min<Index>(threads / parts, rows);
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(parts * (size + bias_size)));
  T* const bias_sums = sums + parts * size;
  parallel_for(
      static_cast<int>(parts * row_parts),
      [&](int task) {
        const Index part = task / row_parts, r = task % row_parts;
        const WeightPart work = {units.count * part / parts, units.count * (part + 1) / parts, rows * r / row_parts,
                                 rows * (r + 1) / row_parts};
        kernels.accumulate(p, units, work, sums + part * size,
                           p.dbias != nullptr ? bias_sums + part * bias_size : nullptr);
      },
      threads);

  constexpr Index kWorthThreads = 1 << 15;
  const Index blocks = divide_up(filters, kernels.lanes);
  const int tasks = size * parts < kWorthThreads ? 1 : static_cast<int>(std::min<Index>(threads, blocks));
  parallel_for(
      tasks,
      [&](int task) {
        const Index begin = blocks * task / tasks * kernels.lanes;
        const Index end = std::min(filters, blocks * (task + 1) / tasks * kernels.lanes);
        kernels.finish(p, sums, parts, size, begin, end);
      },
      threads);
  if (p.dbias == nullptr) return;
  for (Index f = 0; f < s.filters; ++f) {
    T sum = p.accumulate ? p.dbias[f] : T(0);
    for (int part = 0; part < parts; ++part)
      sum += bias_sums[part * bias_size + f / filters * padded_filters + f % filters];
    p.dbias[f] = sum;
  }
}

}  // namespace

bool weight_window_fits(const ConvShape& shape) {
  const ConvShape s = flattened(shape);
  const double pixels = static_cast<double>(reach(1, s.stride_h, s.kernel_h, s.dilation_h)) *
                        static_cast<double>(reach(std::min(s.out_w, kNarrow), s.stride_w, s.kernel_w, s.dilation_w));
  return pixels * static_cast<double>(s.group_channels()) <= static_cast<double>(kMostWindow);
}

template <class T>
void conv_filter_vectors(const ConvBackwardWeight<T>& p, int threads) {
  run(p, filter_vectors(), threads);
}

template <class T>
void conv_channel_vectors(const ConvBackwardWeight<T>& p, int threads) {
  run(p, channel_vectors(), threads);
}

template <class T>
void conv_pixel_vectors(const ConvBackwardWeight<T>& p, int threads) {
  run(p, pixel_vectors(), threads);
}

namespace {

Index round_up(Index a, Index unit) { return divide_up(a, unit) * unit; }

// The sums, and what `buffers` makes of the extents of a unit: rows and columns of the output, and of x.
template <class T, class Buffers>
std::size_t scratch_of(const ConvShape& shape, const WeightKernels<T>& kernels, const Buffers& buffers) {
  const ConvShape s = flattened(shape);
  const WeightUnits units = cut(s, kernels.pixels);
  const Index rows = divide_up(s.out_h, units.row_parts), cols = divide_up(s.out_w, units.col_parts);
  const Index sums = s.groups * (kernels.rows(s) * kernels.cols(s) + round_up(s.group_filters(), kernels.lanes));
  const Index copies = units.images * buffers(s, rows, cols, reach(rows, s.stride_h, s.kernel_h, s.dilation_h),
                                              reach(cols, s.stride_w, s.kernel_w, s.dilation_w));
  return static_cast<std::size_t>(sums + copies) * sizeof(T);
}

}  // namespace

template <class T>
std::size_t filter_vectors_scratch(const ConvShape& shape) {
  const auto& kernels = filter_vectors().get(T());
  return scratch_of(shape, kernels, [&](const ConvShape& s, Index rows, Index cols, Index height, Index width) {
    return s.group_channels() * (height * width + 64) + rows * cols * 3 * kernels.lanes;
  });
}

template <class T>
std::size_t channel_vectors_scratch(const ConvShape& shape) {
  const auto& kernels = channel_vectors().get(T());
  return scratch_of(shape, kernels, [&](const ConvShape& s, Index rows, Index cols, Index height, Index width) {
    return s.group_filters() * (rows * cols + 64) + height * width * 3 * kernels.lanes;
  });
}

template <class T>
std::size_t pixel_vectors_scratch(const ConvShape& shape) {
  const auto& kernels = pixel_vectors().get(T());
  return scratch_of(shape, kernels, [](const ConvShape& s, Index rows, Index, Index height, Index width) {
    const Index pitch = std::max(divide_up(width, s.stride_w), s.width);
    return s.group_channels() * (round_up(height, s.stride_h) * round_up(width, s.stride_w) + 64) +
           s.group_filters() * (rows * pitch + 64);
  });
}

template <class T>
const char* fastest_vectors(const ConvShape& shape) {
  const ConvShape s = flattened(shape);
  const double filters = filter_vectors().get(T()).cycles(s), channels = channel_vectors().get(T()).cycles(s),
               pixels = pixel_vectors().get(T()).cycles(s);
  if (pixels < std::min(filters, channels)) return "pixel_vectors";
  return channels < filters ? "channel_vectors" : "filter_vectors";
}

#define DLKIT_INSTANTIATE(T)                                               \
  template void conv_filter_vectors(const ConvBackwardWeight<T>&, int);    \
  template void conv_channel_vectors(const ConvBackwardWeight<T>&, int);   \
  template void conv_pixel_vectors(const ConvBackwardWeight<T>&, int);     \
  template std::size_t filter_vectors_scratch<T>(const ConvShape& shape);  \
  template std::size_t channel_vectors_scratch<T>(const ConvShape& shape); \
  template std::size_t pixel_vectors_scratch<T>(const ConvShape& shape);   \
  template const char* fastest_vectors<T>(const ConvShape& shape);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
