// Chooses, by shape and strides, what one thread runs. The measurements behind it are in docs/matmul.md.
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void best(const MatmulProblem<T>& p) {
  using V = Vec<T>;
  const Index m = p.c.rows, n = p.c.cols, k = p.a.cols;
  if (m == 1 || n == 1) return matvec(p);
  if (p.b.col_stride == 1) return m <= 2 * TileShapes<T>::max_rows(2) ? direct(p) : fused(p);
  // B must be turned: all of it, or A and C instead at the price of the lanes that M leaves empty.
  constexpr double kTurn = 0.25;  // cycles per element that is transposed
  const double multiply = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) / (2 * V::lanes);
  const Index padded = (m + V::lanes - 1) / V::lanes * V::lanes;
  const double turn_b = multiply + kTurn * static_cast<double>(k) * static_cast<double>(n);
  const double turn_rest = multiply * static_cast<double>(padded) / static_cast<double>(m) +
                           kTurn * static_cast<double>(m) * static_cast<double>(k + n);
  if (turn_rest < turn_b) return swapped(p);
  return m <= 2 * TileShapes<T>::max_rows(2) ? direct(p) : fused(p);
}

template void best(const MatmulProblem<float>&);
template void best(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
