// The kernel of mma_tf32.cu and mma_16bit.cu: the scheme of warp_tile.h, with the multiply-adds of a warp done by its
// tensor core.
//
// A panel in shared memory is rows of 16-byte chunks. Where the operand is contiguous along k these rows are its own
// (64 bytes, [x][k]), else a row holds one k of all x. Either way a chunk is copied as it is, and nothing is transposed
// on the way: ldmatrix does that. It reads 8 chunks at a time, one below the other, which would lie in the same 4
// banks; so a row's chunks are exchanged by an exclusive-or with the row's number, and they lie in 8 times 4.
#pragma once

#include <type_traits>

#include "core/cuda/mma.h"
#include "matmul/device_ladder.h"

namespace dlkit::device {

// A block's tile, a warp's, how deep a panel is (in bytes: 64 of each row), stages, blocks on a multiprocessor.
template <int Rows, int Cols, int WarpRows, int WarpCols, int Stages, int Blocks>
struct MmaTile {
  static constexpr int kRows = Rows, kCols = Cols, kWarpRows = WarpRows, kWarpCols = WarpCols;
  static constexpr int kStages = Stages, kBlocks = Blocks, kDepthBytes = 64;
  static constexpr int kWarpsAcross = Cols / WarpCols, kThreads = Rows / WarpRows * kWarpsAcross * kWarp;
  static constexpr std::size_t kSharedBytes = std::size_t{Stages} * (Rows + Cols) * kDepthBytes;
  template <class Element>
  static constexpr int kDepth = kDepthBytes / static_cast<int>(sizeof(Element));
};

template <class Element, int Depth, int Width, bool AlongK>
struct MmaPanel {
  static constexpr bool kAlongK = AlongK;
  static constexpr int kChunk = 16 / sizeof(Element);
  static constexpr int kElements = Depth * Width;

  // Where element (x, k) is. The exchange touches 8 chunks at most, so that tiles of a warp which are further apart
  // differ by a constant.
  static __device__ __forceinline__ int offset(int x, int k) {
    // Two rows of 64 bytes stand beside each other in the banks, so that every second one is exchanged differently.
    if constexpr (AlongK) return x * Depth + (k ^ (x >> 1 & 3) * kChunk);
    // 16 bits: ldmatrix reads 8 neighbouring k. 32 bits: 4 k of 8 x are read as words, two chunks of each k.
    const int exchange = sizeof(Element) == 2 ? k & 7 : (k & 3) * 2;
    constexpr int kReach = 8 * kChunk;
    return k * Width + (x & -kReach) + ((x & (kReach - 1)) ^ exchange * kChunk);
  }
};

// Copies panels of an operand. Where In is Element by cp.async, when `start` is called; else in two steps, `fetch` to
// registers and `place`, rounding on the way.
template <class In, class Panel, class Element, int Depth, int Width, int Threads>
class MmaCopy {
 public:
  static constexpr bool kAsync = std::is_same_v<In, Element>;

  // As PanelCopy's.
  __device__ __forceinline__ MmaCopy(const In* operand, std::int64_t x_stride, std::int64_t k_stride, int x0, int x_end,
                                     int k0) {
    const int thread = static_cast<int>(threadIdx.x);
    outer_ = thread / kAcross;
    inner_ = thread % kAcross * kChunk;
    const std::int64_t outer_stride = Panel::kAlongK ? x_stride : k_stride;
    x_left_ = x_end - x0;
    from_ = operand + x0 * x_stride + k0 * k_stride + outer_ * outer_stride + inner_;
    step_ = kStep * outer_stride;
    advance_ = Depth * k_stride;
    constexpr int kVector = kAsync ? kChunk : 4;
    wide_ = is_aligned<kVector>(operand) && outer_stride % kVector == 0;
  }

  __device__ __forceinline__ void start(Element* panel, int k_left) {
    if (outer_ >= kRows) return;
    const In* from = from_;
    if (wide_) {
#pragma unroll
      for (int e = 0; e < kChunks; ++e) {
        const int valid = inside(e, k_left);
        cp_async<16>(place_of(panel, e), valid > 0 ? from : from_, valid * static_cast<int>(sizeof(Element)));
        from += step_;
      }
    } else {
#pragma unroll 1
      for (int e = 0; e < kChunks; ++e) {
        const int valid = inside(e, k_left);
        Pack<Element, kChunk> chunk;
#pragma unroll
        for (int v = 0; v < kChunk; ++v) chunk[v] = convert<Element>(v < valid ? from[v] : convert<In>(real<float>(0)));
        store_pack(place_of(panel, e), chunk);
        from += step_;
      }
    }
    from_ += advance_;
  }

  __device__ __forceinline__ void fetch(int k_left) {
    if (outer_ >= kRows) return;
    const In* from = from_;
#pragma unroll
    for (int e = 0; e < kChunks; ++e) {
      const int valid = inside(e, k_left);
#pragma unroll
      for (int half = 0; half < kHalves; ++half) {
        if (wide_ && valid >= half * 4 + 4) {
          held_[e][half] = load_pack<4>(from + half * 4);
        } else {
#pragma unroll
          for (int v = 0; v < 4; ++v) held_[e][half][v] = half * 4 + v < valid ? from[half * 4 + v] : In(0);
        }
      }
      from += step_;
    }
    from_ += advance_;
  }

  __device__ __forceinline__ void place(Element* panel) const {
    if (outer_ >= kRows) return;
#pragma unroll
    for (int e = 0; e < kChunks; ++e) {
      Pack<Element, kChunk> chunk;
#pragma unroll
      for (int v = 0; v < kChunk; ++v) chunk[v] = convert<Element>(held_[e][v / 4][v % 4]);
      store_pack(place_of(panel, e), chunk);
    }
  }

 private:
  static constexpr int kChunk = Panel::kChunk;
  static constexpr int kRows = Panel::kAlongK ? Width : Depth;  // of chunks
  static constexpr int kAcross = (Panel::kAlongK ? Depth : Width) / kChunk;
  static constexpr int kStep = Threads / kAcross > kRows ? kRows : Threads / kAcross;  // rows at a time
  static constexpr int kChunks = kRows / kStep;                                        // of a thread
  static constexpr int kHalves = kChunk / 4;
  static_assert(Threads % kAcross == 0 && kRows % kStep == 0);

  // How many elements of this thread's chunk e are in the operand.
  __device__ __forceinline__ int inside(int e, int k_left) const {
    const int outer_left = Panel::kAlongK ? x_left_ : k_left, inner_left = Panel::kAlongK ? k_left : x_left_;
    return outer_ + e * kStep < outer_left ? clamp(inner_left - inner_, kChunk) : 0;
  }
  __device__ __forceinline__ Element* place_of(Element* panel, int e) const {
    const int outer = outer_ + e * kStep;
    return panel + (Panel::kAlongK ? Panel::offset(outer, inner_) : Panel::offset(inner_, outer));
  }

  const In* from_;  // this thread's first chunk of the next panel
  std::int64_t step_, advance_;
  int outer_, inner_, x_left_;
  bool wide_;
  Pack<In, 4> held_[kAsync ? 1 : kChunks][kHalves];
};

// `Operand` says what the tensor cores are given (mma_tf32.cu, mma_16bit.cu): Element; kDepth, the k of one
// instruction; load_a and load_b, which read the fragments of 16 rows and 16 columns;
// round, what is done to them when they are there; multiply.
//
// Adds the products of Down fragments of rows and Across fragments of columns, each two instructions wide.
template <class Operand, int Down, int Across>
__device__ __forceinline__ void multiply_fragments(real<float> (&sums)[Down][2 * Across][4],
                                                   std::uint32_t (&a)[Down][4], std::uint32_t (&b)[Across][4]) {
#pragma unroll
  for (int r = 0; r < Down; ++r) Operand::round(a[r]);
#pragma unroll
  for (int s = 0; s < Across; ++s) Operand::round(b[s]);
#pragma unroll
  for (int r = 0; r < Down; ++r)
#pragma unroll
    for (int s = 0; s < 2 * Across; ++s) {
      const std::uint32_t columns[2] = {b[s / 2][s % 2 * 2], b[s / 2][s % 2 * 2 + 1]};
      Operand::multiply(sums[r][s], a[r], columns);
    }
}

template <class In, class Out, class Operand, class Tile, bool AAlongK, bool BAlongK>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) mma_tile_kernel(Product<In, Out> p) {
  using T = real<float>;
  using Element = typename Operand::Element;
  constexpr int kDepth = Tile::template kDepth<Element>, kStages = Tile::kStages;
  constexpr int kSteps = kDepth / Operand::kDepth;  // instructions along a panel's depth
  static_assert(kSteps % 2 == 0);
  constexpr int kDown = Tile::kWarpRows / 16, kAcross = Tile::kWarpCols / 16;
  using PanelA = MmaPanel<Element, kDepth, Tile::kRows, AAlongK>;
  using PanelB = MmaPanel<Element, kDepth, Tile::kCols, BAlongK>;
  using CopyA = MmaCopy<In, PanelA, Element, kDepth, Tile::kRows, Tile::kThreads>;
  using CopyB = MmaCopy<In, PanelB, Element, kDepth, Tile::kCols, Tile::kThreads>;
  constexpr bool kAsync = CopyA::kAsync;
  static_assert(kAsync || kStages == 2);
  constexpr int kStageElements = PanelA::kElements + PanelB::kElements;
  DLKIT_DYNAMIC_SHARED(Element, shared);  // [stage]: a panel of A, a panel of B

  select_batch(p);
  const int tiles_down = (p.m + Tile::kRows - 1) / Tile::kRows, tiles_across = (p.n + Tile::kCols - 1) / Tile::kCols;
  const TileIndex tile = tile_in_bands(static_cast<int>(blockIdx.x), tiles_down, tiles_across);
  const int row = tile.row * Tile::kRows, col = tile.col * Tile::kCols;
  const int first = static_cast<int>(blockIdx.y) * p.k_slice, depth = clamp(p.k - first, p.k_slice);
  const int panels = (depth + kDepth - 1) / kDepth;
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const int y = warp / Tile::kWarpsAcross * Tile::kWarpRows, x = warp % Tile::kWarpsAcross * Tile::kWarpCols;

  CopyA copy_a(p.a, p.a_row, p.a_col, row, p.m, first);
  CopyB copy_b(p.b, p.b_col, p.b_row, col, p.n, first);
  const auto start = [&](int panel, int stage) {
    if (panel < panels) {
      copy_a.start(shared + stage * kStageElements, depth - panel * kDepth);
      copy_b.start(shared + stage * kStageElements + PanelA::kElements, depth - panel * kDepth);
    }
    cp_async_commit();
  };
  const auto fetch = [&](int panel) {
    if (panel >= panels) return;
    copy_a.fetch(depth - panel * kDepth);
    copy_b.fetch(depth - panel * kDepth);
  };
  const auto place = [&](int panel, int stage) {
    if (panel >= panels) return;
    copy_a.place(shared + stage * kStageElements);
    copy_b.place(shared + stage * kStageElements + PanelA::kElements);
  };

  T sums[kDown][2 * kAcross][4];
#pragma unroll
  for (int r = 0; r < kDown; ++r)
#pragma unroll
    for (int s = 0; s < 2 * kAcross; ++s)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[r][s][e] = T(0);

  std::uint32_t a[2][kDown][4], b[2][kAcross][4];
  const auto load = [&](int stage, int step, int buffer) {
    const Element* panel_a = shared + stage * kStageElements;
    const Element* panel_b = panel_a + PanelA::kElements;
#pragma unroll
    for (int r = 0; r < kDown; ++r)
      Operand::template load_a<PanelA>(a[buffer][r], panel_a, y + r * 16, step * Operand::kDepth, lane);
#pragma unroll
    for (int s = 0; s < kAcross; ++s)
      Operand::template load_b<PanelB>(b[buffer][s], panel_b, x + s * 16, step * Operand::kDepth, lane);
  };

  if constexpr (kAsync) {
#pragma unroll
    for (int stage = 0; stage < kStages - 1; ++stage) start(stage, stage);
    cp_async_wait<kStages - 2>();
  } else {
    fetch(0);
    place(0, 0);
    fetch(1);
  }
  __syncthreads();
  if (panels > 0) load(0, 0, 0);
  int reading = 0, writing = kStages - 1;
  for (int panel = 0; panel < panels; ++panel) {
    const int next = reading + 1 == kStages ? 0 : reading + 1;
#pragma unroll
    for (int step = 0; step < kSteps; ++step) {
      if (step + 1 < kSteps) {
        load(reading, step + 1, (step + 1) % 2);
      } else {
        if constexpr (kAsync)
          cp_async_wait<kStages - 2>();
        else
          place(panel + 1, next);
        __syncthreads();  // the next panels are there; these are in everybody's registers
        if (panel + 1 < panels) load(next, 0, 0);
        if constexpr (!kAsync) fetch(panel + 2);
      }
      if constexpr (kAsync)
        if (step == 0) start(panel + kStages - 1, writing);
      multiply_fragments<Operand>(sums, a[step % 2], b[step % 2]);
    }
    writing = reading;
    reading = next;
  }

  // A lane holds pairs of elements in many rows. By way of shared memory, 16 rows of its warp's tile at a time, it gets
  // groups of 4, which a warp stores as whole rows; and what comes after the sum is not unrolled over all of them. The
  // panels are not needed any more: since the last barrier they are all in registers.
  constexpr int kPitch = Tile::kWarpCols + 8;  // a store of pairs takes half a warp: 4 rows of 8 words, in 32 banks
  static_assert(sizeof(T) * Tile::kThreads / kWarp * 16 * kPitch <= Tile::kSharedBytes);
  T* const slab = reinterpret_cast<T*>(shared) + warp * 16 * kPitch;
  p.c += blockIdx.y * p.c_slice;
  const bool aligned = rows_aligned<4>(p.c, p.c_row);
#pragma unroll
  for (int r = 0; r < kDown; ++r) {
#pragma unroll
    for (int s = 0; s < 2 * kAcross; ++s)
#pragma unroll
      for (int half = 0; half < 2; ++half)
        store_pack(slab + (half * 8 + lane / 4) * kPitch + s * 8 + lane % 4 * 2,
                   Pack<T, 2>{sums[r][s][half * 2], sums[r][s][half * 2 + 1]});
    __syncwarp();
    constexpr int kPacks = Tile::kWarpCols / 4;  // in a row
#pragma unroll 1
    for (int at = lane; at < 16 * kPacks; at += kWarp) {
      const int i = row + y + r * 16 + at / kPacks, j = col + x + at % kPacks * 4;
      if (i >= p.m || j >= p.n) continue;
      const Pack<T, 4> pack = load_pack<4>(slab + at / kPacks * kPitch + at % kPacks * 4);
      finish_pack(p, p.c + i * p.c_row + j, j, pack.at, aligned && j + 4 <= p.n);
    }
    __syncwarp();
  }
}

template <class Tile>
constexpr TileFacts mma_facts(const char* name, double efficiency) {
  return {name, Tile::kRows, Tile::kCols, Tile::kThreads / kWarp, Tile::kBlocks, efficiency};
}

}  // namespace dlkit::device
