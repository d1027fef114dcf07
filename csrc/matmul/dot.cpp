// Dot products: vectors along K, for a result with few columns, or a transposed B that too few rows of A use to repay
// turning it.
//
// A tile of up to 5 x 5 elements of C is 25 registers, each summing a dot product in its lanes; one step loads 10
// vectors for 25 multiply-adds, and the lanes are added up once at the end. No lane is left empty by a narrow C, and
// both operands are read along their rows, in place. A B whose columns are not contiguous is turned first (K N
// elements, few where N is). K goes in blocks such that the five columns of B stay in the first-level cache while the
// rows of A stream past from the second. Bound by the multipliers, and for short sums by adding up the lanes.
#include <utility>

#include "core/cpu.h"
#include "core/scratch.h"
#include "matmul/pack.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
constexpr int kSide = Vec<T>::registers >= 32 ? 5 : 3;

// sums[i * kSide + j] = row i of a times row j of b
template <class T, int Rows, int Cols>
void dot_tile(Index depth, const T* a, Index a_stride, const T* b, Index b_stride, T* sums) {
  using V = Vec<T>;
  V sum[Rows][Cols];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) sum[i][j] = V::zero();
  const auto step = [&](const auto& load) __attribute__((always_inline)) {
    V y[Cols];
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) y[j] = load(b + j * b_stride);
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      const V x = load(a + i * a_stride);
#pragma GCC unroll 8
      for (int j = 0; j < Cols; ++j) sum[i][j] = V::fma(x, y[j], sum[i][j]);
    }
  };
  Index k = 0;
  for (; k + V::lanes <= depth; k += V::lanes, a += V::lanes, b += V::lanes)
    step([](const T* p) { return V::load(p); });
  if (k < depth) {
    const auto mask = V::first(depth - k);
    step([mask](const T* p) { return V::load(p, mask); });
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Cols; ++j) sums[i * kSide<T> + j] = sum[i][j].sum();
}

template <class T>
using DotKernel = void (*)(Index, const T*, Index, const T*, Index, T*);

template <class T, int... Shape>
DotKernel<T> pick(int rows, int cols, std::integer_sequence<int, Shape...>) {
  static constexpr DotKernel<T> table[] = {dot_tile<T, Shape / kSide<T> + 1, Shape % kSide<T> + 1>...};
  return table[(rows - 1) * kSide<T> + cols - 1];
}

}  // namespace

template <class T>
void dot(const MatmulProblem<T>& p) {
  const EvenSplit rows(p.c.rows, kSide<T>), cols(p.c.cols, kSide<T>);
  const Index cached = static_cast<Index>(cache_sizes().l1d) / 2 / kSide<T> / static_cast<Index>(sizeof(T));
  const EvenSplit depths(p.a.cols, cached);
  // Operands that do not run along K are turned block by block.
  const Index turned_stride = divide_up(depths.size(0), Vec<T>::lanes) * Vec<T>::lanes;
  const auto turned_size = static_cast<std::size_t>(turned_stride * kSide<T>);
  const bool turn_a = p.a.col_stride != 1, turn_b = p.b.row_stride != 1;
  T* const turned_a = turn_a ? scratch<T>(Slot::pack_a, turned_size) : nullptr;
  T* const turned_b = turn_b ? scratch<T>(Slot::pack_b, turned_size) : nullptr;
  T sums[kSide<T> * kSide<T>];
  for (Index panel = 0; panel < cols.parts; ++panel)
    for (Index part = 0; part < depths.parts; ++part) {
      const Index col = cols.begin(panel), k = depths.begin(part), depth = depths.size(part);
      const int width = static_cast<int>(cols.size(panel));
      const bool accumulate = p.accumulate || part > 0;
      const T* b = &p.b(k, col);
      if (turn_b) {
        turn(p.b.block(k, col, depth, width), turned_b, turned_stride);
        b = turned_b;
      }
      for (Index tile = 0; tile < rows.parts; ++tile) {
        const Index row = rows.begin(tile);
        const int height = static_cast<int>(rows.size(tile));
        const T* a = &p.a(row, k);
        if (turn_a) {
          turn(p.a.block(row, k, height, depth).transposed(), turned_a, turned_stride);
          a = turned_a;
        }
        constexpr std::make_integer_sequence<int, kSide<T> * kSide<T>> all{};
        pick<T>(height, width, all)(depth, a, turn_a ? turned_stride : p.a.row_stride, b,
                                    turn_b ? turned_stride : p.b.col_stride, sums);
        for (int i = 0; i < height; ++i)
          for (int j = 0; j < width; ++j) {
            T& c = p.c(row + i, col + j);
            c = accumulate ? c + sums[i * kSide<T> + j] : sums[i * kSide<T> + j];
          }
      }
    }
  finish(p);
}

template void dot(const MatmulProblem<float>&);
template void dot(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
