// Convolution with kernels of 3 x 3 and 5 x 5 by Winograd's minimal filtering (winograd.cpp, winograd_*.cpp).
#pragma once

#include "conv/conv.h"
#include "core/beyond_baseline.h"

namespace dlkit {

// One group of images through some of its filters: a forward convolution, Taps x Taps, stride 1, and how it is cut up.
//
// A tile is the Size x Size elements of the output that one transform makes, from (Size + Taps - 1)^2 of the input, its
// points. A strip is a row of tiles, or a part of one. Filters come in vectors, and vectors in panels.
template <class T>
struct Winograd {
  Index images, channels, filters;
  Index height, width, out_h, out_w;
  Index pad_top, pad_left;  // of any sign
  const T* x;
  Index x_image;  // elements between images
  T* y;
  Index y_image;
  const T* bias;  // filters, or null
  bool relu;
  const T* weight;  // taps contiguous
  Index filter_stride, channel_stride;
  bool flipped;  // taps are read from the last to the first

  Index tiles_h, tiles_w;
  Index segments;                              // strips that a row of tiles is cut into
  Index block_strips;                          // at most, of a block of tiles
  Index panels;                                // of filters: two vectors each, but the last one to three
  Index panels_at_once;                        // whose products are kept before they are transformed back
  Index channels_stride;                       // of the transformed input: a tile's channels
  Index input_point, product_point;            // elements between points of the transformed input, of the products
  Index input_size, product_size, pixel_size;  // elements of a block's intermediates
  T* transformed;                              // the weight: of each panel, for each point, channels x its filters

  Index strips() const { return images * tiles_h * segments; }
  Index segment_begin(Index segment) const { return tiles_w * segment / segments; }
};

// The gradient to the weight, of some of the filters of a group.
template <class T>
struct WinogradGradient {
  Winograd<T> conv;             // its x and how it is cut
  const T* grad;                // by the output
  Index grad_image;             // elements between images
  Index filters_stride;         // of the transformed gradient: a tile's filters
  Index grad_point, grad_size;  // elements between its points, of a block's
  Index sums_point, sums_size;  // elements between points of the sums over tiles, of the sums and dbias
  bool filters_across;          // the sums' vectors are of filters; else of channels
  Index parts;                  // of the tiles, that are summed up each by itself
  T* sums;                      // of each part, for each point, a matrix of filters and channels; and dbias
  T* dweight;
  T* dbias;  // or null
  bool accumulate;
};

template <class T>
struct WinogradGradientKernels {
  // Adds `strips` strips to one part's sums; sets these where `first`.
  void (*add)(const WinogradGradient<T>& w, Index first_strip, Index strips, bool first, T* sums);
  // dweight of one filter (one channel, where vectors are of filters), from the sums of all parts.
  void (*finish)(const WinogradGradient<T>& w, Index down);
  void (*finish_bias)(const WinogradGradient<T>& w, Index filter);
};

template <class T>
struct WinogradKernels {
  int lanes;
  // The weight of one vector of filters.
  void (*transform_weight)(const Winograd<T>& w, Index vector);
  // From the input to the output: `strips` strips, and the filters of `panels` panels.
  void (*run)(const Winograd<T>& w, Index first_strip, Index strips, Index first_panel, Index panels);
};

// The transposed form, of the gradient to the input (winograd_spread.cpp), where that by the output is x and dx is y:
// from `images` images to the filters of `panels` panels.
template <class T>
using WinogradSpread = void (*)(const Winograd<T>& w, Index first, Index images, Index first_panel, Index panels);

// Both forms with vectors of images instead of channels and filters (winograd_batch.cpp): of the images of one vector
// `tile_rows` rows of tiles; all of them, where the result is spread.
template <class T>
struct WinogradBatchKernels {
  void (*run)(const Winograd<T>& w, Index group, Index first_row, Index tile_rows, Index first_panel, Index panels);
  void (*spread)(const Winograd<T>& w, Index group, Index first_row, Index tile_rows, Index first_panel, Index panels);
};

// Of F(2 x 2, 3 x 3), F(4 x 4, 3 x 3), F(2 x 2, 5 x 5) and F(4 x 4, 5 x 5).
inline constexpr int kWinogradForms = 4;
constexpr int winograd_form(int size, int taps) { return (taps == 5 ? 2 : 0) + (size == 4 ? 1 : 0); }

struct WinogradTable {
  WinogradKernels<float> of_float[kWinogradForms];
  WinogradKernels<double> of_double[kWinogradForms];
};
DLKIT_DECLARE_BEYOND_BASELINE(WinogradTable, winograd_table)

struct WinogradGradientTable {  // without F(3 x 3, 2 x 2)
  WinogradGradientKernels<float> of_float[kWinogradForms];
  WinogradGradientKernels<double> of_double[kWinogradForms];
};
DLKIT_DECLARE_BEYOND_BASELINE(WinogradGradientTable, winograd_gradient_table)

struct WinogradSpreadTable {
  WinogradSpread<float> of_float[kWinogradForms];
  WinogradSpread<double> of_double[kWinogradForms];
};
DLKIT_DECLARE_BEYOND_BASELINE(WinogradSpreadTable, winograd_spread_table)

struct WinogradBatchTable {
  WinogradBatchKernels<float> of_float[kWinogradForms];
  WinogradBatchKernels<double> of_double[kWinogradForms];
};
DLKIT_DECLARE_BEYOND_BASELINE(WinogradBatchTable, winograd_batch_table)

// Pixels of the output, of one vector of filters, that are turned at a time: less than half of a first-level cache.
inline constexpr Index kWinogradPixels = 192;

// Kernels of taps x taps, strides and dilations of 1.
template <int Taps>
bool winograd_takes(const ConvShape& shape);

// The Size that is fastest for the shape, or 0 where a direct computation is.
template <class T>
int winograd_choice(const ConvForward<T>*, const ConvShape& shape);
template <class T>
int winograd_choice(const ConvBackwardInput<T>*, const ConvShape& shape);
template <class T>
int winograd_choice(const ConvBackwardWeight<T>*, const ConvShape& shape);

// F(Size x Size, Taps x Taps); F(Taps x Taps, Size x Size) of the gradient to the weight.
template <class T, int Size, int Taps>
void conv_winograd(const ConvForward<T>& p, int threads);
template <class T, int Size, int Taps>
void conv_winograd(const ConvBackwardInput<T>& p, int threads);
template <class T, int Size, int Taps>
void conv_winograd(const ConvBackwardWeight<T>& p, int threads);

// Bytes, of the Problem.
template <class Problem, class T, int Size, int Taps>
std::size_t winograd_scratch(const ConvShape& shape);

}  // namespace dlkit
