// Register tile: a small block of C lives in registers for the whole sum over a block of K.
//
// A tile of kRows x kCols elements is loaded and stored once per block of K, and each element of A and B that is
// loaded is used kCols or kRows times: (kRows + kCols) loads for kRows * kCols multiply-adds, where the steps before
// needed two loads and a store for each. Plain C++: the compiler keeps the tile in vector registers. What is left:
// rows of B lie a whole row of the matrix apart, so that tiles of a large B fight for few cache sets and TLB entries.
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr Index kBlockK = 256;
constexpr int kRows = 4;

template <class T>
constexpr int kCols = 2 * Vec<T>::lanes;

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }

template <class T>
void tile(const Matrix<const T>& a, const Matrix<const T>& b, const Matrix<T>& c) {
  T sum[kRows][kCols<T>] = {};
  for (Index k = 0; k < a.cols; ++k) {
    const T* row = &b(k, 0);
    for (int i = 0; i < kRows; ++i) {
      const T x = a(i, k);
      for (int j = 0; j < kCols<T>; ++j) sum[i][j] += x * row[j];
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int j = 0; j < kCols<T>; ++j) c(i, j) += sum[i][j];
}

}  // namespace

template <class T>
void register_tile(const MatmulProblem<T>& p) {
  if (!p.accumulate) clear(p.c);
  MatmulProblem<T> edge;
  edge.accumulate = true;
  for (Index k = 0; k < p.a.cols; k += kBlockK) {
    const Index depth = smaller(kBlockK, p.a.cols - k);
    for (Index j = 0; j < p.c.cols; j += kCols<T>)
      for (Index i = 0; i < p.c.rows; i += kRows) {
        const Index rows = smaller(kRows, p.c.rows - i), cols = smaller(kCols<T>, p.c.cols - j);
        edge.a = p.a.block(i, k, rows, depth);
        edge.b = p.b.block(k, j, depth, cols);
        edge.c = p.c.block(i, j, rows, cols);
        if (rows == kRows && cols == kCols<T> && p.b.col_stride == 1)
          tile(edge.a, edge.b, edge.c);
        else
          loop_order(edge);
      }
  }
  finish(p);
}

template void register_tile(const MatmulProblem<float>&);
template void register_tile(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
