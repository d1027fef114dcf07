// The matrix product that a convolution is, over pixels: what the implicit-GEMM kernels are asked for, and their table.
//
//   y[image, f, p] = bias[f] + sum over channels c and taps t of a[f, c T + t] plane[image, c, t][p moved by t]
//
// for filters f and output pixels p, numbered through all images. A tap is a row and a column of the kernel's grid;
// each reads a plane of `width` x `height` places, moved by whole rows and columns, with 0 outside. So a stride is
// gone: where there is one, the image was split into a plane for each remainder of its rows and columns before
// (planes.cpp).
#pragma once

#include <cstddef>

#include "core/view.h"

namespace dlkit {

// A row (or column) of the grid of taps.
struct TapLine {
  Index shift;   // an output row i reads the plane's row i + shift
  Index extent;  // rows of its plane: what is outside [0, extent) is 0
  Index offset;  // elements from the channel's first element to its plane, and to row `shift` of it
};

template <class T>
struct PixelProblem {
  Index images, channels, filters;
  Index out_h, out_w;

  const T* source;
  Index image_stride, channel_stride, row_stride;  // of the source, in elements
  const TapLine* rows;
  const TapLine* cols;
  Index row_count, col_count;

  const T* a;  // filters x (channels * taps), rows a_stride and columns a_step apart
  Index a_stride, a_step;
  const T* bias;  // filters, or null
  bool relu;

  T* y;  // pixels of an image contiguous
  Index y_image_stride, y_filter_stride;

  Index taps() const { return row_count * col_count; }
  Index depth() const { return channels * taps(); }
  Index pixels() const { return images * out_h * out_w; }
};

// What a column of taps has for a row of the gradient by x: elements [begin, end) of it, from so far on.
struct TapCol {
  Index offset, begin, end;
};

template <class T>
struct PixelKernels {
  // Panels of pixels that the problem is cut into.
  Index (*panels)(Index pixels);
  // The filters [filter, filter_end) of the panels [panel, panel_end), on the caller's thread.
  void (*run)(const PixelProblem<T>& p, Index panel, Index panel_end, Index filter, Index filter_end);
  // Bytes of scratch that run uses.
  std::size_t (*scratch)(Index depth, Index taps, Index filters);
  // to[i] = sum over rows and columns of taps of from[rows[u] + cols[v].offset + i], i < count; a column without: 0
  void (*gather)(const T* from, const Index* rows, Index row_count, const TapCol* cols, Index col_count, Index count,
                 T* to);
  // to[i] += from[i], i < count
  void (*add)(const T* from, Index count, T* to);
  // to[i * to_row + j] = from[i * from_row + j * stride] of rows x cols elements
  void (*split)(const T* from, Index from_row, Index rows, Index cols, Index stride, T* to, Index to_row);
  // to[i * stride + j] = from[j][i], count elements of `to`; a null from[j] is zeros
  void (*join)(const T* const* from, Index stride, Index count, T* to);
  // Whether it takes taps that read outside their planes; else these must be padded.
  bool masks;
  Index lanes;
};

template <class T>
const PixelKernels<T>& pixel_kernels();

}  // namespace dlkit
