// Implicit GEMM: the convolution as the matrix product that it is, whose matrix of patches is never written anywhere.
//
// im2col writes each element of x as often as there are taps, 9 times for 3x3, and reads it again. Here a block gathers
// the panel of patches that it needs straight into shared memory (gather.h, gather_tile.h), element by element by
// cp.async, with zeros where a tap meets no image; from there on it is the product of matmul/warp_tiled.cu. x is read
// once for each tile of filters and tap, from the second-level cache mostly.
//
// 2 N F Ho Wo C' Kh Kw FLOPs. A tile of 128 x 128 does 64 multiply-adds a thread for 4 loads of 16 bytes from shared
// memory. A panel of 8 k costs a thread 4 gathered elements: a look-up in the table (16 bytes, the same for the warp),
// 2 comparisons, a copy of 4 bytes, about 8 instructions each, and one copy of 16 bytes of weights: 512 of 512 + 32
// (from shared memory) + 34 issue slots. So multipliers are the bound, at 89 % of their peak if they never wait: 59
// TFLOP/s on an H100 (67 at 1.98 GHz). Smaller tiles serve few filters (LeNet's 20 and 50) and few places.
//
// The gradient to the input is the same kernel on the gradient, each phase of its strides a block row of its own. The
// gradient to the weights (device_weight_tile.h) gathers the same patches, as columns, and sums over places: two
// divisions (multiply and shift) a panel, 4 + 4 elements a thread by copies of 4 bytes, 512 of 512 + 32 + 80. It needs
// slices, as a tile of weights sums over all images: each writes F C' Kh Kw floats, which are read again once.
//
//   sm_90a          registers  shared   blocks, warps a multiprocessor
//   128 x 128          128      33 KB    2, 16    (10 words of a thread spilled, 29 for the weights' gradient)
//   64 x 64             96      17 KB    5, 20
//   32 x 64             64      13 KB    8, 32    (4 words, for the weights' gradient)
//
//   Scratch memory: packed weights, as many as weights, and 16 bytes for each k; slices, at most 64 MB.
//
// Source: K. Chellapilla, S. Puri, P. Simard, "High performance convolutional neural networks for document
// processing", 2006, for im2col; S. Chetlur et al., "cuDNN: efficient primitives for deep learning", 2014, for doing
// without its matrix.
#include "conv/device_weight_tile.h"
#include "conv/gather_tile.h"
#include "matmul/warp_sums.h"

namespace dlkit::device {
namespace {

using T = real<float>;

//                          tile     of a warp   lanes  depth  stages  blocks
using Tile128x128 = WarpTile<128, 128, 64, 32, 8, 8, 4, 2>;
using Tile64x64 = WarpTile<64, 64, 32, 32, 4, 8, 4, 5>;
using Tile32x64 = WarpTile<32, 64, 16, 32, 4, 8, 4, 8>;

constexpr TileFacts kTiles[] = {warp_facts<Tile128x128>(kImplicitGemmTiles[0], 0.82),
                                warp_facts<Tile64x64>(kImplicitGemmTiles[1], 0.66),
                                warp_facts<Tile32x64>(kImplicitGemmTiles[2], 0.48)};
const TileFamily kFamily = {kTiles, 128, 8, nullptr};

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    implicit_gemm_kernel(const __grid_constant__ ConvGather g, const __grid_constant__ GatherOperands<T> o) {
  DLKIT_DYNAMIC_SHARED(T, shared);
  constexpr int kDepth = Tile::kDepth;
  using Reader = PlaceReader<Tile::kCols, Tile::kThreads>;
  const GatherTile tile(g, o, Tile::kRows, Tile::kCols);
  const ConvPhase& phase = g.phase[tile.phase];
  if (tile.col >= g.n * phase.down * phase.across) return;  // a phase smaller than the largest
  WeightCopy<T, typename Tile::PanelA, kDepth, Tile::kRows, Tile::kThreads> weights(g, o, tile);
  const int x = static_cast<int>(threadIdx.x) % Tile::kCols, k = static_cast<int>(threadIdx.x) / Tile::kCols;
  constexpr int kStep = Tile::kThreads / Tile::kCols;
  Reader reader(g, o.source, o.taps, tile, k);

  WarpSums<T, Tile> sums;
  sums.add(
      shared, (tile.depth + kDepth - 1) / kDepth,
      [&](int, int stage) {
        T* const panels = shared + stage * Tile::kStageElements;
        weights(panels);
#pragma unroll
        for (int e = 0; e < kDepth / kStep; ++e) {
          const T* from;
          const bool inside = reader.find(e * kStep, from);
          cp_async<4>(panels + Tile::kElementsA + Tile::PanelB::offset(x, k + e * kStep), from, inside ? 4 : 0);
        }
        reader.advance(kDepth);
      },
      [](int) {});

#pragma unroll
  for (int s = 0; s < Tile::kAcross; ++s) {
    const PlaceColumn<T> column(g, o, tile, tile.col + sums.column(s));
#pragma unroll
    for (int r = 0; r < Tile::kDown * 4; ++r) column.store(tile.row + sums.row(r), sums.sums[r][s]);
  }
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    implicit_gemm_weight_kernel(const __grid_constant__ WeightGradient w) {
  DLKIT_DYNAMIC_SHARED(T, shared);
  constexpr int kDepth = Tile::kDepth;
  // A warp copies 8 places of 4 rows or columns: whole sectors of memory, 32 banks.
  constexpr int kStep = Tile::kThreads / kDepth, kEachA = Tile::kRows / kStep, kEachB = Tile::kCols / kStep;
  const WeightTile tile(w, Tile::kRows, Tile::kCols);
  const int thread = static_cast<int>(threadIdx.x), k = thread % kDepth, x = thread / kDepth;
  const Index plane = static_cast<Index>(w.out_h) * w.out_w;
  const T *const grad = static_cast<const T*>(w.grad), *const image = static_cast<const T*>(w.x);
  WeightColumn columns[kEachB];
#pragma unroll
  for (int e = 0; e < kEachB; ++e) columns[e] = WeightColumn(w, tile.col + x + e * kStep);

  WarpSums<T, Tile> sums;
  T bias(0);
  const bool adds_bias = w.with_bias && tile.col == 0 && thread < Tile::kRows;
  sums.add(
      shared, (tile.depth + kDepth - 1) / kDepth,
      [&](int step, int stage) {
        T* const panels = shared + stage * Tile::kStageElements;
        const WeightPlace place(w, tile.group, tile.first + step * kDepth + k, tile.first + tile.depth);
#pragma unroll
        for (int e = 0; e < kEachA; ++e) {
          const int row = tile.row + x + e * kStep;
          const bool inside = place.inside && row < w.filters;
          cp_async<4>(panels + Tile::PanelA::offset(x + e * kStep, k), inside ? grad + place.grad + row * plane : grad,
                      inside ? 4 : 0);
        }
#pragma unroll
        for (int e = 0; e < kEachB; ++e) {
          const bool inside = place.inside && columns[e].in_image(w, place);
          cp_async<4>(panels + Tile::kElementsA + Tile::PanelB::offset(x + e * kStep, k),
                      inside ? image + place.x + columns[e].offset : image, inside ? 4 : 0);
        }
      },
      [&](int stage) {
        if (!adds_bias) return;
        const T* const panel = shared + stage * Tile::kStageElements;
#pragma unroll
        for (int i = 0; i < kDepth; ++i) bias += panel[Tile::PanelA::offset(thread, i)];
      });

  const bool packs = weights_in_packs(w);
#pragma unroll
  for (int r = 0; r < Tile::kDown * 4; ++r)
#pragma unroll
    for (int s = 0; s < Tile::kAcross; ++s)
      store_weights(w, tile, tile.row + sums.row(r), tile.col + sums.column(s), sums.sums[r][s], packs);
  if (adds_bias) store_bias(w, tile, tile.row + thread, bias);
}

template <class Tile>
void run_gather(const DeviceConv& p, const ConvGather& g, const GatherOperands<T>& o, const char* name) {
  const dim3 grid(static_cast<unsigned>(ceil_div(g.rows, Tile::kRows) * ceil_div(g.most_places(), Tile::kCols)),
                  static_cast<unsigned>(g.groups), static_cast<unsigned>(g.phases * o.slices));
  launch(name, implicit_gemm_kernel<Tile>, {grid, dim3(Tile::kThreads), Tile::kSharedBytes}, p.stream, g, o);
}

template <class Tile>
void run_weight(const DeviceConv& p, const WeightGradient& w, const char* name) {
  const dim3 grid(static_cast<unsigned>(ceil_div(w.filters, Tile::kRows) * ceil_div(w.columns, Tile::kCols)),
                  static_cast<unsigned>(w.groups), static_cast<unsigned>(w.slices));
  launch(name, implicit_gemm_weight_kernel<Tile>, {grid, dim3(Tile::kThreads), Tile::kSharedBytes}, p.stream, w);
}

}  // namespace

std::size_t conv_implicit_gemm_workspace(const DeviceConv& p) {
  if (p.operation == ConvOperation::backward_weight) return weight_gradient_workspace(p, kFamily);
  const ConvGather g = conv_gather(p);
  return GatherWorkspace(g, sizeof(float), plan_gather(p, g, kFamily).slices.count).bytes;
}

double conv_implicit_gemm_cycles(const DeviceConv& p) { return plan_gather(p, conv_gather(p), kFamily).cycles; }

void conv_implicit_gemm(const DeviceConv& p) {
  if (p.operation == ConvOperation::backward_weight) {
    const ConvPlan plan = plan_weight_gradient(p, kFamily);
    const WeightGradient w = weight_gradient(p, plan);
    constexpr decltype(&run_weight<Tile128x128>) runs[] = {run_weight<Tile128x128>, run_weight<Tile64x64>,
                                                           run_weight<Tile32x64>};
    runs[plan.tile](p, w, kTiles[plan.tile].name);
    return finish_weight_gradient(p, w);
  }
  const ConvGather g = conv_gather(p);
  if (g.result() == 0) return;
  const ConvPlan plan = plan_gather(p, g, kFamily);
  const GatherCall<T> call(p, g, plan);
  constexpr decltype(&run_gather<Tile128x128>) runs[] = {run_gather<Tile128x128>, run_gather<Tile64x64>,
                                                         run_gather<Tile32x64>};
  runs[plan.tile](p, g, call.operands, kTiles[plan.tile].name);
  call.finish(p, g);
}

}  // namespace dlkit::device
