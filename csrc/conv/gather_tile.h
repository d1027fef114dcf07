// How a block copies panels of a gather to shared memory, and puts its sums where they belong: for kernels that
// multiply with float32's multipliers (implicit_gemm.cu) and with tensor cores (mma_conv.cu) alike.
//
// A panel is Depth k of the tile's rows (packed weights) or columns (places). Panel::offset(x, k) says where element x
// of k lies.
#pragma once

#include "conv/device_ladder.h"
#include "conv/gather.h"

namespace dlkit::device {

// What the kernels are given beside the gather. Block x takes a tile, the rows of one stretch of places after each
// other, as they read the same; block y a group, block z a phase and a slice of k.
template <class Element>
struct GatherOperands {
  const Element* weights;
  const ConvTap* taps;
  const real<float>* source;
  const real<float>* bias;  // or null; of all groups
  real<float>* out;
  Index out_slice;          // from the result of a slice to that of the next
  int slices, slice_depth;  // of k
  bool relu;
};

struct GatherTile {
  int phase, group, row, col;  // the tile's first row, and its first place
  int first, depth;            // of k
  Index slice;

  template <class Element>
  __device__ __forceinline__ GatherTile(const ConvGather& g, const GatherOperands<Element>& o, int tile_rows,
                                        int tile_cols) {
    const int tiles_down = (g.rows + tile_rows - 1) / tile_rows;
    row = static_cast<int>(blockIdx.x) % tiles_down * tile_rows;
    col = static_cast<int>(blockIdx.x) / tiles_down * tile_cols;
    group = static_cast<int>(blockIdx.y);
    phase = static_cast<int>(blockIdx.z) / o.slices;
    const int number = static_cast<int>(blockIdx.z) % o.slices;
    slice = number * o.out_slice;
    first = number * o.slice_depth;
    const int left = g.phase[phase].depth - first;
    depth = left < 0 ? 0 : left < o.slice_depth ? left : o.slice_depth;
  }
};

// Rows of packed weights, 16 bytes at a time.
template <class Element, class Panel, int Depth, int Rows, int Threads>
class WeightCopy {
 public:
  __device__ __forceinline__ WeightCopy(const ConvGather& g, const GatherOperands<Element>& o, const GatherTile& tile) {
    const ConvPhase& phase = g.phase[tile.phase];
    const int padded = (phase.depth + kPackedDepth - 1) / kPackedDepth * kPackedDepth;
    const int thread = static_cast<int>(threadIdx.x);
    k_ = thread / kAcross;
    x_ = thread % kAcross * kChunk;
    pitch_ = g.rows_padded;
    valid_ = tile.row + x_ < pitch_;
    from_ = o.weights + phase.first_weight + (static_cast<Index>(tile.group) * padded + tile.first + k_) * pitch_ +
            (valid_ ? tile.row + x_ : 0);
  }

  // Starts the copy of the next panel.
  __device__ __forceinline__ void operator()(Element* panel) {
    if (k_ < Depth) {
#pragma unroll
      for (int e = 0; e < Depth / kStep; ++e)
        cp_async<16>(panel + Panel::offset(x_, k_ + e * kStep), from_ + static_cast<Index>(e * kStep) * pitch_,
                     valid_ ? 16 : 0);
    }
    from_ += static_cast<Index>(Depth) * pitch_;
  }

 private:
  static constexpr int kChunk = 16 / sizeof(Element), kAcross = Rows / kChunk;
  static constexpr int kStep = Threads / kAcross > Depth ? Depth : Threads / kAcross;
  static_assert(Threads % kAcross == 0 && Depth % kStep == 0);

  const Element* from_;
  int k_, x_, pitch_;
  bool valid_;
};

// Elements of the image, one at a time: a thread's are those of one place, so that only k's entry in the table has to
// be looked up, and lanes, which stand for neighbouring places, read neighbours.
template <int Cols, int Threads>
class PlaceReader {
 public:
  static_assert(Threads % Cols == 0);

  // `first`: the k of a panel that the thread counts its own from.
  __device__ __forceinline__ PlaceReader(const ConvGather& g, const real<float>* source, const ConvTap* taps,
                                         const GatherTile& tile, int first)
      : in_h_(static_cast<unsigned>(g.in_h)), in_w_(static_cast<unsigned>(g.in_w)) {
    const ConvPhase& phase = g.phase[tile.phase];
    const int thread = static_cast<int>(threadIdx.x), place = tile.col + thread % Cols;
    taps_ = taps + phase.first_tap + tile.first + first;
    if (place < g.n * phase.down * phase.across) {
      const int image = quotient(place, phase.by_image), rest = place - image * (phase.down * phase.across);
      const int q = quotient(rest, phase.by_row), r = rest - q * phase.across;
      row_ = phase.row + q * g.row_step;
      col_ = phase.col + r * g.col_step;
      origin_ = source + (static_cast<Index>(image) * g.groups + tile.group) * g.channels * g.in_size() +
                static_cast<Index>(row_) * g.in_w + col_;
    } else {
      row_ = col_ = -(1 << 30);
      origin_ = source;
    }
  }

  // Whether element first + k of the panel that is next is in the image, and where.
  __device__ __forceinline__ bool find(int k, const real<float>*& from) const {
    const ConvTap tap = taps_[k];
    const bool inside = static_cast<unsigned>(row_ + tap.row) < in_h_ && static_cast<unsigned>(col_ + tap.col) < in_w_;
    from = inside ? origin_ + tap.offset : reinterpret_cast<const real<float>*>(taps_);  // not read there
    return inside;
  }
  __device__ __forceinline__ void advance(int depth) { taps_ += depth; }

 private:
  const real<float>* origin_;  // what tap (0, 0) of channel 0 reads, or would
  const ConvTap* taps_;
  int row_, col_;
  unsigned in_h_, in_w_;
};

// Where the sums of a place go.
struct PlaceWriter {
  real<float>* out;  // element (row 0 of the group, place)
  bool inside;

  __device__ __forceinline__ PlaceWriter(const ConvGather& g, real<float>* result, const GatherTile& tile, int place) {
    const ConvPhase& phase = g.phase[tile.phase];
    inside = place < g.n * phase.down * phase.across;
    const int number = inside ? place : 0;
    const int image = quotient(number, phase.by_image), rest = number - image * (phase.down * phase.across);
    const int q = quotient(rest, phase.by_row), r = rest - q * phase.across;
    out = result + tile.slice + (static_cast<Index>(image) * g.groups + tile.group) * g.rows * g.out_size() +
          static_cast<Index>(phase.out_row + q * g.out_row_step) * g.out_w + phase.out_col + r * g.out_col_step;
  }
};

// Whether 4 neighbouring places are 4 neighbouring elements, and aligned.
__device__ __forceinline__ bool places_in_packs(const ConvGather& g, const real<float>* out) {
  return g.out_col_step == 1 && g.out_row_step == 1 && g.out_size() % 4 == 0 && is_aligned<4>(out);
}

// 4 neighbouring places of a tile: where their elements of each row go. They are found once and for all rows.
template <class Element>
class PlaceColumn {
 public:
  __device__ __forceinline__ PlaceColumn(const ConvGather& g, const GatherOperands<Element>& o, const GatherTile& tile,
                                         int place)
      : bias_(o.bias == nullptr ? nullptr : o.bias + tile.group * g.rows), rows_(g.rows), plane_(g.out_size()),
        relu_(o.relu), packs_(places_in_packs(g, o.out)) {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (e > 0 && packs_) break;
      const PlaceWriter to(g, o.out, tile, place + e);
      to_[e] = to.inside ? to.out : nullptr;
    }
  }

  __device__ __forceinline__ void store(int row, const real<float> (&sums)[4]) const {
    using T = real<float>;
    if (row >= rows_) return;
    Pack<T, 4> pack;
#pragma unroll
    for (int e = 0; e < 4; ++e) pack[e] = conv_relu(bias_ != nullptr ? sums[e] + bias_[row] : sums[e], relu_);
    if (packs_) {
      if (to_[0] != nullptr) store_pack(to_[0] + row * plane_, pack);
      return;
    }
#pragma unroll
    for (int e = 0; e < 4; ++e)
      if (to_[e] != nullptr) to_[e][row * plane_] = pack[e];
  }

 private:
  real<float>* to_[4];
  const real<float>* bias_;
  int rows_;
  Index plane_;
  bool relu_, packs_;
};

// A gather on its way: packs the weights, and says what the kernel is given; `finish` adds up the slices.
template <class Element>
struct GatherCall {
  GatherOperands<Element> operands;

  GatherCall(const DeviceConv& p, const ConvGather& g, const ConvPlan& plan) {
    using T = real<float>;
    const GatherWorkspace memory(g, sizeof(Element), plan.slices.count);
    char* const workspace = static_cast<char*>(p.workspace);
    auto* const taps = reinterpret_cast<ConvTap*>(workspace);
    auto* const weights = reinterpret_cast<Element*>(workspace + memory.weights);
    pack_weights(g, p, weights, taps);
    const bool split = plan.slices.count > 1;
    operands.weights = weights;
    operands.taps = taps;
    operands.source = static_cast<const T*>(p.operation == ConvOperation::forward ? p.x : p.grad);
    operands.bias = split ? nullptr : static_cast<const T*>(p.bias);
    operands.out = split ? reinterpret_cast<T*>(workspace + memory.partial) : static_cast<T*>(p.out);
    operands.out_slice = split ? g.result() : 0;
    operands.slices = plan.slices.count;
    operands.slice_depth = plan.slices.depth;
    operands.relu = p.relu && !split;
  }

  void finish(const DeviceConv& p, const ConvGather& g) const {
    if (operands.slices == 1) return;
    sum_slices<real<float>>({operands.out, operands.slices, g.result(), g.result(), p.bias, g.out_size(),
                             static_cast<Index>(g.rows) * g.groups, p.relu, false, p.out},
                            p.stream);
  }
};

}  // namespace dlkit::device
