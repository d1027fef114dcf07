// Layer normalisation with each row in registers: read once, its mean, then the squares of what lies off the mean
// (exact where sums of squares would cancel), written. Rows past 64 KB are read three times, twice from the
// second-level cache.
//
// Backward: the gradient of x is such a pass over two rows, grad and x; those of weight and bias are sums down the
// columns (column_sums.h) of grad times the normalised x, computed again, and of grad.
//
// Bytes: 2 elements forward; backward 3 and, for weight and bias, 2 more, which the second-level cache has where grad
// and x fit it. FLOPs: 7 per element forward, 12 backward. Bound: memory, from some hundred rows on.
// float32: forward 40 to 56 registers, backward 40 to 80, columns 52: 768 to 1536 threads of a multiprocessor.
#include "layers/column_sums.h"
#include "layers/device.h"
#include "layers/naive_layers.h"
#include "layers/rows.h"

namespace dlkit::device {
namespace {

template <class T, int N>
__device__ __forceinline__ Pack<T, N> pack_or(const T* from, Index i, T otherwise) {
  if (from != nullptr) return load_pack<N>(from + i);
  Pack<T, N> pack;
#pragma unroll
  for (int k = 0; k < N; ++k) pack[k] = otherwise;
  return pack;
}

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kMostThreads, Shape::kLeastBlocks)
    layer_norm_kernel(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols,
                      T eps) {
  const Rows<T, Shape> threads;
  constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;
  const T share = T(1) / T(cols);
  threads.each(rows, [&](Index first) {
    Pack<T, N> held[kRows][kPacks];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step();
      threads.load(held[r], x + row * cols, row < rows ? cols : 0, T(0));
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step();
      T sum = T(0), squares = T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) sum += held[r][j][k];
      const T m = threads.sum(sum) * share;
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          held[r][j][k] = held[r][j][k] - m;
          if (threads.column(j) < cols) squares = fma(held[r][j][k], held[r][j][k], squares);
        }
      const T scale = T(1) / sqrt(threads.sum(squares) * share + eps);
      if (row >= rows) continue;
      if (threads.lane == 0) {
        mean[row] = m;
        rstd[row] = scale;
      }
#pragma unroll
      for (int j = 0; j < kPacks; ++j) {
        const Index col = threads.column(j);
        if (col >= cols) continue;
        const Pack<T, N> w = pack_or<T, N>(weight, col, T(1)), b = pack_or<T, N>(bias, col, T(0));
#pragma unroll
        for (int k = 0; k < N; ++k) held[r][j][k] = fma(held[r][j][k] * scale, w[k], b[k]);
        store_pack(out + row * cols + col, held[r][j]);
      }
    }
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kLongThreads)
    long_layer_norm_kernel(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols,
                           T eps) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const T* const from = x + row * cols;
    T sum = T(0), squares = T(0);
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> held[kLongPacks];
      load_long<T, N>(held, from, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) sum += held[j][k];
    });
    const T m = block_sum(sum) / T(cols);
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> held[kLongPacks];
      load_long<T, N>(held, from, first, cols, m);
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) squares = fma(held[j][k] - m, held[j][k] - m, squares);
    });
    const T scale = T(1) / sqrt(block_sum(squares) / T(cols) + eps);
    if (threadIdx.x == 0) {
      mean[row] = m;
      rstd[row] = scale;
    }
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> held[kLongPacks];
      load_long<T, N>(held, from, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j) {
        const Index col = first + static_cast<Index>(j) * kLongThreads * N;
        if (col >= cols) continue;
        const Pack<T, N> w = pack_or<T, N>(weight, col, T(1)), b = pack_or<T, N>(bias, col, T(0));
#pragma unroll
        for (int k = 0; k < N; ++k) held[j][k] = fma((held[j][k] - m) * scale, w[k], b[k]);
      }
      store_long<T, N>(out + row * cols, held, first, cols);
    });
  }
}

// With g = grad weight and n = (x - mean) rstd: dx = rstd (g - mean(g) - n mean(g n)).
template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kMostThreads)
    layer_norm_backward_kernel(const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                               Index rows, Index cols) {
  const Rows<T, Shape> threads;
  constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;
  const T share = T(1) / T(cols);
  threads.each(rows, [&](Index first) {
    Pack<T, N> of_grad[kRows][kPacks], of_x[kRows][kPacks];
    T m[kRows], scale[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step(), length = row < rows ? cols : 0;
      m[r] = row < rows ? mean[row] : T(0);
      scale[r] = row < rows ? rstd[row] : T(0);
      threads.load(of_grad[r], grad + row * cols, length, T(0));
      threads.load(of_x[r], x + row * cols, length, T(0));
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      T sum = T(0), dot = T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j) {
        const Index col = threads.column(j);
        if (col >= cols) continue;
        const Pack<T, N> w = pack_or<T, N>(weight, col, T(1));
#pragma unroll
        for (int k = 0; k < N; ++k) {
          of_grad[r][j][k] = of_grad[r][j][k] * w[k];
          of_x[r][j][k] = (of_x[r][j][k] - m[r]) * scale[r];
          sum += of_grad[r][j][k];
          dot = fma(of_grad[r][j][k], of_x[r][j][k], dot);
        }
      }
      sum = threads.sum(sum) * share;
      dot = threads.sum(dot) * share;
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) of_grad[r][j][k] = scale[r] * fma(-of_x[r][j][k], dot, of_grad[r][j][k] - sum);
      const Index row = first + r * threads.step();
      threads.store(dx + row * cols, of_grad[r], row < rows ? cols : 0);
    }
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kLongThreads)
    long_layer_norm_backward_kernel(const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                                    Index rows, Index cols) {
  for (Index row = blockIdx.x; row < rows; row += gridDim.x) {
    const T m = mean[row], scale = rstd[row];
    T sum = T(0), dot = T(0);
    // The same loads twice, to be added up and to be written.
    const auto each = [&](const auto& body) {
      each_of_long_row<N>(cols, [&](Index first) {
        Pack<T, N> of_grad[kLongPacks], of_x[kLongPacks];
        load_long<T, N>(of_grad, grad + row * cols, first, cols, T(0));
        load_long<T, N>(of_x, x + row * cols, first, cols, T(0));
#pragma unroll
        for (int j = 0; j < kLongPacks; ++j) {
          const Index col = first + static_cast<Index>(j) * kLongThreads * N;
          if (col >= cols) continue;
          const Pack<T, N> w = pack_or<T, N>(weight, col, T(1));
          Pack<T, N> g, n;
#pragma unroll
          for (int k = 0; k < N; ++k) {
            g[k] = of_grad[j][k] * w[k];
            n[k] = (of_x[j][k] - m) * scale;
          }
          body(col, g, n);
        }
      });
    };
    each([&](Index, const Pack<T, N>& g, const Pack<T, N>& n) {
#pragma unroll
      for (int k = 0; k < N; ++k) {
        sum += g[k];
        dot = fma(g[k], n[k], dot);
      }
    });
    sum = block_sum(sum) / T(cols);
    dot = block_sum(dot) / T(cols);
    each([&](Index col, Pack<T, N> g, const Pack<T, N>& n) {
#pragma unroll
      for (int k = 0; k < N; ++k) g[k] = scale * fma(-n[k], dot, g[k] - sum);
      store_pack(dx + row * cols + col, g);
    });
  }
}

// Of weight and of bias: sums of grad n and of grad.
template <class T>
struct GradientColumns : NoColumns {
  using Sum = T;
  static constexpr int kSums = 2;

  const T *grad, *x, *mean, *rstd;
  Index cols;
  T *dweight, *dbias;  // a row of each for a group; null where not wanted

  GradientColumns(const T* grad, const T* x, const T* mean, const T* rstd, Index cols, T* dweight, T* dbias)
      : grad(grad), x(x), mean(mean), rstd(rstd), cols(cols), dweight(dweight), dbias(dbias) {}

  template <int N>
  struct Loaded {
    Pack<T, N> grad, x;
    T mean, rstd;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index row, Index col) const {
    return {load_pack<N>(grad + row * cols + col), load_pack<N>(x + row * cols + col), mean[row], rstd[row]};
  }
  template <int N>
  __device__ __forceinline__ void add(Pack<T, N> (&sums)[2], const Loaded<N>& v, NoColumns) const {
#pragma unroll
    for (int k = 0; k < N; ++k) {
      sums[0][k] = fma(v.grad[k], (v.x[k] - v.mean) * v.rstd, sums[0][k]);
      sums[1][k] += v.grad[k];
    }
  }
  template <int N>
  __device__ __forceinline__ void store(Index group, Index col, const Pack<T, N> (&sums)[2]) const {
    if (dweight != nullptr) store_any(dweight + group * cols + col, sums[0]);
    if (dbias != nullptr) store_any(dbias + group * cols + col, sums[1]);
  }
};

template <class T>
void columns(Stream stream, const T* grad, const T* x, const T* mean, const T* rstd, T* dweight, T* dbias, Index rows,
             Index cols, void* scratch, bool packed) {
  using R = real<T>;
  using Source = GradientColumns<R>;
  const ColumnPlan plan(rows, cols, packed ? kPack<T> : 1);
  R* const partial = static_cast<R*>(scratch);
  const bool single = plan.groups == 1;
  const Source source(reals(grad), reals(x), reals(mean), reals(rstd), cols,
                      dweight == nullptr ? nullptr
                      : single           ? reals(dweight)
                                         : partial,
                      dbias == nullptr ? nullptr
                      : single         ? reals(dbias)
                                       : partial + plan.groups * cols);
  launch("layer norm columns", packed ? column_sums_kernel<kPack<T>, Source> : column_sums_kernel<1, Source>,
         plan.shape(), stream, source, rows, cols, plan);
  if (single) return;
  const ColumnPlan last(plan.groups, cols, 1, true);
  for (int s = 0; s < 2; ++s) {
    T* const out = s == 0 ? dweight : dbias;
    if (out == nullptr) continue;
    const MatrixColumns<R> of_partial(partial + s * plan.groups * cols, cols, cols, reals(out), false);
    launch("column sum", column_sums_kernel<1, MatrixColumns<R>>, last.shape(), stream, of_partial, plan.groups, cols,
           last);
  }
}

template <class T>
bool row_is_aligned(const T* row) {
  return row == nullptr || is_aligned<kPack<T>>(row);
}

}  // namespace

template <class T>
void layer_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                Index cols, double eps, Rung rung) {
  using R = real<T>;
  if (rows == 0) return;
  if (rung == Rung::naive) return naive::layer_norm(stream, x, weight, bias, out, mean, rstd, rows, cols, eps);
  const bool packed =
      rows_are_aligned(x, cols) && rows_are_aligned(out, cols) && row_is_aligned(weight) && row_is_aligned(bias);
  const R epsilon(static_cast<T>(eps));
  if (is_held<T>(cols, packed))
    return with_row_shape<T>(rows, cols, packed, [&](auto shape, const LaunchShape& launch_shape) {
      launch("layer norm", layer_norm_kernel<R, decltype(shape)>, launch_shape, stream, reals(x), reals(weight),
             reals(bias), reals(out), reals(mean), reals(rstd), rows, cols, epsilon);
    });
  launch("layer norm of long rows", packed ? long_layer_norm_kernel<R, kPack<T>> : long_layer_norm_kernel<R, 1>,
         {full_grid(rows, kLongThreads), kLongThreads}, stream, reals(x), reals(weight), reals(bias), reals(out),
         reals(mean), reals(rstd), rows, cols, epsilon);
}

// A row of sums for each group of rows, for weight and for bias.
template <class T>
std::size_t layer_norm_backward_scratch(Index rows, Index cols) {
  const Index groups = most_groups<T>(rows, cols);
  return groups == 1 ? 0 : 2 * sizeof(T) * static_cast<std::size_t>(groups * cols);
}

template <class T>
void layer_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, void* scratch, Index rows, Index cols, Rung rung) {
  using R = real<T>;
  if (cols == 0) return;
  if (rung == Rung::naive)
    return naive::layer_norm_backward(stream, grad, x, weight, mean, rstd, dx, dweight, dbias, rows, cols);
  const bool aligned = rows_are_aligned(grad, cols) && rows_are_aligned(x, cols);
  // dx may be grad, so that the columns come first.
  if (dweight != nullptr || dbias != nullptr)
    columns(stream, grad, x, mean, rstd, dweight, dbias, rows, cols, scratch, aligned);
  if (rows == 0) return;
  const bool packed = aligned && rows_are_aligned(dx, cols) && row_is_aligned(weight);
  if (is_held<T>(cols, packed))
    return with_row_shape<T>(rows, cols, packed, [&](auto shape, const LaunchShape& launch_shape) {
      launch("layer norm backward", layer_norm_backward_kernel<R, decltype(shape)>, launch_shape, stream, reals(grad),
             reals(x), reals(weight), reals(mean), reals(rstd), reals(dx), rows, cols);
    });
  launch("layer norm backward of long rows",
         packed ? long_layer_norm_backward_kernel<R, kPack<T>> : long_layer_norm_backward_kernel<R, 1>,
         {full_grid(rows, kLongThreads), kLongThreads}, stream, reals(grad), reals(x), reals(weight), reals(mean),
         reals(rstd), reals(dx), rows, cols);
}

#define DLKIT_INSTANTIATE(T)                                                                                     \
  template void layer_norm(Stream, const T*, const T*, const T*, T*, T*, T*, Index, Index, double, Rung);        \
  template std::size_t layer_norm_backward_scratch<T>(Index, Index);                                             \
  template void layer_norm_backward(Stream, const T*, const T*, const T*, const T*, const T*, T*, T*, T*, void*, \
                                    Index, Index, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
