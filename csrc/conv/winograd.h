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

// Bytes.
template <class T, int Size, bool ByInput>
std::size_t winograd_scratch(const ConvShape& shape);

}  // namespace dlkit
