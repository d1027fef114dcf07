// The vector kernels of pooling, on one thread: planes [begin, end) of a problem. One table per file and instruction
// set.
#pragma once

#include <algorithm>
#include <cstddef>

#include "conv/pool.h"
#include "core/dispatch.h"

namespace dlkit {

// Rows as pool_rows.cpp lays them out: padded, and split by phase, so that a tap's elements follow each other. Where
// the kernel is too tall for the memory of `kRows` rows to help, fewer are kept.
struct RowLayout {
  static constexpr Index kSlack = 64;  // past the longest register, several times

  Index stride, reach, pad, width;  // along the row; width: of what is read of the plane's
  Index length;                     // of a phase
  Index row;                        // of all phases
  Index rows;                       // that are kept

  explicit RowLayout(const PoolShape& s)
      : stride(s.out_w == 1 ? 1 : s.stride_w), reach(s.dilation_w * (s.kernel_w - 1)), pad(s.pad_w) {
    const Index last = (s.out_w - 1) * stride + reach;  // that is read, counted from the padding's beginning
    width = std::clamp<Index>(last + 1 - pad, 0, s.width);
    length = last / stride + 1 + kSlack;
    row = stride * length;
    rows = std::min(s.dilation_h * (s.kernel_h - 1) + 1, std::max<Index>(s.height, 1));
  }

  // What a kernel works in: kept rows, a row of one phase, three of the output, and for each tap and row a number.
  std::size_t elements(const PoolShape& s) const {
    return static_cast<std::size_t>(rows * row + width + 2 * kSlack + 3 * (s.out_w + kSlack));
  }
  std::size_t numbers(const PoolShape& s) const { return static_cast<std::size_t>(s.kernel_w + rows); }
  std::size_t bytes(const PoolShape& s, std::size_t item) const {
    return numbers(s) * sizeof(Index) + elements(s) * item;
  }
};

template <class T>
struct PoolRowKernels {
  void (*max)(const MaxPool<T>& p, const RowLayout& layout, Index begin, Index end, void* scratch);
};

template <class T>
struct PoolSmallKernels {
  void (*max_2x2)(const MaxPool<T>& p, Index begin, Index end);
  void (*max_2x2_backward)(const MaxPoolBackward<T>& p, Index begin, Index end);
};

template <template <class> class Kernels>
struct PoolTable {
  Kernels<float> of_float;
  Kernels<double> of_double;

  const Kernels<float>& get(float) const { return of_float; }
  const Kernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(PoolTable<PoolRowKernels>, pool_row_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolSmallKernels>, pool_small_table)

}  // namespace dlkit
