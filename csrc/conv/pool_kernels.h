// The vector kernels of pooling, on one thread: planes [begin, end) of a problem. One table per file and instruction
// set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "conv/pool.h"
#include "core/dispatch.h"

namespace dlkit {

inline Index power_of_two(Index least) {
  Index size = 1;
  while (size < least) size *= 2;
  return size;
}

// Rows as pool_rows.h lays them out: padded, and split by phase, so that a tap's elements follow each other. A band of
// output rows is worked on together: first all that it reads is split, then all is computed, for what has just been
// stored cannot be loaded from another address without waiting.
struct RowLayout {
  static constexpr Index kSlack = 32;         // twice the longest register
  static constexpr Index kBand = 8;           // output rows, where
  static constexpr Index kBandBytes = 24576;  // they fit into so much of the first-level cache

  Index stride, reach, pad, width;  // along the row; width: of what is read of the plane's
  Index length;                     // of a phase
  Index row;                        // of all phases
  Index step, band;                 // the stride from row to row; output rows of a band
  Index rows;                       // that are kept, a power of two

  RowLayout(const PoolShape& s, Index item)
      : stride(s.out_w == 1 ? 1 : s.stride_w), reach(s.dilation_w * (s.kernel_w - 1)), pad(s.pad_w) {
    const Index last = (s.out_w - 1) * stride + reach;  // that is read, counted from the padding's beginning
    width = std::clamp<Index>(last + 1 - pad, 0, s.width);
    length = last / stride + 1 + kSlack;
    row = stride * length;
    step = s.out_h == 1 ? 1 : s.stride_h;
    const Index tall = s.dilation_h * (s.kernel_h - 1) + 1;
    band = std::clamp<Index>((kBandBytes / (row * item) - tall) / step + 1, 1, std::min(kBand, s.out_h));
    rows = power_of_two(std::max(std::min(tall + (band - 1) * step, s.height), band));
  }

  // What a kernel works in: kept rows, a row of the plane, four of the output; numbers for each tap and row.
  Index line() const { return width + 2 * kSlack; }
  Index out(const PoolShape& s) const { return s.out_w + 2 * kSlack; }
  Index numbers(const PoolShape& s) const { return s.kernel_w + s.kernel_h + rows; }
  std::size_t bytes(const PoolShape& s, Index item) const {
    return static_cast<std::size_t>(numbers(s)) * sizeof(Index) +
           static_cast<std::size_t>((rows * row + line() + 4 * out(s)) * item);
  }
};

// The rows of outputs' gradients that a band of rows of the plane needs, each with zeros (or places of nothing) on both
// sides, as far as taps reach.
struct GradLayout {
  static constexpr Index kSlack = 32;
  static constexpr Index kBand = 8;

  Index stride, step, before;  // before: zeros on the left
  Index length;                // of a row
  Index band, rows;            // rows of the plane at a time; of gradients kept for them, a power of two

  explicit GradLayout(const PoolShape& s) : stride(s.out_w == 1 ? 1 : s.stride_w), step(s.out_h == 1 ? 1 : s.stride_h) {
    before = s.dilation_w * (s.kernel_w - 1) / stride + 1;
    length = before + std::max(s.out_w, (s.width + s.pad_w) / stride + 1) + kSlack;
    const Index tall = s.dilation_h * (s.kernel_h - 1);
    band = std::min(kBand, s.height);
    rows = power_of_two(std::min(s.out_h, (tall + band - 1) / step + 1));
  }
  Index line(const PoolShape& s) const { return s.width + 2 * kSlack; }
  std::size_t bytes(const PoolShape& s, Index item) const {
    return static_cast<std::size_t>(rows + 2 * s.kernel_h) * sizeof(Index) +
           static_cast<std::size_t>(rows * length * (item + 1) + (band * length + line(s) + s.out_w + kSlack) * item);
  }
};

template <class T>
struct PoolRowKernels {
  void (*max)(const MaxPool<T>& p, const RowLayout& layout, Index begin, Index end, void* scratch);
  void (*avg)(const AvgPool<T>& p, const RowLayout& layout, Index begin, Index end, void* scratch);
  void (*stochastic)(const StochasticPool<T>& p, const RowLayout& layout, Index begin, Index end, void* scratch);
  void (*stochastic_average)(const StochasticAverage<T>& p, const RowLayout& layout, Index begin, Index end,
                             void* scratch);
};

template <class T>
struct PoolGradKernels {
  void (*max)(const MaxPoolBackward<T>& p, const GradLayout& layout, Index begin, Index end, void* scratch);
  void (*avg)(const AvgPoolBackward<T>& p, const GradLayout& layout, Index begin, Index end, void* scratch);
};

template <class T>
struct PoolSmallKernels {
  void (*max_2x2)(const MaxPool<T>& p, Index begin, Index end);
  void (*max_2x2_backward)(const MaxPoolBackward<T>& p, Index begin, Index end);
  void (*max_3x3)(const MaxPool<T>& p, Index begin, Index end);
  void (*max_3x3_backward)(const MaxPoolBackward<T>& p, Index begin, Index end);
  void (*avg_2x2)(const AvgPool<T>& p, Index begin, Index end);
  void (*avg_2x2_backward)(const AvgPoolBackward<T>& p, Index begin, Index end);
};

// Rows of `cols` elements each, on one thread: rows [begin, end).
template <class T>
struct PoolPlaneKernels {
  void (*mean)(const T* x, T* y, Index cols, T divisor, Index begin, Index end);
  void (*spread)(const T* grad, T* dx, Index cols, T divisor, Index begin, Index end);
  void (*max)(const MaxOverTime<T>& p, Index begin, Index end);
  void (*max_pool)(const MaxPool<T>& p, Index begin, Index end);  // of a window that is the plane
};

// Registers of interleaved planes that are worked on together, and of a row's windows, where these alone are more.
inline constexpr Index kInterleavedBand = 64 << 10;  // bytes
inline constexpr Index kInterleavedMost = 4 << 20;
inline constexpr Index kMostSorted = 32;  // of a row's largest, that are kept sorted

template <class T>
struct PoolInterleavedKernels {
  void (*max)(const MaxPool<T>& p, Index begin, Index end);
  void (*max_backward)(const MaxPoolBackward<T>& p, Index begin, Index end);
  void (*avg)(const AvgPool<T>& p, Index begin, Index end);
  void (*avg_backward)(const AvgPoolBackward<T>& p, Index begin, Index end);
  void (*adaptive_max)(const AdaptiveMaxPool<T>& p, Index begin, Index end);
  void (*adaptive_avg)(const AdaptiveAvgPool<T>& p, Index begin, Index end);
  void (*adaptive_avg_backward)(const AdaptiveAvgPoolBackward<T>& p, Index begin, Index end);
  void (*stochastic)(const StochasticPool<T>& p, Index begin, Index end);
  void (*stochastic_average)(const StochasticAverage<T>& p, Index begin, Index end);
  void (*stochastic_average_backward)(const StochasticAverageBackward<T>& p, Index begin, Index end);
  void (*k_max)(const KMaxPool<T>& p, Index begin, Index end);  // rows [begin, end), k at most kMostSorted
};

// Of a register that is moved along its lanes: columns of a window, or windows of a column.
inline constexpr Index kMostMoves = 8;
inline constexpr Index kMostMoveSteps = 4096;  // registers of results of a plane, and rows that are read for them

template <class T>
struct PoolMoveKernels {
  void (*max_backward)(const MaxPoolBackward<T>& p, Index begin, Index end);
  void (*avg)(const AvgPool<T>& p, Index begin, Index end);
  void (*avg_backward)(const AvgPoolBackward<T>& p, Index begin, Index end);
  void (*adaptive_avg)(const AdaptiveAvgPool<T>& p, Index begin, Index end);
  void (*adaptive_avg_backward)(const AdaptiveAvgPoolBackward<T>& p, Index begin, Index end);
  Index lanes;  // 0: this instruction set cannot move them
};

// Where the taps of a window lie, from its first on, in elements of the plane.
struct WideTaps {
  Index count;
  std::int32_t at[kMostPlaces + 1];
};

struct PoolWiden {
  // to[j] = first + j stride + taps.at[places[j]], or -1 where that is nowhere, j < count. All of them in 32 bits.
  void (*row)(const WideTaps& taps, const std::uint8_t* places, Index first, Index stride, Index count,
              std::int64_t* to);
};

template <template <class> class Kernels>
struct PoolTable {
  Kernels<float> of_float;
  Kernels<double> of_double;

  const Kernels<float>& get(float) const { return of_float; }
  const Kernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(PoolTable<PoolRowKernels>, pool_row_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolGradKernels>, pool_grad_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolPlaneKernels>, pool_plane_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolSmallKernels>, pool_small_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolInterleavedKernels>, pool_interleaved_table)
DLKIT_DECLARE_PER_ISA(PoolTable<PoolMoveKernels>, pool_move_table)
DLKIT_DECLARE_PER_ISA(PoolWiden, pool_widen)

}  // namespace dlkit
