// Winograd's minimal filtering along rows, for kernels of one row such as those over the words of a sentence:
//
//   F(4, 3) 6 products for 12, F(3, 4) 6 for 12, F(4, 5) 8 for 20
//
//   y = A' [sum over channels of (G g) * (B' d)]     d: a tile's input, g: a kernel, *: element by element
//
// It is winograd.cpp's with tiles of one row: for each point a matrix product, tiles x channels times channels x
// filters. In one dimension the transforms are short (about 30 multiply-adds for a tile and vector of channels, 40 for
// one of filters), so that from some 32 channels and filters on the products are the time: 0.5, 0.5 and 0.4 of the
// operations by definition, where rows are whole tiles. Bound by the multipliers; the transformed weight (of 300
// channels, 100 filters and 5 taps 1 MB) comes from the second level or the third, a line for every 28 multiply-adds.
// The gradient to the input is a convolution with the turned kernels.
//
// Rounding: ||out - ref|| / ||ref|| in float32 is for 3 and 4 taps 1.9 times that of a sum in the definition's order
// for 8 channels, 1.3 times from 128 on, for 5 taps 3 times and twice (docs/conv.md).
//
// Source: Winograd 1980; Lavin & Gray 2016. Points as in winograd_transform.h.
#include "conv/winograd_row.h"

#include <algorithm>
#include <type_traits>

#include "conv/winograd_plan.h"
#include "core/scratch.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

WinogradTile tile_of(const ConvShape& s) { return {1, winograd_row_size(static_cast<int>(s.kernel_w)), 1, s.kernel_w}; }

// Of one group. The gradient to the input is a convolution of that to the output, channels in place of filters.
template <class Problem>
constexpr bool kForward = std::is_same_v<Problem, ConvForward<float>> || std::is_same_v<Problem, ConvForward<double>>;

template <class T, bool Forward>
Winograd<T> problem_of(const ConvShape& s) {
  Winograd<T> w{};
  w.images = s.n;
  w.channels = Forward ? s.group_channels() : s.group_filters();
  w.filters = Forward ? s.group_filters() : s.group_channels();
  w.height = w.out_h = s.height;
  w.width = Forward ? s.width : s.out_w;
  w.out_w = Forward ? s.out_w : s.width;
  w.pad_left = Forward ? s.pad_left : s.kernel_w - 1 - s.pad_left;
  w.x_image = (Forward ? s.channels : s.filters) * w.height * w.width;
  w.y_image = (Forward ? s.filters : s.channels) * w.height * w.out_w;
  w.filter_stride = Forward ? s.depth() : s.kernel_w;
  w.channel_stride = Forward ? s.kernel_w : s.depth();
  w.flipped = !Forward;
  return w;
}

template <class T>
void run(const Winograd<T>& whole, const WinogradTile& tile, int threads) {
  static const WinogradRowTable& table = DLKIT_SELECT_BEYOND_BASELINE(winograd_row_table);
  const WinogradKernels<T>& k = table.get(T(), tile.taps_w);
  const Index at_once = filters_at_once<T>(tile, whole.channels, whole.filters);
  for (Index f = 0; f < whole.filters; f += at_once) {
    Winograd<T> w = whole;
    w.filters = std::min(at_once, whole.filters - f);
    w.y += f * w.out_h * w.out_w;
    w.bias = w.bias == nullptr ? nullptr : w.bias + f;
    w.weight += f * w.filter_stride;
    cut_winograd(w, tile, threads);
    w.transformed = scratch<T>(Slot::columns, static_cast<std::size_t>(transformed_weight(w, tile)));
    parallel_for(
        static_cast<int>(divide_up(w.filters, k.lanes)), [&](int vector) { k.transform_weight(w, vector); }, threads);
    const Index blocks = divide_up(w.strips(), w.block_strips), parts = filter_parts(w, blocks, threads);
    parallel_for(
        static_cast<int>(blocks * parts),
        [&](int task) {
          const Index first = task / parts * w.block_strips, part = task % parts;
          const Index panel = w.panels * part / parts, panels = w.panels * (part + 1) / parts - panel;
          k.run(w, first, std::min(w.block_strips, w.strips() - first), panel, panels);
        },
        threads);
  }
}

// Cycles of a core that does one multiply-add of vectors in each, as measured on Zen 4.
template <class T>
bool pays(const Winograd<T>& w, const WinogradTile& tile) {
  constexpr double kInput = 60, kOutput = 80, kWeight = 100, kEfficiency = 0.88, kEnds = 2.5, kAhead = 0.9;
  const auto real = [](Index x) { return static_cast<double>(x); };
  const Index lanes = winograd_lanes<T>();
  const double channels = real(w.channels), inputs = real(divide_up(w.channels, lanes));
  const double outputs = real(divide_up(w.filters, lanes)), rows = real(w.images * w.out_h);
  const double product = real(tile.points()) * outputs * (channels / kEfficiency + kEnds);
  const double tiles = rows * real(divide_up(w.out_w, tile.size_w));
  const double cycles = tiles * (product + inputs * kInput + outputs * kOutput) + outputs * channels * kWeight;
  const double direct = rows * real(w.out_w * w.filters) / real(lanes) * (real(tile.taps_w) * channels / 0.9 + 6);
  return cycles < kAhead * direct;
}

}  // namespace

bool takes_winograd_row(const ConvShape& s) {
  return beyond_baseline() && s.kernel_h == 1 && s.kernel_w >= kLeastRowTaps &&
         s.kernel_w < kLeastRowTaps + kRowForms && s.out_h == s.height && s.pad_top == 0 && s.stride_h == 1 &&
         s.stride_w == 1 && s.dilation_w == 1;
}

template <class T>
bool winograd_row_pays(const ConvForward<T>*, const ConvShape& s) {
  return takes_winograd_row(s) && pays(problem_of<T, true>(s), tile_of(s));
}

template <class T>
bool winograd_row_pays(const ConvBackwardInput<T>*, const ConvShape& s) {
  return takes_winograd_row(s) && pays(problem_of<T, false>(s), tile_of(s));
}

template <class T>
void conv_winograd_row(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  Winograd<T> w = problem_of<T, true>(s);
  w.relu = p.relu;
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.x + group * w.channels * s.in_size();
    w.y = p.y + group * w.filters * s.out_size();
    w.weight = p.weight + group * w.filters * s.depth();
    w.bias = p.bias == nullptr ? nullptr : p.bias + group * w.filters;
    run(w, tile_of(s), threads);
  }
}

template <class T>
void conv_winograd_row(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  Winograd<T> w = problem_of<T, false>(s);
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.grad + group * w.channels * s.out_size();
    w.y = p.dx + group * w.filters * s.in_size();
    w.weight = p.weight + group * w.channels * s.depth();
    run(w, tile_of(s), threads);
  }
}

template <class Problem, class T>
std::size_t winograd_row_scratch(const ConvShape& s) {
  const WinogradTile tile = tile_of(s);
  Winograd<T> w = problem_of<T, kForward<Problem>>(s);
  w.filters = std::min(w.filters, filters_at_once<T>(tile, w.channels, w.filters));
  cut_winograd(w, tile, 1);
  return static_cast<std::size_t>(transformed_weight(w, tile) + w.input_size + w.product_size + w.pixel_size) *
         sizeof(T);
}

#define DLKIT_INSTANTIATE(T)                                                      \
  template bool winograd_row_pays(const ConvForward<T>*, const ConvShape&);       \
  template bool winograd_row_pays(const ConvBackwardInput<T>*, const ConvShape&); \
  template void conv_winograd_row(const ConvForward<T>&, int);                    \
  template void conv_winograd_row(const ConvBackwardInput<T>&, int);              \
  template std::size_t winograd_row_scratch<ConvForward<T>, T>(const ConvShape&); \
  template std::size_t winograd_row_scratch<ConvBackwardInput<T>, T>(const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
