// Chooses, by shape and strides, what one thread runs. The measurements behind it are in docs/matmul.md.
#include "core/cpu.h"
#include "matmul/panels.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {

namespace {

// So few columns leave lanes empty in every other kernel, and so long a sum repays adding up the lanes.
template <class T>
bool is_narrow(const MatmulProblem<T>& p) {
  return 4 * p.c.cols <= 3 * Vec<T>::lanes && p.a.cols >= 8 * Vec<T>::lanes && p.a.col_stride == 1;
}

// Up to so many rows a panel of B that is read in place costs less than its copy. Small tiles read it more often, and
// those of four steps in a row notice that each of its rows is in another page.
template <class T>
constexpr Index kDirectRows = TileShapes<T>::covers_pages ? 128 : (kSmallFused<T> ? 12 : 32);

template <class T>
void rows_of_b(const MatmulProblem<T>& p) {
  // Read in place, the last vector of a row is masked each time; packed, it is whole. In a narrow B it is much of the
  // row.
  using V = Vec<T>;
  const bool masked = !V::cheap_masks && p.c.cols % V::lanes != 0 && p.c.cols < 4 * V::lanes;
  const bool few = p.c.rows <= TileShapes<T>::max_rows(2) ||
                   (p.c.rows <= kDirectRows<T> && !masked && stays_in_cache(p.b, smaller(p.a.cols, panel_depth<T>())));
  few ? direct(p) : fused(p);
}

}  // namespace

template <class T>
void best(const MatmulProblem<T>& p) {
  using V = Vec<T>;
  const Index m = p.c.rows, n = p.c.cols, k = p.a.cols;
  if (m == 1 || n == 1) return matvec(p);
  if (is_narrow(p)) return dot(p);
  // Per element that is turned, in cycles, as in the estimates below.
  constexpr double kTurn = 0.4;
  const double rows = static_cast<double>(m), cols = static_cast<double>(n), depth = static_cast<double>(k);
  const double multiply = rows * cols * depth / (2 * V::lanes);
  const auto padded = [&](Index extent) {
    return multiply * static_cast<double>(divide_up(extent, V::lanes) * V::lanes) / static_cast<double>(extent);
  };
  if (p.b.col_stride == 1) {
    // A's columns are contiguous, as in a gradient by weights: registers may run along M as well as along N, at the
    // price of turning C. They do where N leaves more lanes empty, or where A comes from far: each panel of B would
    // read it anew and along its columns, which no processor sees coming, or it is copied first.
    using Shapes = TileShapes<T>;
    // Per element of C, whose pieces are shorter than a vector where tiles are small, and of an A that is copied.
    constexpr double kTurnC = Shapes::covers_pages ? kTurn : 4, kCopy = 1;
    const auto far = [&](Index extent) {
      const std::size_t bytes = static_cast<std::size_t>(extent * k) * sizeof(T), l2 = cache_sizes().l2;
      return Shapes::covers_pages ? bytes > 5 * l2 : bytes > l2;
    };
    const double from_far = Shapes::covers_pages ? 0.03 * multiply : kCopy * rows * depth;
    const double along_n = padded(n) + (far(m) ? from_far : 0);
    const double along_m = padded(m) + kTurnC * rows * cols + (far(n) && Shapes::covers_pages ? from_far : 0);
    const bool turn = p.a.row_stride == 1 && p.a.col_stride != 1 && m >= 2 * V::lanes && 1.02 * along_m < along_n;
    return turn ? swapped(p) : rows_of_b(p);
  }
  // B's columns are not contiguous. Estimates in cycles, from measurements of each (docs/matmul.md): turn B panel by
  // panel; turn A and C instead, at the price of the lanes that M leaves empty; or sum along K in the lanes.
  const double turn_b = multiply + kTurn * depth * cols;
  const double turn_rest = padded(m) + kTurn * rows * (depth + cols);
  const double in_lanes = p.a.col_stride == 1 && p.b.row_stride == 1 ? 1.5 * multiply + 8 * rows * cols : 2 * turn_b;
  if (in_lanes < turn_b && in_lanes < turn_rest) return dot(p);
  turn_rest < turn_b ? swapped(p) : rows_of_b(p);
}

template void best(const MatmulProblem<float>&);
template void best(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
