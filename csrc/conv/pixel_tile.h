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
inline constexpr int kGatherPieces = 2;  // more are packed before the first tile

// A bit for each pixel of a panel.
using PixelBits = std::uint64_t;

// A tap: how far from a pixel it reads, and which pixels of the panel have it within the image.
struct TapStep {
  Index offset;
  PixelBits inside[kGatherPieces];  // of the pixels of the vectors' first pieces, of their second ones, ...
};

template <class T>
struct PixelTile {
  Index depth;
  const T* a;
  Index a_stride, a_step;  // between rows; between steps of the sum
  T* panel;                // packed: read, or written by the tile that gathers
  T* c;
  Index c_stride;
  int last_cols;  // of the last vector, 1 to lanes
  const T* bias;  // of the rows, or null; without accumulate
  bool accumulate, relu;
  const T* next_a;  // of the tile that follows
  Fetch<T> next;    // of the pixels of the panel that follows

  // Where the panel is in two images (only where kGathers): the second's c, and the pixels of each; else null.
  T* second_c;
  PixelBits in_first, in_second;

  // Of the tile that gathers:
  const T* pieces[kPanelVectors][kGatherPieces];  // where a vector's lane 0 is, or would be
  PixelBits lanes[kGatherPieces];                 // the pixels of first pieces, of second ones, ...
  const TapStep* steps;
  Index step, step_count;  // the first step of the block; from the last back to 0, with the next channel
  Index channel_stride;
};

// The tile of the output is fetched this many steps before it is stored: some 600 ns, the latency of a busy memory.
inline constexpr Index kOutputAhead = 256;

// Where a tile has its pixels from.
enum class PixelSource {
  packed,
  one_piece,  // each vector in one piece of the image, all taps inside: masks alike for all
  two_pieces,
  one_piece_padded,  // masks for each tap
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

// The end of a tile whose pixels are of two images: one function for all shapes, since tiles are many and it is rare.
template <class T>
void finish_in_two(const PixelTile<T>& t, const T* sums, int rows, int vectors);

template <class T, int Rows, int Vectors, PixelSource Source>
__attribute__((noinline)) void pixel_tile(const PixelTile<T>& t) {
  using V = Vec<T>;
  constexpr int kGroups = (Rows + 2) / 3;
  constexpr bool kGather = Source != PixelSource::packed;
  const auto mask = V::first(t.last_cols);
  const Index row = t.a_stride, a_step = t.a_step;
  const Index stretch = t.next.count > 0 ? kChunk<T> : kStretch<T>;
  const Index fetch_c = t.depth > kOutputAhead ? (t.depth - kOutputAhead) / kStretch<T> * kStretch<T> : 0;

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

  const T* next = t.next.from;
  for (Index begin = 0; begin < t.depth; begin += stretch) {
    if (t.next.count > 0) {
      for (int i = 0; i < t.next.count; ++i)
        for (int line = 0; line < t.next.lines; ++line)
          __builtin_prefetch(next + i * t.next.stride + line * kChunk<T>, 0, 2);
      next += t.next.advance;
    }
    if (begin == fetch_c)
      for (int i = 0; i < Rows; ++i) {
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) __builtin_prefetch(t.c + i * t.c_stride + j * V::lanes, 1);
        // The processor fetches on along a row once it has seen its beginning.
        __builtin_prefetch(t.next_a + i * row);
        __builtin_prefetch(t.next_a + i * row + kChunk<T>);
      }

    const Index left = t.depth - begin;
    for (Index k = left < stretch ? left : stretch; k > 0; --k) {
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
        constexpr bool kPadded = Source >= PixelSource::one_piece_padded;
        constexpr int kPieces = static_cast<int>(Source) -
                                static_cast<int>(kPadded ? PixelSource::one_piece_padded : PixelSource::one_piece) + 1;
        const Index offset = channel + step->offset;
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) {
          pixels[j] = V::load(t.pieces[j][0] + offset, mask_of<T>(kPadded ? step->inside[0] : t.lanes[0], j));
#pragma GCC unroll 4
          for (int i = 1; i < kPieces; ++i)
            pixels[j] = pixels[j].merge(t.pieces[j][i] + offset, mask_of<T>(kPadded ? step->inside[i] : t.lanes[i], j));
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
      for (int g = 0; g < kGroups; ++g) a[g] += a_step;
      panel += Vectors * V::lanes;
    }
  }

#if defined(DLKIT_TARGET_AVX512)
  if (t.second_c != nullptr) {
    alignas(kCacheLine) T sums[Rows * Vectors * V::lanes];
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j].store(sums + (i * Vectors + j) * V::lanes);
    return finish_in_two<T>(t, sums, Rows, Vectors);
  }
#endif
  // Partial sums or bias, activation, store.
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
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      T* c = t.c + i * t.c_stride + j * V::lanes;
      if (j + 1 < Vectors || (!V::cheap_masks && t.last_cols == V::lanes))
        sum[i][j].store(c);
      else
        sum[i][j].store(c, mask);
    }
}

// Whether there are gathering tiles of that width: each is compiled for every number of rows, so only of those that
// large images in float32 use; other panels are packed before their first tile.
template <class T>
constexpr bool gathers(int vectors) {
  return kGathers && sizeof(T) == sizeof(float) && vectors > 1;
}

// The kernel for `rows` filters, 1 to TileShapes::max_rows(vectors), and 1 to kPanelVectors vectors.
template <class T>
PixelTileKernel<T> pixel_tile_kernel(int rows, int vectors, PixelSource source);

}  // namespace dlkit::DLKIT_TARGET
