// Warp-tiled: the block's tile is cut into tiles of its warps, and the panels come several steps ahead.
//
// A warp of `vectorised` reads 2 x 16 groups of 4: whole rows of the panel of B, a sliver of A. A warp whose lanes stand
// 8 x 4 on a tile of 64 x 32 reads 64 + 32 elements of each k instead of 16 + 128, in 4 loads of 1 to 2 wavefronts: for
// the 16 cycles of its multiply-adds shared memory is busy 4 to 6. Elements of the next k are loaded while those of this
// one are multiplied, and 4 pairs of panels are in flight, so that neither shared memory nor global memory is waited for.
// The tile of 256 x 128 gives each thread 16 x 8 elements: 6 loads for 128 multiply-adds, and 43 FLOP per byte of
// global memory, for one block a multiprocessor.
//
// Multiply-adds per issue slot are what is left, with the copies (k contiguous: 1 by 4 bytes for each 2 elements of a
// row; else a quarter of it): 128 x 128: 64 / 70; 256 x 128: 128 / 138.
//
// The same kernel at other shapes of tile serves a C with fewer tiles than the machine has multiprocessors. Which one
// is estimated: see device_plan.cpp.
//
// Source: NVIDIA, "CUTLASS: fast linear algebra in CUDA C++", 2017, for the hierarchy of tiles.
#include "matmul/warp_tile.h"

namespace dlkit::device {
namespace {

//                          tile     of a warp   lanes  depth  stages  blocks
using Tile256x128 = WarpTile<256, 128, 64, 64, 4, 8, 4, 1>;
using Tile128x128 = WarpTile<128, 128, 64, 32, 8, 8, 4, 2>;
using Tile128x64 = WarpTile<128, 64, 64, 32, 8, 8, 4, 3>;
using Tile64x64 = WarpTile<64, 64, 32, 32, 4, 8, 4, 5>;
using Tile32x64 = WarpTile<32, 64, 16, 32, 4, 16, 4, 6>;
using Tile64x32 = WarpTile<64, 32, 32, 16, 8, 16, 4, 6>;

template <class Tile>
constexpr TileFacts facts(const char* name, double efficiency) {
  return {name, Tile::kRows, Tile::kCols, Tile::kThreads / kWarp, Tile::kBlocks, efficiency};
}

constexpr TileFacts kTiles[] = {
    facts<Tile256x128>("warp_tiled/256x128", 0.90), facts<Tile128x128>("warp_tiled/128x128", 0.88),
    facts<Tile128x64>("warp_tiled/128x64", 0.84),   facts<Tile64x64>("warp_tiled/64x64", 0.72),
    facts<Tile32x64>("warp_tiled/32x64", 0.55),     facts<Tile64x32>("warp_tiled/64x32", 0.55),
};

template <class Tile>
void run_tile(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  using T = real<float>;
  with_layouts(problem, [&]<bool AAlongK, bool BAlongK>() {
    launch_tiles(kTiles[tile].name, warp_tile_kernel<T, Tile, AAlongK, BAlongK>, Product<T, T>(problem), problem,
                 Tile::kRows, Tile::kCols, dim3(Tile::kThreads), Tile::kSharedBytes, slices, c_slice);
  });
}

void run(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  constexpr decltype(&run) runs[] = {run_tile<Tile256x128>, run_tile<Tile128x128>, run_tile<Tile128x64>,
                                     run_tile<Tile64x64>,   run_tile<Tile32x64>,   run_tile<Tile64x32>};
  runs[tile](problem, tile, slices, c_slice);
}

}  // namespace

const TileFamily warp_tile_family = {kTiles, 128, 16, run};

void warp_tiled(const DeviceMatmul& problem) {
  run(problem, tile_without_slices(problem, warp_tile_family), {}, 0);
}

}  // namespace dlkit::device
