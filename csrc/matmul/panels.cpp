#include "matmul/panels.h"

#include "core/cpu.h"
#include "core/scratch.h"
#include "matmul/pack.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr Index smaller(Index a, Index b) { return a < b ? a : b; }
constexpr Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// `total` in the fewest parts of at most `limit`, as even as whole numbers allow.
struct EvenSplit {
  Index parts, small, larger;  // the first `larger` parts have small + 1

  EvenSplit(Index total, Index limit) : parts(divide_up(total, limit)) {
    small = parts == 0 ? 0 : total / parts;
    larger = total - small * parts;
  }
  Index begin(Index part) const { return part * small + smaller(part, larger); }
  Index size(Index part) const { return small + (part < larger ? 1 : 0); }
};

// Rows of C in tiles. The packing kernel has one height only, so that it takes the first rows where it is used.
struct RowTiles {
  Index first;  // rows of the first tile, 0 where the split is even from the start
  EvenSplit rest;

  RowTiles(Index rows, int max_rows, int first_rows) : first(first_rows), rest(rows - first_rows, max_rows) {}
  Index count() const { return rest.parts + (first > 0 ? 1 : 0); }
  Index begin(Index tile) const {
    if (first == 0) return rest.begin(tile);
    return tile == 0 ? 0 : first + rest.begin(tile - 1);
  }
  int size(Index tile) const {
    if (first == 0) return static_cast<int>(rest.size(tile));
    return static_cast<int>(tile == 0 ? first : rest.size(tile - 1));
  }
};

// A tile that was computed as rows of C^T goes to columns of it. `from` has `width` columns, and its rows are readable
// up to a whole number of vectors.
template <class T>
void store_transposed(const T* from, int width, int rows, Index cols, T* c, Index c_col_stride, const T* bias,
                      bool accumulate, Activation activation) {
  using V = Vec<T>;
  const bool relu = activation == Activation::relu;
  for (int row = 0; row < rows; row += V::lanes) {
    const auto mask = V::first(rows - row);
    const V offset = bias != nullptr ? V::load(bias + row, mask) : V::zero();
    for (Index j = 0; j < cols; j += V::lanes) {
      T* const column = c + j * c_col_stride + row;
      const int count = static_cast<int>(smaller(V::lanes, cols - j));
      transpose_block(from + row * width + j, width, [&](int i, V x) {
        if (i >= count) return;
        T* to = column + i * c_col_stride;
        x = x + offset;
        if (accumulate) x = x + V::load(to, mask);
        if (relu) x = V::max(V::zero(), x);
        x.store(to, mask);
      });
    }
  }
  if (activation == Activation::sigmoid || activation == Activation::tanh)
    for (Index j = 0; j < cols; ++j) finish_row<T>(c + j * c_col_stride, rows, nullptr, activation);
}

}  // namespace

template <class T>
Index standard_depth() {
  static const Index depth = [] {
    // A tile of up to 14 rows in a third of the cache.
    const Index elements = static_cast<Index>(cache_sizes().l1d) / static_cast<Index>(sizeof(T)) / 3 / 10;
    return elements < 64 ? Index{64} : elements > 512 ? Index{512} : elements / 16 * 16;
  }();
  return depth;
}

template <class T>
Index standard_cols(Index depth) {
  constexpr Index kWidth = TileShapes<T>::main_vectors * Vec<T>::lanes;
  const Index budget = static_cast<Index>(cache_sizes().l2) / 2 / static_cast<Index>(sizeof(T));
  const Index panels = budget / (depth * kWidth);
  return (panels < 1 ? 1 : panels) * kWidth;
}

template <class T>
void multiply_panels(const MatmulProblem<T>& p, const PanelOptions& options) {
  using V = Vec<T>;
  using Shapes = TileShapes<T>;
  const Index rows = p.c.rows, cols = p.c.cols, depth_total = p.a.cols;
  const bool transposed = options.transposed_c;
  const bool contiguous_b = p.b.col_stride == 1;
  const EvenSplit depths(depth_total, options.max_depth);
  const Index deepest = depths.size(0);
  const Index max_cols = smaller(options.max_cols, divide_up(cols, V::lanes) * V::lanes);

  T* const b_copy = scratch<T>(
      Slot::pack_b, static_cast<std::size_t>(deepest * (options.order == PanelOrder::tiles_outer ? max_cols : 3 * V::lanes)));
  T* const a_copy = options.copy_a ? scratch<T>(Slot::pack_a, static_cast<std::size_t>(deepest * 14 + V::lanes)) : nullptr;
  alignas(64) T turned[16 * 3 * V::lanes];  // a tile of C^T; 14 rows at most are written, `lanes` are read
  static_assert(V::lanes <= 16);

  for (Index col = 0; col < cols; col += max_cols) {
    const Index block_cols = smaller(max_cols, cols - col);
    const Index vectors = divide_up(block_cols, V::lanes);
    // vectors = main * main_vectors + other * other_vectors; a single vector is a panel of its own.
    Index other = 0;
    while ((vectors - other * Shapes::other_vectors) % Shapes::main_vectors != 0) ++other;
    if (vectors - other * Shapes::other_vectors < 0) other = -1;

    for (Index part = 0; part < depths.parts; ++part) {
      const Index k = depths.begin(part), depth = depths.size(part);
      const bool last = part + 1 == depths.parts;
      const bool accumulate = p.accumulate || part > 0;
      const T* const bias = last ? p.bias : nullptr;
      const Activation activation = last ? p.activation : Activation::none;

      // Runs of panels of one width.
      Index done = 0;  // vectors of the block
      for (int run = 0; run < 2; ++run) {
        const int width_vectors = other < 0 ? 1 : run == 0 ? Shapes::main_vectors : Shapes::other_vectors;
        const Index panels = other < 0 ? (run == 0 ? vectors : 0) : run == 0 ? (vectors - other * Shapes::other_vectors) / Shapes::main_vectors : other;
        if (panels == 0) continue;
        const int width = width_vectors * V::lanes;
        const Index first_col = col + done * V::lanes;
        T* const run_copy = b_copy + (options.order == PanelOrder::tiles_outer ? done * V::lanes * depth : 0);
        done += panels * width_vectors;

        const bool in_tile = options.copy_b && options.copy_b_in_tile && contiguous_b &&
                             rows > Shapes::packing_rows(width_vectors);
        const bool beforehand = !contiguous_b || (options.copy_b && !in_tile && rows > Shapes::max_rows(width_vectors));
        const RowTiles tiles(rows, Shapes::max_rows(width_vectors), in_tile ? Shapes::packing_rows(width_vectors) : 0);
        const PanelSource source = in_tile || beforehand ? PanelSource::packed : PanelSource::strided;

        const auto multiply = [&](Index tile, Index panel) __attribute__((always_inline)) {
          const Index row = tiles.begin(tile);
          const int tile_rows = tiles.size(tile);
          const Index j = first_col + panel * width;
          const Index panel_cols = smaller(width, cols - j);
          T* const copy = run_copy + (options.order == PanelOrder::tiles_outer ? panel * width * depth : 0);
          const bool packing = in_tile && tile == 0;

          Tile<T> t;
          t.depth = depth;
          if (options.copy_a) {
            t.a = a_copy;
            t.a_row_stride = 1;
            t.a_col_stride = tile_rows;
          } else {
            t.a = &p.a(row, k);
            t.a_row_stride = p.a.row_stride;
            t.a_col_stride = p.a.col_stride;
          }
          if (beforehand && tile == 0) pack_panel(p.b.block(k, j, depth, panel_cols), width, copy);
          if (source == PanelSource::packed && !packing) {
            t.b = copy;
            t.b_row_stride = width;
          } else {
            t.b = &p.b(k, j);
            t.b_row_stride = p.b.row_stride;
          }
          t.copy = copy;
          t.last_cols = static_cast<int>(panel_cols - (width - V::lanes));
          const TileKernel<T> kernel =
              tile_kernel<T>(tile_rows, width_vectors, packing ? PanelSource::packing : source);
          if (transposed) {
            t.c = turned;
            t.c_row_stride = width;
            t.bias = nullptr;
            t.accumulate = false;
            t.activation = Activation::none;
            kernel(t);
            store_transposed(turned, width, tile_rows, panel_cols, &p.c(row, j), p.c.col_stride,
                             bias == nullptr ? nullptr : bias + row, accumulate, activation);
          } else {
            t.c = &p.c(row, j);
            t.c_row_stride = p.c.row_stride;
            t.bias = bias == nullptr ? nullptr : bias + j;
            t.accumulate = accumulate;
            t.activation = activation;
            kernel(t);
          }
        };

        if (options.order == PanelOrder::panels_outer) {
          for (Index panel = 0; panel < panels; ++panel)
            for (Index tile = 0; tile < tiles.count(); ++tile) {
              if (options.copy_a) pack_rows(p.a.block(tiles.begin(tile), k, tiles.size(tile), depth), a_copy);
              multiply(tile, panel);
            }
        } else {
          for (Index tile = 0; tile < tiles.count(); ++tile) {
            if (options.copy_a) pack_rows(p.a.block(tiles.begin(tile), k, tiles.size(tile), depth), a_copy);
            for (Index panel = 0; panel < panels; ++panel) multiply(tile, panel);
          }
        }
      }
    }
  }
}

template Index standard_depth<float>();
template Index standard_depth<double>();
template Index standard_cols<float>(Index);
template Index standard_cols<double>(Index);
template void multiply_panels(const MatmulProblem<float>&, const PanelOptions&);
template void multiply_panels(const MatmulProblem<double>&, const PanelOptions&);

}  // namespace dlkit::DLKIT_TARGET
