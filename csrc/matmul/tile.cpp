// Every tile shape that the loops ask for, as a table of functions.
#include "matmul/tile.h"

#include <utility>

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Vectors, PanelSource Source, int... Row>
constexpr TileKernel<T> pick(int rows, std::integer_sequence<int, Row...>) {
  constexpr TileKernel<T> table[] = {multiply_tile<T, Row + 1, Vectors, Source>...};
  return table[rows - 1];
}

template <class T, int Vectors>
TileKernel<T> pick(int rows, PanelSource source) {
  using Shapes = TileShapes<T>;
  if (source == PanelSource::packing)
    return multiply_tile<T, Shapes::packing_rows(Vectors), Vectors, PanelSource::packing>;
  constexpr std::make_integer_sequence<int, Shapes::max_rows(Vectors)> all{};
  return source == PanelSource::packed ? pick<T, Vectors, PanelSource::packed>(rows, all)
                                       : pick<T, Vectors, PanelSource::strided>(rows, all);
}

}  // namespace

template <class T>
TileKernel<T> tile_kernel(int rows, int vectors, PanelSource source) {
  return vectors == 1 ? pick<T, 1>(rows, source) : vectors == 2 ? pick<T, 2>(rows, source) : pick<T, 3>(rows, source);
}

template TileKernel<float> tile_kernel(int, int, PanelSource);
template TileKernel<double> tile_kernel(int, int, PanelSource);

}  // namespace dlkit::DLKIT_TARGET
