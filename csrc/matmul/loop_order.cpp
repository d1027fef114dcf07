// The same three loops in the order i, k, j: a row of C gathers multiples of rows of B.
//
// The inner loop now runs along rows of B and C, so that whole cache lines are used and the compiler can turn it into
// vector instructions. It loads and stores C once per multiply-add: bound by the load and store ports while B fits
// the cache, by memory beyond.
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void loop_order(const MatmulProblem<T>& p) {
  if (!p.accumulate) clear(p.c);
  for (Index i = 0; i < p.c.rows; ++i)
    for (Index k = 0; k < p.a.cols; ++k) {
      const T a = p.a(i, k);
      const T* b = &p.b(k, 0);
      T* c = &p.c(i, 0);
      if (p.b.col_stride == 1 && p.c.col_stride == 1) {
        for (Index j = 0; j < p.c.cols; ++j) c[j] += a * b[j];
      } else {
        for (Index j = 0; j < p.c.cols; ++j) c[j * p.c.col_stride] += a * b[j * p.b.col_stride];
      }
    }
  finish(p);
}

template void loop_order(const MatmulProblem<float>&);
template void loop_order(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
