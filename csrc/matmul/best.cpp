// Chooses, by shape and strides, what one thread runs. The measurements behind it are in docs/matmul.md.
#include "matmul/panels.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {

namespace {

// Up to here a panel of B that is read in place costs less than its copy.
constexpr Index kDirectRows = 128;

template <class T>
void rows_of_b(const MatmulProblem<T>& p) {
  const bool few = p.c.rows <= TileShapes<T>::max_rows(2) ||
                   (p.c.rows <= kDirectRows && stays_in_cache(p.b, smaller(p.a.cols, panel_depth<T>())));
  few ? direct(p) : fused(p);
}

}  // namespace

template <class T>
void best(const MatmulProblem<T>& p) {
  using V = Vec<T>;
  const Index m = p.c.rows, n = p.c.cols, k = p.a.cols;
  if (m == 1 || n == 1) return matvec(p);
  if (p.b.col_stride == 1) return rows_of_b(p);
  // B must be turned: all of it, or A and C instead at the price of the lanes that M leaves empty.
  constexpr double kTurn = 0.25;  // cycles per element that is transposed
  const double multiply = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / (2 * V::lanes);
  const double turn_b = multiply + kTurn * static_cast<double>(k) * static_cast<double>(n);
  const double turn_rest = multiply * static_cast<double>(divide_up(m, V::lanes) * V::lanes) / static_cast<double>(m) +
                           kTurn * static_cast<double>(m) * static_cast<double>(k + n);
  turn_rest < turn_b ? swapped(p) : rows_of_b(p);
}

template void best(const MatmulProblem<float>&);
template void best(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
