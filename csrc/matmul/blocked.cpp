// Cache blocking: the loops of loop_order.cpp over blocks of B that stay in the second-level cache.
//
// A block of kBlockK x kBlockN elements of B (256 KiB of floats) is used for all rows of C before the next one is
// fetched, so that B is read from memory once instead of M times (Lam, Rothberg & Wolf 1991). Memory no longer
// bounds large sizes; the loads and stores of C still do: two loads and a store per multiply-add.
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr Index kBlockK = 128;
constexpr Index kBlockN = 512;

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }

}  // namespace

template <class T>
void blocked(const MatmulProblem<T>& p) {
  if (!p.accumulate) clear(p.c);
  MatmulProblem<T> part;
  for (Index j = 0; j < p.c.cols; j += kBlockN)
    for (Index k = 0; k < p.a.cols; k += kBlockK) {
      const Index cols = smaller(kBlockN, p.c.cols - j), depth = smaller(kBlockK, p.a.cols - k);
      part.a = p.a.block(0, k, p.a.rows, depth);
      part.b = p.b.block(k, j, depth, cols);
      part.c = p.c.block(0, j, p.c.rows, cols);
      part.accumulate = true;
      loop_order(part);
    }
  finish(p);
}

template void blocked(const MatmulProblem<float>&);
template void blocked(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
