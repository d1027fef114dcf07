// Winograd's minimal filtering
#include "conv/winograd.h"

#include <algorithm>
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
constexpr Index kMost = Index{16} << 20;
constexpr Index kTiles = 28;  // of a block: two tiles of the micro-kernel with AVX-512, and 224, 112, 56, 28, 14 pixels

template <int Size>
constexpr Index kPoints = Index{Size + 2} * (Size + 2);

// Sets how the problem is cut; `threads`: for how many.
template <class T, int Size>
void cut(Winograd<T>& w, int threads) {
  const Index lanes = kernels<T, Size>().lanes, item = sizeof(T);
  const Index vectors = divide_up(w.filters, lanes);
  w.panels = std::max<Index>(1, vectors / 2);
  w.tiles_h = divide_up(w.out_h, Size);
  w.tiles_w = divide_up(w.out_w, Size);
  // An odd number of vectors between tiles, and between points: powers of two would meet in few sets of a cache.
  const auto odd = [&](Index size) { return (divide_up(size, lanes) | 1) * lanes; };
  w.channels_stride = odd(w.channels);

  // Strips and blocks of about as many tiles as there should be.
  const Index tiles = std::clamp<Index>(kMost / (kPoints<Size> * w.channels_stride * item), 1, kTiles);
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
  return kPoints<Size> * w.channels * divide_up(w.filters, kernels<T, Size>().lanes) * kernels<T, Size>().lanes;
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

}  // namespace

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
DLKIT_INSTANTIATE(float, 2)
DLKIT_INSTANTIATE(float, 4)
DLKIT_INSTANTIATE(double, 2)
DLKIT_INSTANTIATE(double, 4)

}  // namespace dlkit
