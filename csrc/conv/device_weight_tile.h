// How a block of the weights' gradient copies its panels, and puts its sums where they belong.
#pragma once

#include "conv/device_ladder.h"
#include "conv/weight_gradient.h"

namespace dlkit::device {

struct WeightTile {
  int row, col, group;
  int first, depth;  // places
  Index slice;

  __device__ __forceinline__ WeightTile(const WeightGradient& w, int tile_rows, int tile_cols) {
    const int tiles_down = (w.filters + tile_rows - 1) / tile_rows;
    row = static_cast<int>(blockIdx.x) % tiles_down * tile_rows;
    col = static_cast<int>(blockIdx.x) / tiles_down * tile_cols;
    group = static_cast<int>(blockIdx.y);
    first = static_cast<int>(blockIdx.z) * w.slice_depth;
    slice = static_cast<Index>(blockIdx.z) * w.out_slice;
    const int left = w.places - first;
    depth = left < 0 ? 0 : left < w.slice_depth ? left : w.slice_depth;
  }
};

// A place of the output, and what it reads.
struct WeightPlace {
  Index grad, x;  // elements: of the group's filter 0, and of its channel 0, at what tap (0, 0) reads
  int row, col;   // of the latter
  bool inside;

  __device__ __forceinline__ WeightPlace(const WeightGradient& w, int group, int place, int end) {
    inside = place < end;
    const int number = inside ? place : 0;
    const int image = quotient(number, w.by_image), rest = number - image * (w.out_h * w.out_w);
    const int i = quotient(rest, w.by_row), j = rest - i * w.out_w;
    row = i * w.stride_h - w.top;
    col = j * w.stride_w - w.left;
    const Index of_group = static_cast<Index>(image) * w.groups + group;
    grad = of_group * w.filters * w.out_h * w.out_w + rest;
    x = of_group * w.channels * w.in_h * w.in_w + static_cast<Index>(row) * w.in_w + col;
  }
};

// A column: a channel and a tap.
struct alignas(16) WeightColumn {
  int offset, row, col, unused;

  __device__ __forceinline__ WeightColumn(const WeightGradient& w, int column) {
    unused = 0;
    if (column >= w.columns) {
      offset = 0;
      row = col = -(1 << 30);
      return;
    }
    const int channel = quotient(column, w.by_kernel), tap = column - channel * static_cast<int>(w.by_kernel.by);
    const int u = quotient(tap, w.by_kernel_row), v = tap - u * w.kernel_w;
    row = u * w.dilation_h;
    col = v * w.dilation_w;
    offset = (channel * w.in_h + row) * w.in_w + col;
  }
  __device__ __forceinline__ bool in_image(const WeightGradient& w, const WeightPlace& place) const {
    return static_cast<unsigned>(place.row + row) < static_cast<unsigned>(w.in_h) &&
           static_cast<unsigned>(place.col + col) < static_cast<unsigned>(w.in_w);
  }
  WeightColumn() = default;
};

// 4 neighbouring sums of a row, from column `column` on; `packs`: where rows and slices are multiples of 4, and
// aligned.
__device__ __forceinline__ bool weights_in_packs(const WeightGradient& w) {
  return w.columns % 4 == 0 && is_aligned<4>(static_cast<const real<float>*>(w.out));
}
__device__ __forceinline__ void store_weights(const WeightGradient& w, const WeightTile& tile, int row, int column,
                                              const real<float> (&sums)[4], bool packs) {
  using T = real<float>;
  if (row >= w.filters || column >= w.columns) return;
  T* const out =
      static_cast<T*>(w.out) + tile.slice + (static_cast<Index>(tile.group) * w.filters + row) * w.columns + column;
  if (packs) {
    Pack<T, 4> pack = {sums[0], sums[1], sums[2], sums[3]};
    if (w.accumulate) {
      const Pack<T, 4> held = load_pack<4>(out);
#pragma unroll
      for (int e = 0; e < 4; ++e) pack[e] += held[e];
    }
    return store_pack(out, pack);
  }
#pragma unroll
  for (int e = 0; e < 4; ++e)
    if (column + e < w.columns) out[e] = w.accumulate ? out[e] + sums[e] : sums[e];
}

// The sum of a filter's gradient over the slice's places, by the blocks of the first columns.
__device__ __forceinline__ void store_bias(const WeightGradient& w, const WeightTile& tile, int row, real<float> sum) {
  if (row >= w.filters) return;
  real<float>* const out = static_cast<real<float>*>(w.out_bias) + tile.slice + tile.group * w.filters + row;
  *out = w.accumulate ? *out + sum : sum;
}

}  // namespace dlkit::device
