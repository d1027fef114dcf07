// From a problem to a launch: what the copy engine can read, its maps of A and B, and the width of a tile.
#pragma once

#include <algorithm>

#include "matmul/hopper.h"
#include "matmul/hopper_tile.h"

namespace dlkit::device::hopper {

// An operand as `rows` vectors of length k, of which A has m and B n.
struct Side {
  const void* data;
  std::int64_t rows, k, row, along_k, batch;  // extents, then strides in elements
  int element_bytes;

  static Side of_a(const DeviceMatmul& p) {
    return {p.a, p.m, p.k, p.a_row, p.a_col, p.batch > 1 ? p.a_batch : 0, static_cast<int>(size_of(p.type))};
  }
  static Side of_b(const DeviceMatmul& p) {
    return {p.b, p.n, p.k, p.b_col, p.b_row, p.batch > 1 ? p.b_batch : 0, static_cast<int>(size_of(p.type))};
  }

  // Whether the copy engine can step by `stride` elements.
  bool can_step(std::int64_t stride) const {
    return stride > 0 && stride < (std::int64_t{1} << 40) / element_bytes && stride * element_bytes % 16 == 0;
  }
  bool lies_along_k() const { return along_k == 1 && (rows == 1 || can_step(row)); }
  bool lies_across() const { return row == 1 && (k == 1 || can_step(along_k)); }
  bool is_readable(bool across) const {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && (batch == 0 || can_step(batch)) &&
           (lies_along_k() || (across && lies_across()));
  }

  // Boxes of `count` rows by 128 bytes of K; or, across, of 128 bytes of rows by as many steps of K as are 128 bytes.
  TensorLayout layout(int count, std::int64_t matrices) const {
    const bool straight = lies_along_k();
    const int depth = kRowBytes / element_bytes;
    const std::int64_t inner = straight ? k : rows, outer = straight ? rows : k;
    // Strides that are never taken still have to be multiples of 16 bytes, none less than what it steps over.
    const std::int64_t unit = 16 / element_bytes, one_row = ceil_div(inner, unit) * unit;
    const std::int64_t step = outer == 1 ? one_row : straight ? row : along_k;
    const auto bytes = [&](std::int64_t elements) { return static_cast<std::uint64_t>(elements * element_bytes); };
    return {data,
            {static_cast<std::uint64_t>(inner), static_cast<std::uint64_t>(outer),
             batch == 0 ? 1 : static_cast<std::uint64_t>(matrices)},
            {bytes(step), bytes(batch == 0 ? step * outer : batch)},
            {static_cast<std::uint32_t>(depth), static_cast<std::uint32_t>(straight ? count : depth)}};
  }
};

inline std::int64_t tiles_of(const DeviceMatmul& p, int columns) {
  return ceil_div<std::int64_t>(p.m, kRows) * ceil_div<std::int64_t>(p.n, columns) * p.batch;
}

// kKernel: any of those that may run.
template <auto kKernel>
bool takes(const DeviceMatmul& p, bool across) {
  // Beyond this, the last step past the end of the tiles could overflow an int.
  constexpr std::int64_t kMostTiles = 0x7FFFFFFF - 4096;
  if (p.m == 0 || p.n == 0 || p.batch == 0) return true;  // nothing will be run
  return p.k > 0 && p.m <= kMaxDeviceExtent && p.n <= kMaxDeviceExtent && p.k <= kMaxDeviceExtent &&
         p.batch <= kMostTiles &&
         ceil_div<std::int64_t>(p.m, kRows) * ceil_div<std::int64_t>(p.n, 128) <= kMostTiles / p.batch &&
         Side::of_a(p).is_readable(across) && Side::of_b(p).is_readable(across) && device_is_hopper() &&
         has_hopper_code<kKernel>();
}

// Tiles of 256 columns read less; narrower ones leave fewer multiprocessors idle in the last round. A tile's time is
// about as its columns, and 32 more for filling the ring and storing.
inline bool takes_wide_tiles(const DeviceMatmul& p) {
  const auto time = [&](int columns) {
    return ceil_div<std::int64_t>(tiles_of(p, columns), hopper_multiprocessors()) * (columns + 32);
  };
  return time(256) <= time(128);
}

template <class T, class Out, int kColumns, bool AColumns, bool BRows>
void launch_kernel(const char* name, const DeviceMatmul& p) {
  using R = Ring<T, kColumns>;
  const Side a = Side::of_a(p), b = Side::of_b(p);
  const TensorMap a_map = make_tensor_map<T>(a.layout(kRows, p.batch));
  const TensorMap b_map = make_tensor_map<T>(b.layout(kColumns, p.batch));
  const auto in_16_bytes = [](std::int64_t elements) {
    return elements * static_cast<std::int64_t>(sizeof(Out)) % 16 == 0;
  };
  const Arguments arguments{.m = static_cast<int>(p.m),
                            .n = static_cast<int>(p.n),
                            .steps = static_cast<int>(ceil_div<std::int64_t>(p.k, R::depth)),
                            .tile_rows = static_cast<int>(ceil_div<std::int64_t>(p.m, kRows)),
                            .tile_columns = static_cast<int>(ceil_div<std::int64_t>(p.n, kColumns)),
                            .tiles = static_cast<int>(tiles_of(p, kColumns)),
                            .a_stacked = a.batch != 0,
                            .b_stacked = b.batch != 0,
                            .c = p.c,
                            .c_row = p.c_row,
                            .c_batch = p.c_batch,
                            .bias = p.bias,
                            .activation = p.accumulate ? Activation::none : p.activation,
                            .accumulate = p.accumulate,
                            .wide = !p.accumulate && p.n % 8 == 0 && in_16_bytes(p.c_row) &&
                                    (p.batch == 1 || in_16_bytes(p.c_batch)) &&
                                    reinterpret_cast<std::uintptr_t>(p.c) % 16 == 0};
  const auto blocks = static_cast<unsigned>(std::min(arguments.tiles, hopper_multiprocessors()));
  launch(name, kernel<T, Out, kColumns, AColumns, BRows>, {blocks, kThreads, R::shared_bytes}, p.stream, a_map, b_map,
         arguments);
}

template <class T, class Out, bool AColumns, bool BRows>
void choose_width(const char* name, const DeviceMatmul& p) {
  if (takes_wide_tiles(p))
    launch_kernel<T, Out, 256, AColumns, BRows>(name, p);
  else
    launch_kernel<T, Out, 128, AColumns, BRows>(name, p);
}

}  // namespace dlkit::device::hopper
