// Softmax and softmax cross-entropy on vectors, a row at a time, so that a row is read from memory once and its other
// passes find it in the first- or second-level cache: largest element; exponentials and their sum; the result.
//
// cross_entropy: logits in, losses and their gradient out, no probabilities stored in between; the exponentials are
// kept where the gradient goes. FLOPs: about 20 per element, most of them in the exponential. Bytes: each logit read
// once, each gradient written once, for which its line is read first. Bound: the exponential while in cache, memory
// bandwidth past it. (Storing the gradient past the caches, to save reading its lines, needs a buffer for the
// exponentials and was no faster at any size on Zen 5.)
#include "core/simd.h"
#include "core/vector_math.h"
#include "layers/each_register.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

DLKIT_INLINE float log_of(float x) { return __builtin_logf(x); }
DLKIT_INLINE double log_of(double x) { return __builtin_log(x); }

constexpr int kUnroll = 4;

template <class T>
DLKIT_INLINE Vec<T> minus_infinity() {
  return Vec<T>::broadcast(-static_cast<T>(__builtin_inf()));
}

template <class T>
DLKIT_INLINE T row_maximum(const T* x, Index n) {
  using V = Vec<T>;
  V most[kUnroll];
  for (auto& m : most) m = minus_infinity<T>();
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j) most[j] = V::max(most[j], V::load(x + i + j * V::lanes));
  for (; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    most[0] = V::max(most[0], V::select(mask, V::load(x + i, mask), minus_infinity<T>()));
  }
  return V::max(V::max(most[0], most[1]), V::max(most[2], most[3])).maximum();
}

// y = exp(x - shift) where y is not null; the sum of exp(x - shift).
template <class T, bool kStore>
DLKIT_INLINE T exp_sum(const T* x, T shift, T* y, Index n) {
  using V = Vec<T>;
  const V by = V::broadcast(shift);
  V sum[kUnroll];
  for (auto& s : sum) s = V::zero();
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j) {
      const V e = exp_of_negative<T>(V::load(x + i + j * V::lanes) - by);
      if (kStore) e.store(y + i + j * V::lanes);
      sum[j] = sum[j] + e;
    }
  for (; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    const V e = exp_of_negative<T>(V::load(x + i, mask) - by);
    if (kStore) e.store(y + i, mask);
    sum[0] = sum[0] + V::select(mask, e, V::zero());
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

template <class T>
DLKIT_INLINE T row_sum(const T* x, Index n) {
  using V = Vec<T>;
  V sum[kUnroll];
  for (auto& s : sum) s = V::zero();
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j) sum[j] = sum[j] + V::load(x + i + j * V::lanes);
  for (; i < n; i += V::lanes) sum[0] = sum[0] + V::load(x + i, V::first(n - i));
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

template <class T>
DLKIT_INLINE T row_dot(const T* x, const T* y, Index n) {
  using V = Vec<T>;
  V sum[kUnroll];
  for (auto& s : sum) s = V::zero();
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j)
      sum[j] = V::fma(V::load(x + i + j * V::lanes), V::load(y + i + j * V::lanes), sum[j]);
  for (; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    sum[0] = V::fma(V::load(x + i, mask), V::load(y + i, mask), sum[0]);
  }
  return ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum();
}

// x = x * factor - offset
template <class T>
DLKIT_INLINE void scale_row(T* x, T factor, T offset, Index n) {
  using V = Vec<T>;
  const V by = V::broadcast(factor), less = V::broadcast(offset);
  each_register(x, n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    (V::load(x + i, mask...) * by - less).store(x + i, mask...);
  });
}

template <class T>
void softmax(const T* x, Index row_stride, T* out, Index rows, Index cols) {
  for (Index row = 0; row < rows; ++row, x += row_stride, out += cols) {
    const T sum = exp_sum<T, true>(x, row_maximum(x, cols), out, cols);
    scale_row(out, T(1) / sum, T(0), cols);
  }
}

template <class T>
void log_softmax(const T* x, Index row_stride, T* out, Index rows, Index cols) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row, x += row_stride, out += cols) {
    const T most = row_maximum(x, cols);
    const T log_sum = log_of(exp_sum<T, false>(x, most, out, cols));
    // In this order, as (x - most) is exact where it matters.
    const V shift = V::broadcast(most), by = V::broadcast(log_sum);
    Index i = 0;
    for (; i + V::lanes <= cols; i += V::lanes) (V::load(x + i) - shift - by).store(out + i);
    if (i < cols) (V::load(x + i, V::first(cols - i)) - shift - by).store(out + i, V::first(cols - i));
  }
}

// y (grad - sum grad y)
template <class T>
void softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row, grad += cols, y += cols, out += cols) {
    const V dot = V::broadcast(row_dot(grad, y, cols));
    Index i = 0;
    for (; i + V::lanes <= cols; i += V::lanes) (V::load(y + i) * (V::load(grad + i) - dot)).store(out + i);
    if (i < cols) {
      const auto mask = V::first(cols - i);
      (V::load(y + i, mask) * (V::load(grad + i, mask) - dot)).store(out + i, mask);
    }
  }
}

// grad - exp(y) sum grad
template <class T>
void log_softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row, grad += cols, y += cols, out += cols) {
    const V sum = V::broadcast(row_sum(grad, cols));
    Index i = 0;
    for (; i + V::lanes <= cols; i += V::lanes) V::fnma(exp<T>(V::load(y + i)), sum, V::load(grad + i)).store(out + i);
    if (i < cols) {
      const auto mask = V::first(cols - i);
      V::fnma(exp<T>(V::load(y + i, mask)), sum, V::load(grad + i, mask)).store(out + i, mask);
    }
  }
}

template <class T>
void cross_entropy(const CrossEntropy<T>& work, Index first, Index last) {
  using V = Vec<T>;
  const Index n = work.cols;
  const T smoothing = work.label_smoothing;
  const T of_label = T(1) - smoothing, of_each = smoothing / static_cast<T>(n);
  for (Index row = first; row < last; ++row) {
    const T* x = work.logits + row * work.row_stride;
    T* grad = work.grad == nullptr ? nullptr : work.grad + row * n;
    const std::int64_t label = work.labels[row];
    if (label == work.ignore_index) {
      work.losses[row] = 0;
      if (grad != nullptr)
        for (Index i = 0; i < n; i += V::lanes) V::zero().store(grad + i, V::first(n - i));
      continue;
    }
    const T most = row_maximum(x, n);
    const T at_label = x[label];
    const T mean = smoothing == 0 ? T(0) : row_sum(x, n) / static_cast<T>(n);
    const T sum = grad == nullptr ? exp_sum<T, false>(x, most, grad, n) : exp_sum<T, true>(x, most, grad, n);
    const T log_sum = log_of(sum);
    T loss = log_sum - (at_label - most);
    if (smoothing != 0) loss = of_label * loss + smoothing * (log_sum - (mean - most));
    work.losses[row] = loss;
    if (grad == nullptr) continue;
    const T factor = work.grad_scale / sum, offset = work.grad_scale * of_each;
    const T p_label = grad[label] / sum;
    scale_row(grad, factor, offset, n);
    grad[label] = work.grad_scale * (p_label - (of_label + of_each));
  }
}

template <class T>
constexpr SoftmaxKernels<T> kKernels = {softmax<T>, log_softmax<T>, softmax_backward<T>, log_softmax_backward<T>,
                                        cross_entropy<T>};

}  // namespace

extern const Both<SoftmaxKernels> softmax_table;
const Both<SoftmaxKernels> softmax_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
