// How Winograd's convolution gets at its input: NCHW as pixels of vectors of channels, and the tiles of those.
#pragma once

#include "conv/winograd.h"
#include "conv/winograd_transform.h"
#include "core/transpose.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {

DLKIT_INLINE constexpr Index larger(Index a, Index b) { return a > b ? a : b; }
DLKIT_INLINE constexpr Index clamped(Index x, Index low, Index high) { return larger(low, smaller(x, high)); }

// Turns `count` pixels of `channels` planes, and puts them, a vector each, at `to`; after each `wrap` of them, the
// first time after `left`, the place moves `skip` elements on. Lanes from `channels` on are 0.
template <class T>
void turn_pixels(const T* from, Index plane, Index channels, Index count, T* to, Index wrap, Index skip) {
  using V = Vec<T>;
  for (Index p = 0; p < count; p += V::lanes) {
    // The last block begins where it ends with the pixels, and overlaps the one before.
    const Index at = larger(0, smaller(p, count - V::lanes)), here = smaller(V::lanes, count - at);
    T* q = to + at * V::lanes + at / wrap * skip;
    Index left = wrap - at % wrap;
    if (here == V::lanes && channels == V::lanes) {
      transpose_block(from + at, plane, [&](int, V x) {
        x.store(q);
        q += V::lanes;
        if (--left == 0) {
          left = wrap;
          q += skip;
        }
      });
      continue;
    }
    alignas(64) T block[V::lanes * V::lanes];
    for (Index c = 0; c < V::lanes; ++c)
      (c < channels ? V::load(from + c * plane + at, V::first(here)) : V::zero()).store(block + c * V::lanes);
    transpose_block(block, V::lanes, [&](int i, V x) {
      if (i >= here) return;
      x.store(q);
      q += V::lanes;
      if (--left == 0) {
        left = wrap;
        q += skip;
      }
    });
  }
}

// Rows that a group of the transform has: 0, 1 and 2, 3 and 4, ..., the last.
template <int Groups, int Group>
constexpr int kGroupRow = Group == 0 ? 0 : 2 * Group - 1;
template <int Groups, int Group>
constexpr int kGroupRows = Group == 0 || Group == Groups - 1 ? 1 : 2;

template <class T, class X, int Group>
DLKIT_INLINE void transform_row(const Vec<T>* row, T* to, Index point) {
  using V = Vec<T>;
  if constexpr (Group < X::groups) {
    constexpr int kCol = kGroupRow<X::groups, Group>;
    V first, second;
    X::template input<Group>([&](int i) { return row[i]; }, first, second);
    first.store(to + kCol * point);
    if constexpr (kGroupRows<X::groups, Group> == 2) second.store(to + (kCol + 1) * point);
    transform_row<T, X, Group + 1>(row, to, point);
  }
}

// One tile of one vector of channels: pixels at from + (i * row + j * lanes), points at `to`, `point` apart.
template <class T, class X, int Group = 0>
DLKIT_INLINE void transform_tile(const T* from, Index row, T* to, Index point) {
  using V = Vec<T>;
  if constexpr (Group < X::groups) {
    constexpr int kRow = kGroupRow<X::groups, Group>;
    V first[X::points], second[X::points];
#pragma GCC unroll 8
    for (int j = 0; j < X::points; ++j)
      X::template input<Group>([&](int i) { return V::load(from + i * row + j * V::lanes); }, first[j], second[j]);
    transform_row<T, X, 0>(first, to + kRow * X::points * point, point);
    if constexpr (kGroupRows<X::groups, Group> == 2)
      transform_row<T, X, 0>(second, to + (kRow + 1) * X::points * point, point);
    transform_tile<T, X, Group + 1>(from, row, to, point);
  }
}

// Strips that follow each other in one image: `strips` rows of tiles from `row`, tiles [begin, end) of each.
struct Run {
  Index image, row, strips, begin, end;

  template <class T>
  DLKIT_INLINE Run(const Winograd<T>& w, Index strip, Index most) {
    const Index segment = strip % w.segments, tile_row = strip / w.segments;
    image = tile_row / w.tiles_h;
    row = tile_row % w.tiles_h;
    strips = w.segments > 1 ? 1 : smaller(most, w.tiles_h - row);
    begin = w.segment_begin(segment);
    end = w.segment_begin(segment + 1);
  }
  Index tiles() const { return end - begin; }
};

// A rectangle of `channels` planes as pixels of vectors of channels, with zeros where it is outside of them.
template <class T>
void gather_pixels(const T* from, Index height, Index width, Index channels, Index top, Index left, Index rows,
                   Index cols, T* to) {
  using V = Vec<T>;
  const Index stride = cols * V::lanes;
  const Index row_begin = clamped(-top, 0, rows), row_end = clamped(height - top, row_begin, rows);
  const Index col_begin = clamped(-left, 0, cols), col_end = clamped(width - left, col_begin, cols);
  const auto clear = [&](Index row, Index begin, Index end) {
    for (Index j = begin; j < end; ++j) V::zero().store(to + row * stride + j * V::lanes);
  };
  for (Index i = 0; i < row_begin; ++i) clear(i, 0, cols);
  for (Index i = row_end; i < rows; ++i) clear(i, 0, cols);
  for (Index i = row_begin; i < row_end; ++i) {
    clear(i, 0, col_begin);
    clear(i, col_end, cols);
  }
  const Index count = col_end - col_begin;
  if (count == 0 || row_end == row_begin) return;
  const T* first = from + (top + row_begin) * width + left + col_begin;
  T* first_to = to + row_begin * stride + col_begin * V::lanes;
  if (count == width)  // rows follow each other
    return turn_pixels(first, height * width, channels, (row_end - row_begin) * width, first_to, width,
                       stride - width * V::lanes);
  for (Index i = row_begin; i < row_end; ++i, first += width, first_to += stride)
    turn_pixels(first, height * width, channels, count, first_to, count, Index{0});
}

template <class T, int Size, int Taps>
void transform_input(const Winograd<T>& w, Index first_strip, Index strips, T* pixels, T* transformed) {
  using V = Vec<T>;
  Index tile = 0;
  for (Index s = 0; s < strips;) {
    const Run run(w, first_strip + s, strips - s);
    const Index rows = Size * run.strips + Taps - 1, cols = Size * run.tiles() + Taps - 1, row = cols * V::lanes;
    for (Index block = 0; block < w.channels; block += V::lanes) {
      // The last block overlaps the one before, where there is one.
      const Index c = larger(0, smaller(block, w.channels - V::lanes));
      gather_pixels(w.x + run.image * w.x_image + c * w.height * w.width, w.height, w.width,
                    smaller(V::lanes, w.channels), Size * run.row - w.pad_top, Size * run.begin - w.pad_left, rows,
                    cols, pixels);
      T* to = transformed + tile * w.channels_stride + c;
      for (Index i = 0; i < run.strips; ++i)
        for (Index j = 0; j < run.tiles(); ++j, to += w.channels_stride)
          transform_tile<T, Transform<T, Size, Taps>>(pixels + Size * (i * row + j * V::lanes), row, to, w.input_point);
    }
    tile += run.strips * run.tiles();
    s += run.strips;
  }
}

// One tile of one vector of filters of the gradient by the output: its points at `to`; returns its sum.
template <class T, int Size, int Taps>
DLKIT_INLINE Vec<T> transform_gradient_tile(const T* from, Index row, T* to, Index point) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  V half[Size][X::points], sum = V::zero();  // columns, transformed
#pragma GCC unroll 4
  for (int j = 0; j < Size; ++j) {
    V g[Size];
#pragma GCC unroll 4
    for (int i = 0; i < Size; ++i) g[i] = V::load(from + i * row + j * V::lanes);
    sum = sum + (Size == 4 ? (g[0] + g[1]) + (g[Size - 2] + g[Size - 1]) : g[0] + g[1]);
    X::gradient(g, half[j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < X::points; ++i) {
    V g[Size], u[X::points];
#pragma GCC unroll 4
    for (int j = 0; j < Size; ++j) g[j] = half[j][i];
    X::gradient(g, u);
#pragma GCC unroll 8
    for (int j = 0; j < X::points; ++j) u[j].store(to + (i * X::points + j) * point);
  }
  return sum;
}

// `count` pixels of a vector of filters to their planes.
template <class T>
void turn_back(const T* from, Index count, T* to, Index plane, Index filters) {
  using V = Vec<T>;
  Index p = 0;
  if (filters == V::lanes)
    for (; p + V::lanes <= count; p += V::lanes)
      transpose_block(from + p * V::lanes, V::lanes, [&](int f, V x) { x.store(to + f * plane + p); });
  for (; p < count; p += V::lanes) {
    const auto mask = V::first(count - p);
    transpose_block(from + p * V::lanes, V::lanes, [&](int f, V x) {
      if (f < filters) x.store(to + f * plane + p, mask);
    });
  }
}

}  // namespace dlkit::DLKIT_TARGET
