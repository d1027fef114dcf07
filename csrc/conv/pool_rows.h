// Rows of a plane, padded and split by phase: of a stride of s, phase r holds the elements r, r + s, r + 2 s, ... of
// the padded row. A tap's elements for successive outputs then follow each other in one phase, whatever kernel, stride,
// dilation and padding are, and loops over outputs are plain loads: no edges, no odd sizes.
#pragma once

#include "conv/pool_kernels.h"
#include "conv/pool_lanes.h"
#include "core/philox_words.h"

namespace dlkit::DLKIT_TARGET {

// The memory of a kernel, carved up as RowLayout counts it.
template <class T>
struct RowMemory {
  Index* tap;   // where each tap's elements begin in a split row
  Index* top;   // where the split row of each tap begins
  Index* kept;  // which row each of the kept ones is
  T* rows;
  T* line;    // of the plane's width
  T* out[4];  // of the output's

  DLKIT_INLINE RowMemory(const PoolShape& s, const RowLayout& a, void* scratch, T fill) {
    tap = static_cast<Index*>(scratch);
    top = tap + s.kernel_w;
    kept = top + s.kernel_h;
    rows = reinterpret_cast<T*>(kept + a.rows);
    line = rows + a.rows * a.row;
    for (int i = 0; i < 4; ++i) out[i] = line + a.width + 2 * RowLayout::kSlack + i * (s.out_w + 2 * RowLayout::kSlack);
    for (Index v = 0; v < s.kernel_w; ++v) {
      const Index at = v * s.dilation_w;
      tap[v] = at % a.stride * a.length + at / a.stride;
    }
    for (Index i = 0; i < a.rows * a.row; ++i) rows[i] = fill;
  }
};

// source(w, n): n elements of a row from column w, as a register; the row goes into `to`, whose padding stays.
template <class T, class Source>
DLKIT_INLINE void split_row(const RowLayout& a, const Source& source, T* to, T fill, T* line) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index width = a.width;
  if (a.stride == 1) {
    T* at = to + a.pad;
    for (Index w = 0; w < width; w += kLanes) source(w, width - w).store(at + w);
    Vec<T>::broadcast(fill).store(at + width);
  } else if (a.stride == 2) {
    const Index odd_pad = a.pad & 1;
    T* even = to + odd_pad * a.length + a.pad / 2;
    T* odd = to + (1 - odd_pad) * a.length + (a.pad + 1) / 2;
    for (Index w = 0; w < width; w += 2 * kLanes) {
      const Pair<T> halves = split(source(w, width - w), source(w + kLanes, width - w - kLanes));
      halves.first.store(even + w / 2);
      halves.second.store(odd + w / 2);
    }
    Vec<T>::broadcast(fill).store(even + (width + 1) / 2);
    Vec<T>::broadcast(fill).store(odd + width / 2);
  } else if (kSpecial<T> && a.stride == 4) {
    T* part[4];
    for (Index k = 0; k < 4; ++k) part[k] = to + (k + a.pad) % 4 * a.length + (k + a.pad) / 4;
    for (Index w = 0; w < width; w += 4 * kLanes) {
      const Pair<T> one = split(source(w, width - w), source(w + kLanes, width - w - kLanes));
      const Pair<T> two =
          split(source(w + 2 * kLanes, width - w - 2 * kLanes), source(w + 3 * kLanes, width - w - 3 * kLanes));
      const Pair<T> even = split(one.first, two.first), odd = split(one.second, two.second);
      even.first.store(part[0] + w / 4);
      odd.first.store(part[1] + w / 4);
      even.second.store(part[2] + w / 4);
      odd.second.store(part[3] + w / 4);
    }
    for (Index k = 0; k < 4; ++k) Vec<T>::broadcast(fill).store(part[k] + (width + 3 - k) / 4);
  } else if (kSpecial<T> && kHasThirds && a.stride == 3) {
    T* part[3];
    for (Index k = 0; k < 3; ++k) part[k] = to + (k + a.pad) % 3 * a.length + (k + a.pad) / 3;
    Index m = 0;
    for (Index w = 0; w < width; w += 3 * kLanes, m += kLanes) {
      const Vec<T> one = source(w, width - w), two = source(w + kLanes, width - w - kLanes),
                   three = source(w + 2 * kLanes, width - w - 2 * kLanes);
      third<0>(one, two, three).store(part[0] + m);
      third<1>(one, two, three).store(part[1] + m);
      third<2>(one, two, three).store(part[2] + m);
    }
    for (Index k = 0; k < 3; ++k) Vec<T>::broadcast(fill).store(part[k] + (width + 2 - k) / 3);
  } else {
    for (Index w = 0; w < width; w += kLanes) source(w, width - w).store(line + w);
    const Index phases = a.stride <= a.reach + 1 ? a.stride : a.reach + 1;  // no tap has others
    for (Index r = 0; r < phases; ++r) {
      T* phase = to + r * a.length;
      const Index first = r < a.pad ? (a.pad - r + a.stride - 1) / a.stride : 0;
      const T* from = line + first * a.stride + r - a.pad;
      for (Index t = first, w = first * a.stride + r - a.pad; w < width; ++t, w += a.stride, from += a.stride)
        phase[t] = *from;
    }
  }
}

template <class T>
struct RowSource {
  const T* row;
  DLKIT_INLINE Vec<T> operator()(Index w, Index n) const { return load_first(row + w, n); }
};

// The taps of a window that meet the plane, along one axis: [begin, end).
struct Taps {
  Index begin, end;
  DLKIT_INLINE Taps(Index first, Index kernel, Index dilation, Index extent) {
    begin = first < 0 ? -first : 0;
    end = first < extent ? extent - first : 0;
    if (dilation != 1) {
      begin = (begin + dilation - 1) / dilation;
      end = (end + dilation - 1) / dilation;
    }
    if (end > kernel) end = kernel;
    if (begin > end) begin = end;
  }
};

// Numbers of [0, 1) for the outputs first, first + 1, ..., of 24 bits each.
template <class T>
DLKIT_INLINE void uniform_row(const StochasticPool<T>& p, Index first, Index count, T* words_memory, T* to) {
  const std::uint64_t offset = p.offset + static_cast<std::uint64_t>(first);
  const Index skip = static_cast<Index>(offset % 4);
  std::uint64_t* words = reinterpret_cast<std::uint64_t*>(words_memory);
  philox_words(p.seed, offset / 4, (skip + count + 3) / 4, words);
  const char* bytes = reinterpret_cast<const char*>(words) + 4 * skip;
  for (Index j = 0; j < count; ++j) {
    std::uint32_t word;
    __builtin_memcpy(&word, bytes + 4 * j, 4);
    to[j] = static_cast<T>(word >> 8) * T(0x1p-24);
  }
}

}  // namespace dlkit::DLKIT_TARGET
