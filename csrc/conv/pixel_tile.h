// The micro-kernel of implicit GEMM: a tile of the output, Rows filters x (Vectors * lanes) pixels, in registers for a
// block of the sum.
//
// As matmul/tile.h: each step loads Vectors registers of pixels, broadcasts Rows elements of the weight, and does
// Rows * Vectors fused multiply-adds. Other than there the bias runs along the rows, and the first tile of a panel
// reads the pixels where they lie and leaves a packed copy for the tiles that follow: pixels that follow each other in
// the output lie in one or two pieces of the image (two where a row ends in between), so that a register of them is one
// or two masked loads. These take load ports that the multiply-adds leave free: 9 x 3 has 9 + 6 loads in 13.5 cycles.
#pragma once

#include <cstdint>

#include "core/simd.h"
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

// Most vectors of a panel.
inline constexpr int kPanelVectors = 3;
// Most pieces of a vector that a tile gathers by itself.
inline constexpr int kGatherPieces = 2;

// A bit for each pixel of a panel.
using PixelBits = std::uint64_t;

// A tap: how far from a pixel it reads, and which pixels of the panel have it within the image.
struct TapStep {
  Index offset;
  PixelBits inside[kGatherPieces];  // of the pixels of the vectors' first pieces, and of their second
};

template <class T>
struct PixelTile {
  Index depth;
  const T* a;
  Index a_stride;
  T* panel;  // packed: read, or written by the tile that gathers
  T* c;
  Index c_stride;
  int last_cols;  // of the last vector, 1 to lanes
  const T* bias;  // of the rows, or null; without accumulate
  bool accumulate, relu;

  // Of the tile that gathers:
  const T* pieces[kPanelVectors][kGatherPieces];  // where a vector's lane 0 is, or would be
  PixelBits lanes[kGatherPieces];                 // the pixels of first and second pieces
  const TapStep* steps;
  Index step, step_count;  // the first step of the block; from the last back to 0, with the next channel
  Index channel_stride;
};

// Where a tile has its pixels from.
enum class PixelSource {
  packed,
  one_piece,  // each vector in one piece of the image, all taps inside: mask alike for all
  two_pieces,
  one_piece_padded,  // a mask for each tap
  two_pieces_padded,
};

template <class T>
using PixelTileKernel = void (*)(const PixelTile<T>&);

#if defined(DLKIT_TARGET_AVX512)

inline constexpr bool kGathers = true;

// The bits of a panel's vector j as a mask.
template <class T>
DLKIT_INLINE typename Vec<T>::Mask mask_of(const PixelBits& bits, int j) {
  typename Vec<T>::Mask mask;
  static_assert(sizeof(mask) * 8 == Vec<T>::lanes);
  __builtin_memcpy(&mask, reinterpret_cast<const char*>(&bits) + sizeof(mask) * static_cast<std::size_t>(j),
                   sizeof(mask));
  return mask;
}

#else

inline constexpr bool kGathers = false;

#endif

template <class T, int Rows, int Vectors, PixelSource Source>
__attribute__((noinline)) void pixel_tile(const PixelTile<T>& t) {
  using V = Vec<T>;
  constexpr int kGroups = (Rows + 2) / 3;
  constexpr bool kGather = Source != PixelSource::packed;
  const auto mask = V::first(t.last_cols);
  const Index row = t.a_stride;
  const Index fetch_c = t.depth > kStoreAhead ? (t.depth - kStoreAhead) / kChunk<T> * kChunk<T> : 0;

  V sum[Rows][Vectors];
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sum[i][j] = V::zero();

  // One pointer for three rows of A: p, p + row, p + 2 * row are addresses that x86 forms within the load.
  const T* a[kGroups];
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * row;
  T* panel = t.panel;
  [[maybe_unused]] const TapStep* step = t.steps + t.step;
  [[maybe_unused]] const TapStep* const steps_end = t.steps + t.step_count;
  [[maybe_unused]] Index channel = 0;

  for (Index begin = 0; begin < t.depth; begin += kChunk<T>) {
    if (begin == fetch_c)
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) __builtin_prefetch(t.c + i * t.c_stride + j * V::lanes, 1);

    const Index left = t.depth - begin;
    for (Index k = left < kChunk<T> ? left : kChunk<T>; k > 0; --k) {
      V pixels[Vectors];
      if constexpr (!kGather) {
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          pixels[j] = V::load(panel + j * V::lanes);
          hold(pixels[j]);
        }
      }
#if defined(DLKIT_TARGET_AVX512)
      if constexpr (kGather) {
        constexpr bool kPadded = Source == PixelSource::one_piece_padded || Source == PixelSource::two_pieces_padded;
        constexpr bool kTwo = Source == PixelSource::two_pieces || Source == PixelSource::two_pieces_padded;
        const Index offset = channel + step->offset;
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          pixels[j] = V::load(t.pieces[j][0] + offset, mask_of<T>(kPadded ? step->inside[0] : t.lanes[0], j));
          if constexpr (kTwo)
            pixels[j] = pixels[j].merge(t.pieces[j][1] + offset, mask_of<T>(kPadded ? step->inside[1] : t.lanes[1], j));
          hold(pixels[j]);
          pixels[j].store(panel + j * V::lanes);
        }
        if (++step == steps_end) {
          step = t.steps;
          channel += t.channel_stride;
        }
      }
#endif
#pragma GCC unroll 32
      for (int i = 0; i < Rows; ++i) {
        const V x = V::broadcast(*(a[i / 3] + (i % 3) * row));
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V::fma(x, pixels[j], sum[i][j]);
      }
#pragma GCC unroll 16
      for (int g = 0; g < kGroups; ++g) ++a[g];
      panel += Vectors * V::lanes;
    }
  }

  if (t.accumulate) {
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) {
        const T* c = t.c + i * t.c_stride + j * V::lanes;
        sum[i][j] = sum[i][j] + (j + 1 < Vectors ? V::load(c) : V::load(c, mask));
      }
  } else if (t.bias != nullptr) {
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i) {
      const V bias = V::broadcast(t.bias[i]);
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j] = sum[i][j] + bias;
    }
  }
  if (t.relu) {
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j] = V::max(V::zero(), sum[i][j]);
  }
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i) {
    T* c = t.c + i * t.c_stride;
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      if (j + 1 < Vectors || (!V::cheap_masks && t.last_cols == V::lanes))
        sum[i][j].store(c + j * V::lanes);
      else
        sum[i][j].store(c + j * V::lanes, mask);
    }
  }
}

// The kernel for `rows` filters, 1 to TileShapes::max_rows(vectors), and 1 to kPanelVectors vectors.
template <class T>
PixelTileKernel<T> pixel_tile_kernel(int rows, int vectors, PixelSource source);

}  // namespace dlkit::DLKIT_TARGET
