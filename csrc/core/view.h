// A matrix in somebody else's memory: pointer, extents, strides in elements. Strides may be any integers.
#pragma once

#include <cstdint>

namespace dlkit {

using Index = std::int64_t;

template <class T>
struct Matrix {
  T* data;
  Index rows, cols;
  Index row_stride, col_stride;

  T& operator()(Index row, Index col) const { return data[row * row_stride + col * col_stride]; }
  Matrix transposed() const { return {data, cols, rows, col_stride, row_stride}; }
  Matrix block(Index row, Index col, Index row_count, Index col_count) const {
    return {data + row * row_stride + col * col_stride, row_count, col_count, row_stride, col_stride};
  }
};

}  // namespace dlkit
