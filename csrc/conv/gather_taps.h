// The sums of tap_sums.cpp along a row (gather_taps.cpp). Included only by files compiled per instruction set.
#pragma once

#include "conv/pixels.h"

namespace dlkit::DLKIT_TARGET {

// As PixelKernels::gather.
template <class T>
void gather_taps(const T* from, const Index* rows, Index row_count, const TapCol* cols, Index col_count, Index count,
                 T* to);

// to[i] += from[i], i < count
template <class T>
void add_row(const T* from, Index count, T* to);

}  // namespace dlkit::DLKIT_TARGET
