// The gradients of convolution and max-pooling together (conv_pool.h): of each window one element has a gradient, so
// that of the convolution's multiplications by it only one in four remains, for windows of 2 x 2.
#pragma once

#include "conv/conv.h"
#include "conv/pool.h"
#include "core/dispatch.h"

namespace dlkit {

template <class T>
struct ConvMaxPoolBackwardInput {
  ConvShape conv;
  PoolShape pool;
  const T* grad;               // by the pooled output
  const std::uint8_t* places;  // of its maxima
  const T* weight;
  T* dx;
};

template <class T>
struct ConvMaxPoolBackwardWeight {
  ConvShape conv;
  PoolShape pool;
  const T* grad;
  const std::uint8_t* places;
  const T* x;
  T* dweight;
  T* dbias;         // filters, or null
  bool accumulate;  // add to what dweight and dbias hold
};

// How an image lies, channels side by side and padded, and the rows that are multiplied: for a pixel of the
// convolution's output what the kernel reads there, as `segments` pieces of `width` elements, whole registers, `step`
// apart. A piece is a row of the kernel (all its columns and channels), or, if that leaves many lanes empty, all of it.
struct UnpoolLayout {
  Index rows, cols;       // of the padded image, as far as the kernel reaches
  Index run;              // of a kernel's row: columns * channels
  Index width, segments;  // of a pixel's pieces
  bool whole;             // one piece
  Index lines;            // of pieces: for each padded row, or output row if whole, out_w each
  Index weight_width;     // of a piece of the weight by its rows, for the gradient by x

  UnpoolLayout(const ConvShape& s, Index lanes) {
    const auto up = [&](Index n) { return (n + lanes - 1) / lanes * lanes; };
    rows = (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
    cols = (s.out_w - 1) * s.stride_w + s.kernel_w;
    run = s.kernel_w * s.channels;
    weight_width = up(run);
    whole = 5 * up(run * s.kernel_h) < 4 * weight_width * s.kernel_h;
    width = whole ? up(run * s.kernel_h) : weight_width;
    segments = whole ? 1 : s.kernel_h;
    lines = whole ? s.out_h : rows;
  }
};

template <class T>
struct UnpoolKernels {
  // The weight as the gradient by x reads it.
  void (*pack)(const ConvShape& s, const UnpoolLayout& layout, const T* weight, T* to);
  // Images [begin, end).
  void (*input)(const ConvMaxPoolBackwardInput<T>& p, const UnpoolLayout& layout, const T* packed, Index begin,
                Index end);
  // The same, to sums of filters * segments * width elements, and of filters, or null.
  void (*weight)(const ConvMaxPoolBackwardWeight<T>& p, const UnpoolLayout& layout, Index begin, Index end, T* sums,
                 T* bias_sums);
  Index lanes;
};

struct UnpoolTable {
  UnpoolKernels<float> of_float;
  UnpoolKernels<double> of_double;

  const UnpoolKernels<float>& get(float) const { return of_float; }
  const UnpoolKernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(UnpoolTable, unpool_table)

// Elements at all, one group, no dilation along the width, windows whose places a byte holds, and images that stay in
// the cache.
bool takes_unpool(const ConvShape& conv, const PoolShape& pool);

// Whether they are faster than the gradient of the pooling and then the convolution's.
template <class T>
bool unpool_pays_by_input(const ConvShape& conv, const PoolShape& pool);
template <class T>
bool unpool_pays_by_weight(const ConvShape& conv, const PoolShape& pool);

// Same bits for the same `threads`. For shapes that takes_unpool takes.
template <class T>
void conv_unpool(const ConvMaxPoolBackwardInput<T>& p, int threads);
template <class T>
void conv_unpool(const ConvMaxPoolBackwardWeight<T>& p, int threads);

}  // namespace dlkit
