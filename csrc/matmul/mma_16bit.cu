// 16 bits: tensor cores multiply float16 or bfloat16 operands and add up in float32.
//
// The kernel of mma_tf32.cu with elements of half the size: one mma.sync is 16 x 8 x 16, a panel of 64 bytes is 32
// deep, and everything else, copies, chunks, stages, moves the same bytes for twice the FLOPs: 32 FLOP per byte of
// shared memory, 85 of global memory with the tile of 128 x 256. ldmatrix can transpose 16-bit elements, so that all
// four layouts read fragments by it: 8 for 32 mma.
//
// float32 operands with precision bf16 are rounded on their way to shared memory, so that they pass by registers: a
// panel is loaded a step before it is stored. It has twice the bytes of global memory to read, and saves the pass over
// A and B that a conversion beforehand would be.
//
// H100: mma.sync reaches about 60-65% of the 989 TFLOP/s of wgmma: 600. The second-level cache has to deliver 7 TB/s to
// all multiprocessors together at that rate (128 x 256), which is more than the 5.5 TB/s that device_plan.cpp assumes:
// 470 by that. A100: 312.
//
//   Registers and blocks as in mma_tf32.cu. Rounding on the way: 128 x 128 by 8 warps, 32 KB, one block; 64 x 64, 16
//   KB, 3 blocks.
//
// Source: PTX ISA, "Warp-level matrix instructions".
#include "matmul/mma_operand.h"
#include "matmul/mma_tile.h"

namespace dlkit::device {
namespace {

//                         tile     of a warp  stages  blocks
using Tile128x128 = MmaTile<128, 128, 64, 64, 4, 2>;
using Tile64x64 = MmaTile<64, 64, 32, 32, 4, 4>;
using Tile128x256 = MmaTile<128, 256, 64, 64, 4, 1>;
// For operands that are rounded on the way, which need registers.
using Rounding128x128 = MmaTile<128, 128, 64, 32, 2, 1>;
using Rounding64x64 = MmaTile<64, 64, 32, 32, 2, 3>;

constexpr TileFacts kTiles[] = {mma_facts<Tile128x128>("mma_16bit/128x128", 0.80),
                                mma_facts<Tile64x64>("mma_16bit/64x64", 0.45),
                                mma_facts<Tile128x256>("mma_16bit/128x256", 0.95)};
constexpr TileFacts kRoundingTiles[] = {mma_facts<Rounding128x128>("mma_16bit/128x128", 0.55),
                                        mma_facts<Rounding64x64>("mma_16bit/64x64", 0.35)};

template <class In, class Out, class Element, class Tile>
void run_tile(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  with_layouts(problem, [&]<bool AAlongK, bool BAlongK>() {
    launch_tiles(kTiles[tile].name, mma_tile_kernel<In, Out, Bits16<Element>, Tile, AAlongK, BAlongK>,
                 Product<In, Out>(problem), problem, Tile::kRows, Tile::kCols, dim3(Tile::kThreads), Tile::kSharedBytes,
                 slices, c_slice);
  });
}

void run(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  with_types(problem, [&]<class In, class Out>() {
    if constexpr (!std::is_same_v<In, real<float>> && !std::is_same_v<In, real<double>>) {
      constexpr decltype(&run) runs[] = {run_tile<In, Out, In, Tile128x128>, run_tile<In, Out, In, Tile64x64>,
                                         run_tile<In, Out, In, Tile128x256>};
      runs[tile](problem, tile, slices, c_slice);
    }
  });
}

void run_rounding(const DeviceMatmul& problem, int tile, Slices slices, std::int64_t c_slice) {
  using T = real<float>;
  constexpr decltype(&run) runs[] = {run_tile<T, T, bfloat16, Rounding128x128>,
                                     run_tile<T, T, bfloat16, Rounding64x64>};
  runs[tile](problem, tile, slices, c_slice);
}

constexpr double kRate = 2048 * 0.62;

}  // namespace

const TileFamily mma_16bit_family = {kTiles, kRate, 32, run};
const TileFamily mma_rounding_family = {kRoundingTiles, kRate, 32, run_rounding};

void mma_16bit(const DeviceMatmul& problem) {
  const TileFamily& family = *family_of(problem);
  family.run(problem, tile_without_slices(problem, family), {}, 0);
}

}  // namespace dlkit::device
