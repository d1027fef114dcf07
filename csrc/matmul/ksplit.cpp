// K-split: for a small C and a long sum, where C has too few tiles for the threads.
//
// K is cut into slices, each thread computes a partial product of all of C, and the partial products are added in the
// order of the slices, so that the bits do not depend on which thread was first. Costs M N elements of memory and
// additions per slice. Bound by the multipliers, or by memory where A and B are long and thin.
#include <algorithm>
#include <memory>

#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {

template <class T>
void matmul_ksplit(const MatmulProblem<T>& p, int slices, int threads) {
  const auto& kernels = matmul_kernels<T>();
  const Index rows = p.c.rows, cols = p.c.cols, depth = p.a.cols;
  const Index slice = (depth + slices - 1) / slices;
  slices = static_cast<int>((depth + slice - 1) / slice);  // none of them empty
  const auto size = static_cast<std::size_t>(rows * cols);
  const std::unique_ptr<T[]> partial(new T[size * static_cast<std::size_t>(slices - 1)]);
  parallel_for(
      slices,
      [&](int task) {
        const Index k = task * slice;
        MatmulProblem<T> part;
        const Index part_depth = std::min(slice, depth - k);
        part.a = p.a.block(0, k, rows, part_depth);
        part.b = p.b.block(k, 0, part_depth, cols);
        part.c =
            task == 0 ? p.c : Matrix<T>{partial.get() + size * static_cast<std::size_t>(task - 1), rows, cols, cols, 1};
        part.accumulate = task == 0 && p.accumulate;
        kernels.best(part);
      },
      threads);
  if (slices == 1) kernels.finish(p);
  for (int task = 1; task < slices; ++task) {
    MatmulProblem<T> epilogue;
    if (task + 1 == slices) {
      epilogue.bias = p.bias;
      epilogue.activation = p.activation;
    }
    const Matrix<const T> addend{partial.get() + size * static_cast<std::size_t>(task - 1), rows, cols, cols, 1};
    kernels.add(p.c, addend, epilogue);
  }
}

template void matmul_ksplit(const MatmulProblem<float>&, int, int);
template void matmul_ksplit(const MatmulProblem<double>&, int, int);

}  // namespace dlkit
