// How planes of rows of one size are read for planes of another: steps, each a register or two of outputs, with the
// rows that they read as masked loads, and the moves from the lanes of a sum of these to the outputs. Made once, for
// all planes. Rows lie in a register as they lie in memory, as many as fit, or a part of a wide one.
#pragma once

#include "conv/lane_moves.h"
#include "conv/pool_lanes.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {

inline constexpr int kMostK = 5;
inline constexpr Index kAhead = 512;  // elements of what is read, that are prefetched

// What a register, or two, of one array is read for: rows of its planes, which row of the kernel meets them.
template <class T>
struct Source {
  Index at, tap_row;
  Index begin, end;  // of the lanes, for both registers
  typename Vec<T>::Mask mask[2];
};

// A register, or two, of outputs: what it reads are sources [first, first + count).
template <class T>
struct Step {
  Index first, count, out;
  typename Vec<T>::Mask mask[2];
};

// How planes of (height, width) are read for planes of (out_h, out_w); made once for all planes.
template <class T>
struct Plan {
  Step<T>* steps;
  Source<T>* sources;
  Index count;                    // of steps
  Index out_gap = Vec<T>::lanes;  // from the first register of outputs to the second
  Moves<T> moves[2]
                [kMostK];  // from the lanes of a sum to those of output register 0 or 1, for each column of the kernel
};

struct Extents {
  Index height, width, out_h, out_w;
};

DLKIT_INLINE Index floor_div(Index a, Index b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The parts of a row that steps have: `cols` outputs, from column `col`, read from column `left` on.
template <class T>
struct Tiling {
  Index rows, cols;  // of outputs in a step
  bool whole;        // rows are read from column 0 on, whatever is beside them
  int in_regs, out_regs;
};

template <class T, class Forward>
DLKIT_INLINE void set_moves(Plan<T>& plan, int regs, Index K, const Forward& from) {
  constexpr Index kLanes = Vec<T>::lanes;
  for (int r = 0; r < regs; ++r)
    for (Index v = 0; v < K; ++v) {
      Index lane[kLanes];
      for (Index i = 0; i < kLanes; ++i) lane[i] = from(r * kLanes + i, v);
      plan.moves[r][v].set(lane);
    }
}

template <class T>
DLKIT_INLINE void take_memory(Plan<T>& plan, Index steps, Index K) {
  const auto first = static_cast<std::size_t>(divide_up(steps * static_cast<Index>(sizeof(Step<T>)), 64) * 64);
  char* const memory =
      static_cast<char*>(scratch_bytes(Slot::pack_b, first + static_cast<std::size_t>(steps * K) * sizeof(Source<T>)));
  plan.steps = reinterpret_cast<Step<T>*>(memory);
  plan.sources = reinterpret_cast<Source<T>*>(memory + first);
  plan.count = 0;
}

// Rows [row, row + rows) of planes of `height` rows of `width` elements, from column `left` on: where they are, as a
// source. False, and no lanes, where none is there.
template <class T>
DLKIT_INLINE bool source_of(Source<T>& to, Index row, Index rows, Index height, Index width, Index left, bool whole) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index begin = row < 0 ? -row : 0, end = row + rows > height ? height - row : rows;
  if (begin >= end) {
    to.at = to.begin = to.end = 0;
    to.mask[0] = to.mask[1] = Vec<T>::first(0);
    return false;
  }
  to.at = row * width + left;
  to.begin = whole ? begin * width : -left;
  to.end = whole ? end * width : width - left;
  for (int r = 0; r < 2; ++r) to.mask[r] = between<T>(to.begin - r * kLanes, to.end - r * kLanes);
  return true;
}

// dx from grad: row h of dx has rows (h + pad_top - u) / stride of grad where that divides. Of a stride of 2, two rows
// of grad may be in a register, for rows h and h + 2 of dx, a register each.
template <class T>
DLKIT_INLINE Tiling<T> plan_backward(Plan<T>& plan, const Extents& grad, Index K, Index stride, Index pad_top,
                                     Index pad_left) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index longest = grad.width > grad.out_w ? grad.width : grad.out_w;
  Tiling<T> t = {1, 0, false, 1, 1};
  bool two_rows = false;
  // Of a tile from column c on (even, where the stride is 2), the first column of grad that it meets is c / stride +
  // ahead; the last must be in the same register.
  const Index ahead = -floor_div(K - 1 - pad_left, stride);
  if (stride == 1 && longest <= kLanes) {
    t = {smaller(kLanes / longest, grad.out_h), grad.out_w, true, 1, 1};
  } else if (stride == 1) {
    t.cols = kLanes - K + 1;
  } else if (2 * grad.width <= kLanes && grad.out_w <= kLanes) {
    t = {2, grad.out_w, true, 1, 2};
    two_rows = true;
    plan.out_gap = 2 * grad.out_w;
  } else if (grad.width <= kLanes && grad.out_w <= 2 * kLanes) {
    t = {1, grad.out_w, true, 1, grad.out_w <= kLanes ? 1 : 2};
  } else {
    t.cols = 2 * kLanes;
    while (floor_div(t.cols - 1 + pad_left, stride) - ahead >= kLanes) t.cols -= 2;
    t.out_regs = 2;
  }
  take_memory(plan, (divide_up(grad.out_h, t.rows) + 1) * divide_up(grad.out_w, t.cols), K);
  Index used = 0;
  const auto add_step = [&](Index h, Index w, Index rows) __attribute__((always_inline)) {
    Step<T>& step = plan.steps[plan.count++];
    step.first = used;
    step.out = h * grad.out_w + w;
    const Index cols = smaller(t.cols, grad.out_w - w);
    for (int r = 0; r < 2; ++r)
      step.mask[r] = Vec<T>::first(two_rows ? (r < rows ? cols : 0) : rows * cols - r * kLanes);
    for (Index u = 0; u < K; ++u) {
      const Index at = h + pad_top - u;
      if (floor_div(at, stride) * stride != at) continue;
      Source<T>& source = plan.sources[used];
      source.tap_row = u;
      used += source_of(source, floor_div(at, stride), rows, grad.height, grad.width, t.whole ? 0 : w / stride + ahead,
                        t.whole) ||
              stride == 1;
    }
    step.count = used - step.first;
  };
  if (two_rows) {
    for (Index h = 0; h < grad.out_h; h += 4)
      for (Index first = h; first < h + 2 && first < grad.out_h; ++first)
        add_step(first, 0, first + 2 < grad.out_h ? 2 : 1);
  } else {
    for (Index h = 0; h < grad.out_h; h += t.rows)
      for (Index w = 0; w < grad.out_w; w += t.cols) add_step(h, w, smaller(t.rows, grad.out_h - h));
  }
  set_moves(plan, t.out_regs, K, [&](Index lane, Index v) {
    if (two_rows && lane % kLanes >= grad.out_w) return Index{-1};
    const Index row = two_rows ? lane / kLanes : t.whole ? lane / grad.out_w : 0;
    const Index at = lane - row * (two_rows ? kLanes : grad.out_w) + pad_left - v;
    const Index col = floor_div(at, stride);
    if (row >= t.rows || col * stride != at) return Index{-1};
    if (!t.whole) return col - ahead >= 0 && col - ahead < kLanes ? col - ahead : -1;
    return col >= 0 && col < grad.width ? row * grad.width + col : -1;
  });
  return t;
}

// The lines of a plane to come, for reading or writing.
template <int kWrite, class T>
DLKIT_INLINE void prefetch_plane(const T* plane, Index size) {
  for (Index i = 0; i < size; i += 64 / static_cast<Index>(sizeof(T))) __builtin_prefetch(plane + i, kWrite);
}

}  // namespace dlkit::DLKIT_TARGET
