// Warp-tiled: the block's tile is cut into tiles of its warps, and the panels come several steps ahead.
//
// A warp of `vectorised` reads 16 + 128 elements of each k: slivers of A, whole rows of the panel of B. Lanes that
// stand 8 x 4 on a tile of 64 x 32 read 64 + 32 different ones, and are numbered so that quarters of the warp ask for
// the same, which hardware merges (warp_sums.h). Elements of the next k are loaded while those of this one are
// multiplied, and 4 pairs of panels are in flight, so that neither shared memory nor global memory is waited for. The
// tile of 256 x 128 gives each thread 16 x 8 elements: 6 loads for 128 multiply-adds, 3/4 of the wavefronts even if
// none are merged, and 43 FLOP per byte of global memory instead of 32, for one block a multiprocessor.
//
// Issue slots are what is left, with the copies (one by 4 bytes for each element of an operand that is contiguous along
// k, a quarter of it else): 64 of 70 for 128 x 128, 128 of 138 for 256 x 128: at most 62 TFLOP/s on an H100.
//
//   256 x 128: 255 registers, 49 KB: 1 block, 8 warps a multiprocessor
//   128 x 128: 128 registers, 33 KB: 2 blocks, 16 warps
//   128 x 64:  at most 168 registers, 25 KB: 3 blocks, 12 warps
//   64 x 64:   96 registers, 17 KB: 5 blocks, 20 warps
//   32 x 64 and 64 x 32: 80 registers, 26 KB: 6 blocks, 24 warps; 16 multiply-adds for 2 loads, 16 of 20 slots
//
// The smaller tiles serve a C with fewer tiles than the machine has multiprocessors. Which one is estimated: see
// device_plan.cpp.
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

constexpr TileFacts kTiles[] = {
    warp_facts<Tile256x128>("warp_tiled/256x128", 0.90), warp_facts<Tile128x128>("warp_tiled/128x128", 0.88),
    warp_facts<Tile128x64>("warp_tiled/128x64", 0.84),   warp_facts<Tile64x64>("warp_tiled/64x64", 0.72),
    warp_facts<Tile32x64>("warp_tiled/32x64", 0.55),     warp_facts<Tile64x32>("warp_tiled/64x32", 0.55),
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

void warp_tiled(const DeviceMatmul& problem) { run(problem, tile_without_slices(problem, warp_tile_family), {}, 0); }

}  // namespace dlkit::device
