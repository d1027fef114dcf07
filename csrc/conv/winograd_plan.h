// How Winograd's convolutions are cut into blocks of tiles and panels of filters, whatever the tile (winograd.cpp,
// winograd_row.cpp).
#pragma once

#include <algorithm>
#include <numeric>

#include "conv/winograd.h"
#include "matmul/split.h"

namespace dlkit {

// Elements of the output that one transform makes, and taps of the kernel.
struct WinogradTile {
  Index size_h, size_w, taps_h, taps_w;

  constexpr Index points() const { return (size_h + taps_h - 1) * (size_w + taps_w - 1); }
};

// Of a vector register.
template <class T>
Index winograd_lanes();

// Bytes at most, where one tile and one panel do not need more, of each of: a transformed weight, the transformed input
// of a block, its products.
inline constexpr Index kMost = Index{8} << 20;
// Of a block: two tiles of the micro-kernel with AVX-512, and 224, 112, 56, 28, 14 pixels.
inline constexpr Index kTiles = 28;

// An odd number of vectors between tiles, and between points: powers of two would meet in few sets of a cache.
template <class T>
Index odd_vectors(Index size) {
  return (divide_up(size, winograd_lanes<T>()) | 1) * winograd_lanes<T>();
}

// Sets what depends on how many tiles a block has.
template <class T>
void allot_winograd(Winograd<T>& w, const WinogradTile& tile, Index block_tiles) {
  const Index lanes = winograd_lanes<T>(), item = sizeof(T), vectors = divide_up(w.filters, lanes);
  w.panels_at_once = std::clamp<Index>(kMost / (tile.points() * block_tiles * 2 * lanes * item), 1, w.panels);
  w.input_point = odd_vectors<T>(block_tiles * w.channels_stride);
  w.product_point = odd_vectors<T>(block_tiles * std::min(vectors, 2 * w.panels_at_once + 1) * lanes);
  w.input_size = tile.points() * w.input_point;
  w.product_size = tile.points() * w.product_point;
}

// As many blocks as keep the threads equally busy, where there are few, but not so small that each reads the weight for
// a handful of tiles.
inline Index even_blocks(Index blocks, Index units, Index unit_tiles, Index tiles, int threads) {
  if (blocks >= 8 * threads) return blocks;
  const Index even = divide_up(blocks, threads) * threads;
  return units * unit_tiles >= even * tiles / 2 && even <= units ? even : blocks;
}

// Sets how the problem is cut; `threads`: for how many.
template <class T>
void cut_winograd(Winograd<T>& w, const WinogradTile& tile, int threads, Index most_tiles = kTiles) {
  const Index lanes = winograd_lanes<T>(), item = sizeof(T);
  w.panels = std::max<Index>(1, divide_up(w.filters, lanes) / 2);
  w.tiles_h = divide_up(w.out_h, tile.size_h);
  w.tiles_w = divide_up(w.out_w, tile.size_w);
  w.channels_stride = odd_vectors<T>(w.channels);

  // Strips and blocks of about as many tiles as there should be.
  const Index tiles = std::clamp<Index>(kMost / (tile.points() * w.channels_stride * item), 1, most_tiles);
  w.segments = divide_up(w.tiles_w, tiles + tiles / 4);
  const Index widest = divide_up(w.tiles_w, w.segments);
  w.block_strips = std::max<Index>(1, (tiles + widest / 2) / widest);
  const Index blocks = even_blocks(divide_up(w.strips(), w.block_strips), w.strips(), widest, tiles, threads);
  w.block_strips = divide_up(w.strips(), blocks);

  allot_winograd(w, tile, w.block_strips * widest);
  const Index read =
      (tile.size_h * std::min(w.block_strips, w.tiles_h) + tile.taps_h - 1) * (tile.size_w * widest + tile.taps_w - 1);
  const Index written =
      std::max(kWinogradPixels, tile.size_h * std::min(w.out_w, tile.size_w * widest)) + tile.size_w + lanes;
  w.pixel_size = std::max(read, written) * lanes;
}

// Elements of the transformed weight.
template <class T>
Index transformed_weight(const Winograd<T>& w, const WinogradTile& tile) {
  const Index lanes = winograd_lanes<T>();
  return tile.points() * (w.channels * divide_up(w.filters, lanes) + w.panels) * lanes;
}

// Filters whose transformed weight is worked with at a time.
template <class T>
Index filters_at_once(const WinogradTile& tile, Index channels, Index filters) {
  const Index panel = 2 * winograd_lanes<T>();
  const Index most = kMost / static_cast<Index>(sizeof(T)) / (tile.points() * channels * panel) * panel;
  const EvenSplit parts(divide_up(filters, panel), std::max<Index>(1, most / panel));
  return parts.size(0) * panel;
}

// Where the blocks do not go round, threads share the filters of a block, and each transforms its input: in how many
// parts.
template <class T>
Index filter_parts(const Winograd<T>& w, Index blocks, int threads) {
  return blocks < 8 * threads ? std::min<Index>(w.panels, threads / std::gcd<Index>(blocks, threads)) : 1;
}

}  // namespace dlkit
