// Every tile shape of the weight gradient, as a table of functions.
#include "conv/weight_tile.h"

#include <utility>

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Vectors, int... Row>
constexpr WeightTileKernel<T> pick(int rows, std::integer_sequence<int, Row...>) {
  constexpr WeightTileKernel<T> table[] = {accumulate_tile<T, Row + 1, Vectors>...};
  return table[rows - 1];
}

template <class T, int Vectors>
WeightTileKernel<T> pick(int rows) {
  return pick<T, Vectors>(rows, std::make_integer_sequence<int, WeightTiles<T>::max_rows(Vectors)>{});
}

}  // namespace

template <class T>
WeightTileKernel<T> weight_tile_kernel(int rows, int vectors) {
  return vectors == 1 ? pick<T, 1>(rows) : vectors == 2 ? pick<T, 2>(rows) : pick<T, 3>(rows);
}

template WeightTileKernel<float> weight_tile_kernel(int, int);
template WeightTileKernel<double> weight_tile_kernel(int, int);

}  // namespace dlkit::DLKIT_TARGET
