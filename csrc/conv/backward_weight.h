// The gradient to the weights as a product of matrices that are never formed:
//
//   dweight[f, (c, u, v)] = sum over images and pixels of grad[f, pixel] x[c, what tap (u, v) reads there]
//
// A tile of the result stays in registers while the pixels of a unit (a few images, or a block of one) go by, and is
// then added to sums in scratch. The variants differ in what lies side by side in a register: filters
// (filter_vectors.cpp), channels (channel_vectors.cpp) or pixels (pixel_vectors.cpp). Units and threads:
// backward_weight.cpp.
#pragma once

#include "conv/conv.h"
#include "core/dispatch.h"

namespace dlkit {

// How the pixels of the output are cut into units: several whole images, or a block of one.
struct WeightUnits {
  Index images;                // of a unit; the last may have fewer
  Index row_parts, col_parts;  // of an image; both 1 where images is more than 1
  Index count;
};

// What one task does: some of the units, for some of the rows of the tiles.
struct WeightPart {
  Index unit_begin, unit_end;
  Index row_begin, row_end;
};

template <class T>
struct WeightKernels {
  // Of a group: the sums are `rows` rows of `cols` elements, whole vectors. The rows are what tasks may share out.
  Index (*rows)(const ConvShape& shape);
  Index (*cols)(const ConvShape& shape);
  // Estimated cycles on one thread.
  double (*cycles)(const ConvShape& shape);
  // The part's sums, groups * rows * cols of which it writes its rows, and the sums of grad, groups * the filters of
  // a group in whole vectors, or null. Both are added to where a part has several units, and need no initial value.
  void (*accumulate)(const ConvBackwardWeight<T>& p, const WeightUnits& units, const WeightPart& part, T* sums,
                     T* bias_sums);
  // dweight of filters [begin, end) of each group, from the sums of `parts` tasks, `size` elements apart, in order.
  void (*finish)(const ConvBackwardWeight<T>& p, const T* sums, int parts, Index size, Index begin, Index end);
  Index lanes;
  Index pixels;  // of a unit: enough that the sums' way to memory and back costs little, few enough for the caches
};

struct WeightTable {
  WeightKernels<float> of_float;
  WeightKernels<double> of_double;

  const WeightKernels<float>& get(float) const { return of_float; }
  const WeightKernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(WeightTable, filter_vectors_table)
DLKIT_DECLARE_PER_ISA(WeightTable, channel_vectors_table)
DLKIT_DECLARE_PER_ISA(WeightTable, pixel_vectors_table)

template <class T>
void conv_filter_vectors(const ConvBackwardWeight<T>& p, int threads);
template <class T>
void conv_channel_vectors(const ConvBackwardWeight<T>& p, int threads);
template <class T>
void conv_pixel_vectors(const ConvBackwardWeight<T>& p, int threads);

// Whether what one output element reads spans few enough pixels for a copy of it in scratch.
bool weight_window_fits(const ConvShape& shape);

// Bytes on one thread.
template <class T>
std::size_t filter_vectors_scratch(const ConvShape& shape);
template <class T>
std::size_t channel_vectors_scratch(const ConvShape& shape);
template <class T>
std::size_t pixel_vectors_scratch(const ConvShape& shape);

// The name of the one of the three that takes the fewest cycles, by estimate.
template <class T>
const char* fastest_vectors(const ConvShape& shape);

}  // namespace dlkit
