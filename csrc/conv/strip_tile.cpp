// Every tile shape that strips ask for, as a table of functions.
#include "conv/strip_tile.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, int Rows, int Vectors>
__attribute__((noinline)) void strip_tile(const StripTile<T>& t) {
  using V = Vec<T>;
  constexpr int kWidth = Vectors * V::lanes;
  const T* x = t.x;
  T* y = t.y;
  Index left = t.left;
  for (Index panel = 0; panel < t.panels; ++panel, x += kWidth, y += kWidth, left -= kWidth) {
    V sum[Rows][Vectors];
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; ++j) sum[i][j] = t.bias != nullptr ? V::broadcast(t.bias[i]) : V::zero();
    // A plane apart each, so that the processor does not see them coming.
#pragma GCC unroll 16
    for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; ++j) __builtin_prefetch(y + i * t.y_stride + j * V::lanes, 1);
    const T* w = t.weight;
    const Index* const end = t.offsets + t.depth;
    for (const Index* offset = t.offsets; offset != end; ++offset, w += Rows) {
      const T* const from = x + *offset;
      V pixels[Vectors];
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; ++j) {
        pixels[j] = V::load(from + j * V::lanes);
        hold(pixels[j]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i) {
        const V factor = V::broadcast(w[i]);
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V::fma(factor, pixels[j], sum[i][j]);
      }
    }
    if (t.relu) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sum[i][j] = V::max(V::zero(), sum[i][j]);
    }
    if (left >= kWidth) {
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) sum[i][j].store(y + i * t.y_stride + j * V::lanes);
    } else {
      const auto mask = V::first(left - (Vectors - 1) * V::lanes);
#pragma GCC unroll 16
      for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) {
          T* const to = y + i * t.y_stride + j * V::lanes;
          if (j + 1 < Vectors)
            sum[i][j].store(to);
          else
            sum[i][j].store(to, mask);
        }
    }
  }
}

template <class T, int Vectors, int Rows>
StripKernel<T> kernel_of(int rows) {
  if constexpr (Rows == 0)
    return nullptr;
  else
    return rows == Rows ? strip_tile<T, Rows, Vectors> : kernel_of<T, Vectors, Rows - 1>(rows);
}

}  // namespace

template <class T>
StripKernel<T> strip_kernel(int rows, int vectors) {
  using Shapes = StripShapes<T>;
  if (vectors == 4) return kernel_of<T, 4, Shapes::rows_of_four>(rows);
  return vectors == 2 ? kernel_of<T, 2, Shapes::rows_of_two>(rows) : kernel_of<T, 1, Shapes::rows_of_two>(rows);
}

template StripKernel<float> strip_kernel(int, int);
template StripKernel<double> strip_kernel(int, int);

}  // namespace dlkit::DLKIT_TARGET
