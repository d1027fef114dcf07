// Forward and the gradient to the input as one thing: each element of the result is a sum over channels and taps of
// weights times elements of an image, which are gathered.
//
// Forward, place (i, j) of y reads x at (i s - p + u d, j s - p + v d). The gradient's pixel h is read back by the taps
// for which h + p - u d is a multiple of s: every (s / gcd(s, d))-th, from one that depends on h mod s. So the pixels
// fall into s x s classes ("phases"); in each, the gradient is again a convolution, of stride 1, with some of the taps,
// backwards. No multiplication is with a zero that stride put in between. With stride 1 there is one phase.
//
// As a matrix product: rows are the filters (channels, for the gradient) of a group, columns the places of all images,
// and the sum goes over k = (channel, tap). What k reads, beside what the place does, is the same for all places: an
// offset, and how far it is in rows and columns, for the borders. A table of them, and the weights as (k, row), are
// written by a first small kernel (pack_weights), so that the large one copies its operands as they are.
#pragma once

#include <cstddef>
#include <vector>

#include "conv/device_steps.h"
#include "conv/divisor.h"
#include "matmul/device_plan.h"

namespace dlkit::device {

constexpr int kMostPhases = 16;

struct ConvPhase {
  int down, across;      // places (q, r) of an image: q < down, r < across
  int out_row, out_col;  // where place (0, 0) of the result lies; the others are out_row_step, out_col_step apart
  int row, col;          // what tap (0, 0) of place (0, 0) reads; places are row_step, col_step apart
  int taps_down, taps_across;
  int u, v;       // tap (0, 0) in the kernel; the others are u_step, v_step apart
  int depth;      // channels times taps
  int first_tap;  // where its part of the table begins, and that of the packed weights of all groups
  Index first_weight;
  Divisor by_image = Divisor(1), by_row = Divisor(1);  // of the number of a place
};

struct ConvGather {
  ConvPhase phase[kMostPhases];
  int phases;
  int n, groups;
  int channels, in_h, in_w;  // of a group; of the image that is read
  int rows, out_h, out_w;    // of a group; of the result
  int row_step, col_step, tap_row_step, tap_col_step, out_row_step, out_col_step, u_step, v_step, kernel_w;
  Index weight_row, weight_channel, weight_group;  // strides in the weights as they are given
  int rows_padded;                                 // of the packed weights: a multiple of kPackedRows
  Index packed_weights;                            // elements
  int packed_taps;

  int most_places() const;  // columns of the largest phase
  int most_depth() const;
  constexpr Index in_size() const { return static_cast<Index>(in_h) * in_w; }
  constexpr Index out_size() const { return static_cast<Index>(out_h) * out_w; }
  Index result() const { return static_cast<Index>(n) * groups * rows * out_size(); }
};

constexpr int kPackedRows = 8;    // 16 bytes of 16-bit elements
constexpr int kPackedDepth = 32;  // k in packed weights and table, of each phase: past the end weights are 0

// What one k reads. Past the end of a phase: a row that is nowhere.
struct alignas(16) ConvTap {
  int offset, row, col, unused;
};

// Of forward or backward_input, where fits_tiles.
ConvGather conv_gather(const DeviceConv& problem);

// How much is computed where: the tile of a family, and slices of k (of places, for the weights' gradient), whose
// partial sums are added up by sum_slices.
struct ConvPlan {
  int tile = 0;
  Slices slices;
  double cycles = 0;  // of an H100, by estimate
};
ConvPlan plan_conv(Index rows, Index cols, Index depth, Index count, std::size_t slice_bytes, const TileFamily& family,
                   int tile);
ConvPlan plan_gather(const DeviceConv& problem, const ConvGather& gather, const TileFamily& family);

// The memory of a gather's kernels: table, packed weights, partial sums.
struct GatherWorkspace {
  std::size_t weights, partial, bytes;  // where they begin; the table is first
  GatherWorkspace(const ConvGather& gather, std::size_t element, int slices);
};

// Packed weights of float, or of bfloat16, and the table.
template <class Element>
void pack_weights(const ConvGather& gather, const DeviceConv& problem, Element* packed, ConvTap* taps);

// out = sums over slices (+ bias of each `plane` elements, ReLU), or out += where `accumulate`.
struct SliceSum {
  const void* partial;
  int slices;
  Index count, slice;  // elements of the result, and from slice to slice
  const void* bias;    // or null: of element i, bias[i / plane % channels]
  Index plane, channels;
  bool relu, accumulate;
  void* out;
};
template <class T>
void sum_slices(const SliceSum& sum, void* stream);

}  // namespace dlkit::device
