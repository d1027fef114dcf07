// Direct convolution in a channel-blocked layout: what its kernels are asked for, and their table.
#pragma once

#include <cstddef>

#include "conv/conv.h"
#include "core/view.h"

namespace dlkit {

// A tap along an axis: output i of its phase reads input i * in_step + shift.
struct DirectTap {
  Index shift, number;  // number: of the row or column of the kernel
};

// Outputs first, first + out_step, ... of an axis, which are reached by the same taps.
struct DirectPhase {
  Index first;
  const DirectTap* taps;
  Index tap_count;
};

// Rows or columns: with a stride, in_step is the stride forward and out_step backward; the other is 1.
struct DirectAxis {
  Index inputs, outputs, in_step, out_step;
  const DirectPhase* phases;  // out_step of them
  Index least, most;          // shifts of all taps
  Index block, blocks;        // outputs of a block, and how many blocks there are

  Index begin(Index i) const { return i * block; }
  Index size(Index i) const { return outputs - i * block < block ? outputs - i * block : block; }
};

// A tap of a tile: what it reads, from the tile's first pixel on, and its number in the kernel.
struct DirectStep {
  Index offset, tap;
};

template <class T>
struct DirectConv {
  Index images, groups, channels, filters;  // the latter two of a group
  DirectAxis rows, cols;
  Index kernel_w, taps;
  bool in_place;  // the input is read where it lies: a kernel of 1 x 1 without padding

  const T* x;
  Index x_image, x_group, x_channel;
  const T* weight;  // taps contiguous
  Index weight_group, weight_filter, weight_channel;
  T* packed;  // the weight: panels of a few vectors of filters, each blocks of channels x taps x channels x filters
  Index packed_group;
  const T* bias;  // or null
  bool relu;
  T* y;
  Index y_image, y_group, y_filter;

  Index panel_vectors, panels;  // vectors at most of a panel; panels of a group
  Index input_size, out_size;   // elements of scratch for a block's input, and for its output of one panel

  Index units() const { return images * groups * rows.blocks * cols.blocks; }
};

template <class T>
struct DirectKernels {
  Index lanes;
  Index (*pixels)(Index vectors);  // of a tile of so many vectors of filters, 2 or 3
  void (*pack)(const DirectConv<T>& p, Index group, Index panel);
  // Units (an image's group's block each) [unit, unit_end), of the panels [panel, panel_end), on the caller's thread.
  void (*run)(const DirectConv<T>& p, Index unit, Index unit_end, Index panel, Index panel_end);
};

bool takes_direct(const ConvShape& shape);

template <class T>
void conv_direct(const ConvForward<T>& p, int threads);
template <class T>
void conv_direct(const ConvBackwardInput<T>& p, int threads);

// Bytes.
template <class T>
std::size_t direct_scratch(const ConvForward<T>*, const ConvShape& shape);
template <class T>
std::size_t direct_scratch(const ConvBackwardInput<T>*, const ConvShape& shape);

// Cycles of a core that does one multiply-add of vectors in each, as measured on Zen 4. Infinite where other variants
// were found faster: with short vectors, and with few registers and a kernel of 1 x 1.
template <class T, class Problem>
double direct_cycles(const Problem*, const ConvShape& shape);

}  // namespace dlkit
