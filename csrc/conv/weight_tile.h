// The micro-kernel of the weight gradient: a tile of sums, Rows x (Vectors * lanes), in registers while pixels go by.
//
// Each pixel loads Vectors registers of the array that is transposed to pixels first, broadcasts an element for each
// row from the other array, which is read where it is, and does Rows * Vectors fused multiply-adds. 9 x 3 takes 12
// loads for 27 of them, 14 x 2 takes 16 for 28; the row pointers, which stay the same while one index moves, add up to
// a load each where there are more than the registers hold. Bound by the multipliers.
#pragma once

#include "core/simd.h"
#include "core/view.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
struct WeightTile {
  const T* const* rows;  // a pointer for each row of the tile
  Index row_step, row_line, row_image;
  const T* vectors;
  Index vector_step, vector_line, vector_image;
  Index run, lines, images;  // pixels of a line, lines of an image, images
  T* sums;
  Index sums_stride;
  bool add;  // to what sums hold
};

template <class T, int Rows, int Vectors>
__attribute__((noinline)) void accumulate_tile(const WeightTile<T>& t) {
  using V = Vec<T>;
  V sum[Rows][Vectors];
  const T* a[Rows];
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i) {
    a[i] = t.rows[i];
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      sum[i][j] = V::zero();
      __builtin_prefetch(t.sums + i * t.sums_stride + j * V::lanes, 1);
    }
  }
  const Index row_step = t.row_step, vector_step = t.vector_step, run = t.run;
  for (Index image = 0; image < t.images; ++image)
    for (Index line = 0; line < t.lines; ++line) {
      Index at = image * t.row_image + line * t.row_line;
      const T* b = t.vectors + image * t.vector_image + line * t.vector_line;
      for (Index k = run; k > 0; --k) {
        V y[Vectors];
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          y[j] = V::load(b + j * V::lanes);
          if (Vectors > 1) hold(y[j]);
        }
#pragma GCC unroll 32
        for (int i = 0; i < Rows; ++i) {
          const V x = V::broadcast(a[i][at]);
#pragma GCC unroll 8
          for (int j = 0; j < Vectors; ++j) sum[i][j] = V::fma(x, y[j], sum[i][j]);
        }
        at += row_step;
#if defined(__GNUC__)
        asm("" : "+r"(at));  // one index for all rows, not a moving pointer for each
#endif
        b += vector_step;
      }
    }
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i) {
    T* sums = t.sums + i * t.sums_stride;
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      if (t.add) sum[i][j] = sum[i][j] + V::load(sums + j * V::lanes);
      sum[i][j].store(sums + j * V::lanes);
    }
  }
}

// Which tiles there are: accumulators, a row of vectors and a broadcast fill the registers.
template <class T>
struct WeightTiles {
  static constexpr bool many = Vec<T>::registers >= 32;
  static constexpr int most_vectors = 3;
  static constexpr int most_rows = many ? 14 : 12;  // of any width

  static constexpr int max_rows(int vectors) {
    if (many) return vectors == 3 ? 9 : 14;
    return vectors == 3 ? 4 : vectors == 2 ? 6 : 12;
  }
  // Of the next panel, where `left` vectors remain.
  static constexpr int panel(Index left) {
    if (many) return left == 4 ? 2 : left >= 3 ? 3 : static_cast<int>(left);
    return left == 3 ? 3 : left >= 2 ? 2 : 1;
  }
};

// Cycles of a pixel for `rows` rows of so many vectors, by estimate: a panel of one vector has no multiply-adds to hide
// its broadcasts behind.
DLKIT_INLINE double weight_tile_cycles(Index rows, Index vectors) {
  return static_cast<double>(rows) * (vectors == 1 ? 1.2 : static_cast<double>(vectors));
}

template <class T>
using WeightTileKernel = void (*)(const WeightTile<T>&);

// rows from 1 to WeightTiles::max_rows(vectors)
template <class T>
WeightTileKernel<T> weight_tile_kernel(int rows, int vectors);

}  // namespace dlkit::DLKIT_TARGET
