// What the variants of the weight gradient share: the units' extents, copies of windows, transposition.
#pragma once

#include "conv/backward_weight.h"
#include "core/simd.h"
#include "core/transpose.h"

namespace dlkit::DLKIT_TARGET {

DLKIT_INLINE Index smaller(Index a, Index b) { return a < b ? a : b; }
DLKIT_INLINE Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

template <class T>
DLKIT_INLINE Index whole_vectors(Index n) {
  return divide_up(n, Vec<T>::lanes) * Vec<T>::lanes;
}

// A unit's images, and rows and columns of the output.
struct WeightUnit {
  Index image, images, row, rows, col, cols;

  DLKIT_INLINE WeightUnit(const ConvShape& s, const WeightUnits& units, Index number) {
    const Index parts = units.row_parts * units.col_parts;
    image = number / parts * units.images;
    images = smaller(units.images, s.n - image);
    const Index r = number % parts / units.col_parts, c = number % units.col_parts;
    row = s.out_h * r / units.row_parts;
    rows = s.out_h * (r + 1) / units.row_parts - row;
    col = s.out_w * c / units.col_parts;
    cols = s.out_w * (c + 1) / units.col_parts - col;
  }

  // One that no unit exceeds in any extent.
  static DLKIT_INLINE WeightUnit largest(const ConvShape& s, const WeightUnits& units) {
    WeightUnit unit(s, units, 0);
    unit.images = units.images;
    unit.rows = divide_up(s.out_h, units.row_parts);
    unit.cols = divide_up(s.out_w, units.col_parts);
    return unit;
  }

  // What of x it reads.
  DLKIT_INLINE Index top(const ConvShape& s) const { return row * s.stride_h - s.pad_top; }
  DLKIT_INLINE Index left(const ConvShape& s) const { return col * s.stride_w - s.pad_left; }
  DLKIT_INLINE Index height(const ConvShape& s) const {
    return (rows - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  }
  DLKIT_INLINE Index width(const ConvShape& s) const {
    return (cols - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w + 1;
  }
};

// Element (n, c, i, j) is at data[n * image + c * plane + i * pitch + j].
template <class T>
struct Window {
  const T* data;
  Index image, plane, pitch;
};

template <class T>
DLKIT_INLINE void fill_zero(T* to, Index n) {
  using V = Vec<T>;
  Index i = 0;
  for (; i + V::lanes <= n; i += V::lanes) V::zero().store(to + i);
  for (; i < n; ++i) {
    to[i] = 0;
#if defined(__GNUC__)
    asm("" : : : "memory");  // a few elements: not a call of memset
#endif
  }
}

template <class T>
DLKIT_INLINE void copy(const T* from, T* to, Index n) {
  using V = Vec<T>;
  if (n < V::lanes) {
    for (Index i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  for (Index i = 0; i + V::lanes < n; i += V::lanes) V::load(from + i).store(to + i);
  V::load(from + n - V::lanes).store(to + n - V::lanes);
}

// Rows and columns of `images` images of `channels` channels of an array of `height` x `width` planes, some of which
// may be outside and are 0: a copy in `buffer`, or the array itself. There, planes may lie a multiple of half a page
// apart, and the rows of a tile would then fight for one set of the cache.
template <class T>
DLKIT_INLINE Window<T> window(const T* array, Index image_stride, Index height, Index width, Index images,
                              Index channels, Index top, Index left, Index rows, Index cols, T* buffer) {
  const bool inside = top >= 0 && left >= 0 && top + rows <= height && left + cols <= width;
  if (inside && height * width * static_cast<Index>(sizeof(T)) % 2048 != 0)
    return {array + top * width + left, image_stride, height * width, width};
  Index plane = rows * cols;
  if (plane * static_cast<Index>(sizeof(T)) % 512 == 0) plane += 64 / static_cast<Index>(sizeof(T));
  const Index begin = left < 0 ? smaller(-left, cols) : 0;
  Index end = smaller(cols, width - left);
  if (end < begin) end = begin;
  for (Index n = 0; n < images; ++n)
    for (Index c = 0; c < channels; ++c) {
      T* to = buffer + (n * channels + c) * plane;
      const T* from = array + n * image_stride + c * height * width + top * width + left;
      for (Index i = 0; i < rows; ++i, to += cols, from += width) {
        if (top + i < 0 || top + i >= height || begin == end) {
          fill_zero(to, cols);
          continue;
        }
        fill_zero(to, begin);
        copy(from + begin, to + begin, end - begin);
        fill_zero(to + end, cols - end);
      }
    }
  return {buffer, channels * plane, plane, cols};
}

// Elements of the buffer of such a window.
DLKIT_INLINE Index window_size(Index images, Index channels, Index rows, Index cols) {
  return images * channels * (rows * cols + 64);
}

inline constexpr Index kPrefetchAhead = 64;  // elements of a row, in transpose_pixels

// Pixels first: to[pixel * width + v * lanes + i] = from[(v * lanes + i) * stride + pixel], for `vectors` vectors of
// channels, of which the first `channels` elements are wanted and the others are anything that lies before `end`, where
// the array ends, or 0. sums[v], where sums is not null, grow by the sum over the pixels.
template <class T>
DLKIT_INLINE void transpose_pixels(const T* from, Index stride, const T* end, Index channels, int vectors, Index pixels,
                                   T* to, Index width, Vec<T>* sums) {
  using V = Vec<T>;
  alignas(64) T block[V::lanes * V::lanes];
  for (int v = 0; v < vectors; ++v) {
    const T* rows = from + v * V::lanes * stride;
    T* out = to + v * V::lanes;
    V even = V::zero(), odd = V::zero();
    for (Index pixel = 0; pixel < pixels; pixel += V::lanes, out += V::lanes * width) {
      const Index count = pixels - pixel;
      const T* source = rows + pixel;
      Index step = stride;
      if (end - source < (V::lanes - 1) * stride + V::lanes) {
        for (int i = 0; i < V::lanes; ++i)
          for (int j = 0; j < V::lanes; ++j)
            block[i * V::lanes + j] = v * V::lanes + i < channels && j < count ? source[i * stride + j] : T(0);
        source = block;
        step = V::lanes;
      }
      for (int i = 0; i < V::lanes; ++i) __builtin_prefetch(rows + pixel + i * stride + kPrefetchAhead);
      if (count >= V::lanes) {
        transpose_block(source, step, [&](int j, V x) {
          x.store(out + j * width);
          (j % 2 == 0 ? even : odd) = (j % 2 == 0 ? even : odd) + x;
        });
      } else {
        transpose_block(source, step, [&](int j, V x) {
          if (j >= count) return;
          x.store(out + j * width);
          even = even + x;
        });
      }
    }
    if (sums != nullptr) sums[v] = sums[v] + (even + odd);
  }
}

// bias_sums[f] = or += the sum of a unit's gradients.
template <class T>
DLKIT_INLINE void add_bias(const Window<T>& grad, const WeightUnit& unit, Index filters, bool add, T* bias_sums) {
  using V = Vec<T>;
  for (Index f = 0; f < filters; ++f) {
    V even = V::zero(), odd = V::zero();
    T rest = 0;
    for (Index n = 0; n < unit.images; ++n)
      for (Index i = 0; i < unit.rows; ++i) {
        const T* from = grad.data + n * grad.image + f * grad.plane + i * grad.pitch;
        Index j = 0;
        for (; j + 2 * V::lanes <= unit.cols; j += 2 * V::lanes) {
          even = even + V::load(from + j);
          odd = odd + V::load(from + j + V::lanes);
        }
        for (; j + V::lanes <= unit.cols; j += V::lanes) even = even + V::load(from + j);
        if constexpr (V::cheap_masks) {
          if (j < unit.cols) odd = odd + V::load(from + j, V::first(unit.cols - j));
        } else {
          for (; j < unit.cols; ++j) rest += from[j];
        }
      }
    const T sum = (even + odd).sum() + rest;
    bias_sums[f] = add ? bias_sums[f] + sum : sum;
  }
}

}  // namespace dlkit::DLKIT_TARGET
