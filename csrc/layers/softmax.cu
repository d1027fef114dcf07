// Softmax and its backward with each row in registers: read, largest element, exponentials, sum, written. No pass over
// memory but the first and the last.
//
// Rows past 64 KB are read twice: once for their largest element and their sum together (exponentials.h), once to write
// the result; all rows that are being worked on fit an H100's second-level cache of 50 MB up to 800 KB each.
//
// Bytes: 2 elements forward, 3 backward. Instructions per element: about 15, an exponential and a few selections.
// Bound: memory, from some hundred rows on; fewer leave multiprocessors without work. An element more or less in a row
// matters little, but rows that are no multiple of 16 bytes long are read 4 bytes a lane.
// float32: 32 to 85 registers, 48 for rows that a block holds: 640 to 2048 threads of a multiprocessor, with 64 bytes
// (128 backward) each on their way.
#include "layers/device.h"
#include "layers/exponentials.h"
#include "layers/naive_layers.h"
#include "layers/rows.h"

namespace dlkit::device {
namespace {

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kMostThreads, Shape::kLeastBlocks)
    softmax_kernel(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm) {
  const Rows<T, Shape> threads;
  constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;
  threads.each(rows, [&](Index first) {
    Pack<T, N> held[kRows][kPacks];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step();
      threads.load(held[r], x + row * row_stride, row < rows ? cols : 0, -infinity<T>());
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      T most = -infinity<T>(), sum = T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) most = Maximum::combine(most, held[r][j][k]);
      most = threads.template reduce<Maximum>(most, -infinity<T>());
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const T below = held[r][j][k] - most, e = exp(below);
          held[r][j][k] = logarithm ? below : e;
          sum += e;  // 0 past the row's end
        }
      sum = threads.sum(sum);
      // In this order, as x - most is exact where it matters.
      const T by = logarithm ? T(1) : T(1) / sum, less = logarithm ? log(sum) : T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) held[r][j][k] = held[r][j][k] * by - less;
      const Index row = first + r * threads.step();
      threads.store(out + row * cols, held[r], row < rows ? cols : 0);
    }
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kLongThreads)
    long_softmax_kernel(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const from = x + row * row_stride;
    T* const to = out + row * cols;
    const Exponentials<T> of_row = exponentials_of_long<N>(from, cols);
    const T by = T(1) / of_row.sum, less = log(of_row.sum);
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> held[kLongPacks];
      load_long<T, N>(held, from, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const T below = held[j][k] - of_row.most;
          held[j][k] = logarithm ? below - less : exp(below) * by;
        }
      store_long<T, N>(to, held, first, cols);
    });
  }
}

// softmax: y (grad - sum grad y); log_softmax: grad - exp(y) sum grad
template <class T>
__device__ __forceinline__ T backward_of(T grad, T y, T sum, bool logarithm) {
  return logarithm ? grad - exp(y) * sum : y * (grad - sum);
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kMostThreads, Shape::kLeastBlocks)
    softmax_backward_kernel(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm) {
  const Rows<T, Shape> threads;
  constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;
  threads.each(rows, [&](Index first) {
    Pack<T, N> of_grad[kRows][kPacks], of_y[kRows][kPacks];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step(), length = row < rows ? cols : 0;
      threads.load(of_grad[r], grad + row * cols, length, T(0));
      threads.load(of_y[r], y + row * cols, length, T(0));
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      T sum = T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) sum += logarithm ? of_grad[r][j][k] : of_grad[r][j][k] * of_y[r][j][k];
      sum = threads.sum(sum);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) of_grad[r][j][k] = backward_of(of_grad[r][j][k], of_y[r][j][k], sum, logarithm);
      const Index row = first + r * threads.step();
      threads.store(out + row * cols, of_grad[r], row < rows ? cols : 0);
    }
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kLongThreads)
    long_softmax_backward_kernel(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const T *const grad_row = grad + row * cols, *const y_row = y + row * cols;
    T sum = T(0);
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> of_grad[kLongPacks], of_y[kLongPacks];
      load_long<T, N>(of_grad, grad_row, first, cols, T(0));
      if (!logarithm) load_long<T, N>(of_y, y_row, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) sum += logarithm ? of_grad[j][k] : of_grad[j][k] * of_y[j][k];
    });
    sum = block_sum(sum);
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> of_grad[kLongPacks], of_y[kLongPacks];
      load_long<T, N>(of_grad, grad_row, first, cols, T(0));
      load_long<T, N>(of_y, y_row, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) of_grad[j][k] = backward_of(of_grad[j][k], of_y[j][k], sum, logarithm);
      store_long<T, N>(out + row * cols, of_grad, first, cols);
    });
  }
}

}  // namespace

template <class T>
void softmax(Stream stream, const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm, Rung rung) {
  using R = real<T>;
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::softmax(stream, x, row_stride, out, rows, cols, logarithm);
  const bool packed = rows_are_aligned(x, row_stride) && rows_are_aligned(out, cols);
  if (is_held<T>(cols, packed))
    return with_row_shape<T>(rows, cols, packed, [&](auto shape, const LaunchShape& launch_shape) {
      launch("softmax", softmax_kernel<R, decltype(shape)>, launch_shape, stream, reals(x), row_stride, reals(out),
             rows, cols, logarithm);
    });
  const LaunchShape shape{full_grid(rows, kLongThreads), kLongThreads};
  launch("softmax of long rows", packed ? long_softmax_kernel<R, kPack<T>> : long_softmax_kernel<R, 1>, shape, stream,
         reals(x), row_stride, reals(out), rows, cols, logarithm);
}

template <class T>
void softmax_backward(Stream stream, const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm,
                      Rung rung) {
  using R = real<T>;
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::softmax_backward(stream, grad, y, out, rows, cols, logarithm);
  const bool packed = rows_are_aligned(grad, cols) && rows_are_aligned(y, cols) && rows_are_aligned(out, cols);
  if (is_held<T>(cols, packed))
    return with_row_shape<T>(rows, cols, packed, [&](auto shape, const LaunchShape& launch_shape) {
      launch("softmax backward", softmax_backward_kernel<R, decltype(shape)>, launch_shape, stream, reals(grad),
             reals(y), reals(out), rows, cols, logarithm);
    });
  const LaunchShape shape{full_grid(rows, kLongThreads), kLongThreads};
  launch("softmax backward of long rows",
         packed ? long_softmax_backward_kernel<R, kPack<T>> : long_softmax_backward_kernel<R, 1>, shape, stream,
         reals(grad), reals(y), reals(out), rows, cols, logarithm);
}

#define DLKIT_INSTANTIATE(T)                                                    \
  template void softmax(Stream, const T*, Index, T*, Index, Index, bool, Rung); \
  template void softmax_backward(Stream, const T*, const T*, T*, Index, Index, bool, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
