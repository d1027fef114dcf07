// Which tile, and how many slices of K, a problem gets from a kernel that exists in several shapes.
#pragma once

#include <span>

#include "matmul/device.h"

namespace dlkit::device {

// One slice is all of K; else slice s begins at s * depth.
struct Slices {
  int count = 1;
  int depth = 0;
};

struct TileFacts {
  const char* name;  // of the kernel, "warp_tiled/128x128"
  int rows, cols;
  int warps;     // of a block
  int resident;  // blocks that fit on a multiprocessor
  // What a multiprocessor full of them reaches of the rate below, once they run. Estimates from issue slots and traffic
  // (head of each kernel's file), until they are measured: the one place to put measurements.
  double efficiency;
};

struct TileFamily {
  std::span<const TileFacts> tiles;
  double rate;  // multiply-adds a cycle of a multiprocessor, at most
  int depth;    // slices of K are multiples of this
  // Computes the problem with tile number `tile`. Of several slices each becomes a product of its own, c_slice elements
  // apart.
  void (*run)(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice);
};

extern const TileFamily warp_tile_family;
extern const TileFamily mma_tf32_family;
extern const TileFamily mma_16bit_family;

// That of the problem's type and precision; null for float64.
const TileFamily* family_of(const DeviceMatmul& problem);

struct TilePlan {
  int tile = 0;
  Slices slices;
  double cycles = 0;
};

// The least estimated time over all tiles and numbers of slices.
TilePlan plan_tiles(const DeviceMatmul& problem, const TileFamily& family, bool split);

// The tile that the problem names, or the best without slices.
int tile_without_slices(const DeviceMatmul& problem, const TileFamily& family);

}  // namespace dlkit::device
