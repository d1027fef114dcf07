// Copies of blocks of A and B in the order in which the micro-kernel reads them.
#pragma once

#include "core/transpose.h"
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {

// A panel of B, k-major: row k holds `width` columns, those past b.cols are zero. A whole number of vectors wide.
template <class T>
DLKIT_INLINE void pack_panel(const Matrix<const T>& b, int width, T* to) {
  using V = Vec<T>;
  const Index depth = b.rows, cols = b.cols;
  if (b.col_stride == 1) {
    for (Index k = 0; k < depth; ++k, to += width)
      for (int j = 0; j < width; j += V::lanes) V::load(&b(k, j), V::first(cols - j)).store(to + j);
    return;
  }
  for (int j = 0; j < width; j += V::lanes) {
    const bool whole = cols - j >= V::lanes;
    Index k = 0;
    if (b.row_stride == 1 && whole) {
      // Columns of B are contiguous: transpose square blocks.
      for (; k + V::lanes <= depth; k += V::lanes) {
        T* block = to + k * width + j;
        transpose_block(&b(k, j), b.col_stride, [&](int row, V x) { x.store(block + row * width); });
      }
    }
    const int count = whole ? V::lanes : static_cast<int>(cols - j > 0 ? cols - j : 0);
    for (; k < depth; ++k) {
      T* row = to + k * width + j;
      int i = 0;
      for (; i < count; ++i) row[i] = b(k, j + i);
      for (; i < V::lanes; ++i) row[i] = 0;
    }
  }
}

// Columns of B as rows of `to`, `stride` elements apart; stride is at least b.rows, rounded up to whole vectors.
template <class T>
DLKIT_INLINE void turn(const Matrix<const T>& b, T* to, Index stride) {
  using V = Vec<T>;
  if (b.col_stride != 1) {
    for (Index j = 0; j < b.cols; ++j)
      for (Index k = 0; k < b.rows; ++k) to[j * stride + k] = b(k, j);
    return;
  }
  alignas(64) T block[V::lanes * V::lanes];  // for edges, whose loads and stores must be masked
  for (Index j = 0; j < b.cols; j += V::lanes)
    for (Index k = 0; k < b.rows; k += V::lanes) {
      const Index cols = b.cols - j, rows = b.rows - k;
      const T* from = &b(k, j);
      Index from_stride = b.row_stride;
      if (cols < V::lanes || rows < V::lanes) {
        for (int i = 0; i < V::lanes; ++i)
          (i < rows ? V::load(from + i * b.row_stride, V::first(cols)) : V::zero()).store(block + i * V::lanes);
        from = block;
        from_stride = V::lanes;
      }
      transpose_block(from, from_stride, [&](int column, V x) {
        if (column < cols) x.store(to + (j + column) * stride + k);
      });
    }
}

// Rows of A, k-major: step k holds a.rows elements. Writes up to one vector past the end.
template <class T>
DLKIT_INLINE void pack_rows(const Matrix<const T>& a, T* to) {
  using V = Vec<T>;
  if (a.row_stride == 1) {
    for (Index k = 0; k < a.cols; ++k, to += a.rows)
      for (Index i = 0; i < a.rows; i += V::lanes) V::load(&a(i, k), V::first(a.rows - i)).store(to + i);
    return;
  }
  for (Index k = 0; k < a.cols; ++k, to += a.rows)
    for (Index i = 0; i < a.rows; ++i) to[i] = a(i, k);
}

}  // namespace dlkit::DLKIT_TARGET
