// The product of a step, for weights that stay packed from step to step.
//
// The state of a batch is a few rows, U is read once for all of them: 2 rows operations for an element of U that comes
// from the second- or third-level cache, or from memory. So panels of U are kept in the order in which the register
// tile of matmul/tile.h reads them, packed once for a whole sequence, and while a panel is multiplied the next one is
// fetched. A single sequence has a single row: then each element of U is used once, and the multiplications wait for
// the cache; two sums for each vector of columns cover the latency of the additions.
#include "core/cpu.h"
#include "core/transpose.h"
#include "matmul/split.h"
#include "matmul/tile.h"
#include "recurrent/cells.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Panels of so many steps of k stay in the second-level cache while tiles go past them.
constexpr Index kMaxDepth = 2048;

// So many registers of columns in panels: as many of main_vectors as leave what other_vectors divides.
template <class T>
struct Panels {
  Index main, other = 0;
  int main_vectors = 3;
  static constexpr int other_vectors = 2;

  explicit Panels(Index vectors) : main(0) {
    if (vectors == 1) {
      main_vectors = 1;
      main = 1;
      return;
    }
    while ((vectors - other * other_vectors) % main_vectors != 0) ++other;
    main = (vectors - other * other_vectors) / main_vectors;
  }
  Index count() const { return main + other; }
  int vectors(Index panel) const { return panel < main ? main_vectors : other_vectors; }
};

template <class T, int Vectors>
void multiply_row(const T* a, Index depth, const T* panel, T* out) {
  using V = Vec<T>;
  constexpr int kWidth = Vectors * V::lanes;
  V even[Vectors], odd[Vectors];
#pragma GCC unroll 4
  for (int j = 0; j < Vectors; ++j) even[j] = odd[j] = V::zero();
  Index k = 0;
  for (; k + 2 <= depth; k += 2, panel += 2 * kWidth) {
    const V first = V::broadcast(a[k]), second = V::broadcast(a[k + 1]);
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) even[j] = V::fma(first, V::load(panel + j * V::lanes), even[j]);
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) odd[j] = V::fma(second, V::load(panel + kWidth + j * V::lanes), odd[j]);
  }
  if (k < depth) {
    const V last = V::broadcast(a[k]);
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) even[j] = V::fma(last, V::load(panel + j * V::lanes), even[j]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < Vectors; ++j) (even[j] + odd[j]).store(out + j * V::lanes);
}

// What the cell will want of rows [row, row + rows), one of so many shares: a training step keeps more than the caches
// hold, and memory is idle while panels are multiplied. A cell that fetches a row ahead still waits for most of it.
template <class T>
__attribute__((noinline)) void fetch_kept(const Kept<T>& kept, Index row, Index rows, Index share, Index shares) {
  if (kept.first == nullptr) return;
  const Index end = kept.slots * (share + 1) / shares;
  for (Index r = row; r < row + rows; ++r)
    for (Index slot = kept.slots * share / shares; slot < end; ++slot) {
      const T* const from = kept.first + r * kept.row_stride + slot * kept.slot_stride;
      for (Index j = 0; j < kept.units; j += kChunk<T>) __builtin_prefetch(from + j, 1, 2);
      __builtin_prefetch(from + kept.units - 1, 1, 2);
    }
}

// One register of columns of a panel from columns that are contiguous in memory: B(k, j) = from[j * stride + k].
template <class T>
DLKIT_INLINE void pack_contiguous(const T* from, Index stride, Index depth, T* to, Index width) {
  using V = Vec<T>;
  Index k = 0;
  for (; k + V::lanes <= depth; k += V::lanes)
    transpose_block(from + k, stride, [&](int row, V x) { x.store(to + (k + row) * width); });
  for (; k < depth; ++k)
    for (int j = 0; j < V::lanes; ++j) to[k * width + j] = from[j * stride + k];
}

// Calls body(vector, place, width) for each register of columns of a group: where it goes, and how far its rows lie
// apart there.
template <class T, class Body>
DLKIT_INLINE void each_panel_vector(Index vectors, Index depth, T* to, const Body& body) {
  const Panels<T> panels(vectors);
  Index vector = 0;
  for (Index panel = 0; panel < panels.count(); ++panel) {
    const int count = panels.vectors(panel);
    const Index width = count * Vec<T>::lanes;
    for (int j = 0; j < count; ++j, ++vector) body(vector, to + j * Vec<T>::lanes, width);
    to += depth * width;
  }
}

}  // namespace

template <class T>
void multiply_step(const StepProduct<T>& p) {
  using V = Vec<T>;
  const Panels<T> panels(p.vectors);
  const T* panel = p.panels;
  T* out = p.out;
  for (Index i = 0; i < panels.count(); ++i) {
    const int vectors = panels.vectors(i);
    const Index width = vectors * V::lanes;
    const bool last = i + 1 == panels.count();
    if (p.rows == 1 && p.last_columns == 0 && p.bias == nullptr) {
      fetch_kept(p.kept, 0, 1, i, panels.count());
      (vectors == 3   ? multiply_row<T, 3>
       : vectors == 2 ? multiply_row<T, 2>
                      : multiply_row<T, 1>)(p.a, p.depth, panel, out);
    } else {
      const EvenSplit depths(p.depth, kMaxDepth);
      for (Index part = 0; part < depths.parts; ++part) {
        const Index k = depths.begin(part), depth = depths.size(part);
        const EvenSplit tiles(p.rows, TileShapes<T>::max_rows(vectors));
        Tile<T> t{};
        t.depth = depth;
        t.a_row_stride = p.a_stride;
        t.a_col_stride = 1;
        t.b = panel + k * width;
        t.b_row_stride = width;
        t.c_row_stride = p.out_stride;
        t.last_cols = last && p.last_columns != 0 ? p.last_columns : V::lanes;
        t.accumulate = part > 0;
        if (p.bias != nullptr && part + 1 == depths.parts) t.bias = p.bias + (out - p.out);
        for (Index tile = 0; tile < tiles.parts; ++tile) {
          const Index row = tiles.begin(tile);
          if (part == 0) fetch_kept(p.kept, row, tiles.size(tile), i, panels.count());
          t.a = p.a + row * p.a_stride + k;
          t.c = out + row * p.out_stride;
          // What follows in memory is wanted next: the rest of this panel, or the next one. Each tile fetches its
          // share, lest the first wait for all of it and the others leave the memory idle. Small tiles go through
          // panels faster the fewer there are of them: one or two are left to what the processor fetches by itself.
          if (p.next != nullptr) {
            const T* const next = last && part + 1 == depths.parts ? p.next : t.b + depth * width;
            if (kSmallFused<T>) {
              const bool shares = tiles.parts >= 3 && tile < vectors;
              t.stream =
                  shares ? Stream<T>{next + tile * (depth / 4) * 2 * kChunk<T>, kChunk<T>, 2 * kChunk<T>} : Stream<T>{};
            } else {
              const Index line = width * tile / tiles.parts, end = width * (tile + 1) / tiles.parts;
              t.next = {next + line * kChunk<T>, 0, kChunk<T> * width, 1, static_cast<int>(end - line)};
            }
          }
          tile_kernel<T>(static_cast<int>(tiles.size(tile)), vectors, PanelSource::packed)(t);
        }
      }
    }
    panel += p.depth * width;
    out += width;
  }
}

// Columns gate by gate. A group is whole registers of units, or fewer units than a register has lanes: then columns of
// several gates share a register, so that few lanes are left empty.
template <class T>
void pack_gates(const T* hh, Index hidden, Index depth, int gates, Index first, Index units, T* to) {
  using V = Vec<T>;
  const Index columns = gates * units, vectors = divide_up(columns, V::lanes);
  each_panel_vector(vectors, depth, to, [&](Index vector, T* place, Index width) {
    const Index begin = vector * V::lanes;
    if (units % V::lanes == 0)
      return pack_contiguous(hh + (begin / units * hidden + first + begin % units) * depth, depth, depth, place, width);
    for (Index j = 0; j < V::lanes; ++j) {
      const Index column = begin + j;
      const T* const from = hh + (column / units * hidden + first + column % units) * depth;
      for (Index k = 0; k < depth; ++k) place[k * width + j] = column < columns ? from[k] : T(0);
    }
  });
}

template <class T>
void pack_units(const T* hh, Index hidden, Index depth, Index first, Index units, T* to) {
  using V = Vec<T>;
  each_panel_vector(divide_up(units, V::lanes), depth, to, [&](Index vector, T* place, Index width) {
    const Index begin = vector * V::lanes;
    const auto mask = V::first(units - begin);
    const T* from = hh + first + begin;
    for (Index k = 0; k < depth; ++k) V::load(from + k * hidden, mask).store(place + k * width);
  });
}

namespace {

template <class T>
constexpr RecurrentKernels<T> kernels = {cell_forward<T>,  cell_backward<T>, gru_reset<T>,      gru_unreset<T>,
                                         show_cells<T>,    unshow_cells<T>,  normalise_rows<T>, denormalise_rows<T>,
                                         multiply_step<T>, pack_gates<T>,    pack_units<T>,     column_sums<T>,
                                         scale_rows<T>,    Vec<T>::lanes,    3 * Vec<T>::lanes};

}  // namespace

extern const RecurrentKernels<float> recurrent_float;
extern const RecurrentKernels<double> recurrent_double;
const RecurrentKernels<float> recurrent_float = kernels<float>;
const RecurrentKernels<double> recurrent_double = kernels<double>;

}  // namespace dlkit::DLKIT_TARGET
