// The micro-kernel: a tile of C, Rows x (Vectors * lanes), in registers for a whole block of K.
//
// Each step of k loads Vectors registers of a row of B, broadcasts Rows elements of A, and does Rows * Vectors fused
// multiply-adds. With AVX-512 that is at most 27 or 28 accumulators, leaving registers for a row of B and one
// element of A; 9 x 3 takes 12 loads for 27 multiply-adds, well under the two loads a cycle that feed two
// multiply-adds a cycle, so that the multipliers are the bound. Any tile with at least 8 to 10 accumulators covers
// their latency. A is read through two strides, packed or not, transposed or not: the broadcast is a load either way.
//
// Source of the shape: Goto & van de Geijn 2008, Van Zee & van de Geijn 2015 (BLIS).
#pragma once

#include "core/simd.h"
#include "matmul/ladder.h"
#include "matmul/tile_step.h"

namespace dlkit::DLKIT_TARGET {

// Tiles of 12 multiply-adds, each of which is one instruction: AVX2. Not those of double, which would be 1% of the
// wheel.
template <class T>
constexpr bool kSmallFused = Vec<T>::registers < 32 && Vec<T>::lanes == 8;

// What of the next panel of B, or of A for the next tile, to bring into the second-level cache while a tile is
// computed, with every kChunk steps of k: `count` places `stride` elements apart, `lines` cache lines each; then
// `advance` elements on.
template <class T>
struct Fetch {
  const T* from = nullptr;
  Index stride = 0, advance = 0;
  int count = 0, lines = 0;
};

// The same for small tiles, which the loops over `count` and `lines` would cost a fifth of their time: two lines with
// every four steps, `apart` elements from each other; then `advance` elements on.
template <class T>
struct Stream {
  const T* from = nullptr;
  Index apart = 0, advance = 0;
};

template <class T>
struct Tile {
  Index depth;  // of the block of K
  const T* a;
  Index a_row_stride, a_col_stride;
  const T* b;  // row k at b + k * b_row_stride, its columns contiguous
  Index b_row_stride;
  T* copy;  // where the packing kernel leaves its panel of B
  T* c;     // columns contiguous
  Index c_row_stride;
  const T* bias;  // of the tile's columns, or null
  int last_cols;  // columns of the last vector, 1 to lanes
  bool accumulate;
  Activation activation;
  Fetch<T> next;
  Stream<T> stream;  // taken note of where kSmallFused
};

enum class PanelSource {
  packed,   // rows of the panel follow each other and are padded to whole vectors
  strided,  // rows lie a row of B apart: fetched ahead into the first-level cache
  packing,  // as strided, and each row of the panel is copied to Tile::copy on its way through the registers
};

inline constexpr int kCacheLine = 64;

template <class T>
constexpr int kChunk = kCacheLine / static_cast<int>(sizeof(T));

// Steps between two looks at what is to be fetched, where nothing is. A look costs tiles of 12 multiply-adds 1% if it
// comes every 16 steps, and 5% where another thread shares the front end of the core (Zen 3).
template <class T>
constexpr Index kStretch = Vec<T>::registers >= 32 ? kChunk<T> : 4 * kChunk<T>;

// Eight steps of 10 cycles or more cover a load from the second- or third-level cache.
inline constexpr int kRowsAhead = 8;

// The tile of C is fetched this many steps before it is stored: late enough to be still there.
inline constexpr Index kStoreAhead = 64;

// The last vectors of a tile's rows, of which `cols` elements are in C.
template <class T>
__attribute__((noinline)) void store_last(const Vec<T>* last, int rows, int cols, T* c, Index c_row_stride) {
  for (int i = 0; i < rows; ++i) last[i].store(c + i * c_row_stride, Vec<T>::few(cols));
}

// The sums of a tile go to C.
template <class T, int Rows, int Vectors>
DLKIT_INLINE void store_tile(const Tile<T>& t, Vec<T> (&sum)[Rows][Vectors]) {
  using V = Vec<T>;
  const auto mask = V::first(t.last_cols);
  // Most tiles only store; each of the others pays for what it adds.
  if (t.accumulate) {
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) {
        const T* c = t.c + i * t.c_row_stride + j * V::lanes;
        sum[i][j] = sum[i][j] + (j + 1 < Vectors ? V::load(c) : V::load(c, mask));
      }
  }
  if (t.bias != nullptr) {
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      const V bias = j + 1 < Vectors ? V::load(t.bias + j * V::lanes) : V::load(t.bias + j * V::lanes, mask);
#pragma GCC unroll 32
      for (int i = 0; i < Rows; ++i) sum[i][j] = sum[i][j] + bias;
    }
  }
  if (t.activation == Activation::relu) {
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j] = V::max(V::zero(), sum[i][j]);
  }
  const bool whole = V::cheap_masks || t.last_cols == V::lanes;
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i) {
    T* c = t.c + i * t.c_row_stride;
#pragma GCC unroll 8
    for (int j = 0; j + 1 < Vectors; ++j) sum[i][j].store(c + j * V::lanes);
    if constexpr (V::cheap_masks)
      sum[i][Vectors - 1].store(c + (Vectors - 1) * V::lanes, mask);
    else if (whole)
      sum[i][Vectors - 1].store(c + (Vectors - 1) * V::lanes);
  }
  if (!whole) {
    V last[Rows];
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i) last[i] = sum[i][Vectors - 1];
    store_last(last, Rows, t.last_cols, t.c + (Vectors - 1) * V::lanes, t.c_row_stride);
  }
  if (t.activation == Activation::sigmoid || t.activation == Activation::tanh)
    for (int i = 0; i < Rows; ++i)
      finish_row<T>(t.c + i * t.c_row_stride, (Vectors - 1) * V::lanes + t.last_cols, nullptr, t.activation);
}

// Rows of a transposed A that lie together where it was copied for small tiles (panels.cpp).
inline constexpr Index kGroupedRows = 12;

// A step with A's elements AOffset beyond their pointers and the panel's BOffset beyond its own.
template <int AOffset, int BOffset, class T, int Rows, int Vectors>
DLKIT_INLINE void add_step(Vec<T> (&sum)[Rows][Vectors], const T* const* a, Index row, const T* b) {
  using V = Vec<T>;
#if defined(DLKIT_TARGET_AVX2)
  if constexpr (Rows == 4 && Vectors == 3)
    return step_4x3<AOffset * sizeof(T), BOffset * sizeof(T)>(sum, a[0], a[1], row * sizeof(T), b);
#endif
  V panel[Vectors];
#pragma GCC unroll 8
  for (int j = 0; j < Vectors; ++j) {
    panel[j] = V::load(b + BOffset + j * V::lanes);
    hold(panel[j]);
  }
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i) {
    const V x = V::broadcast(*(a[i / 3] + (i % 3) * row + AOffset));
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) V::add_product(sum[i][j], x, panel[j]);
  }
}

// store_tile for what does more than store, one function for all ways to make a tile of that shape: `sums` is the tile.
template <class T, int Rows, int Vectors>
DLKIT_NOINLINE void store_sums(const Tile<T>& t, const T* sums) {
  using V = Vec<T>;
  V sum[Rows][Vectors];
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sum[i][j] = V::load(sums + (i * Vectors + j) * V::lanes);
  store_tile(t, sum);
}

// multiply_tile where it can take four steps in a row, each at constant offsets: A's elements are AStep apart, the rows
// of a packed panel follow each other, the vectors of one in place are whole. Nothing else is in this function, so that
// the sums stay where they are.
template <class T, int Rows, int Vectors, PanelSource Source, int AStep, bool Streams>
DLKIT_NOINLINE void multiply_fours(const Tile<T>& t) {
  using V = Vec<T>;
  constexpr int kGroups = (Rows + 2) / 3, kWidth = Vectors * V::lanes;
  constexpr bool kPacked = Source == PanelSource::packed;
  const Index row = t.a_row_stride, b_step = kPacked ? kWidth : t.b_row_stride;
  V sum[Rows][Vectors];
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      sum[i][j] = V::zero();
      __builtin_prefetch(t.c + i * t.c_row_stride + j * V::lanes, 1);
    }
  const T* a[kGroups];
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * row;
  const T* b = t.b;
  const T* ahead = b + kRowsAhead * b_step + V::lanes - 1;
  const T* next = t.stream.from != nullptr ? t.stream.from : b;

  const auto fetch_ahead = [&]() DLKIT_INLINE_LAMBDA {
    if constexpr (!kPacked) {
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j)
        if (Vectors < 3 || j != 1) __builtin_prefetch(ahead + j * V::lanes);
      ahead += b_step;
    }
  };
  const auto move_a = [&](int steps) DLKIT_INLINE_LAMBDA {
#pragma GCC unroll 16
    for (int g = 0; g < kGroups; ++g) a[g] += steps * AStep;
  };
  Index k = t.depth;
  for (; k >= 4; k -= 4) {
    if constexpr (Streams) {
      __builtin_prefetch(next, 0, 2);
      __builtin_prefetch(next + t.stream.apart, 0, 2);
      next += t.stream.advance;
    }
    fetch_ahead();
    add_step<0, 0>(sum, a, row, b);
    if (!kPacked) b += b_step;
    fetch_ahead();
    add_step<AStep, kPacked * kWidth>(sum, a, row, b);
    if (!kPacked) b += b_step;
    fetch_ahead();
    add_step<2 * AStep, 2 * kPacked * kWidth>(sum, a, row, b);
    if (!kPacked) b += b_step;
    fetch_ahead();
    add_step<3 * AStep, 3 * kPacked * kWidth>(sum, a, row, b);
    b += kPacked ? 4 * kWidth : b_step;
    move_a(4);
  }
  for (; k > 0; --k) {
    add_step<0, 0>(sum, a, row, b);
    b += b_step;
    move_a(1);
  }
  if (t.accumulate || t.bias != nullptr || t.activation != Activation::none || t.last_cols != V::lanes) {
    alignas(kCacheLine) T sums[Rows * Vectors * V::lanes];
#pragma GCC unroll 32
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[i][j].store(sums + (i * Vectors + j) * V::lanes);
    return store_sums<T, Rows, Vectors>(t, sums);
  }
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sum[i][j].store(t.c + i * t.c_row_stride + j * V::lanes);
}

// Runs the tile by multiply_fours, or returns false where that cannot.
template <class T, int Rows, int Vectors, PanelSource Source>
DLKIT_INLINE bool takes_fours(const Tile<T>& t) {
  // Of fewer rows there are few tiles.
  if constexpr (kSmallFused<T> && Vectors > 1 && Rows * Vectors >= 6 && Source != PanelSource::packing) {
    constexpr int kWidth = Vectors * Vec<T>::lanes;
    if (Source == PanelSource::packed ? t.b_row_stride != kWidth : t.last_cols != Vec<T>::lanes) return false;
    if (t.next.count > 0) return false;
    // In place each step fetches anyway.
    constexpr bool kInPlace = Source == PanelSource::strided;
    const bool streams = kInPlace || t.stream.from != nullptr;
    if (t.a_col_stride == 1) {
      (streams ? multiply_fours<T, Rows, Vectors, Source, 1, true>
               : multiply_fours<T, Rows, Vectors, Source, 1, kInPlace>)(t);
      return true;
    }
    if constexpr (Rows * Vectors == 12)
      if (t.a_col_stride == kGroupedRows) {
        (streams ? multiply_fours<T, Rows, Vectors, Source, kGroupedRows, true>
                 : multiply_fours<T, Rows, Vectors, Source, kGroupedRows, kInPlace>)(t);
        return true;
      }
  }
  return false;
}

template <class T, int Rows, int Vectors, PanelSource Source>
DLKIT_NOINLINE void multiply_any(const Tile<T>& t) {
  using V = Vec<T>;
  constexpr int kGroups = (Rows + 2) / 3;
  // Where B is not aligned to cache lines a vector lies in two: the first came with the panel before, fetch the second.
  constexpr int kLast = V::lanes - 1;
  const auto mask = V::first(t.last_cols);
  const Index row = t.a_row_stride, step = t.a_col_stride, b_step = t.b_row_stride;
  const T* next = t.next.from;
  const Index stretch = t.next.count > 0 ? kChunk<T> : kStretch<T>;
  const Index fetch_c = t.depth > kStoreAhead ? (t.depth - kStoreAhead) / kStretch<T> * kStretch<T> : 0;

  V sum[Rows][Vectors];
#pragma GCC unroll 32
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) sum[i][j] = V::zero();

  // One pointer for three rows of A: p, p + row, p + 2 * row are addresses that x86 forms within the load.
  const T* a[kGroups];
#pragma GCC unroll 16
  for (int g = 0; g < kGroups; ++g) a[g] = t.a + 3 * g * row;
  const T* b = t.b;
  const T* ahead = b + kRowsAhead * b_step + kLast;
  T* copy = t.copy;

  // What is fetched between stretches stays out of the inner loop, which needs all the registers that there are.
  for (Index begin = 0; begin < t.depth; begin += stretch) {
    if constexpr (Source != PanelSource::packing)
      if (t.next.count > 0) {
        for (int i = 0; i < t.next.count; ++i)
          for (int line = 0; line < t.next.lines; ++line)
            __builtin_prefetch(next + i * t.next.stride + line * kChunk<T> + kLast, 0, 2);
        next += t.next.advance;
      }
    if (begin == fetch_c)
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) __builtin_prefetch(t.c + i * t.c_row_stride + j * V::lanes, 1);

    const Index left = t.depth - begin;
    for (Index k = left < stretch ? left : stretch; k > 0; --k) {
      V panel[Vectors];
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) {
        if (j + 1 < Vectors || Source == PanelSource::packed || (!V::cheap_masks && t.last_cols == V::lanes))
          panel[j] = V::load(b + j * V::lanes);
        else
          panel[j] = V::load(b + j * V::lanes, mask);
        hold(panel[j]);
        // Three vectors of half a line lie in two lines that did not come with the panel before: 0 and 2 have both.
        if constexpr (Source != PanelSource::packed)
          if (Vectors < 3 || j != 1 || V::lanes >= kChunk<T>) __builtin_prefetch(ahead + j * V::lanes);
        if constexpr (Source == PanelSource::packing) panel[j].store(copy + j * V::lanes);
      }
#pragma GCC unroll 32
      for (int i = 0; i < Rows; ++i) {
        const V x = V::broadcast(*(a[i / 3] + (i % 3) * row));
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V::fma(x, panel[j], sum[i][j]);
      }
#pragma GCC unroll 16
      for (int g = 0; g < kGroups; ++g) a[g] += step;
      b += b_step;
      if constexpr (Source != PanelSource::packed) ahead += b_step;
      if constexpr (Source == PanelSource::packing) copy += Vectors * V::lanes;
    }
  }

  store_tile(t, sum);
}

template <class T, int Rows, int Vectors, PanelSource Source>
void multiply_tile(const Tile<T>& t) {
  if (!takes_fours<T, Rows, Vectors, Source>(t)) multiply_any<T, Rows, Vectors, Source>(t);
}

// Which tiles there are. Panels are 3 vectors wide, and 2 make up the rest (1 where C is no wider). With 16 registers
// 4 x 3 takes 7 loads and the fewest operations for 12 multiply-adds; 6 x 2 takes 8.
template <class T>
struct TileShapes {
  static constexpr int main_vectors = 3, other_vectors = 2;

  static constexpr int max_rows(int vectors) {
    if (Vec<T>::registers >= 32) return vectors == 3 ? 9 : 14;
    return vectors == 3 ? 4 : vectors == 2 ? 6 : 12;
  }
  // Stores of a tall tile fill the store queue, and the next tile waits for them: at 64 steps that is 5% of the time of
  // 9 rows of 3 vectors and 1% of 7 rows (Zen 4). A deep tile hides it, and reads B less often the taller it is.
  static constexpr int rows(int vectors, Index depth) {
    const int most = max_rows(vectors);
    return most > 8 && vectors > 1 && depth <= kShallow ? 21 / vectors : most;
  }
  static constexpr Index kShallow = 256;
  // The packing kernel stores a register for each that it loads, which bounds it: a tall tile hides that best.
  static constexpr int packing_rows(int vectors) { return max_rows(vectors) - (max_rows(vectors) > 8 ? 1 : 0); }
  // A transposed A has each step of k in another page, where no processor foresees it. A step of 27 multiply-adds
  // covers the translation (some 8 cycles), and its line is fetched while the tile before is computed; a step of 12
  // does not.
  static constexpr bool covers_pages = max_rows(main_vectors) * main_vectors > 16;
};

template <class T>
using TileKernel = void (*)(const Tile<T>&);

// The kernel for a tile of that shape; rows from 1 to TileShapes::max_rows(vectors), or for PanelSource::packing
// exactly TileShapes::packing_rows(vectors).
template <class T>
TileKernel<T> tile_kernel(int rows, int vectors, PanelSource source);

}  // namespace dlkit::DLKIT_TARGET
