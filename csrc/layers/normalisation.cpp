// Layer and batch normalisation on vectors: (x - mean) / sqrt(variance + eps), and its gradient.
//
// Moments are by the corrected two-pass algorithm of moments.h; pieces of a channel are joined in float64.
//
// Bytes per element: forward x read, the result written; backward grad and x read, dx written. A layer norm's row and
// a channel that fits the second-level cache find their other passes there; what is larger is read twice. FLOPs: about
// 8 forward, 14 backward. Bound: bandwidth of the cache level that the arrays are in.
#include "core/simd.h"
#include "layers/each_register.h"
#include "layers/kernels.h"
#include "layers/moments.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, bool kWeight, bool kBias>
DLKIT_INLINE void normalise_rows(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                                 Index cols, T eps) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row, x += cols, out += cols) {
    const Sums<T> sums = moments(x, 1, cols, 0);
    const T scale = T(1) / square_root(sums.squares / static_cast<T>(cols) + eps);
    mean[row] = sums.shift + sums.rest;
    rstd[row] = scale;
    const V shift = V::broadcast(sums.shift), by = V::broadcast(scale), offset = V::broadcast(-sums.rest * scale);
    each_register(out, cols, [&](Index i, auto... mask) __attribute__((always_inline)) {
      V y = V::fma(V::load(x + i, mask...) - shift, by, offset);
      if constexpr (kWeight && kBias)
        y = V::fma(y, V::load(weight + i, mask...), V::load(bias + i, mask...));
      else if constexpr (kWeight)
        y = y * V::load(weight + i, mask...);
      else if constexpr (kBias)
        y = y + V::load(bias + i, mask...);
      y.store(out + i, mask...);
    });
  }
}

template <class T>
void layer_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols, T eps) {
  if (weight != nullptr && bias != nullptr)
    normalise_rows<T, true, true>(x, weight, bias, out, mean, rstd, rows, cols, eps);
  else if (weight != nullptr)
    normalise_rows<T, true, false>(x, weight, bias, out, mean, rstd, rows, cols, eps);
  else if (bias != nullptr)
    normalise_rows<T, false, true>(x, weight, bias, out, mean, rstd, rows, cols, eps);
  else
    normalise_rows<T, false, false>(x, weight, bias, out, mean, rstd, rows, cols, eps);
}

// kRows rows at once, so that dweight and dbias, in the first-level cache, are read and written once for all of them.
template <class T, int kRows, bool kWeight, bool kSums>
DLKIT_INLINE void row_gradients(const NormGradient<T>& work, Index row, Index cols) {
  using V = Vec<T>;
  const T* weight = work.weight;
  const T *grad[kRows], *x[kRows];
  V mean[kRows], rstd[kRows], mean_grad[kRows], slope[kRows];
  for (int r = 0; r < kRows; ++r) {
    grad[r] = work.grad + (row + r) * cols;
    x[r] = work.x + (row + r) * cols;
    mean[r] = V::broadcast(work.mean[row + r]);
    rstd[r] = V::broadcast(work.rstd[row + r]);
    V sum[kUnroll], product[kUnroll];
    for (int j = 0; j < kUnroll; ++j) sum[j] = product[j] = V::zero();
    in_chains<T>(cols, [&](int j, Index i, auto... mask) __attribute__((always_inline)) {
      V g = V::load(grad[r] + i, mask...);  // 0 outside the mask
      if constexpr (kWeight) g = g * V::load(weight + i, mask...);
      sum[j] = sum[j] + g;
      product[j] = V::fma(g, counted<T>(V::load(x[r] + i, mask...) - mean[r], mask...), product[j]);
    });
    const T count = static_cast<T>(cols), scale = work.rstd[row + r];
    mean_grad[r] = V::broadcast(total<T>(sum) / count);
    slope[r] = V::broadcast(total<T>(product) * scale * scale / count);
  }
  T* dx = work.dx + row * cols;
  const auto at = [&](Index i, auto... mask) __attribute__((always_inline)) {
    V w, dweight, dbias;
    if constexpr (kWeight) w = V::load(weight + i, mask...);
    if constexpr (kSums) dweight = dbias = V::zero();
    for (int r = 0; r < kRows; ++r) {
      V g = V::load(grad[r] + i, mask...);
      const V distance = V::load(x[r] + i, mask...) - mean[r];
      if constexpr (kSums) {
        dweight = V::fma(g, distance * rstd[r], dweight);
        dbias = dbias + g;
      }
      if constexpr (kWeight) g = g * w;
      (V::fnma(distance, slope[r], g - mean_grad[r]) * rstd[r]).store(dx + r * cols + i, mask...);
    }
    if constexpr (kSums) {
      (V::load(work.dweight + i, mask...) + dweight).store(work.dweight + i, mask...);
      (V::load(work.dbias + i, mask...) + dbias).store(work.dbias + i, mask...);
    }
  };
  Index i = 0;
  for (; i + V::lanes <= cols; i += V::lanes) at(i);
  if (i < cols) at(i, V::first(cols - i));
}

template <class T, bool kWeight, bool kSums>
DLKIT_INLINE void all_row_gradients(const NormGradient<T>& work, Index rows, Index cols) {
  constexpr int kRows = Vec<T>::registers >= 32 ? 4 : 2;
  Index row = 0;
  for (; row + kRows <= rows; row += kRows) row_gradients<T, kRows, kWeight, kSums>(work, row, cols);
  for (; row < rows; ++row) row_gradients<T, 1, kWeight, kSums>(work, row, cols);
}

template <class T>
void layer_norm_backward(const NormGradient<T>& work, Index rows, Index cols) {
  if (work.weight != nullptr && work.dweight != nullptr)
    all_row_gradients<T, true, true>(work, rows, cols);
  else if (work.weight != nullptr)
    all_row_gradients<T, true, false>(work, rows, cols);
  else if (work.dweight != nullptr)
    all_row_gradients<T, false, true>(work, rows, cols);
  else
    all_row_gradients<T, false, false>(work, rows, cols);
}

template <class T>
Moments run_moments(const T* x, const Runs& runs) {
  const Sums<T> sums = moments(x + runs.offset, runs.runs, runs.length, runs.stride);
  return {static_cast<double>(sums.shift) + static_cast<double>(sums.rest), static_cast<double>(sums.squares)};
}

template <class T>
void run_apply(const T* x, T* out, const Runs& runs, const NormFactors<T>& factors) {
  using V = Vec<T>;
  const V shift = V::broadcast(factors.shift), scale = V::broadcast(factors.scale);
  const V offset = V::broadcast(factors.offset);
  for (Index run = 0; run < runs.runs; ++run) {
    const T* from = x + runs.offset + run * runs.stride;
    T* to = out + runs.offset + run * runs.stride;
    each_register(to, runs.length, [&](Index i, auto... mask) __attribute__((always_inline)) {
      V::fma(V::load(from + i, mask...) - shift, scale, offset).store(to + i, mask...);
    });
  }
}

template <class T>
void run_products(const T* grad, const T* x, const Runs& runs, T mean, double* sum_grad, double* sum_product) {
  using V = Vec<T>;
  const V shift = V::broadcast(mean);
  V sum[kUnroll], product[kUnroll];
  for (int j = 0; j < kUnroll; ++j) sum[j] = product[j] = V::zero();
  for (Index run = 0; run < runs.runs; ++run) {
    const Index at = runs.offset + run * runs.stride;
    in_chains<T>(runs.length, [&](int j, Index i, auto... mask) __attribute__((always_inline)) {
      const V g = V::load(grad + at + i, mask...);  // 0 outside the mask
      sum[j] = sum[j] + g;
      product[j] = V::fma(g, counted<T>(V::load(x + at + i, mask...) - shift, mask...), product[j]);
    });
  }
  *sum_grad = static_cast<double>(total<T>(sum));
  *sum_product = static_cast<double>(total<T>(product));
}

template <class T>
void run_backward(const T* grad, const T* x, T* dx, const Runs& runs, const NormBackwardFactors<T>& factors) {
  using V = Vec<T>;
  const V shift = V::broadcast(factors.shift), mean_grad = V::broadcast(factors.mean_grad);
  const V slope = V::broadcast(factors.slope), scale = V::broadcast(factors.scale);
  for (Index run = 0; run < runs.runs; ++run) {
    const Index at = runs.offset + run * runs.stride;
    each_register(dx + at, runs.length, [&](Index i, auto... mask) __attribute__((always_inline)) {
      const V distance = V::load(x + at + i, mask...) - shift;
      (V::fnma(distance, slope, V::load(grad + at + i, mask...) - mean_grad) * scale).store(dx + at + i, mask...);
    });
  }
}

// Columns. Some rows of a strip of a few registers' width at a time, so that what is summed stays in registers
// meanwhile, and strip after strip, so that memory is read along rows.

constexpr Index kBlockRows = 16;
constexpr Index kTileRows = 64;  // which stay in the second-level cache from one pass to the next

// body.template operator()<width>(first row, rows, column, mask...), the width in registers, for all blocks.
template <class T, class Body>
DLKIT_INLINE void in_blocks(Index rows, Index cols, const Body& body) {
  using V = Vec<T>;
  constexpr int kWide = V::registers / 4;
  for (Index row = 0; row < rows; row += kBlockRows) {
    const Index count = rows - row < kBlockRows ? rows - row : kBlockRows;
    Index col = 0;
    for (; col + kWide * V::lanes <= cols; col += kWide * V::lanes) body.template operator()<kWide>(row, count, col);
    for (; col + V::lanes <= cols; col += V::lanes) body.template operator()<1>(row, count, col);
    if (col < cols) body.template operator()<1>(row, count, col, V::first(cols - col));
  }
}

// A number for each column of a strip, whole registers of them.
template <class T>
struct StripRow {
  alignas(64) T at[kColumnStrip + 64 / sizeof(T)];

  DLKIT_INLINE Vec<T> load(Index col) const { return Vec<T>::load(at + col); }
  DLKIT_INLINE void store(Index col, Vec<T> v) { v.store(at + col); }
  DLKIT_INLINE void clear(Index cols) {
    for (Index col = 0; col < cols; col += Vec<T>::lanes) store(col, Vec<T>::zero());
  }
};

template <class T>
void column_moments(const T* x, Index stride, Index rows, Index cols, double* mean, double* squares) {
  using V = Vec<T>;
  StripRow<T> sum, shift, square;
  for (Index first = 0; first < rows; first += kTileRows, x += kTileRows * stride) {
    const Index count = rows - first < kTileRows ? rows - first : kTileRows;
    sum.clear(cols);
    square.clear(cols);
    in_blocks<T>(count, cols,
                 [&]<int kWidth>(Index row, Index many, Index col, auto... mask) __attribute__((always_inline)) {
                   V s[kWidth];
                   for (int j = 0; j < kWidth; ++j) s[j] = sum.load(col + j * V::lanes);
                   const T* from = x + row * stride + col;
                   for (Index r = 0; r < many; ++r, from += stride)
                     for (int j = 0; j < kWidth; ++j) s[j] = s[j] + V::load(from + j * V::lanes, mask...);
                   for (int j = 0; j < kWidth; ++j) sum.store(col + j * V::lanes, s[j]);
                 });
    const V share = V::broadcast(T(1) / static_cast<T>(count));
    for (Index col = 0; col < cols; col += V::lanes) shift.store(col, sum.load(col) * share);
    sum.clear(cols);
    in_blocks<T>(count, cols,
                 [&]<int kWidth>(Index row, Index many, Index col, auto... mask) __attribute__((always_inline)) {
                   V s[kWidth], q[kWidth], m[kWidth];
                   for (int j = 0; j < kWidth; ++j) {
                     s[j] = sum.load(col + j * V::lanes);
                     q[j] = square.load(col + j * V::lanes);
                     m[j] = shift.load(col + j * V::lanes);
                   }
                   const T* from = x + row * stride + col;
                   for (Index r = 0; r < many; ++r, from += stride)
                     for (int j = 0; j < kWidth; ++j) {
                       const V distance = V::load(from + j * V::lanes, mask...) - m[j];
                       s[j] = s[j] + distance;
                       q[j] = V::fma(distance, distance, q[j]);
                     }
                   for (int j = 0; j < kWidth; ++j) {
                     sum.store(col + j * V::lanes, s[j]);
                     square.store(col + j * V::lanes, q[j]);
                   }
                 });
    // Joined to the tiles before by Chan, Golub & LeVeque's formula.
    const double before = static_cast<double>(first), more = static_cast<double>(count);
    const double weight = more / (before + more), spread = before * weight, each = 1 / more;
    if (first == 0)
      for (Index col = 0; col < cols; ++col) mean[col] = squares[col] = 0;
    for (Index col = 0; col < cols; ++col) {
      const double off = static_cast<double>(sum.at[col]), rest = off * each;
      const double own = static_cast<double>(square.at[col]) - off * rest;
      const double delta = static_cast<double>(shift.at[col]) + rest - mean[col];
      mean[col] += delta * weight;
      squares[col] += (own < 0 ? 0.0 : own) + delta * delta * spread;
    }
  }
}

template <class T>
void column_products(const T* grad, const T* x, Index stride, Index rows, Index cols, const T* mean, T* sum_grad,
                     T* sum_product) {
  using V = Vec<T>;
  StripRow<T> sum, product;
  sum.clear(cols);
  product.clear(cols);
  in_blocks<T>(rows, cols,
               [&]<int kWidth>(Index row, Index many, Index col, auto... mask) __attribute__((always_inline)) {
                 V s[kWidth], p[kWidth], m[kWidth];
                 for (int j = 0; j < kWidth; ++j) {
                   s[j] = sum.load(col + j * V::lanes);
                   p[j] = product.load(col + j * V::lanes);
                   m[j] = V::load(mean + col + j * V::lanes, mask...);
                 }
                 Index at = row * stride + col;
                 for (Index r = 0; r < many; ++r, at += stride)
                   for (int j = 0; j < kWidth; ++j) {
                     const V g = V::load(grad + at + j * V::lanes, mask...);
                     s[j] = s[j] + g;
                     p[j] = V::fma(g, V::load(x + at + j * V::lanes, mask...) - m[j], p[j]);
                   }
                 for (int j = 0; j < kWidth; ++j) {
                   sum.store(col + j * V::lanes, s[j]);
                   product.store(col + j * V::lanes, p[j]);
                 }
               });
  for (Index col = 0; col < cols; ++col) {
    sum_grad[col] = sum.at[col];
    sum_product[col] = product.at[col];
  }
}

constexpr int kRowsAtOnce = 4;  // for which the factors of a register's columns are loaded once

// body(at, col, mask...) at row * stride + col, for all rows and columns.
template <class T, class Load, class Body>
DLKIT_INLINE void in_rows(Index stride, Index rows, Index cols, const Load& load, const Body& body) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; row += kRowsAtOnce) {
    const Index first = row * stride, last = (rows - row < kRowsAtOnce ? rows : row + kRowsAtOnce) * stride;
    const auto column = [&](Index col, auto... mask) __attribute__((always_inline)) {
      const auto factors = load(col, mask...);
      for (Index at = first; at < last; at += stride) body(factors, at + col, mask...);
    };
    Index col = 0;
    for (; col + V::lanes <= cols; col += V::lanes) column(col);
    if (col < cols) column(col, V::first(cols - col));
  }
}

template <class T>
void column_apply(const T* x, T* out, Index stride, Index rows, Index cols, const T* shift, const T* scale,
                  const T* offset) {
  using V = Vec<T>;
  struct Factors {
    V shift, scale, offset;
  };
  in_rows<T>(
      stride, rows, cols,
      [&](Index col, auto... mask) __attribute__((always_inline)) {
        return Factors{V::load(shift + col, mask...), V::load(scale + col, mask...), V::load(offset + col, mask...)};
      },
      [&](const Factors& by, Index at, auto... mask) __attribute__((always_inline)) {
        V::fma(V::load(x + at, mask...) - by.shift, by.scale, by.offset).store(out + at, mask...);
      });
}

template <class T>
void column_backward(const T* grad, const T* x, T* dx, Index stride, Index rows, Index cols, const T* shift,
                     const T* mean_grad, const T* slope, const T* scale) {
  using V = Vec<T>;
  struct Factors {
    V shift, mean_grad, slope, scale;
  };
  in_rows<T>(
      stride, rows, cols,
      [&](Index col, auto... mask) __attribute__((always_inline)) {
        return Factors{V::load(shift + col, mask...), V::load(mean_grad + col, mask...), V::load(slope + col, mask...),
                       V::load(scale + col, mask...)};
      },
      [&](const Factors& by, Index at, auto... mask) __attribute__((always_inline)) {
        const V distance = V::load(x + at, mask...) - by.shift;
        (V::fnma(distance, by.slope, V::load(grad + at, mask...) - by.mean_grad) * by.scale).store(dx + at, mask...);
      });
}

template <class T>
constexpr NormKernels<T> kKernels = {layer_norm<T>,      layer_norm_backward<T>, run_moments<T>,    run_apply<T>,
                                     run_products<T>,    run_backward<T>,        column_moments<T>, column_apply<T>,
                                     column_products<T>, column_backward<T>};

}  // namespace

extern const Both<NormKernels> norm_table;
const Both<NormKernels> norm_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
