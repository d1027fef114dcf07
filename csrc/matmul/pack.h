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
