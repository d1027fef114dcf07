// Winograd's minimal filtering: tiles of Size x Size outputs of a 3 x 3 convolution from (Size + 2)^2 products for each
// channel, instead of 9 Size^2: F(2 x 2) 16 for 36, F(4 x 4) 36 for 144.
//
//   y = A' [sum over channels of (G g G') * (B' d B)] A     d: a tile's input, g: a kernel, *: element by element
//
// Summed over channels, the products are (Size + 2)^2 matrix products, tiles x channels times channels x filters. They
// take 4 / 9 and 1 / 4 of the direct convolution's operations where the output is whole tiles (of 14 x 14 and 7 x 7 in
// tiles of 4 x 4, 0.77 is). The transforms of F(4) take about 170 cycles of a core for each tile and vector of channels
// (144 multiply-adds, 36 stores), 150 for each tile and vector of filters, and turning NCHW into vectors of channels
// and back 100 to 250 more, by where the arrays are. Of 32 channels to 64 that is a third of the time; of 128 to 128 a
// sixth; the rest are the products, at 85 to 95% of the peak. So: bound by the multipliers, and for few channels by the
// output's transform.
//
// A block of about 28 tiles, which may run over several images, goes through all three steps: its transformed input and
// its products stay in the second-level cache (32 channels: 0.4 MB) or the third (256: 2 MB, and each line is used for
// filters / 16 multiply-adds). The transformed weight, four times the weight (of F(4)), is streamed from the third
// level once for each block, a line for every 28 multiply-adds, so as much of it is made at a time as stays there.
// Threads take blocks, or where there are few of those, shares of the filters. Each of these intermediates has at most
// 8 MB, or what one tile or panel needs, whatever the batch.
//
// Rounding: ||out - ref|| / ||ref|| in float32, of 1 to 512 channels, is for F(2) 1.1e-7 to 6.8e-7, no more than a
// direct sum's from 6 channels on; for F(4) 3.4e-7 to 2.0e-6, 6 times that of a direct sum for one channel, 4 times for
// 3 and 2 to 3 times from 8 on, 4 to 7 times in the gradient to the weight. An infinity or NaN spreads over the tiles
// that read it.
//
// Source: Winograd 1980; Lavin & Gray 2016.
#include "conv/winograd.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {
namespace {

template <class T, int Size>
const WinogradKernels<T>& kernels() {
  static const WinogradTable& table = DLKIT_SELECT(winograd_table);
  if constexpr (sizeof(T) == sizeof(float))
    return Size == 2 ? table.float2 : table.float4;
  else
    return Size == 2 ? table.double2 : table.double4;
}

// Bytes at most, where one tile and one panel do not need more, of each of: a transformed weight, the transformed input
// of a block, its products.
constexpr Index kMost = Index{8} << 20;
constexpr Index kTiles = 28;  // of a block: two tiles of the micro-kernel with AVX-512, and 224, 112, 56, 28, 14 pixels

template <int Size>
constexpr Index kPoints = Index{Size + 2} * (Size + 2);

// Sets how the problem is cut; `threads`: for how many.
template <class T, int Size>
void cut(Winograd<T>& w, int threads, Index most_tiles = kTiles) {
  const Index lanes = kernels<T, Size>().lanes, item = sizeof(T);
  const Index vectors = divide_up(w.filters, lanes);
  w.panels = std::max<Index>(1, vectors / 2);
  w.tiles_h = divide_up(w.out_h, Size);
  w.tiles_w = divide_up(w.out_w, Size);
  // An odd number of vectors between tiles, and between points: powers of two would meet in few sets of a cache.
  const auto odd = [&](Index size) { return (divide_up(size, lanes) | 1) * lanes; };
  w.channels_stride = odd(w.channels);

  // Strips and blocks of about as many tiles as there should be.
  const Index tiles = std::clamp<Index>(kMost / (kPoints<Size> * w.channels_stride * item), 1, most_tiles);
  w.segments = divide_up(w.tiles_w, tiles + tiles / 4);
  const Index widest = divide_up(w.tiles_w, w.segments);
  w.block_strips = std::max<Index>(1, (tiles + widest / 2) / widest);
  // As many blocks as keep the threads equally busy, where there are few, but not so small that each reads the weight
  // for a handful of tiles.
  Index blocks = divide_up(w.strips(), w.block_strips);
  if (blocks < 8 * threads) {
    const Index even = divide_up(blocks, threads) * threads;
    if (w.strips() * widest >= even * tiles / 2 && even <= w.strips()) blocks = even;
  }
  w.block_strips = divide_up(w.strips(), blocks);

  const Index block_tiles = w.block_strips * widest;
  w.panels_at_once = std::clamp<Index>(kMost / (kPoints<Size> * block_tiles * 2 * lanes * item), 1, w.panels);
  w.input_point = odd(block_tiles * w.channels_stride);
  w.product_point = odd(block_tiles * std::min(vectors, 2 * w.panels_at_once + 1) * lanes);
  w.input_size = kPoints<Size> * w.input_point;
  w.product_size = kPoints<Size> * w.product_point;
  const Index read = (Size * std::min(w.block_strips, w.tiles_h) + 2) * (Size * widest + 2);
  const Index written = std::max(kWinogradPixels, Size * std::min(w.out_w, Size * widest)) + Size + lanes;
  w.pixel_size = std::max(read, written) * lanes;
}

template <class T, int Size>
Index weight_size(const Winograd<T>& w) {
  const Index lanes = kernels<T, Size>().lanes;
  return kPoints<Size> * (w.channels * divide_up(w.filters, lanes) + w.panels) * lanes;
}

// Filters whose transformed weight is worked with at a time.
template <class T, int Size>
Index filters_at_once(Index channels, Index filters) {
  const Index panel = 2 * kernels<T, Size>().lanes;
  const Index most = kMost / static_cast<Index>(sizeof(T)) / (kPoints<Size> * channels * panel) * panel;
  const EvenSplit parts(divide_up(filters, panel), std::max<Index>(1, most / panel));
  return parts.size(0) * panel;
}

template <class T, int Size>
void run(Winograd<T> w, int threads) {
  const auto& k = kernels<T, Size>();
  const Index filters = w.filters, at_once = filters_at_once<T, Size>(w.channels, filters);
  const Winograd<T> whole = w;
  for (Index f = 0; f < filters; f += at_once) {
    w = whole;
    w.filters = std::min(at_once, filters - f);
    w.y += f * w.out_h * w.out_w;
    w.bias = w.bias == nullptr ? nullptr : w.bias + f;
    w.weight += f * w.filter_stride;
    cut<T, Size>(w, threads);
    w.transformed = scratch<T>(Slot::columns, static_cast<std::size_t>(weight_size<T, Size>(w)));
    const Index vectors = divide_up(w.filters, k.lanes);
    parallel_for(static_cast<int>(vectors), [&](int vector) { k.transform_weight(w, vector); }, threads);
    const Index blocks = divide_up(w.strips(), w.block_strips);
    // Where the blocks do not go round, threads share the filters of a block, and each transforms its input.
    const Index parts =
        blocks < 8 * threads ? std::min<Index>(w.panels, threads / std::gcd<Index>(blocks, threads)) : 1;
    parallel_for(
        static_cast<int>(blocks * parts),
        [&](int task) {
          const Index block = task / parts, part = task % parts, first = block * w.block_strips;
          const Index panel = w.panels * part / parts;
          k.run(w, first, std::min(w.block_strips, w.strips() - first), panel, w.panels * (part + 1) / parts - panel);
        },
        threads);
  }
}

template <class T>
Winograd<T> forward(const ConvShape& s) {
  Winograd<T> w{};
  w.images = s.n;
  w.channels = s.group_channels();
  w.filters = s.group_filters();
  w.height = s.height;
  w.width = s.width;
  w.out_h = s.out_h;
  w.out_w = s.out_w;
  w.pad_top = s.pad_top;
  w.pad_left = s.pad_left;
  w.x_image = s.channels * s.in_size();
  w.y_image = s.filters * s.out_size();
  w.filter_stride = s.depth();
  w.channel_stride = s.kernel_size();
  return w;
}

// The gradient to the input is the convolution of that to the output with the kernels turned around, channels in place
// of filters.
template <class T>
Winograd<T> backward(const ConvShape& s) {
  Winograd<T> w{};
  w.images = s.n;
  w.channels = s.group_filters();
  w.filters = s.group_channels();
  w.height = s.out_h;
  w.width = s.out_w;
  w.out_h = s.height;
  w.out_w = s.width;
  w.pad_top = s.kernel_h - 1 - s.pad_top;
  w.pad_left = s.kernel_w - 1 - s.pad_left;
  w.x_image = s.filters * s.out_size();
  w.y_image = s.channels * s.in_size();
  w.filter_stride = s.kernel_size();
  w.channel_stride = s.depth();
  w.flipped = true;
  return w;
}

// Cycles of a core that does one multiply-add of vectors in each, as measured on Zen 4 over 8 to 512 channels and
// images of 3 x 3 to 56 x 56; most of them within 15%.
template <class T, int Size>
double winograd_cycles(const Winograd<T>& w) {
  const double lanes = kernels<T, Size>().lanes, points = static_cast<double>(kPoints<Size>);
  const double channels = static_cast<double>(w.channels), channel_vectors = std::ceil(channels / lanes);
  const double filter_vectors = std::ceil(static_cast<double>(w.filters) / lanes);
  const double tiles = static_cast<double>(w.images * divide_up(w.out_h, Size) * divide_up(w.out_w, Size));
  const double product = points * filter_vectors * (channels / 0.88 + 2.5);
  const double input = channel_vectors * (Size == 2 ? 110 : 320), output = filter_vectors * (Size == 2 ? 110 : 350);
  return tiles * (product + input + output) + filter_vectors * channels * (Size == 2 ? 200 : 400);
}

// The same of a direct convolution, at nine tenths of the peak.
template <class T>
double direct_cycles(const Winograd<T>& w) {
  const double outputs = static_cast<double>(w.images * w.filters) * static_cast<double>(w.out_h * w.out_w);
  return outputs / kernels<T, 4>().lanes * (9 * static_cast<double>(w.channels) / 0.9 + 6);
}

// --- the gradient to the weight ---

constexpr Index kGradientTiles = 56;  // of a block: each reads and writes all sums

template <class T>
const WinogradGradientKernels<T>& gradient_kernels() {
  static const WinogradGradientTable& table = DLKIT_SELECT(winograd_gradient_table);
  if constexpr (sizeof(T) == sizeof(float))
    return table.of_float;
  else
    return table.of_double;
}

template <class T>
void cut(WinogradGradient<T>& w, int threads) {
  Winograd<T>& c = w.conv;
  cut<T, 4>(c, threads, kGradientTiles);
  const Index lanes = kernels<T, 4>().lanes;
  const auto odd = [&](Index size) { return (divide_up(size, lanes) | 1) * lanes; };
  w.filters_stride = odd(c.filters);
  w.grad_point = odd(c.block_strips * divide_up(c.tiles_w, c.segments) * w.filters_stride);
  w.grad_size = kPoints<4> * w.grad_point;
  w.sums_point = odd(c.filters * c.channels_stride);
  w.sums_size = kPoints<4> * w.sums_point + w.filters_stride;
  w.parts = std::min<Index>(threads, divide_up(c.strips(), c.block_strips));
}

// Filters whose sums over tiles are kept at a time.
template <class T>
Index filters_by_weight(const Winograd<T>& w) {
  const Index row = kPoints<4> * divide_up(w.channels, kernels<T, 4>().lanes) * kernels<T, 4>().lanes;
  const Index most = std::max<Index>(1, kMost / static_cast<Index>(sizeof(T)) / row / 14);
  return EvenSplit(divide_up(w.filters, 14), most).size(0) * 14;
}

template <class T>
void run(WinogradGradient<T> w, int threads) {
  const auto& k = gradient_kernels<T>();
  const WinogradGradient<T> whole = w;
  const Index filters = whole.conv.filters, at_once = filters_by_weight(w.conv);
  for (Index f = 0; f < filters; f += at_once) {
    w = whole;
    w.conv.filters = std::min(at_once, filters - f);
    w.grad += f * w.conv.out_h * w.conv.out_w;
    w.dweight += f * w.conv.filter_stride;
    w.dbias = w.dbias == nullptr ? nullptr : w.dbias + f;
    cut(w, threads);
    w.sums = scratch<T>(Slot::columns, static_cast<std::size_t>(w.parts * w.sums_size));
    const Index strips = w.conv.strips(), blocks = divide_up(strips, w.conv.block_strips);
    parallel_for(
        static_cast<int>(w.parts),
        [&](int part) {
          const Index begin = blocks * part / w.parts, end = blocks * (part + 1) / w.parts;
          for (Index block = begin; block < end; ++block) {
            const Index first = block * w.conv.block_strips;
            k.add(w, first, std::min(w.conv.block_strips, strips - first), block == begin, w.sums + part * w.sums_size);
          }
        },
        threads);
    parallel_for(static_cast<int>(w.conv.filters), [&](int filter) { k.finish(w, filter); }, threads);
  }
}

template <class T>
WinogradGradient<T> by_weight(const ConvShape& s) {
  WinogradGradient<T> w{};
  w.conv = forward<T>(s);
  w.grad_image = s.filters * s.out_size();
  return w;
}

}  // namespace

template <class T>
void conv_winograd(const ConvBackwardWeight<T>& p, int threads) {
  const ConvShape& s = p.shape;
  WinogradGradient<T> w = by_weight<T>(s);
  w.accumulate = p.accumulate;
  for (Index group = 0; group < s.groups; ++group) {
    w.conv.x = p.x + group * w.conv.channels * s.in_size();
    w.grad = p.grad + group * w.conv.filters * s.out_size();
    w.dweight = p.dweight + group * w.conv.filters * s.depth();
    w.dbias = p.dbias == nullptr ? nullptr : p.dbias + group * w.conv.filters;
    run(w, threads);
  }
}

template <class T>
std::size_t winograd_weight_scratch(const ConvShape& s) {
  WinogradGradient<T> w = by_weight<T>(s);
  w.conv.filters = std::min(w.conv.filters, filters_by_weight(w.conv));
  cut(w, 1);
  return static_cast<std::size_t>(w.sums_size + w.grad_size + w.conv.input_size + w.conv.pixel_size) * sizeof(T);
}

template <class T>
bool winograd_pays_by_weight(const ConvShape& s) {
  if (!winograd_takes(s)) return false;
  const Winograd<T> w = forward<T>(s);
  const double lanes = kernels<T, 4>().lanes, filters = static_cast<double>(w.filters);
  const double channel_vectors = std::ceil(static_cast<double>(w.channels) / lanes);
  const double tiles = static_cast<double>(w.images * divide_up(w.out_h, 4) * divide_up(w.out_w, 4));
  const double sums = 36 * filters * channel_vectors;
  const double cycles = tiles * (sums / 0.88 + channel_vectors * 320 + std::ceil(filters / lanes) * 300) +
                        (std::ceil(tiles / static_cast<double>(kGradientTiles)) * 5 + 10) * sums;
  return cycles < 0.9 * direct_cycles(w);
}

template <class T, bool ByInput>
int winograd_choice(const ConvShape& s) {
  if (!winograd_takes(s)) return 0;
  const Winograd<T> w = ByInput ? backward<T>(s) : forward<T>(s);
  const double two = winograd_cycles<T, 2>(w), four = winograd_cycles<T, 4>(w);
  constexpr double kMargin = 0.9;  // what less rounding error is worth
  if (std::min(two, four) > kMargin * direct_cycles(w)) return 0;
  return two < four ? 2 : 4;
}

bool winograd_takes(const ConvShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 &&
         s.dilation_w == 1;
}

template <class T, int Size>
void conv_winograd(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  Winograd<T> w = forward<T>(s);
  w.relu = p.relu;
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.x + group * w.channels * s.in_size();
    w.y = p.y + group * w.filters * s.out_size();
    w.weight = p.weight + group * w.filters * s.depth();
    w.bias = p.bias == nullptr ? nullptr : p.bias + group * w.filters;
    run<T, Size>(w, threads);
  }
}

template <class T, int Size>
void conv_winograd(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  Winograd<T> w = backward<T>(s);
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.grad + group * w.channels * s.out_size();
    w.y = p.dx + group * w.filters * s.in_size();
    w.weight = p.weight + group * w.channels * s.depth();
    run<T, Size>(w, threads);
  }
}

template <class T, int Size, bool ByInput>
std::size_t winograd_scratch(const ConvShape& s) {
  Winograd<T> w = ByInput ? backward<T>(s) : forward<T>(s);
  w.filters = std::min(w.filters, filters_at_once<T, Size>(w.channels, w.filters));
  cut<T, Size>(w, 1);
  return static_cast<std::size_t>(weight_size<T, Size>(w) + w.input_size + w.product_size + w.pixel_size) * sizeof(T);
}

#define DLKIT_INSTANTIATE(T, Size)                                         \
  template void conv_winograd<T, Size>(const ConvForward<T>&, int);        \
  template void conv_winograd<T, Size>(const ConvBackwardInput<T>&, int);  \
  template std::size_t winograd_scratch<T, Size, false>(const ConvShape&); \
  template std::size_t winograd_scratch<T, Size, true>(const ConvShape&);
template int winograd_choice<float, false>(const ConvShape&);
template int winograd_choice<float, true>(const ConvShape&);
template int winograd_choice<double, false>(const ConvShape&);
template int winograd_choice<double, true>(const ConvShape&);
template void conv_winograd(const ConvBackwardWeight<float>&, int);
template void conv_winograd(const ConvBackwardWeight<double>&, int);
template std::size_t winograd_weight_scratch<float>(const ConvShape&);
template std::size_t winograd_weight_scratch<double>(const ConvShape&);
template bool winograd_pays_by_weight<float>(const ConvShape&);
template bool winograd_pays_by_weight<double>(const ConvShape&);
DLKIT_INSTANTIATE(float, 2)
DLKIT_INSTANTIATE(float, 4)
DLKIT_INSTANTIATE(double, 2)
DLKIT_INSTANTIATE(double, 4)

}  // namespace dlkit
