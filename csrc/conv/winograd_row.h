// Convolution with kernels of one row, 3 to 5 taps wide, by Winograd's minimal filtering in one dimension
// (winograd_row.cpp, winograd_row_block.cpp).
#pragma once

#include "conv/winograd.h"

namespace dlkit {

// Outputs of a tile: 6 or 8 points.
constexpr int winograd_row_size(int taps) { return taps == 4 ? 3 : 4; }

inline constexpr int kLeastRowTaps = 3, kRowForms = 3;  // 3, 4 and 5 taps

struct WinogradRowTable {
  WinogradKernels<float> of_float[kRowForms];
  WinogradKernels<double> of_double[kRowForms];

  const WinogradKernels<float>& get(float, Index taps) const { return of_float[taps - kLeastRowTaps]; }
  const WinogradKernels<double>& get(double, Index taps) const { return of_double[taps - kLeastRowTaps]; }
};
DLKIT_DECLARE_BEYOND_BASELINE(WinogradRowTable, winograd_row_table)

bool takes_winograd_row(const ConvShape& shape);

// Whether it is faster than a direct computation.
template <class T>
bool winograd_row_pays(const ConvForward<T>*, const ConvShape& shape);
template <class T>
bool winograd_row_pays(const ConvBackwardInput<T>*, const ConvShape& shape);

template <class T>
void conv_winograd_row(const ConvForward<T>& p, int threads);
template <class T>
void conv_winograd_row(const ConvBackwardInput<T>& p, int threads);

// Bytes on one thread, of the Problem.
template <class Problem, class T>
std::size_t winograd_row_scratch(const ConvShape& shape);

}  // namespace dlkit
