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
// is estimated: see choose_warp_tile in splitk.cu.
//
// Source: NVIDIA, "CUTLASS: fast linear algebra in CUDA C++", 2017, for the hierarchy of tiles.
#include "matmul/warp_tile.h"

namespace dlkit::device {
namespace {

template <class Tile>
void launch_shape(const char* name, const Product<real<float>, real<float>>& p, const DeviceMatmul& problem,
                  Slices slices) {
  with_layouts(problem, [&]<bool AAlongK, bool BAlongK>() {
    launch_tiles(name, warp_tile_kernel<real<float>, Tile, AAlongK, BAlongK>, p, problem, Tile::kRows, Tile::kCols,
                 dim3(Tile::kThreads), Tile::kSharedBytes, slices);
  });
}

}  // namespace

void launch_warp_tile(WarpShape shape, const Product<real<float>, real<float>>& p, const DeviceMatmul& problem,
                      Slices slices) {
  const char* name = kWarpTiles[static_cast<int>(shape)].name;
  switch (shape) {
    //                                               tile     of a warp   lanes  depth  stages  blocks
    case WarpShape::k256x128: return launch_shape<WarpTile<256, 128, 64, 64, 4, 8, 4, 1>>(name, p, problem, slices);
    case WarpShape::k128x128: return launch_shape<WarpTile<128, 128, 64, 32, 8, 8, 4, 2>>(name, p, problem, slices);
    case WarpShape::k128x64: return launch_shape<WarpTile<128, 64, 64, 32, 8, 8, 4, 4>>(name, p, problem, slices);
    case WarpShape::k64x64: return launch_shape<WarpTile<64, 64, 32, 32, 4, 8, 4, 6>>(name, p, problem, slices);
    case WarpShape::k32x64: return launch_shape<WarpTile<32, 64, 16, 32, 4, 16, 4, 6>>(name, p, problem, slices);
    case WarpShape::k64x32: return launch_shape<WarpTile<64, 32, 32, 16, 8, 16, 4, 6>>(name, p, problem, slices);
  }
}

}  // namespace dlkit::device
