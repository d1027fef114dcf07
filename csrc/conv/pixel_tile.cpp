// Every tile shape that the loops of pixels.cpp ask for, as a table of functions.
#include "conv/pixel_tile.h"

#include <utility>

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Vectors, PixelSource Source, int... Row>
constexpr PixelTileKernel<T> pick(int rows, std::integer_sequence<int, Row...>) {
  constexpr PixelTileKernel<T> table[] = {pixel_tile<T, Row + 1, Vectors, Source>...};
  return table[rows - 1];
}

template <class T, int Vectors>
PixelTileKernel<T> pick(int rows, PixelSource source) {
  constexpr std::make_integer_sequence<int, TileShapes<T>::max_rows(Vectors)> all{};
  if constexpr (gathers<T>(Vectors)) switch (source) {
      case PixelSource::packed: break;
      case PixelSource::one_piece: return pick<T, Vectors, PixelSource::one_piece>(rows, all);
      case PixelSource::two_pieces: return pick<T, Vectors, PixelSource::two_pieces>(rows, all);
      case PixelSource::one_piece_padded: return pick<T, Vectors, PixelSource::one_piece_padded>(rows, all);
      case PixelSource::two_pieces_padded: return pick<T, Vectors, PixelSource::two_pieces_padded>(rows, all);
    }
  return pick<T, Vectors, PixelSource::packed>(rows, all);
}

}  // namespace

template <class T>
PixelTileKernel<T> pixel_tile_kernel(int rows, int vectors, PixelSource source) {
  return vectors == 1 ? pick<T, 1>(rows, source) : vectors == 2 ? pick<T, 2>(rows, source) : pick<T, 3>(rows, source);
}

template PixelTileKernel<float> pixel_tile_kernel(int, int, PixelSource);
template PixelTileKernel<double> pixel_tile_kernel(int, int, PixelSource);

}  // namespace dlkit::DLKIT_TARGET
