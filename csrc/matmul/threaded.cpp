// Threads: C is cut into a grid of blocks, and each thread runs the single-thread kernel on one of them.
//
// Which grid, is a matter of estimated cycles. A cut through the columns lets each thread pack a part of B of its own,
// but the lines of C that the cut goes through, one of each row, travel between the threads; a cut through the rows
// makes each thread pack all of B. Which kernel a block is given does not depend on timing or addresses: the same
// number of threads gives the same bits.
#include <algorithm>

#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

}  // namespace

template <class T>
void matmul_threaded(const MatmulProblem<T>& p, MatmulKernel<T> kernel, int threads) {
  const Index lanes = matmul_kernels<T>().lanes;
  const Index rows = p.c.rows, cols = p.c.cols;
  // Cycles for an element of B that is packed, for one that is transposed besides, and for a line of C that goes back
  // and forth (arrays seldom begin at a line's boundary; measured on Zen 4, where 128 cubed takes 33 microseconds with
  // and 22 without).
  constexpr double kPack = 0.25, kTurn = 0.5, kShared = 150;
  const double pack = p.b.col_stride == 1 ? kPack : kTurn;
  const auto cycles = [&](Index row_count, Index col_count) {
    const double m = static_cast<double>(divide_up(rows, row_count)), k = static_cast<double>(p.a.cols);
    const double n = static_cast<double>(divide_up(divide_up(cols, lanes), col_count) * lanes);
    return m * n * k / static_cast<double>(2 * lanes) + pack * k * n + (col_count > 1 ? kShared * m : 0);
  };
  // The fastest grid; among equals the one with fewer row cuts.
  Index row_parts = 1, col_parts = threads;
  double least = cycles(1, threads);
  for (Index r = 2; r <= threads; ++r)
    if (const double estimate = cycles(r, threads / r); estimate < least) {
      least = estimate;
      row_parts = r;
      col_parts = threads / r;
    }
  const Index block_rows = divide_up(rows, row_parts),
              block_cols = divide_up(divide_up(cols, lanes), col_parts) * lanes;
  parallel_for(
      static_cast<int>(row_parts * col_parts),
      [&](int task) {
        const Index row = task / col_parts * block_rows, col = task % col_parts * block_cols;
        if (row >= rows || col >= cols) return;
        MatmulProblem<T> part = p;
        const Index part_rows = std::min(block_rows, rows - row), part_cols = std::min(block_cols, cols - col);
        part.a = p.a.block(row, 0, part_rows, p.a.cols);
        part.b = p.b.block(0, col, p.b.rows, part_cols);
        part.c = p.c.block(row, col, part_rows, part_cols);
        part.bias = p.bias == nullptr ? nullptr : p.bias + col;
        kernel(part);
      },
      threads);
}

template void matmul_threaded(const MatmulProblem<float>&, MatmulKernel<float>, int);
template void matmul_threaded(const MatmulProblem<double>&, MatmulKernel<double>, int);

}  // namespace dlkit
