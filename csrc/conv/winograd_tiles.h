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

template <class T>
DLKIT_INLINE Index tiles_of(const Winograd<T>& w, Index first_strip, Index strips) {
  Index tiles = 0;
  for (Index s = 0; s < strips; ++s) tiles += Run(w, first_strip + s, 1).tiles();
  return tiles;
}

// Brings the first `size` elements of `count` planes into the second-level cache, or where they are to be written into
// the first: pieces of planes are too many and too short for the processor to foresee them.
template <bool Write, class T>
DLKIT_INLINE void fetch_planes(const T* from, Index plane, Index count, Index size) {
  constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));
  for (Index c = 0; c < count; ++c, from += plane)
    for (Index i = 0; i < size; i += kLine) __builtin_prefetch(from + i, Write ? 1 : 0, Write ? 3 : 2);
}

// A rectangle of `channels` planes, `plane` apart, as pixels of vectors of channels, with zeros where it is outside of
// them. What is `ahead` of it comes next.
template <class T>
void gather_pixels(const T* from, Index plane, Index height, Index width, Index channels, Index top, Index left,
                   Index rows, Index cols, T* to, Index ahead) {
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
  if (ahead > 0) fetch_planes<false>(first + ahead, plane, channels, (row_end - row_begin) * width);
  if (count == width)  // rows follow each other
    return turn_pixels(first, plane, channels, (row_end - row_begin) * width, first_to, width,
                       stride - width * V::lanes);
  for (Index i = row_begin; i < row_end; ++i, first += width, first_to += stride)
    turn_pixels(first, plane, channels, count, first_to, count, Index{0});
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
      const Index plane = w.height * w.width;
      gather_pixels(w.x + run.image * w.x_image + c * plane, plane, w.height, w.width, smaller(V::lanes, w.channels),
                    Size * run.row - w.pad_top, Size * run.begin - w.pad_left, rows, cols, pixels, V::lanes * plane);
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

// One tile of one vector of filters: to pixels at to + (i * row + j * lanes).
template <class T, int Size, int Taps>
DLKIT_INLINE void transform_back(const T* from, Index point, Vec<T> bias, bool relu, T* to, Index row) {
  using V = Vec<T>;
  using X = Transform<T, Size, Taps>;
  V half[X::points][Size];  // columns of the tile, transformed
#pragma GCC unroll 8
  for (int j = 0; j < X::points; ++j) {
    V m[X::points];
#pragma GCC unroll 8
    for (int i = 0; i < X::points; ++i) m[i] = V::load(from + (i * X::points + j) * point);
    X::output(m, half[j]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < Size; ++i) {
    V m[X::points], y[Size];
#pragma GCC unroll 8
    for (int j = 0; j < X::points; ++j) m[j] = half[j][i];
    X::output(m, y);
#pragma GCC unroll 4
    for (int j = 0; j < Size; ++j) {
      y[j] = y[j] + bias;
      if (relu) y[j] = V::max(V::zero(), y[j]);
      y[j].store(to + i * row + j * V::lanes);
    }
  }
}

// Adds one tile of one vector to the pixels at to + (i * row + j * lanes).
template <class T, class X>
DLKIT_INLINE void spread_tile(const T* from, Index point, T* to, Index row) {
  using V = Vec<T>;
  constexpr int kSide = X::points;
  alignas(64) T half[kSide * kSide * V::lanes];  // columns, transformed
#pragma GCC unroll 8
  for (int j = 0; j < kSide; ++j) {
    V m[kSide], d[kSide];
#pragma GCC unroll 8
    for (int i = 0; i < kSide; ++i) m[i] = V::load(from + (i * kSide + j) * point);
    X::input_back(m, d);
#pragma GCC unroll 8
    for (int i = 0; i < kSide; ++i) d[i].store(half + (i * kSide + j) * V::lanes);
  }
  for (int i = 0; i < kSide; ++i, to += row) {
    V m[kSide], d[kSide];
#pragma GCC unroll 8
    for (int j = 0; j < kSide; ++j) m[j] = V::load(half + (i * kSide + j) * V::lanes);
    X::input_back(m, d);
#pragma GCC unroll 8
    for (int j = 0; j < kSide; ++j) (V::load(to + j * V::lanes) + d[j]).store(to + j * V::lanes);
  }
}

// All tiles of one vector: to pixels that are Size times the tiles and Taps - 1 more, each way.
template <class T, int Size, int Taps>
void spread_plane(const Winograd<T>& w, const T* from, Index tile, T* pixels) {
  using V = Vec<T>;
  const Index rows = Size * w.tiles_h + Taps - 1, cols = Size * w.tiles_w + Taps - 1;
  for (Index i = 0; i < rows * cols; ++i) V::zero().store(pixels + i * V::lanes);
  for (Index i = 0; i < w.tiles_h; ++i)
    for (Index j = 0; j < w.tiles_w; ++j, from += tile)
      spread_tile<T, Transform<T, Size, Taps>>(from, w.product_point, pixels + Size * (i * cols + j) * V::lanes,
                                               cols * V::lanes);
}

// What of those pixels is not padding, to `count` planes.
template <class T, int Size, int Taps>
void turn_plane_back(const Winograd<T>& w, const T* pixels, T* to, Index plane, Index count) {
  using V = Vec<T>;
  const Index cols = Size * w.tiles_w + Taps - 1;
  const T* inside = pixels + (w.pad_top * cols + w.pad_left) * V::lanes;
  if (w.out_w == cols)
    turn_back(inside, w.out_h * w.out_w, to, plane, count);
  else
    for (Index i = 0; i < w.out_h; ++i)
      turn_back(inside + i * cols * V::lanes, w.out_w, to + i * w.out_w, plane, count);
}

}  // namespace dlkit::DLKIT_TARGET
