// Winograd's minimal filtering: tiles of Size x Size outputs of a Taps x Taps convolution from (Size + Taps - 1)^2
// products for each channel, instead of Taps^2 Size^2: F(2 x 2, 3 x 3) 16 for 36, F(4 x 4, 3 x 3) 36 for 144, F(2 x 2,
// 5 x 5) 36 for 100, F(4 x 4, 5 x 5) 64 for 400.
//
//   y = A' [sum over channels of (G g G') * (B' d B)] A     d: a tile's input, g: a kernel, *: element by element
//
// Summed over channels, the products are a matrix product for each point, tiles x channels times channels x filters.
// They take 4 / 9, 1 / 4, 1 / 2.8 and 1 / 6.25 of the direct convolution's operations where the output is whole tiles
// (of 14 x 14 and 7 x 7 in tiles of 4 x 4, 0.77 is). The transforms of F(4, 3) take about 170 cycles of a core for each
// tile and vector of channels (144 multiply-adds, 36 stores), 150 for each tile and vector of filters, those of F(4, 5)
// 500 and 250, and turning NCHW into vectors of channels and back 100 to 250 more, by where the arrays are. Of 32
// channels to 64 that is a third of the time; of 128 to 128 a sixth; the rest are the products, at 85 to 95% of the
// peak. So: bound by the multipliers, and for few channels by the output's transform.
//
// A block of about 28 tiles, which may run over several images, goes through all three steps: its transformed input and
// its products stay in the second-level cache (32 channels: 0.4 MB) or the third (256: 2 MB, and each line is used for
// filters / 16 multiply-adds). The transformed weight, four times the weight (of F(4, 3)), is streamed from the third
// level once for each block, a line for every 28 multiply-adds, so as much of it is made at a time as stays there.
// Threads take blocks, or where there are few of those, shares of the filters. Each of these intermediates has at most
// 8 MB, or what one tile or panel needs, whatever the batch.
//
// Vectors hold channels and filters (winograd_block.cpp), or where those would leave many lanes empty and there are
// images enough, the images of a batch (winograd_batch.cpp). The gradient to the input is a convolution with the turned
// kernels, or the transposed form (winograd_spread.cpp), whichever has less to do.
//
// Rounding: ||out - ref|| / ||ref|| in float32, of 1 to 512 channels, is for F(2, 3) 1.1e-7 to 6.8e-7, no more than a
// direct sum's from 6 channels on; for F(4, 3) 3.4e-7 to 2.0e-6, 6 times that of a direct sum for one channel, 4 times
// for 3 and 2 to 3 times from 8 on, 4 to 7 times in the gradient to the weight. For F(2, 5) it is 3.8e-7 to 2.3e-6, 4
// times that of a direct sum for one channel, 2 times for 8, 1.3 times from 128 on; for F(4, 5) 1.4e-6 to 8.4e-6, 15
// times for one channel, 7 times for 8 and 5 times from 64 on; 1 to 3 and 3 to 8 times in the gradient to the weight.
// (docs/conv.md has a table.) An infinity or NaN spreads over the tiles that read it.
//
// Source: Winograd 1980; Lavin & Gray 2016.
#include "conv/winograd.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "conv/winograd_plan.h"
#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {
namespace {

template <class T>
const auto& of_type(const auto& table) {
  if constexpr (sizeof(T) == sizeof(float))
    return table.of_float;
  else
    return table.of_double;
}

template <class T, int Size, int Taps>
const WinogradKernels<T>& kernels() {
  static const WinogradTable& table = DLKIT_SELECT_BEYOND_BASELINE(winograd_table);
  return of_type<T>(table)[winograd_form(Size, Taps)];
}

template <int Size, int Taps>
constexpr WinogradTile kTile = {Size, Size, Taps, Taps};
template <int Size, int Taps>
constexpr Index kPoints = kTile<Size, Taps>.points();

// Cuts the transposed form into blocks of whole images; false where an image is too large for it.
template <class T, int Size, int Taps>
bool cut_images(Winograd<T>& w, int threads) {
  constexpr Index kMostPixels = Index{1} << 20;  // bytes of an image's, a vector each
  const Index lanes = winograd_lanes<T>(), item = sizeof(T);
  w.panels = std::max<Index>(1, divide_up(w.filters, lanes) / 2);
  w.tiles_h = divide_up(w.height, Size);
  w.tiles_w = divide_up(w.width, Size);
  w.channels_stride = odd_vectors<T>(w.channels);
  w.segments = 1;
  if (w.tiles_h > kMostPixels / w.tiles_w) return false;
  const Index image = w.tiles_h * w.tiles_w;
  const Index pixels = (Size * w.tiles_h + Taps - 1) * (Size * w.tiles_w + Taps - 1) + lanes;
  const Index most = kMost / (kPoints<Size, Taps> * std::max(w.channels_stride, 3 * lanes) * item);
  if (image > most || pixels * lanes * item > kMostPixels) return false;
  Index images = std::clamp<Index>((kTiles + image / 2) / image, 1, most / image);
  images = divide_up(w.images, even_blocks(divide_up(w.images, images), w.images, image, kTiles, threads));
  w.block_strips = images * w.tiles_h;
  allot_winograd(w, kTile<Size, Taps>, images * image);
  w.pixel_size = pixels * lanes;
  return true;
}

// The same with vectors of images, in either form; false where a row of tiles, or an image, is too large.
template <class T, int Size, int Taps>
bool cut_batch(Winograd<T>& w, bool spread) {
  constexpr Index kBlock = Index{640} << 10;     // bytes of a block's points that should stay in the second level
  constexpr Index kMostPixels = Index{1} << 20;  // bytes
  const Index lanes = winograd_lanes<T>(), item = sizeof(T);
  w.panels = std::max<Index>(1, divide_up(w.filters, lanes) / 2);
  w.tiles_h = divide_up(spread ? w.height : w.out_h, Size);
  w.tiles_w = divide_up(spread ? w.width : w.out_w, Size);
  w.segments = 1;
  if (w.tiles_h > kMostPixels / w.tiles_w) return false;
  const Index row = kPoints<Size, Taps> * (w.tiles_w + 1) * lanes * item;
  if (row > kMost / std::max(w.channels, w.filters)) return false;
  const Index rows = spread ? w.tiles_h : std::clamp<Index>(kBlock / (row * (w.channels + w.filters)), 1, w.tiles_h);
  w.block_strips = divide_up(w.tiles_h, divide_up(w.tiles_h, rows));
  const Index pixels = (Size * w.block_strips + Taps) * (Size * w.tiles_w + Taps) + Size + lanes;
  w.channels_stride = (w.block_strips * w.tiles_w | 1) * lanes;
  w.input_point = odd_vectors<T>(w.channels * w.channels_stride);
  w.product_point = odd_vectors<T>(w.filters * w.channels_stride);
  w.input_size = kPoints<Size, Taps> * w.input_point;
  w.product_size = kPoints<Size, Taps> * w.product_point;
  w.pixel_size = pixels * lanes;
  return std::max(w.input_size, w.product_size) * item <= kMost && w.pixel_size * item <= kMostPixels;
}

// How a convolution is computed: in the transposed form, whose input is the gradient; with vectors of images.
struct Way {
  bool spread = false, batch = false;
};

template <class T, int Size, int Taps>
bool cut_as(Way way, Winograd<T>& w, int threads) {
  if (way.batch) return cut_batch<T, Size, Taps>(w, way.spread);
  if (way.spread) return cut_images<T, Size, Taps>(w, threads);
  cut_winograd(w, kTile<Size, Taps>, threads);
  return true;
}

template <class T, int Size, int Taps>
void run(Winograd<T> w, int threads, Way way) {
  static const WinogradSpreadTable& spread_table = DLKIT_SELECT_BEYOND_BASELINE(winograd_spread_table);
  static const WinogradBatchTable& batch_table = DLKIT_SELECT_BEYOND_BASELINE(winograd_batch_table);
  constexpr int kForm = winograd_form(Size, Taps);
  const auto& k = kernels<T, Size, Taps>();
  const WinogradSpread<T> run_images = of_type<T>(spread_table)[kForm];
  const WinogradBatchKernels<T>& batch = of_type<T>(batch_table)[kForm];
  const Index filters = w.filters, at_once = filters_at_once<T>(kTile<Size, Taps>, w.channels, filters);
  const Winograd<T> whole = w;
  for (Index f = 0; f < filters; f += at_once) {
    w = whole;
    w.filters = std::min(at_once, filters - f);
    w.y += f * w.out_h * w.out_w;
    w.bias = w.bias == nullptr ? nullptr : w.bias + f;
    w.weight += f * w.filter_stride;
    cut_as<T, Size, Taps>(way, w, threads);
    w.transformed = scratch<T>(Slot::columns, static_cast<std::size_t>(transformed_weight(w, kTile<Size, Taps>)));
    const Index vectors = divide_up(w.filters, k.lanes);
    parallel_for(static_cast<int>(vectors), [&](int vector) { k.transform_weight(w, vector); }, threads);
    const Index row_blocks = divide_up(w.tiles_h, w.block_strips);  // of a vector of images
    const Index blocks = way.batch ? divide_up(w.images, k.lanes) * row_blocks : divide_up(w.strips(), w.block_strips);
    const Index parts = filter_parts(w, blocks, threads);
    parallel_for(
        static_cast<int>(blocks * parts),
        [&](int task) {
          const Index block = task / parts, part = task % parts;
          const Index panel = w.panels * part / parts, panels = w.panels * (part + 1) / parts - panel;
          if (way.batch) {
            const Index first = block % row_blocks * w.block_strips;
            const Index rows = std::min(w.block_strips, w.tiles_h - first);
            return (way.spread ? batch.spread : batch.run)(w, block / row_blocks, first, rows, panel, panels);
          }
          const Index first = block * w.block_strips, strips = std::min(w.block_strips, w.strips() - first);
          if (way.spread)
            run_images(w, first / w.tiles_h, strips / w.tiles_h, panel, panels);
          else
            k.run(w, first, strips, panel, panels);
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
// of filters; or the transposed form, with the kernels as they are.
template <class T>
Winograd<T> backward(const ConvShape& s, bool spread) {
  Winograd<T> w{};
  w.images = s.n;
  w.channels = s.group_filters();
  w.filters = s.group_channels();
  w.height = s.out_h;
  w.width = s.out_w;
  w.out_h = s.height;
  w.out_w = s.width;
  w.pad_top = spread ? s.pad_top : s.kernel_h - 1 - s.pad_top;
  w.pad_left = spread ? s.pad_left : s.kernel_w - 1 - s.pad_left;
  w.x_image = s.filters * s.out_size();
  w.y_image = s.channels * s.in_size();
  w.filter_stride = s.kernel_size();
  w.channel_stride = s.depth();
  w.flipped = !spread;
  return w;
}

double real(Index x) { return static_cast<double>(x); }

// Cycles of a core that does one multiply-add of vectors in each, as measured on Zen 4 over 8 to 512 channels and
// images of 3 x 3 to 56 x 56; most of them within 15%.
struct Cycles {
  double input, output, weight;  // of a tile's vector of channels, of filters; of a kernel's vector
};

template <int Size, int Taps>
constexpr Cycles kCycles = Taps == 3 ? (Size == 2 ? Cycles{110, 110, 200} : Cycles{320, 350, 400})
                                     : (Size == 2 ? Cycles{250, 150, 400} : Cycles{700, 300, 600});
template <int Size, int Taps>
constexpr Cycles kSpreadCycles = Taps == 3 ? (Size == 2 ? Cycles{110, 150, 200} : Cycles{300, 400, 400})
                                           : (Size == 2 ? Cycles{140, 250, 400} : Cycles{350, 550, 700});

template <class T, int Size, int Taps>
double winograd_cycles(const Winograd<T>& w, Way way) {
  const Cycles& of = way.spread ? kSpreadCycles<Size, Taps> : kCycles<Size, Taps>;
  const double lanes = real(winograd_lanes<T>()), channels = real(w.channels);
  const auto vectors = [&](Index count) { return std::ceil(real(count) / lanes); };
  const double tiles = real(divide_up(way.spread ? w.height : w.out_h, Size)) *
                       real(divide_up(way.spread ? w.width : w.out_w, Size)) *
                       (way.batch ? vectors(w.images) : real(w.images));
  const double inputs = way.batch ? channels : vectors(w.channels);
  const double outputs = way.batch ? real(w.filters) : vectors(w.filters);
  const double product = real(kPoints<Size, Taps>) * outputs * (channels / 0.88 + 2.5);
  return tiles * (product + inputs * of.input + outputs * of.output) + vectors(w.filters) * channels * of.weight;
}

// The way that is fastest. A property of the shape, so that any number of threads gives the same bits.
template <class T>
struct Fastest {
  Way way;
  double cycles;
  Winograd<T> w;
};

template <class T, int Size, int Taps>
Fastest<T> fastest(const Winograd<T>& w, Way way, const Fastest<T>* other = nullptr) {
  Fastest<T> best = {way, winograd_cycles<T, Size, Taps>(w, way), w};
  Winograd<T> trial = w;
  if (way.spread && !cut_images<T, Size, Taps>(trial, 1)) best.cycles = HUGE_VAL;
  way.batch = true;
  const double batch = winograd_cycles<T, Size, Taps>(w, way);
  constexpr double kMargin = 0.9;  // it streams the weight without fetching ahead
  if (batch < kMargin * best.cycles && cut_batch<T, Size, Taps>(trial, way.spread)) best = {way, batch, w};
  return other != nullptr && other->cycles <= best.cycles ? *other : best;
}

template <class T, int Size, int Taps>
Fastest<T> fastest(const ConvForward<T>*, const ConvShape& s) {
  return fastest<T, Size, Taps>(forward<T>(s), Way{});
}

template <class T, int Size, int Taps>
Fastest<T> fastest(const ConvBackwardInput<T>*, const ConvShape& s) {
  const Fastest<T> plain = fastest<T, Size, Taps>(backward<T>(s, false), Way{});
  return fastest<T, Size, Taps>(backward<T>(s, true), Way{true, false}, &plain);
}

// The same of a direct convolution, at nine tenths of the peak.
template <class T>
double direct_cycles(const Winograd<T>& w, Index taps) {
  const double outputs = real(w.images * w.filters) * real(w.out_h * w.out_w);
  return outputs / real(winograd_lanes<T>()) * (real(taps * w.channels) / 0.9 + 6);
}

// And of the gradient to the input, multiplied directly: the better of implicit_gemm and tap_sums, as variants.cpp has
// them, in halves of a cycle.
template <class T>
double direct_input_cycles(const ConvShape& s) {
  const double lanes = real(winograd_lanes<T>()), in = real(s.in_size()) / lanes, out = real(s.out_size()) / lanes;
  const double implicit_gemm = in * (1 + 6 / real(s.group_channels())) + 6 / real(s.n);
  const double tap_sums = out * (1 + 16 / real(s.group_filters()));
  return real(s.n * s.group_filters()) * real(s.depth()) * std::min(implicit_gemm, tap_sums);
}

// --- the gradient to the weight ---

constexpr Index kGradientTiles = 56;  // of a block: each reads and writes all sums

template <class T, int Size, int Taps>
const WinogradGradientKernels<T>& gradient_kernels() {
  static const WinogradGradientTable& table = DLKIT_SELECT_BEYOND_BASELINE(winograd_gradient_table);
  return of_type<T>(table)[winograd_form(Size, Taps)];
}

template <class T, int Size, int Taps>
void cut(WinogradGradient<T>& w, int threads) {
  Winograd<T>& c = w.conv;
  cut_winograd(c, kTile<Size, Taps>, threads, kGradientTiles);
  w.filters_stride = odd_vectors<T>(c.filters);
  w.grad_point = odd_vectors<T>(c.block_strips * divide_up(c.tiles_w, c.segments) * w.filters_stride);
  w.grad_size = kPoints<Size, Taps> * w.grad_point;
  w.sums_point = odd_vectors<T>(w.filters_across ? c.channels * w.filters_stride : c.filters * c.channels_stride);
  w.sums_size = kPoints<Size, Taps> * w.sums_point + w.filters_stride;
  w.parts = std::min<Index>(threads, divide_up(c.strips(), c.block_strips));
}

// Filters whose sums over tiles are kept at a time.
template <class T, int Size, int Taps>
Index filters_by_weight(const Winograd<T>& w) {
  const Index row = kPoints<Size, Taps> * divide_up(w.channels, winograd_lanes<T>()) * winograd_lanes<T>();
  const Index most = std::max<Index>(1, kMost / static_cast<Index>(sizeof(T)) / row / 14);
  return EvenSplit(divide_up(w.filters, 14), most).size(0) * 14;
}

// Of filters [begin, begin + count) on up to `threads` threads, which take blocks of tiles, each with sums of its own.
template <class T, int Size, int Taps>
void run_filters(const WinogradGradient<T>& whole, Index begin, Index count, int threads) {
  const auto& k = gradient_kernels<T, Size, Taps>();
  WinogradGradient<T> w = whole;
  w.conv.filters = count;
  w.grad += begin * w.conv.out_h * w.conv.out_w;
  w.dweight += begin * w.conv.filter_stride;
  w.dbias = w.dbias == nullptr ? nullptr : w.dbias + begin;
  cut<T, Size, Taps>(w, threads);
  w.sums = scratch<T>(Slot::columns, static_cast<std::size_t>(w.parts * w.sums_size));
  const Index strips = w.conv.strips(), blocks = divide_up(strips, w.conv.block_strips);
  parallel_for(
      static_cast<int>(w.parts),
      [&](int part) {
        const Index from = blocks * part / w.parts, to = blocks * (part + 1) / w.parts;
        for (Index block = from; block < to; ++block) {
          const Index first = block * w.conv.block_strips;
          k.add(w, first, std::min(w.conv.block_strips, strips - first), block == from, w.sums + part * w.sums_size);
        }
      },
      threads);
  parallel_for(
      static_cast<int>(w.filters_across ? w.conv.channels : w.conv.filters), [&](int down) { k.finish(w, down); },
      threads);
  if (w.dbias != nullptr)
    for (Index filter = 0; filter < w.conv.filters; ++filter) k.finish_bias(w, filter);
}

template <class T, int Size, int Taps>
void run(const WinogradGradient<T>& w, int threads) {
  const Index filters = w.conv.filters, at_once = filters_by_weight<T, Size, Taps>(w.conv);
  WinogradGradient<T> trial = w;
  cut<T, Size, Taps>(trial, 1);
  // Where tiles are few, the sums of several threads would be more to write and to read than their tiles: threads take
  // filters instead, and each transforms the input.
  constexpr Index kFewBlocks = 4, kFewFilters = 28;
  const bool by_filters = divide_up(trial.conv.strips(), trial.conv.block_strips) <= kFewBlocks * threads &&
                          filters >= kFewFilters * threads;
  if (threads == 1 || !by_filters) {
    for (Index f = 0; f < filters; f += at_once)
      run_filters<T, Size, Taps>(w, f, std::min(at_once, filters - f), threads);
    return;
  }
  const Index least = divide_up(filters, at_once);
  const Index parts = divide_up(least, threads) * threads;
  parallel_for(
      static_cast<int>(parts),
      [&](int part) {
        const Index begin = filters * part / parts, end = filters * (part + 1) / parts;
        run_filters<T, Size, Taps>(w, begin, end - begin, 1);
      },
      threads);
}

// Elements that a vector's lanes, as many as needed, hold for nothing; of `count`, in all.
template <class T>
double filled(Index count) {
  return real(count) / real(divide_up(count, winograd_lanes<T>()) * winograd_lanes<T>());
}

template <class T>
WinogradGradient<T> by_weight(const ConvShape& s) {
  WinogradGradient<T> w{};
  w.conv = forward<T>(s);
  w.grad_image = s.filters * s.out_size();
  w.filters_across = filled<T>(s.group_filters()) > filled<T>(s.group_channels());
  return w;
}

template <class T, int Size, int Taps>
double weight_cycles(const ConvShape& s) {
  const WinogradGradient<T> g = by_weight<T>(s);
  const Winograd<T>& w = g.conv;
  const double filter_vectors = real(divide_up(w.filters, winograd_lanes<T>()));
  const double channel_vectors = real(divide_up(w.channels, winograd_lanes<T>()));
  const double tiles = real(w.images * divide_up(w.out_h, Size) * divide_up(w.out_w, Size));
  const double sums = real(kPoints<Size, Taps>) *
                      (g.filters_across ? filter_vectors * real(w.channels) : channel_vectors * real(w.filters));
  const double gradient = Taps == 3 ? 300 : kSpreadCycles<Size, Taps>.input;
  return tiles * (sums / 0.88 + channel_vectors * kCycles<Size, Taps>.input + filter_vectors * gradient) +
         (std::ceil(tiles / real(kGradientTiles)) * 5 + 10) * sums;
}

// The size of the fewer cycles, where they are fewer than those of a direct computation. Less rounding error is worth
// something: F(2 x 2, 5 x 5) has hardly more than a direct sum, F(4 x 4, 5 x 5) four times as much.
template <int Taps>
int fewest(double two, double four, double direct) {
  constexpr double kMargin = Taps == 5 ? 0.8 : 0.9, kCoarse = Taps == 5 ? 0.8 : 1;
  const bool two_pays = two <= kMargin * direct, four_pays = four <= kMargin * direct;
  if (four_pays && (!two_pays || four < kCoarse * two)) return 4;
  return two_pays ? 2 : 0;
}

}  // namespace

template <class T>
Index winograd_lanes() {
  return kernels<T, 4, 3>().lanes;
}

template <int Taps>
bool winograd_takes(const ConvShape& s) {
  return beyond_baseline() && s.kernel_h == Taps && s.kernel_w == Taps && s.stride_h == 1 && s.stride_w == 1 &&
         s.dilation_h == 1 && s.dilation_w == 1;
}

template <class T>
int winograd_choice(const ConvForward<T>* p, const ConvShape& s) {
  const double direct = direct_cycles(forward<T>(s), s.kernel_size());
  if (winograd_takes<3>(s)) return fewest<3>(fastest<T, 2, 3>(p, s).cycles, fastest<T, 4, 3>(p, s).cycles, direct);
  if (winograd_takes<5>(s)) return fewest<5>(fastest<T, 2, 5>(p, s).cycles, fastest<T, 4, 5>(p, s).cycles, direct);
  return 0;
}

template <class T>
int winograd_choice(const ConvBackwardInput<T>* p, const ConvShape& s) {
  if (winograd_takes<3>(s))
    return fewest<3>(fastest<T, 2, 3>(p, s).cycles, fastest<T, 4, 3>(p, s).cycles,
                     direct_cycles(backward<T>(s, false), 9));
  if (winograd_takes<5>(s))
    return fewest<5>(fastest<T, 2, 5>(p, s).cycles, fastest<T, 4, 5>(p, s).cycles, direct_input_cycles<T>(s));
  return 0;
}

template <class T>
int winograd_choice(const ConvBackwardWeight<T>*, const ConvShape& s) {
  const double direct = direct_cycles(forward<T>(s), s.kernel_size());
  if (winograd_takes<3>(s)) return weight_cycles<T, 4, 3>(s) < 0.9 * direct ? 4 : 0;
  if (winograd_takes<5>(s)) return fewest<5>(weight_cycles<T, 2, 5>(s), weight_cycles<T, 4, 5>(s), direct);
  return 0;
}

template <class T, int Size, int Taps>
void conv_winograd(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Fastest<T> as = fastest<T, Size, Taps>(&p, s);
  Winograd<T> w = as.w;
  w.relu = p.relu;
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.x + group * w.channels * s.in_size();
    w.y = p.y + group * w.filters * s.out_size();
    w.weight = p.weight + group * w.filters * s.depth();
    w.bias = p.bias == nullptr ? nullptr : p.bias + group * w.filters;
    run<T, Size, Taps>(w, threads, as.way);
  }
}

template <class T, int Size, int Taps>
void conv_winograd(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Fastest<T> as = fastest<T, Size, Taps>(&p, s);
  Winograd<T> w = as.w;
  for (Index group = 0; group < s.groups; ++group) {
    w.x = p.grad + group * w.channels * s.out_size();
    w.y = p.dx + group * w.filters * s.in_size();
    w.weight = p.weight + group * w.channels * s.depth();
    run<T, Size, Taps>(w, threads, as.way);
  }
}

template <class T, int Size, int Taps>
void conv_winograd(const ConvBackwardWeight<T>& p, int threads) {
  const ConvShape& s = p.shape;
  WinogradGradient<T> w = by_weight<T>(s);
  w.accumulate = p.accumulate;
  for (Index group = 0; group < s.groups; ++group) {
    w.conv.x = p.x + group * w.conv.channels * s.in_size();
    w.grad = p.grad + group * w.conv.filters * s.out_size();
    w.dweight = p.dweight + group * w.conv.filters * s.depth();
    w.dbias = p.dbias == nullptr ? nullptr : p.dbias + group * w.conv.filters;
    run<T, Size, Taps>(w, threads);
  }
}

template <class Problem, class T, int Size, int Taps>
std::size_t winograd_scratch(const ConvShape& s) {
  if constexpr (std::is_same_v<Problem, ConvBackwardWeight<T>>) {
    WinogradGradient<T> w = by_weight<T>(s);
    w.conv.filters = std::min(w.conv.filters, filters_by_weight<T, Size, Taps>(w.conv));
    cut<T, Size, Taps>(w, 1);
    return static_cast<std::size_t>(w.sums_size + w.grad_size + w.conv.input_size + w.conv.pixel_size) * sizeof(T);
  } else {
    const auto as = fastest<T, Size, Taps>(static_cast<const Problem*>(nullptr), s);
    Winograd<T> w = as.w;
    w.filters = std::min(w.filters, filters_at_once<T>(kTile<Size, Taps>, w.channels, w.filters));
    cut_as<T, Size, Taps>(as.way, w, 1);
    return static_cast<std::size_t>(transformed_weight(w, kTile<Size, Taps>) + w.input_size + w.product_size +
                                    w.pixel_size) *
           sizeof(T);
  }
}

#define DLKIT_INSTANTIATE_FORM(Problem, T, Size, Taps)                \
  template void conv_winograd<T, Size, Taps>(const Problem<T>&, int); \
  template std::size_t winograd_scratch<Problem<T>, T, Size, Taps>(const ConvShape&);
#define DLKIT_INSTANTIATE(T)                                                    \
  template Index winograd_lanes<T>();                                           \
  template int winograd_choice(const ConvForward<T>*, const ConvShape&);        \
  template int winograd_choice(const ConvBackwardInput<T>*, const ConvShape&);  \
  template int winograd_choice(const ConvBackwardWeight<T>*, const ConvShape&); \
  DLKIT_INSTANTIATE_FORM(ConvForward, T, 2, 3)                                  \
  DLKIT_INSTANTIATE_FORM(ConvForward, T, 4, 3)                                  \
  DLKIT_INSTANTIATE_FORM(ConvForward, T, 2, 5)                                  \
  DLKIT_INSTANTIATE_FORM(ConvForward, T, 4, 5)                                  \
  DLKIT_INSTANTIATE_FORM(ConvBackwardInput, T, 2, 3)                            \
  DLKIT_INSTANTIATE_FORM(ConvBackwardInput, T, 4, 3)                            \
  DLKIT_INSTANTIATE_FORM(ConvBackwardInput, T, 2, 5)                            \
  DLKIT_INSTANTIATE_FORM(ConvBackwardInput, T, 4, 5)                            \
  DLKIT_INSTANTIATE_FORM(ConvBackwardWeight, T, 4, 3)                           \
  DLKIT_INSTANTIATE_FORM(ConvBackwardWeight, T, 2, 5)                           \
  DLKIT_INSTANTIATE_FORM(ConvBackwardWeight, T, 4, 5)
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
template bool winograd_takes<3>(const ConvShape&);
template bool winograd_takes<5>(const ConvShape&);

}  // namespace dlkit
