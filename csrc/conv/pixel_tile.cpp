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

#if defined(DLKIT_TARGET_AVX512)
template <class T>
void finish_in_two(const PixelTile<T>& t, const T* sums, int rows, int vectors) {
  using V = Vec<T>;
  const V zero = V::zero();
  for (int i = 0; i < rows; ++i) {
    const V bias = t.bias != nullptr && !t.accumulate ? V::broadcast(t.bias[i]) : zero;
    for (int j = 0; j < vectors; ++j, sums += V::lanes) {
      const Index at = i * t.c_stride + j * V::lanes;
      const auto first = mask_of<T>(t.in_first, j), second = mask_of<T>(t.in_second, j);
      const V before = t.accumulate ? V::load(t.c + at, first).merge(t.second_c + at, second) : bias;
      V sum = V::load(sums) + before;
      if (t.relu) sum = V::max(zero, sum);
      sum.store(t.c + at, first);
      sum.store(t.second_c + at, second);
    }
  }
}
#endif

template <class T>
PixelTileKernel<T> pixel_tile_kernel(int rows, int vectors, PixelSource source) {
  return vectors == 1 ? pick<T, 1>(rows, source) : vectors == 2 ? pick<T, 2>(rows, source) : pick<T, 3>(rows, source);
}

template PixelTileKernel<float> pixel_tile_kernel(int, int, PixelSource);
template PixelTileKernel<double> pixel_tile_kernel(int, int, PixelSource);

}  // namespace dlkit::DLKIT_TARGET
