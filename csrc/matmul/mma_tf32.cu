// TF32: tensor cores multiply float32 operands that are rounded to 10 bits of mantissa, and add up in float32.
//
// One mma.sync of a warp is 16 x 8 x 8: 1024 multiply-adds for one issue slot. For 8 of k a warp's tile of 64 x 64
// takes 8 fragments, of 16 rows of A or columns of B, and 32 mma: 4 KB of shared memory for 65536 FLOPs, 16 FLOP per
// byte. Shared memory delivers 128 bytes a cycle to a multiprocessor, enough for 2048 FLOP: just what its tensor cores
// can do with wgmma (495 TFLOP/s), and more than they do with mma.sync, which reaches about 60-65% of that on an H100.
// So 300 TFLOP/s is this kernel's roof there; on an A100 156.
//
// Global memory: a tile of 128 x 256 has 2 * 128 * 256 FLOPs for 384 floats of each k, 43 FLOP per byte: 7 TB/s at that
// rate, which the second-level cache has to deliver. 4 stages of 16 k, 96 KB, are in flight.
//
//   128 x 256: 255 registers, 96 KB: 1 block, 8 warps a multiprocessor
//   128 x 128: 255 registers, 64 KB: 2 blocks, 8 warps
//   64 x 64:   128 registers, 32 KB: 4 blocks, 16 warps
//
// Rounding to nearest (cvt.rna) is one instruction for each register of a fragment; cut off, which is what the tensor
// core does with what it is given, would be biased.
//
// Source: PTX ISA, "Warp-level matrix instructions"; NVIDIA, "CUTLASS", for chunks exchanged by exclusive-or.
#include "matmul/mma_operand.h"
#include "matmul/mma_tile.h"

namespace dlkit::device {
namespace {

//                         tile     of a warp  stages  blocks
using Tile128x256 = MmaTile<128, 256, 64, 64, 4, 1>;
using Tile128x128 = MmaTile<128, 128, 64, 64, 4, 2>;
using Tile64x64 = MmaTile<64, 64, 32, 32, 4, 4>;

constexpr TileFacts kTiles[] = {mma_facts<Tile128x256>("mma_tf32/128x256", 0.95),
                                mma_facts<Tile128x128>("mma_tf32/128x128", 0.85),
                                mma_facts<Tile64x64>("mma_tf32/64x64", 0.55)};

template <class Tile>
void run_tile(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  using T = real<float>;
  with_layouts(problem, [&]<bool AAlongK, bool BAlongK>() {
    launch_tiles(kTiles[tile].name, mma_tile_kernel<T, T, Tf32, Tile, AAlongK, BAlongK>, Product<T, T>(problem),
                 problem, Tile::kRows, Tile::kCols, dim3(Tile::kThreads), Tile::kSharedBytes, slices, c_slice);
  });
}

void run(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  constexpr decltype(&run) runs[] = {run_tile<Tile128x256>, run_tile<Tile128x128>, run_tile<Tile64x64>};
  runs[tile](problem, tile, slices, c_slice);
}

}  // namespace

const TileFamily mma_tf32_family = {kTiles, 1024 * 0.62, 16, run};

void mma_tf32(const DeviceMatmul& problem) { run(problem, tile_without_slices(problem, mma_tf32_family), {}, 0); }

}  // namespace dlkit::device
