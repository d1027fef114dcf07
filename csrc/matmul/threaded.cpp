// Threads: C is cut into a grid of blocks, and each thread runs the single-thread kernel on one of them.
//
// Blocks share nothing that is written. Columns are cut first, at panel boundaries, so that each thread packs a part
// of B of its own; rows are cut where there are too few columns, or more threads. Which kernel a block is given does
// not depend on timing: the same number of threads gives the same bits.
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
  // The grid whose largest block is smallest; among equals the one with fewer row cuts.
  Index row_parts = 1, col_parts = 1, smallest = rows * cols;
  for (Index r = 1; r <= threads; ++r) {
    const Index c = threads / r;
    const Index block = divide_up(rows, r) * divide_up(divide_up(cols, lanes), c) * lanes;
    if (block < smallest) {
      smallest = block;
      row_parts = r;
      col_parts = c;
    }
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
