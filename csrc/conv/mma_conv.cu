// Tensor cores: the gathered product of implicit_gemm.cu with operands rounded to TF32 or bfloat16, sums in float32, as
// matmul/mma_tf32.cu and mma_16bit.cu have it.
//
// What is gathered does not become fewer elements, so that the gather comes to the fore. A panel of 64 bytes a row is
// 16 k of TF32: 128 x 128 x 16 are 256 mma of a block, 410 cycles of a multiprocessor by mma.sync (62 % of 1024
// multiply- adds a cycle); its 2048 gathered elements take 64 warp instructions of about 9 in all, 144 cycles of its 4
// issue slots, beside 120 for fragments and mma: tensor cores are the bound, 300 TFLOP/s on an H100. bfloat16 does 32 k
// in the same time, for 4096 elements: 320 cycles beside 100, so issue slots bind as well, at about 500 TFLOP/s;
// elements go by registers, which round them, 8 k of a place to one store of 16 bytes.
//
// The second-level cache gives 4 bytes for each gathered element: 128 x 128 do 64 FLOP for a byte of x, 4.7 TB/s at 300
// TFLOP/s, less what the first-level cache finds, as taps of one row share their sectors.
//
// The gradient to the weights reads both operands along places, 4 bytes at a time. What a column is lies in shared
// memory, 16 bytes each.
//
//   sm_90a            registers, of the weights' gradient  shared  blocks, warps a multiprocessor
//   TF32 128 x 128         255       217                   64 KB    1, 8
//   TF32 64 x 64           168 (11 words spilled), 157     32 KB    3, 12
//   bfloat16 128 x 128     206       232                   48 KB    1, 8
//   bfloat16 64 x 64       160       164                   24 KB    3, 12
//
// Source: PTX ISA, "Warp-level matrix instructions"; NVIDIA, CUTLASS, "Implicit GEMM convolution", 2021.
#include "conv/device_weight_tile.h"
#include "conv/gather_tile.h"
#include "conv/mma_sums.h"

namespace dlkit::device {
namespace {

using T = real<float>;
using Bf16 = Bits16<bfloat16>;

template <class Operand>
constexpr bool kRounds = sizeof(typename Operand::Element) == 2;  // on the way to shared memory

template <class Operand, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    mma_conv_kernel(const __grid_constant__ ConvGather g,
                    const __grid_constant__ GatherOperands<typename Operand::Element> o) {
  using Element = typename Operand::Element;
  constexpr int kDepth = Tile::template kDepth<Element>;
  using PanelA = MmaPanel<Element, kDepth, Tile::kRows, false>;
  using PanelB = MmaPanel<Element, kDepth, Tile::kCols, kRounds<Operand>>;
  using Sums = MmaSums<Operand, Tile, PanelA, PanelB>;
  using Reader = PlaceReader<Tile::kCols, Tile::kThreads>;
  DLKIT_DYNAMIC_SHARED(Element, shared);
  const GatherTile tile(g, o, Tile::kRows, Tile::kCols);
  const ConvPhase& phase = g.phase[tile.phase];
  if (tile.col >= g.n * phase.down * phase.across) return;  // a phase smaller than the largest
  WeightCopy<Element, PanelA, kDepth, Tile::kRows, Tile::kThreads> weights(g, o, tile);
  const int place = static_cast<int>(threadIdx.x) % Tile::kCols, part = static_cast<int>(threadIdx.x) / Tile::kCols;
  constexpr int kParts = Tile::kThreads / Tile::kCols, kEach = kDepth / kParts;
  Sums sums;
  if constexpr (!kRounds<Operand>) {
    Reader reader(g, o.source, o.taps, tile, part);
    sums.add(
        shared, (tile.depth + kDepth - 1) / kDepth,
        [&](int, int stage) {
          Element* const panels = shared + stage * Sums::kStageElements;
          weights(panels);
#pragma unroll
          for (int e = 0; e < kEach; ++e) {
            const T* from;
            const bool inside = reader.find(e * kParts, from);
            cp_async<4>(panels + PanelA::kElements + PanelB::offset(place, part + e * kParts), from, inside ? 4 : 0);
          }
          reader.advance(kDepth);
        },
        [](int) {}, [](int) {}, [](int) {});
  } else {
    // A thread's k are neighbours.
    Reader reader(g, o.source, o.taps, tile, part * kEach);
    T held[kEach];
    sums.add(
        shared, (tile.depth + kDepth - 1) / kDepth,
        [&](int, int stage) { weights(shared + stage * Sums::kStageElements); },
        [&](int) {
#pragma unroll
          for (int e = 0; e < kEach; ++e) {
            const T* from;
            held[e] = reader.find(e, from) ? *from : T(0);
          }
          reader.advance(kDepth);
        },
        [&](int stage) {
          Element* const panel = shared + stage * Sums::kStageElements + PanelA::kElements;
          static_assert(kEach % PanelB::kChunk == 0);
#pragma unroll
          for (int c = 0; c < kEach; c += PanelB::kChunk) {
            Pack<Element, PanelB::kChunk> chunk;
#pragma unroll
            for (int e = 0; e < PanelB::kChunk; ++e) chunk[e] = convert<Element>(held[c + e]);
            store_pack(panel + PanelB::offset(place, part * kEach + c), chunk);
          }
        },
        [](int) {});
  }
  const PlaceColumn<Element> column(g, o, tile, tile.col + sums.column());
  sums.each(shared, [&](int row, const T(&four)[4]) { column.store(tile.row + row, four); });
}

template <class Operand, class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    mma_conv_weight_kernel(const __grid_constant__ WeightGradient w) {
  using Element = typename Operand::Element;
  constexpr int kDepth = Tile::template kDepth<Element>;
  using PanelA = MmaPanel<Element, kDepth, Tile::kRows, true>;
  using PanelB = MmaPanel<Element, kDepth, Tile::kCols, true>;
  using Sums = MmaSums<Operand, Tile, PanelA, PanelB>;
  // 16 lanes take the words of a row: one place of TF32, two of bfloat16.
  constexpr int kWords = 16, kPair = kDepth / kWords, kStep = Tile::kThreads / kWords;
  constexpr int kEachA = Tile::kRows / kStep, kEachB = Tile::kCols / kStep;
  DLKIT_DYNAMIC_SHARED(Element, shared);
  auto* const columns = reinterpret_cast<WeightColumn*>(shared + Tile::kStages * Sums::kStageElements);
  const WeightTile tile(w, Tile::kRows, Tile::kCols);
  const int thread = static_cast<int>(threadIdx.x), k = thread % kWords * kPair, x = thread / kWords;
  for (int c = thread; c < Tile::kCols; c += Tile::kThreads) columns[c] = WeightColumn(w, tile.col + c);
  __syncthreads();
  const Index plane = static_cast<Index>(w.out_h) * w.out_w;
  const T *const grad = static_cast<const T*>(w.grad), *const image = static_cast<const T*>(w.x);
  const auto place_of = [&](int step, int i) {
    return WeightPlace(w, tile.group, tile.first + step * kDepth + k + i, tile.first + tile.depth);
  };

  Sums sums;
  T bias(0);
  const bool adds_bias = w.with_bias && tile.col == 0 && thread < Tile::kRows;
  const auto add_bias = [&](int stage) {
    if (!adds_bias) return;
    const Element* const panel = shared + stage * Sums::kStageElements;
#pragma unroll 4
    for (int i = 0; i < kDepth; ++i) bias += convert<T>(panel[PanelA::offset(thread, i)]);
  };
  const int steps = (tile.depth + kDepth - 1) / kDepth;
  if constexpr (!kRounds<Operand>) {
    sums.add(
        shared, steps,
        [&](int step, int stage) {
          Element* const panels = shared + stage * Sums::kStageElements;
          const WeightPlace place = place_of(step, 0);
#pragma unroll
          for (int e = 0; e < kEachA; ++e) {
            const int row = tile.row + x + e * kStep;
            const bool inside = place.inside && row < w.filters;
            cp_async<4>(panels + PanelA::offset(x + e * kStep, k), inside ? grad + place.grad + row * plane : grad,
                        inside ? 4 : 0);
          }
#pragma unroll
          for (int e = 0; e < kEachB; ++e) {
            const WeightColumn column = columns[x + e * kStep];
            const bool inside = place.inside && column.in_image(w, place);
            cp_async<4>(panels + PanelA::kElements + PanelB::offset(x + e * kStep, k),
                        inside ? image + place.x + column.offset : image, inside ? 4 : 0);
          }
        },
        [](int) {}, [](int) {}, add_bias);
  } else {
    T held_a[kEachA][kPair], held_b[kEachB][kPair];
    sums.add(
        shared, steps, [](int, int) {},
        [&](int step) {
#pragma unroll
          for (int i = 0; i < kPair; ++i) {
            const WeightPlace place = place_of(step, i);
#pragma unroll
            for (int e = 0; e < kEachA; ++e) {
              const int row = tile.row + x + e * kStep;
              held_a[e][i] = place.inside && row < w.filters ? grad[place.grad + row * plane] : T(0);
            }
#pragma unroll
            for (int e = 0; e < kEachB; ++e) {
              const WeightColumn column = columns[x + e * kStep];
              held_b[e][i] = place.inside && column.in_image(w, place) ? image[place.x + column.offset] : T(0);
            }
          }
        },
        [&](int stage) {
          Element* const panels = shared + stage * Sums::kStageElements;
          const auto store = [&](Element* to, const T(&held)[kPair]) {
            Pack<Element, kPair> pair;
#pragma unroll
            for (int i = 0; i < kPair; ++i) pair[i] = convert<Element>(held[i]);
            store_pack(to, pair);
          };
#pragma unroll
          for (int e = 0; e < kEachA; ++e) store(panels + PanelA::offset(x + e * kStep, k), held_a[e]);
#pragma unroll
          for (int e = 0; e < kEachB; ++e)
            store(panels + PanelA::kElements + PanelB::offset(x + e * kStep, k), held_b[e]);
        },
        add_bias);
  }
  const bool packs = weights_in_packs(w);
  sums.each(shared, [&](int row, const T(&four)[4]) {
    store_weights(w, tile, tile.row + row, tile.col + sums.column(), four, packs);
  });
  if (adds_bias) store_bias(w, tile, tile.row + thread, bias);
}

//                                  tile     of a warp  stages  blocks
using Tf32Tile128x128 = MmaTile<128, 128, 64, 32, 4, 1>;
using Tf32Tile64x64 = MmaTile<64, 64, 32, 32, 4, 3>;
// Rounded elements are held in registers on the way.
using Bf16Tile128x128 = MmaTile<128, 128, 64, 32, 3, 1>;
using Bf16Tile64x64 = MmaTile<64, 64, 32, 32, 3, 3>;

constexpr TileFacts kTf32Tiles[] = {mma_facts<Tf32Tile128x128>(kTensorTf32Tiles[0], 0.75),
                                    mma_facts<Tf32Tile64x64>(kTensorTf32Tiles[1], 0.45)};
constexpr TileFacts kBf16Tiles[] = {mma_facts<Bf16Tile128x128>(kTensorBf16Tiles[0], 0.55),
                                    mma_facts<Bf16Tile64x64>(kTensorBf16Tiles[1], 0.35)};
const TileFamily kTf32Family = {kTf32Tiles, 1024 * 0.62, 16, nullptr};
const TileFamily kBf16Family = {kBf16Tiles, 2048 * 0.62, 32, nullptr};

template <class Operand, class Tile>
void run_gather(const DeviceConv& p, const ConvGather& g, const GatherOperands<typename Operand::Element>& o,
                const char* name) {
  const dim3 grid(static_cast<unsigned>(ceil_div(g.rows, Tile::kRows) * ceil_div(g.most_places(), Tile::kCols)),
                  static_cast<unsigned>(g.groups), static_cast<unsigned>(g.phases * o.slices));
  launch(name, mma_conv_kernel<Operand, Tile>, {grid, dim3(Tile::kThreads), Tile::kSharedBytes}, p.stream, g, o);
}

template <class Operand, class Tile>
void run_weight(const DeviceConv& p, const WeightGradient& w, const char* name) {
  const dim3 grid(static_cast<unsigned>(ceil_div(w.filters, Tile::kRows) * ceil_div(w.columns, Tile::kCols)),
                  static_cast<unsigned>(w.groups), static_cast<unsigned>(w.slices));
  launch(name, mma_conv_weight_kernel<Operand, Tile>,
         {grid, dim3(Tile::kThreads), Tile::kSharedBytes + Tile::kCols * sizeof(WeightColumn)}, p.stream, w);
}

template <class Operand, class Large, class Small>
void run(const DeviceConv& p, const TileFamily& family) {
  using Element = typename Operand::Element;
  if (p.operation == ConvOperation::backward_weight) {
    const ConvPlan plan = plan_weight_gradient(p, family);
    const WeightGradient w = weight_gradient(p, plan);
    (plan.tile == 0 ? run_weight<Operand, Large>
                    : run_weight<Operand, Small>)(p, w, family.tiles[static_cast<std::size_t>(plan.tile)].name);
    return finish_weight_gradient(p, w);
  }
  const ConvGather g = conv_gather(p);
  if (g.result() == 0) return;
  const ConvPlan plan = plan_gather(p, g, family);
  const GatherCall<Element> call(p, g, plan);
  (plan.tile == 0
       ? run_gather<Operand, Large>
       : run_gather<Operand, Small>)(p, g, call.operands, family.tiles[static_cast<std::size_t>(plan.tile)].name);
  call.finish(p, g);
}

template <class Element>
std::size_t workspace(const DeviceConv& p, const TileFamily& family) {
  if (p.operation == ConvOperation::backward_weight) return weight_gradient_workspace(p, family);
  const ConvGather g = conv_gather(p);
  return GatherWorkspace(g, sizeof(Element), plan_gather(p, g, family).slices.count).bytes;
}

}  // namespace

void conv_tensor_tf32(const DeviceConv& p) { run<Tf32, Tf32Tile128x128, Tf32Tile64x64>(p, kTf32Family); }
std::size_t conv_tensor_tf32_workspace(const DeviceConv& p) { return workspace<T>(p, kTf32Family); }
void conv_tensor_bf16(const DeviceConv& p) { run<Bf16, Bf16Tile128x128, Bf16Tile64x64>(p, kBf16Family); }
std::size_t conv_tensor_bf16_workspace(const DeviceConv& p) { return workspace<bfloat16>(p, kBf16Family); }

}  // namespace dlkit::device
