#include "matmul/panels.h"

#include <cstdint>

#include "core/cpu.h"
#include "core/scratch.h"
#include "matmul/pack.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// A tile that was computed as rows of C^T goes to columns of it. `from` has `width` columns, and its rows are readable
// up to a whole number of vectors.
template <class T>
void store_transposed(const T* from, int width, int rows, Index cols, T* c, Index c_col_stride, const T* bias,
                      bool accumulate, Activation activation) {
  using V = Vec<T>;
  const bool relu = activation == Activation::relu;
  for (int row = 0; row < rows; row += V::lanes) {
    const bool whole = !V::cheap_masks && rows - row >= V::lanes;
    const auto mask = V::first(rows - row);
    const auto few = V::few(rows - row);
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
        whole ? x.store(to) : x.store(to, few);
      });
    }
  }
  if (activation == Activation::sigmoid || activation == Activation::tanh)
    for (Index j = 0; j < cols; ++j) finish_row<T>(c + j * c_col_stride, rows, nullptr, activation);
}

// Columns of C in panels: as many of main_vectors as leave a remainder that other_vectors divides; a single vector
// where C is no wider. `lead` columns in front make a panel of their own.
template <class T>
struct ColumnPanels {
  Index lead, main = 0, other = 0;
  int main_vectors = TileShapes<T>::main_vectors;
  static constexpr int other_vectors = TileShapes<T>::other_vectors;

  ColumnPanels(Index cols, Index lead_cols) : lead(lead_cols) {
    const Index vectors = divide_up(cols - lead, Vec<T>::lanes);
    if (vectors == 1) {
      main_vectors = 1;
      main = 1;
      return;
    }
    while ((vectors - other * other_vectors) % main_vectors != 0) ++other;
    main = (vectors - other * other_vectors) / main_vectors;
  }
  Index count() const { return (lead > 0 ? 1 : 0) + main + other; }
  int vectors(Index panel) const {
    if (lead > 0 && panel-- == 0) return 1;
    return panel < main ? main_vectors : other_vectors;
  }
  Index begin(Index panel) const {
    if (lead > 0 && panel-- == 0) return 0;
    return lead +
           Vec<T>::lanes * (smaller(panel, main) * main_vectors + (panel > main ? panel - main : 0) * other_vectors);
  }
  Index end(Index panel, Index cols) const { return panel + 1 < count() ? begin(panel + 1) : cols; }
};

// Columns up to the first register-sized boundary of C, where all its rows share it and C is wide enough for an extra
// panel to pay: a vector that lies across two lines costs two accesses, and a line that two panels share travels twice.
template <class T>
Index columns_to_boundary(const Matrix<T>& c) {
  constexpr Index kBoundary = Vec<T>::lanes, kWide = 48 * kBoundary;
  const auto offset = reinterpret_cast<std::uintptr_t>(c.data) % (kBoundary * sizeof(T));
  if (offset == 0 || offset % sizeof(T) != 0 || c.cols < kWide || c.row_stride % kBoundary != 0) return 0;
  return kBoundary - static_cast<Index>(offset / sizeof(T));
}

// Whether a cache holds `count` rows at once, a line of each: it does not where their stride maps them to few sets.
template <class T>
bool spreads(Index row_stride, Index count, std::size_t cache_bytes) {
  const Index lines = static_cast<Index>(cache_bytes) / kCacheLine;
  const Index stride = row_stride * static_cast<Index>(sizeof(T));
  if (stride == 0 || stride % kCacheLine != 0) return true;
  Index common = (stride < 0 ? -stride : stride) / kCacheLine, other = lines;
  while (other != 0) {
    const Index rest = common % other;
    common = other;
    other = rest;
  }
  return count * common <= lines;
}

// Rows of A for the tiles: in place, or a copy in groups, in each of which step k has the elements of its rows.
template <class T>
struct TileRows {
  // Tiles of all widths fill a group: 12 rows are 2 tiles of 2 vectors, 3 of 3, 1 of 1.
  static constexpr Index kGroup = kGroupedRows;

  const T* data;
  Index row_stride, col_stride;
  Index group_stride;  // 0: in place

  const T* at(Index row) const {
    return group_stride == 0 ? data + row * row_stride : data + row / kGroup * group_stride + row % kGroup;
  }
};

// Whether a transposed A is copied: not where a tile covers what its columns cost (tile.h), nor where too few panels
// would read the copy, or too few groups share the lines of A.
template <class T>
bool copies_transposed(const MatmulProblem<T>& p) {
  constexpr Index kColumns = 2 * TileShapes<T>::main_vectors * Vec<T>::lanes, kRows = 2 * TileRows<T>::kGroup;
  return !TileShapes<T>::covers_pages && p.a.row_stride == 1 && p.a.col_stride != 1 && p.c.cols > kColumns &&
         p.c.rows > kRows;
}

// Where the stride of A makes the rows of a tile evict each other, as a power of two does, A is copied in blocks of
// rows. So is a transposed A, in the order of its use, if tiles are small. B is packed once a block, from the
// third-level cache, so that blocks are larger than the second. An A that comes from memory is read in place, in blocks
// that the second level holds for all panels.
template <class T>
struct RowBlocks {
  EvenSplit rows;
  bool copy, in_groups;
  Index stride;  // of the copy's rows or groups: a line more than they hold, so that they spread over the sets

  RowBlocks(const MatmulProblem<T>& p, Index depth)
      : rows(p.c.rows, p.c.rows), copy(false), in_groups(copies_transposed(p)), stride(0) {
    constexpr Index kPanels = 6;  // with fewer the work does not repay a copy
    const CacheSizes& caches = cache_sizes();
    const bool evicts = !spreads<T>(p.a.row_stride, TileShapes<T>::max_rows(TileShapes<T>::main_vectors), caches.l1d);
    copy = in_groups || (p.c.cols >= kPanels * 3 * Vec<T>::lanes && p.a.col_stride == 1 && evicts);
    if (!copy) {
      const double all = static_cast<double>(p.c.rows) * static_cast<double>(depth) * sizeof(T);
      const bool in_memory = caches.l3 > 0 && all > static_cast<double>(caches.l3) / 4;
      if (p.a.col_stride == 1 && in_memory && p.c.cols > 3 * Vec<T>::lanes)
        rows = EvenSplit(p.c.rows, divide_up(static_cast<Index>(caches.l2) / 2 / static_cast<Index>(sizeof(T)), depth));
      return;
    }
    const Index bytes = 4 * static_cast<Index>(caches.l2);
    rows = EvenSplit(p.c.rows, divide_up(bytes / static_cast<Index>(sizeof(T)), depth));
    const Index length = in_groups ? depth * TileRows<T>::kGroup : divide_up(depth, Vec<T>::lanes) * Vec<T>::lanes;
    stride = length + kCacheLine / static_cast<Index>(sizeof(T));
  }
  Index copied() const {
    return copy ? stride * (in_groups ? divide_up(rows.size(0), TileRows<T>::kGroup) : rows.size(0)) : 0;
  }
};

// Along the rows of the transposed A, which is how they come from memory; a group's elements of a step take whole
// vectors, the last of which the next step overwrites.
template <class T>
void copy_groups(const Matrix<const T>& from, T* to, Index stride) {
  using V = Vec<T>;
  constexpr Index kGroup = TileRows<T>::kGroup;
  for (Index k = 0; k < from.cols; ++k) {
    const T* row = &from(0, k);
    T* group = to + k * kGroup;
    Index i = 0;
    for (; i + divide_up(kGroup, V::lanes) * V::lanes <= from.rows; i += kGroup, group += stride)
      for (Index j = 0; j < kGroup; j += V::lanes) V::load(row + i + j).store(group + j);
    for (; i < from.rows; i += kGroup, group += stride)
      for (Index j = 0; j < kGroup; j += V::lanes) V::load(row + i + j, V::first(from.rows - i - j)).store(group + j);
  }
}

template <class T>
void copy_rows(const Matrix<const T>& from, T* to, Index stride) {
  using V = Vec<T>;
  for (Index i = 0; i < from.rows; ++i, to += stride)
    for (Index k = 0; k < from.cols; k += V::lanes)
      V::load(&from(i, k), V::first(from.cols - k)).store(to + k);  // the copy's rows are whole vectors
}

// With fewer small tiles each would leave out most of the next panel.
constexpr Index kStreamTiles = 4;

// One panel of B against a block of rows of A.
template <class T>
struct PanelPass {
  using V = Vec<T>;
  using Shapes = TileShapes<T>;

  const MatmulProblem<T>& p;
  const PanelOptions& options;
  const TileRows<T>& a;  // the rows and the block of K, in place or copied
  const Matrix<T>& c;    // the rows
  Index k, depth;        // the block of K
  Index col, cols;       // of the panel
  Index next_col;        // of the panel that follows
  int vectors;           // its width
  T* copy;               // room for the packed panel
  bool first, last;      // block of K
  const T* bias;         // of the rows where C is transposed, else of the columns; or null

  void run() const {
    const bool contiguous = p.b.col_stride == 1;
    const int width = vectors * V::lanes;
    if (!contiguous) pack_panel(p.b.block(k, col, depth, cols), width, copy);
    // The packing kernel has one height only: it takes the first rows, and the rest are split evenly.
    const bool in_groups = a.group_stride != 0;
    const bool packs = contiguous && options.copy_b && c.rows > Shapes::packing_rows(vectors) &&
                       !(in_groups && TileRows<T>::kGroup % Shapes::packing_rows(vectors) != 0);
    const int first_rows = packs ? Shapes::packing_rows(vectors) : 0;
    const int height = Shapes::rows(vectors, depth);
    const EvenSplit rest(c.rows - first_rows, height);
    Cursor at{0, 0, rest.parts + (first_rows > 0), first_rows > 0 ? 1 : 0};
    if (first_rows > 0) tiles(at, 1, first_rows, PanelSource::packing);
    const PanelSource source = first_rows > 0 || !contiguous ? PanelSource::packed : PanelSource::strided;
    if (in_groups) {
      const Index whole = (c.rows - first_rows) / height;
      const int last_rows = static_cast<int>(c.rows - first_rows - whole * height);
      if (whole > 0) tiles(at, whole, height, source);
      if (last_rows > 0) tiles(at, 1, last_rows, source);
      return;
    }
    if (rest.larger > 0) tiles(at, rest.larger, static_cast<int>(rest.small) + 1, source);
    if (rest.parts > rest.larger) tiles(at, rest.parts - rest.larger, static_cast<int>(rest.small), source);
  }

  struct Cursor {
    Index row, tile, tiles;
    Index packing;  // tiles that pack the panel, and fetch nothing
  };

  // `count` tiles of equal height.
  void tiles(Cursor& at, Index count, int rows, PanelSource source) const {
    const int width = vectors * V::lanes;
    const bool packed = source == PanelSource::packed;
    const TileKernel<T> kernel = tile_kernel<T>(rows, vectors, source);
    alignas(kCacheLine) T turned[16 * 3 * V::lanes];  // a tile of C^T
    static_assert(Shapes::max_rows(2) <= 16 && Shapes::max_rows(1) <= 16 && V::lanes <= 16);

    Tile<T> t;
    t.depth = depth;
    t.b = packed ? copy : &p.b(k, col);
    t.b_row_stride = packed ? width : p.b.row_stride;
    t.copy = copy;
    t.a_row_stride = a.row_stride;
    t.a_col_stride = a.col_stride;
    t.last_cols = static_cast<int>(cols - (width - V::lanes));
    const bool accumulate = p.accumulate || !first;
    const Activation activation = last ? p.activation : Activation::none;
    if (options.transposed_c) {
      t.c = turned;
      t.c_row_stride = width;
      t.accumulate = false;
      t.activation = Activation::none;
      t.bias = nullptr;
    } else {
      t.c_row_stride = c.row_stride;
      t.accumulate = accumulate;
      t.activation = activation;
      t.bias = last && bias != nullptr ? bias + col : nullptr;
    }
    for (; count > 0; --count, ++at.tile, at.row += rows) {
      t.a = a.at(at.row);
      const bool streams = kSmallFused<T> && at.tiles >= kStreamTiles;
      t.next = options.fetch_b && !streams ? fetch(at.tile, at.tiles) : Fetch<T>{};
      t.stream = options.fetch_b && streams ? stream(at.tile - at.packing) : Stream<T>{};
      if (Shapes::covers_pages && t.next.count == 0 && a.row_stride == 1 && at.row + rows < c.rows)
        t.next = {a.at(at.row + rows), a.col_stride, kChunk<T> * a.col_stride, kChunk<T>, 1};
      if (!options.transposed_c) t.c = &c(at.row, col);
      kernel(t);
      if (options.transposed_c)
        store_transposed(turned, width, rows, cols, &c(at.row, col), c.col_stride,
                         last && bias != nullptr ? bias + at.row : nullptr, accumulate, activation);
    }
  }

  // A tile's share of the panel that follows, in two lines with every four steps: a fourth of the rows where they are
  // contiguous, else two columns. Where there are too few tiles for all of it the processor fetches the rest.
  Stream<T> stream(Index tile) const {
    if (next_col == col || tile < 0) return {};
    if (p.b.col_stride == 1) {
      if (tile >= 4) return {};
      return {&p.b(k + tile * (depth / 4), next_col) + V::lanes - 1, vectors > 2 ? kChunk<T> : 0, p.b.row_stride};
    }
    const Index width = smaller(vectors * V::lanes, p.b.cols - next_col);
    if (2 * tile + 1 >= width) return {};
    return {&p.b(k, next_col + 2 * tile), p.b.col_stride, 4 * p.b.row_stride};
  }

  // A tile's share of the panel that follows, so that all tiles together bring all of it.
  Fetch<T> fetch(Index tile, Index tiles) const {
    if (next_col == col) return {};
    if (p.b.col_stride == 1) {
      const Index sharers = smaller(tiles, kChunk<T>);
      const Index count = divide_up(kChunk<T>, sharers);  // rows for each kChunk steps
      const Index row = tile * count * divide_up(depth, kChunk<T>);
      if (tile >= sharers || row >= depth) return {};
      const int lines = static_cast<int>(divide_up(vectors * V::lanes, kChunk<T>));
      return {&p.b(k + row, next_col), p.b.row_stride, count * p.b.row_stride, static_cast<int>(count), lines};
    }
    const Index width = smaller(vectors * V::lanes, p.b.cols - next_col);
    const Index sharers = smaller(tiles, width);
    const Index count = divide_up(width, sharers);  // columns, a cache line of each for each kChunk steps
    if (tile >= sharers || tile * count >= width) return {};
    return {&p.b(k, next_col + tile * count), p.b.col_stride, kChunk<T> * p.b.row_stride, static_cast<int>(count), 1};
  }
};

}  // namespace

template <class T>
Index panel_depth() {
  static const Index depth = [] {
    constexpr Index kWidth = 3 * Vec<T>::lanes;
    const Index elements = static_cast<Index>(cache_sizes().l2) / 4 / static_cast<Index>(sizeof(T)) / kWidth;
    return elements < 128 ? Index{128} : elements > 1024 ? Index{1024} : elements;
  }();
  return depth;
}

template <class T>
bool stays_in_cache(const Matrix<const T>& b, Index depth) {
  return spreads<T>(b.row_stride, depth, cache_sizes().l2);
}

template <class T>
void multiply_panels(const MatmulProblem<T>& p, const PanelOptions& options) {
  using V = Vec<T>;
  const EvenSplit depths(p.a.cols, options.max_depth);
  const RowBlocks<T> blocks(p, depths.size(0));
  const ColumnPanels<T> panels(p.c.cols, options.transposed_c ? 0 : columns_to_boundary(p.c));
  T* const panel_copy = scratch<T>(Slot::pack_b, static_cast<std::size_t>(depths.size(0) * 3 * V::lanes));
  T* const rows_copy = blocks.copy ? scratch<T>(Slot::pack_a, static_cast<std::size_t>(blocks.copied())) : nullptr;
  for (Index part = 0; part < depths.parts; ++part)
    for (Index block = 0; block < blocks.rows.parts; ++block) {
      const Index k = depths.begin(part), depth = depths.size(part);
      const Index row = blocks.rows.begin(block), rows = blocks.rows.size(block);
      const Matrix<T> c = p.c.block(row, 0, rows, p.c.cols);
      const Matrix<const T> block_of_a = p.a.block(row, k, rows, depth);
      TileRows<T> a{block_of_a.data, block_of_a.row_stride, block_of_a.col_stride, 0};
      if (blocks.in_groups) {
        copy_groups(block_of_a, rows_copy, blocks.stride);
        a = {rows_copy, 1, TileRows<T>::kGroup, blocks.stride};
      } else if (blocks.copy) {
        copy_rows(block_of_a, rows_copy, blocks.stride);
        a = {rows_copy, blocks.stride, 1, 0};
      }
      const T* const bias = p.bias != nullptr && options.transposed_c ? p.bias + row : p.bias;
      for (Index panel = 0; panel < panels.count(); ++panel) {
        const Index col = panels.begin(panel);
        const int vectors = panels.vectors(panel);
        const Index next_col = panel + 1 < panels.count() ? panels.begin(panel + 1) : col;
        const Index cols = panels.end(panel, p.c.cols) - col;
        PanelPass<T>{.p = p,
                     .options = options,
                     .a = a,
                     .c = c,
                     .k = k,
                     .depth = depth,
                     .col = col,
                     .cols = cols,
                     .next_col = next_col,
                     .vectors = vectors,
                     .copy = panel_copy,
                     .first = part == 0,
                     .last = part + 1 == depths.parts,
                     .bias = bias}
            .run();
      }
    }
}

template Index panel_depth<float>();
template Index panel_depth<double>();
template bool stays_in_cache(const Matrix<const float>&, Index);
template bool stays_in_cache(const Matrix<const double>&, Index);
template void multiply_panels(const MatmulProblem<float>&, const PanelOptions&);
template void multiply_panels(const MatmulProblem<double>&, const PanelOptions&);

}  // namespace dlkit::DLKIT_TARGET
