// The definitions on a GPU, and the reference of its tests: one thread an element, a row or a column, in the order that
// the textbook has.
//
// One thread an element reads neighbouring addresses, and is bound by memory as it should be. One thread a row reads
// addresses a row apart: each of its loads of 4 bytes takes a sector of 32, and few rows leave most of the machine
// idle. A thread a column reads whole sectors, but has one load in flight and nobody to share a long column with.
#include "layers/naive_layers.h"

#include <bit>

#include "core/cuda/grid.h"
#include "core/philox.h"
#include "layers/each_pack.h"
#include "layers/functions.h"

namespace dlkit::device::naive {
namespace {

__device__ __forceinline__ Index thread_number() { return static_cast<Index>(blockIdx.x) * blockDim.x + threadIdx.x; }

// A thread for each of n.
LaunchShape one_each(Index n) { return {static_cast<unsigned>(ceil_div<Index>(n, kThreads)), kThreads}; }

template <class T, class Function>
__global__ void activation_kernel(const T* x, T* y, Index n, T alpha) {
  const Index i = thread_number();
  if (i < n) y[i] = Function::forward(x[i], alpha);
}

template <class T, class Function>
__global__ void activation_backward_kernel(const T* grad, const T* saved, T* out, Index n, T alpha) {
  const Index i = thread_number();
  if (i < n) out[i] = Function::backward(grad[i], saved[i], alpha);
}

template <class T>
__device__ T row_maximum(const T* x, Index cols) {
  T most = x[0];
  for (Index k = 1; k < cols; ++k) most = x[k] > most || x[k] != x[k] ? x[k] : most;
  return most;
}

template <class T>
__global__ void softmax_kernel(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm) {
  const Index row = thread_number();
  if (row >= rows) return;
  x += row * row_stride;
  out += row * cols;
  const T most = row_maximum(x, cols);
  T sum = T(0);
  for (Index k = 0; k < cols; ++k) sum += exp(x[k] - most);
  for (Index k = 0; k < cols; ++k) out[k] = logarithm ? x[k] - most - log(sum) : exp(x[k] - most) / sum;
}

template <class T>
__global__ void softmax_backward_kernel(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm) {
  const Index row = thread_number();
  if (row >= rows) return;
  grad += row * cols;
  y += row * cols;
  out += row * cols;
  T sum = T(0);
  for (Index k = 0; k < cols; ++k) sum += logarithm ? grad[k] : grad[k] * y[k];
  for (Index k = 0; k < cols; ++k) out[k] = logarithm ? grad[k] - exp(y[k]) * sum : y[k] * (grad[k] - sum);
}

template <class T>
__global__ void cross_entropy_kernel(const CrossEntropy<T> work, const Index* counted) {
  const Index row = thread_number(), cols = work.cols;
  if (row >= work.rows) return;
  const T* x = work.logits + row * work.row_stride;
  T* grad = work.grad == nullptr ? nullptr : work.grad + row * cols;
  const std::int64_t label = work.labels[row];
  if (label == work.ignore_index || label < 0 || label >= cols) {
    const T value = label == work.ignore_index ? T(0) : quiet_nan<T>();
    work.losses[row] = value;
    for (Index k = 0; grad != nullptr && k < cols; ++k) grad[k] = value;
    return;
  }
  const T scale = counted == nullptr ? work.grad_scale : work.grad_scale / T(*counted);
  const T spread = work.label_smoothing / T(cols), most = row_maximum(x, cols);
  T sum = T(0), loss = T(0);
  for (Index k = 0; k < cols; ++k) sum += exp(x[k] - most);
  for (Index k = 0; k < cols; ++k) {
    const T target = (k == label ? T(1) - work.label_smoothing : T(0)) + spread;
    const T log_probability = x[k] - most - log(sum);
    if (target != T(0)) loss -= target * log_probability;
    if (grad != nullptr) grad[k] = scale * (exp(log_probability) - target);
  }
  work.losses[row] = loss;
}

template <class T>
__global__ void dropout_kernel(const T* x, T* y, Index n, double p, T scale, std::uint64_t seed, std::uint64_t offset,
                               const std::uint64_t* offset_pointer) {
  const Index i = thread_number();
  if (i >= n) return;
  if (offset_pointer != nullptr) offset += *offset_pointer;
  const std::uint32_t word = Philox::element(seed, offset + static_cast<std::uint64_t>(i));
  y[i] = word >= p * 4294967296.0 ? x[i] * scale : T(0);  // a word is below it with probability p
}

template <class T>
__global__ void column_sum_kernel(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate) {
  const Index col = thread_number();
  if (col >= cols) return;
  T sum = accumulate ? out[col] : T(0);
  for (Index row = 0; row < rows; ++row) sum += x[row * row_stride + col];
  out[col] = sum;
}

template <class T>
__global__ void sgd_kernel(T* value, const T* grad, T* velocity, Index n, SgdFactors<T> f,
                           const SgdFactors<T>* on_device) {
  const Index i = thread_number();
  if (i >= n) return;
  if (on_device != nullptr) f = *on_device;
  T step = grad[i] + f.weight_decay * value[i];
  if (velocity != nullptr && f.momentum != T(0)) {
    velocity[i] = f.first_step ? step : f.momentum * velocity[i] + f.rest * step;
    step = f.nesterov ? step + f.momentum * velocity[i] : velocity[i];
  }
  value[i] -= f.lr * step;
}

template <class T>
__global__ void adam_kernel(T* value, const T* grad, T* first, T* second, Index n, AdamFactors<T> f,
                            const AdamFactors<T>* on_device) {
  const Index i = thread_number();
  if (i >= n) return;
  if (on_device != nullptr) f = *on_device;
  const T g = grad[i] + f.l2 * value[i];
  first[i] = f.beta1 * first[i] + f.rest1 * g;
  second[i] = f.beta2 * second[i] + f.rest2 * g * g;
  value[i] = f.keep * value[i] - f.step_size * first[i] / (sqrt(second[i]) * f.root_scale + f.eps);
}

template <class T>
__global__ void embedding_kernel(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n,
                                 T* out) {
  const Index i = thread_number();
  if (i >= n * cols) return;
  const std::int64_t row = indices[i / cols];
  out[i] = row < 0 || row >= rows ? quiet_nan<T>() : weight[row * cols + i % cols];
}

// A thread an element of out, which goes through all indices.
template <class T>
__global__ void embedding_backward_kernel(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                                          Index padding_idx, T* out) {
  const Index at = thread_number();
  if (at >= rows * cols) return;
  const Index row = at / cols, col = at % cols;
  T sum = T(0);
  for (Index i = 0; row != padding_idx && i < n; ++i)
    if (indices[i] == row) sum += grad[i * cols + col];
  out[at] = sum;
}

template <class T>
__global__ void layer_norm_kernel(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                                  Index cols, T eps) {
  const Index row = thread_number();
  if (row >= rows) return;
  x += row * cols;
  out += row * cols;
  T sum = T(0), squares = T(0);
  for (Index k = 0; k < cols; ++k) sum += x[k];
  const T m = sum / T(cols);
  for (Index k = 0; k < cols; ++k) squares += (x[k] - m) * (x[k] - m);
  const T r = T(1) / sqrt(squares / T(cols) + eps);
  for (Index k = 0; k < cols; ++k)
    out[k] = (x[k] - m) * r * (weight == nullptr ? T(1) : weight[k]) + (bias == nullptr ? T(0) : bias[k]);
  mean[row] = m;
  rstd[row] = r;
}

template <class T>
__global__ void layer_norm_backward_kernel(const T* grad, const T* x, const T* weight, const T* mean, const T* rstd,
                                           T* dx, Index rows, Index cols) {
  const Index row = thread_number();
  if (row >= rows) return;
  grad += row * cols;
  x += row * cols;
  dx += row * cols;
  const T m = mean[row], r = rstd[row];
  T sum = T(0), dot = T(0);
  for (Index k = 0; k < cols; ++k) {
    const T g = grad[k] * (weight == nullptr ? T(1) : weight[k]);
    sum += g;
    dot += g * (x[k] - m) * r;
  }
  for (Index k = 0; k < cols; ++k) {
    const T g = grad[k] * (weight == nullptr ? T(1) : weight[k]);
    dx[k] = r * (g - sum / T(cols) - (x[k] - m) * r * (dot / T(cols)));
  }
}

template <class T>
__global__ void layer_norm_columns_kernel(const T* grad, const T* x, const T* mean, const T* rstd, T* dweight, T* dbias,
                                          Index rows, Index cols) {
  const Index col = thread_number();
  if (col >= cols) return;
  T of_weight = T(0), of_bias = T(0);
  for (Index row = 0; row < rows; ++row) {
    const T g = grad[row * cols + col];
    of_weight += g * (x[row * cols + col] - mean[row]) * rstd[row];
    of_bias += g;
  }
  if (dweight != nullptr) dweight[col] = of_weight;
  if (dbias != nullptr) dbias[col] = of_bias;
}

// A thread a channel: body(at) for each of its elements.
template <class Body>
__device__ __forceinline__ void each_of_channel(Index channel, Index n, Index channels, Index inner, const Body& body) {
  for (Index i = 0; i < n; ++i)
    for (Index k = 0; k < inner; ++k) body((i * channels + channel) * inner + k);
}

template <class T>
__global__ void batch_norm_kernel(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index n,
                                  Index channels, Index inner, T eps) {
  const Index c = thread_number();
  if (c >= channels) return;
  const T count = T(n * inner);
  T sum = T(0), squares = T(0);
  each_of_channel(c, n, channels, inner, [&](Index at) { sum += x[at]; });
  const T m = sum / count;
  each_of_channel(c, n, channels, inner, [&](Index at) { squares += (x[at] - m) * (x[at] - m); });
  const T r = T(1) / sqrt(squares / count + eps);
  const T w = weight == nullptr ? T(1) : weight[c], b = bias == nullptr ? T(0) : bias[c];
  each_of_channel(c, n, channels, inner, [&](Index at) { out[at] = (x[at] - m) * r * w + b; });
  mean[c] = m;
  rstd[c] = r;
}

template <class T>
__global__ void batch_norm_backward_kernel(const T* grad, const T* x, const T* weight, const T* mean, const T* rstd,
                                           T* dx, T* dweight, T* dbias, Index n, Index channels, Index inner) {
  const Index c = thread_number();
  if (c >= channels) return;
  const T count = T(n * inner), m = mean[c], r = rstd[c], w = weight == nullptr ? T(1) : weight[c];
  T sum = T(0), dot = T(0);
  each_of_channel(c, n, channels, inner, [&](Index at) {
    sum += grad[at];
    dot += grad[at] * (x[at] - m) * r;
  });
  each_of_channel(c, n, channels, inner,
                  [&](Index at) { dx[at] = w * r * (grad[at] - sum / count - (x[at] - m) * r * (dot / count)); });
  if (dweight != nullptr) dweight[c] = dot;
  if (dbias != nullptr) dbias[c] = sum;
}

template <class T>
CrossEntropy<real<T>> in_reals(const CrossEntropy<T>& work) {
  return {reals(work.logits), work.row_stride,
          work.labels,        work.rows,
          work.cols,          real<T>(work.label_smoothing),
          work.ignore_index,  real<T>(work.grad_scale),
          reals(work.losses), reals(work.grad)};
}

}  // namespace

template <class T>
void activation(Stream stream, ActivationKind kind, const T* x, T* y, Index n, double alpha) {
  with_function(kind, [&](auto function) {
    using R = real<T>;
    launch("naive", activation_kernel<R, decltype(function)>, one_each(n), stream, reals(x), reals(y), n,
           R(static_cast<T>(alpha)));
  });
}

template <class T>
void activation_backward(Stream stream, ActivationKind kind, const T* grad, const T* saved, T* out, Index n,
                         double alpha) {
  with_function(kind, [&](auto function) {
    using R = real<T>;
    launch("naive", activation_backward_kernel<R, decltype(function)>, one_each(n), stream, reals(grad), reals(saved),
           reals(out), n, R(static_cast<T>(alpha)));
  });
}

template <class T>
void softmax(Stream stream, const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm) {
  launch("naive", softmax_kernel<real<T>>, one_each(rows), stream, reals(x), row_stride, reals(out), rows, cols,
         logarithm);
}

template <class T>
void softmax_backward(Stream stream, const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm) {
  launch("naive", softmax_backward_kernel<real<T>>, one_each(rows), stream, reals(grad), reals(y), reals(out), rows,
         cols, logarithm);
}

template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& work, const Index* counted) {
  launch("naive", cross_entropy_kernel<real<T>>, one_each(work.rows), stream, in_reals(work), counted);
}

template <class T>
void dropout(Stream stream, const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset,
             const std::uint64_t* offset_pointer) {
  launch("naive", dropout_kernel<real<T>>, one_each(n), stream, reals(x), reals(y), n, p,
         real<T>(static_cast<T>(1 / (1 - p))), seed, offset, offset_pointer);
}

template <class T>
void column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate) {
  launch("naive", column_sum_kernel<real<T>>, one_each(cols), stream, reals(x), row_stride, rows, cols, reals(out),
         accumulate);
}

template <class T>
void sgd_step(Stream stream, const std::vector<Parameter<T>>& parameters, const SgdFactors<T>& factors,
              const SgdFactors<T>* on_device) {
  using R = real<T>;
  for (const auto& part : parameters)
    launch("naive", sgd_kernel<R>, one_each(part.n), stream, reals(part.value), reals(part.grad), reals(part.first),
           part.n, std::bit_cast<SgdFactors<R>>(factors), reinterpret_cast<const SgdFactors<R>*>(on_device));
}

template <class T>
void adam_step(Stream stream, const std::vector<Parameter<T>>& parameters, const AdamFactors<T>& factors,
               const AdamFactors<T>* on_device) {
  using R = real<T>;
  for (const auto& part : parameters)
    launch("naive", adam_kernel<R>, one_each(part.n), stream, reals(part.value), reals(part.grad), reals(part.first),
           reals(part.second), part.n, std::bit_cast<AdamFactors<R>>(factors),
           reinterpret_cast<const AdamFactors<R>*>(on_device));
}

template <class T>
void embedding(Stream stream, const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out) {
  launch("naive", embedding_kernel<real<T>>, one_each(n * cols), stream, reals(weight), rows, cols, indices, n,
         reals(out));
}

template <class T>
void embedding_backward(Stream stream, const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        Index padding_idx, T* out) {
  launch("naive", embedding_backward_kernel<real<T>>, one_each(rows * cols), stream, reals(grad), indices, n, rows,
         cols, padding_idx, reals(out));
}

template <class T>
void layer_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                Index cols, double eps) {
  using R = real<T>;
  launch("naive", layer_norm_kernel<R>, one_each(rows), stream, reals(x), reals(weight), reals(bias), reals(out),
         reals(mean), reals(rstd), rows, cols, R(static_cast<T>(eps)));
}

template <class T>
void layer_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index rows, Index cols) {
  using R = real<T>;
  // dx may be grad, so that the columns come first.
  if (dweight != nullptr || dbias != nullptr)
    launch("naive columns", layer_norm_columns_kernel<R>, one_each(cols), stream, reals(grad), reals(x), reals(mean),
           reals(rstd), reals(dweight), reals(dbias), rows, cols);
  launch("naive", layer_norm_backward_kernel<R>, one_each(rows), stream, reals(grad), reals(x), reals(weight),
         reals(mean), reals(rstd), reals(dx), rows, cols);
}

template <class T>
void batch_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index n,
                Index channels, Index inner, double eps) {
  using R = real<T>;
  launch("naive", batch_norm_kernel<R>, one_each(channels), stream, reals(x), reals(weight), reals(bias), reals(out),
         reals(mean), reals(rstd), n, channels, inner, R(static_cast<T>(eps)));
}

template <class T>
void batch_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index n, Index channels, Index inner) {
  launch("naive", batch_norm_backward_kernel<real<T>>, one_each(channels), stream, reals(grad), reals(x), reals(weight),
         reals(mean), reals(rstd), reals(dx), reals(dweight), reals(dbias), n, channels, inner);
}

#define DLKIT_INSTANTIATE(T)                                                                                       \
  template void activation(Stream, ActivationKind, const T*, T*, Index, double);                                   \
  template void activation_backward(Stream, ActivationKind, const T*, const T*, T*, Index, double);                \
  template void softmax(Stream, const T*, Index, T*, Index, Index, bool);                                          \
  template void softmax_backward(Stream, const T*, const T*, T*, Index, Index, bool);                              \
  template void cross_entropy(Stream, const CrossEntropy<T>&, const Index*);                                       \
  template void dropout(Stream, const T*, T*, Index, double, std::uint64_t, std::uint64_t, const std::uint64_t*);  \
  template void column_sum(Stream, const T*, Index, Index, Index, T*, bool);                                       \
  template void sgd_step(Stream, const std::vector<Parameter<T>>&, const SgdFactors<T>&, const SgdFactors<T>*);    \
  template void adam_step(Stream, const std::vector<Parameter<T>>&, const AdamFactors<T>&, const AdamFactors<T>*); \
  template void embedding(Stream, const T*, Index, Index, const std::int64_t*, Index, T*);                         \
  template void embedding_backward(Stream, const T*, const std::int64_t*, Index, Index, Index, Index, T*);         \
  template void layer_norm(Stream, const T*, const T*, const T*, T*, T*, T*, Index, Index, double);                \
  template void layer_norm_backward(Stream, const T*, const T*, const T*, const T*, const T*, T*, T*, T*, Index,   \
                                    Index);                                                                        \
  template void batch_norm(Stream, const T*, const T*, const T*, T*, T*, T*, Index, Index, Index, double);         \
  template void batch_norm_backward(Stream, const T*, const T*, const T*, const T*, const T*, T*, T*, T*, Index,   \
                                    Index, Index);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device::naive
