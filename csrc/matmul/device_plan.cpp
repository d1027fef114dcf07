// The estimate behind the choice of a tile, in cycles of an H100.
//
// Blocks are dealt to 132 multiprocessors, and the one that gets most of them decides: ceil(blocks / 132) * the time
// for a block. A large tile is fast but leaves multiprocessors without work at the end ("waves": 700 x 10000 has 474
// tiles of 128 x 128, 3.6 for each, so that 4 are waited for); a small one loads more for each multiply-add. Slices of K
// make more blocks of the same tiles, at the price of a second kernel, and of writing and reading the partial sums.
#include "matmul/device_plan.h"

#include <algorithm>

namespace dlkit::device {
namespace {

constexpr double kMultiprocessors = 132;
constexpr double kMemoryBytes = 1900;  // a cycle: 3.35 TB/s at 1.76 GHz
constexpr double kCacheBytes = 3100;   // of the second-level cache: about 5.5 TB/s
constexpr double kStart = 1500;        // a block's first loads and last stores, which nothing overlaps
constexpr double kSecondKernel = 2500;
constexpr double kFullWarps = 8;       // 2 for each sub-core: fewer wait for their own latencies
constexpr int kMostSlices = 64;

double estimate(const DeviceMatmul& p, const TileFamily& family, const TileFacts& tile, std::int64_t slices,
                std::int64_t depth) {
  const auto up = [](std::int64_t n, std::int64_t d) { return static_cast<double>((n + d - 1) / d); };
  const double m = static_cast<double>(p.m), n = static_cast<double>(p.n), k = static_cast<double>(p.k);
  const double batch = static_cast<double>(p.batch), item = static_cast<double>(size_of(p.type));
  const double blocks = up(p.m, tile.rows) * up(p.n, tile.cols) * batch * static_cast<double>(slices);
  const double most = static_cast<double>(static_cast<std::int64_t>((blocks + kMultiprocessors - 1) / kMultiprocessors));
  const double warps = tile.warps * std::min(most, static_cast<double>(tile.resident));
  const double busy = std::min(1.0, 0.5 + 0.5 * warps / kFullWarps);
  const double block = static_cast<double>(tile.rows) * tile.cols * static_cast<double>(depth) /
                       (family.rate * tile.efficiency * busy);
  const double from_cache = blocks * (tile.rows + tile.cols) * static_cast<double>(depth) * item / kCacheBytes;
  const double from_memory = batch * (m * k + k * n + m * n) * item / kMemoryBytes;
  double cycles = kStart + std::max({most * block, from_cache, from_memory});
  if (slices > 1) cycles += kSecondKernel + 2 * static_cast<double>(slices) * batch * m * n * 4 / kCacheBytes;
  return cycles;
}

}  // namespace

const TileFamily* family_of(const DeviceMatmul& p) {
  if (p.type == DeviceType::float64) return nullptr;
  if (is_16bit(p.type) || p.precision == Precision::bf16) return &mma_16bit_family;
  return p.precision == Precision::tf32 ? &mma_tf32_family : &warp_tile_family;
}

TilePlan plan_tiles(const DeviceMatmul& p, const TileFamily& family, bool split) {
  TilePlan best;
  for (int tile = 0; tile < static_cast<int>(family.tiles.size()); ++tile) {
    if (p.tile >= 0 && tile != p.tile) continue;
    for (int wanted = split ? 2 : 1; wanted <= (split ? kMostSlices : 1); ++wanted) {
      const std::int64_t steps = (p.k + family.depth - 1) / family.depth;
      const std::int64_t depth = split ? std::max<std::int64_t>(1, (steps + wanted - 1) / wanted) * family.depth : p.k;
      const std::int64_t count = split ? std::max<std::int64_t>(1, (p.k + depth - 1) / depth) : 1;
      const double cycles = estimate(p, family, family.tiles[static_cast<std::size_t>(tile)], count, depth);
      if (best.cycles == 0 || cycles < best.cycles)
        best = {tile, {static_cast<int>(count), static_cast<int>(depth)}, cycles};
      if (wanted >= steps) break;
    }
  }
  return best;
}

int tile_without_slices(const DeviceMatmul& p, const TileFamily& family) { return plan_tiles(p, family, false).tile; }

}  // namespace dlkit::device
