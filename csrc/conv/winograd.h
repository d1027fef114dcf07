// Convolution with 3 x 3 kernels by Winograd's minimal filtering (winograd.cpp, winograd_block.cpp).
#pragma once

#include "conv/conv.h"
#include "core/dispatch.h"

namespace dlkit {

// One group of images through some of its filters: a forward convolution, 3 x 3, stride 1, and how it is cut up.
//
// A tile is the Size x Size elements of the output that one transform makes, from (Size + 2)^2 of the input, its
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
  Index parts;                  // of the tiles, that are summed up each by itself
  T* sums;                      // of each part, for each point, filters x channels_stride; and dbias
  T* dweight;
  T* dbias;  // or null
  bool accumulate;
};

template <class T>
struct WinogradGradientKernels {
  // Adds `strips` strips to one part's sums; sets these where `first`.
  void (*add)(const WinogradGradient<T>& w, Index first_strip, Index strips, bool first, T* sums);
  // dweight of one filter, from the sums of all parts.
  void (*finish)(const WinogradGradient<T>& w, Index filter);
};

template <class T>
struct WinogradKernels {
  int lanes;
  // The weight of one vector of filters.
  void (*transform_weight)(const Winograd<T>& w, Index vector);
  // From the input to the output: `strips` strips, and the filters of `panels` panels.
  void (*run)(const Winograd<T>& w, Index first_strip, Index strips, Index first_panel, Index panels);
};

struct WinogradTable {
  WinogradKernels<float> float2, float4;
  WinogradKernels<double> double2, double4;
};
DLKIT_DECLARE_PER_ISA(WinogradTable, winograd_table)

struct WinogradGradientTable {
  WinogradGradientKernels<float> of_float;
  WinogradGradientKernels<double> of_double;
};
DLKIT_DECLARE_PER_ISA(WinogradGradientTable, winograd_gradient_table)

// Pixels of the output, of one vector of filters, that are turned at a time: less than half of a first-level cache.
inline constexpr Index kWinogradPixels = 192;

bool winograd_takes(const ConvShape& shape);

// The Size that is fastest for the shape, or 0 where a direct convolution is. ByInput: the gradient to the input.
template <class T, bool ByInput>
int winograd_choice(const ConvShape& shape);

// F(Size x Size, 3 x 3).
template <class T, int Size>
void conv_winograd(const ConvForward<T>& p, int threads);
template <class T, int Size>
void conv_winograd(const ConvBackwardInput<T>& p, int threads);

template <class T>
void conv_winograd(const ConvBackwardWeight<T>& p, int threads);  // F(3 x 3, 4 x 4)

// Bytes.
template <class T, int Size, bool ByInput>
std::size_t winograd_scratch(const ConvShape& shape);

template <class T>
std::size_t winograd_weight_scratch(const ConvShape& shape);

// Whether it is faster than a direct computation.
template <class T>
bool winograd_pays_by_weight(const ConvShape& shape);

}  // namespace dlkit
