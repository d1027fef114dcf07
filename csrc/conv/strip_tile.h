// The micro-kernel of strips: a tile of filters by output pixels in registers for the whole sum, where output pixel q
// reads tap k at q + offsets[k].
//
// A step of 13 filters x 2 registers has 13 + 4 loads (a register mostly lies in two lines) for 26 multiply-adds.
// Bound: the multiply-adds.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
struct StripTile {
  const T* x;
  const Index* offsets;
  Index depth;
  const T* weight;  // depth x rows
  const T* bias;    // or null
  T* y;
  Index y_stride;  // from filter to filter
  Index panels;    // of Vectors registers, one after another
  Index left;      // pixels from the first panel on
  bool relu;
};

// The shapes of tiles: sums, pixels and a factor fill the registers.
template <class T>
struct StripShapes {
  static constexpr int registers = Vec<T>::registers;
  static constexpr int rows_of_two = (registers - 4) / 2;
  static constexpr int rows_of_four = (registers - 6) / 4;
};

template <class T>
using StripKernel = void (*)(const StripTile<T>&);

// The kernel for `rows` filters, 1 to rows_of_two or, of four registers, to rows_of_four; 1, 2 or 4 registers.
template <class T>
StripKernel<T> strip_kernel(int rows, int vectors);

}  // namespace dlkit::DLKIT_TARGET
