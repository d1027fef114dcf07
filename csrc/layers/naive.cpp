// The definitions, and the reference of the tests: one element, one row, one column at a time, the C library's exp,
// log, tanh and erf. Bound by those functions (10 to 40 ns a call), far above any memory traffic.
#include "layers/naive.h"

#include <algorithm>
#include <cmath>

#include "core/philox.h"

namespace dlkit::naive {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;          // 1 / sqrt(2)
constexpr double kInverseRootTwoPi = 0.39894228040143267794;  // 1 / sqrt(2 pi)

template <class T>
T sigmoid(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

template <class T>
T normal_distribution(T x) {
  return T(0.5) * std::erfc(-x * T(kRootHalf));
}

template <class T>
T evaluate(ActivationKind kind, T x, T alpha) {
  switch (kind) {
    case ActivationKind::relu: return x < 0 ? T(0) : x;
    case ActivationKind::leaky_relu: return x <= 0 ? alpha * x : x;
    case ActivationKind::elu: return x <= 0 ? alpha * std::expm1(x) : x;
    case ActivationKind::sigmoid: return sigmoid(x);
    case ActivationKind::tanh: return std::tanh(x);
    case ActivationKind::softplus: return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
    case ActivationKind::silu: return x * sigmoid(x);
    case ActivationKind::gelu: return x * normal_distribution(x);
    default: return std::exp(x);
  }
}

template <class T>
T derivative(ActivationKind kind, T saved, T alpha) {
  const T y = saved, x = saved;
  switch (kind) {
    case ActivationKind::relu: return y <= 0 ? T(0) : T(1);
    case ActivationKind::leaky_relu: return y <= 0 ? alpha : T(1);
    case ActivationKind::elu: return y <= 0 ? y + alpha : T(1);
    case ActivationKind::sigmoid: return y * (1 - y);
    case ActivationKind::tanh: return 1 - y * y;
    case ActivationKind::softplus: return -std::expm1(-y);
    case ActivationKind::silu: return sigmoid(x) * (1 + x * (1 - sigmoid(x)));
    case ActivationKind::gelu: return normal_distribution(x) + x * T(kInverseRootTwoPi) * std::exp(-x * x / 2);
    default: return y;
  }
}

}  // namespace

template <class T>
void activation(ActivationKind kind, const T* x, T* y, Index n, T alpha) {
  for (Index i = 0; i < n; ++i) y[i] = evaluate(kind, x[i], alpha);
}

template <class T>
void activation_backward(ActivationKind kind, const T* grad, const T* saved, T* out, Index n, T alpha) {
  for (Index i = 0; i < n; ++i) out[i] = grad[i] * derivative(kind, saved[i], alpha);
}

template <class T>
void softmax(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm) {
  for (Index row = 0; row < rows; ++row, x += row_stride, out += cols) {
    const T most = *std::max_element(x, x + cols);
    T sum = 0;
    for (Index k = 0; k < cols; ++k) sum += std::exp(x[k] - most);
    for (Index k = 0; k < cols; ++k) out[k] = logarithm ? x[k] - most - std::log(sum) : std::exp(x[k] - most) / sum;
  }
}

template <class T>
void softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm) {
  for (Index row = 0; row < rows; ++row, grad += cols, y += cols, out += cols) {
    T sum = 0;
    for (Index k = 0; k < cols; ++k) sum += logarithm ? grad[k] : grad[k] * y[k];
    for (Index k = 0; k < cols; ++k) out[k] = logarithm ? grad[k] - std::exp(y[k]) * sum : y[k] * (grad[k] - sum);
  }
}

template <class T>
void cross_entropy(const CrossEntropy<T>& work) {
  const Index cols = work.cols;
  const T spread = work.label_smoothing / static_cast<T>(cols);
  for (Index row = 0; row < work.rows; ++row) {
    const T* x = work.logits + row * work.row_stride;
    T* grad = work.grad == nullptr ? nullptr : work.grad + row * cols;
    const std::int64_t label = work.labels[row];
    work.losses[row] = 0;
    if (label == work.ignore_index) {
      if (grad != nullptr) std::fill(grad, grad + cols, T(0));
      continue;
    }
    const T most = *std::max_element(x, x + cols);
    T sum = 0;
    for (Index k = 0; k < cols; ++k) sum += std::exp(x[k] - most);
    for (Index k = 0; k < cols; ++k) {
      const T target = (k == label ? 1 - work.label_smoothing : T(0)) + spread;
      const T log_probability = x[k] - most - std::log(sum);
      if (target != 0) work.losses[row] -= target * log_probability;
      if (grad != nullptr) grad[k] = work.grad_scale * (std::exp(log_probability) - target);
    }
  }
}

template <class T>
void dropout(const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset) {
  const double threshold = p * 4294967296.0;  // a word is below it with probability p
  for (Index i = 0; i < n; ++i) {
    const std::uint32_t word = Philox::element(seed, offset + static_cast<std::uint64_t>(i));
    y[i] = word >= threshold ? x[i] * static_cast<T>(1 / (1 - p)) : T(0);
  }
}

template <class T>
void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate) {
  for (Index col = 0; col < cols; ++col) {
    T sum = accumulate ? out[col] : T(0);
    for (Index row = 0; row < rows; ++row) sum += x[row * row_stride + col];
    out[col] = sum;
  }
}

template <class T>
void embedding(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out) {
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < cols; ++j) {
      const std::int64_t row = indices[i];
      out[i * cols + j] = row >= 0 && row < rows ? weight[row * cols + j] : T(0);
    }
}

template <class T>
void embedding_backward(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        std::int64_t padding, T* out, bool accumulate) {
  if (!accumulate) std::fill(out, out + rows * cols, T(0));
  for (Index i = 0; i < n; ++i)
    for (Index j = 0; j < cols; ++j) {
      const std::int64_t row = indices[i];
      if (row >= 0 && row < rows && row != padding) out[row * cols + j] += grad[i * cols + j];
    }
}

namespace {

// y = (x - mean) rstd weight + bias over `count` elements, of which element k is at place(k): what layer and batch
// normalisation share. of(k): which weight and bias.
template <class T, class Place, class Of>
void normalise(const T* x, const T* weight, const T* bias, T* out, T& mean, T& rstd, Index count, T eps,
               const Place& place, const Of& of) {
  T sum = 0, squares = 0;
  for (Index k = 0; k < count; ++k) sum += x[place(k)];
  mean = sum / static_cast<T>(count);
  for (Index k = 0; k < count; ++k) squares += (x[place(k)] - mean) * (x[place(k)] - mean);
  rstd = 1 / std::sqrt(squares / static_cast<T>(count) + eps);
  for (Index k = 0; k < count; ++k) {
    const T w = weight == nullptr ? T(1) : weight[of(k)], b = bias == nullptr ? T(0) : bias[of(k)];
    out[place(k)] = (x[place(k)] - mean) * rstd * w + b;
  }
}

// dx = rstd (g w - mean(g w) - x^ mean(g w x^)), where x^ = (x - mean) rstd; adds g x^ to dweight and g to dbias.
template <class T, class Place, class Of>
void normalise_backward(const NormGradient<T>& work, T mean, T rstd, Index count, const Place& place, const Of& of) {
  T sum = 0, product = 0;
  for (Index k = 0; k < count; ++k) {
    const T g = work.grad[place(k)], normal = (work.x[place(k)] - mean) * rstd;
    const T weighted = work.weight == nullptr ? g : g * work.weight[of(k)];
    sum += weighted;
    product += weighted * normal;
    if (work.dweight != nullptr) work.dweight[of(k)] += g * normal;
    if (work.dbias != nullptr) work.dbias[of(k)] += g;
  }
  for (Index k = 0; k < count; ++k) {
    const T g = work.grad[place(k)], normal = (work.x[place(k)] - mean) * rstd;
    const T weighted = work.weight == nullptr ? g : g * work.weight[of(k)];
    work.dx[place(k)] = rstd * (weighted - sum / static_cast<T>(count) - normal * product / static_cast<T>(count));
  }
}

// Element k of a channel: sample k / inner, position k % inner.
auto place_in(const ChannelShape& shape, Index channel) {
  return [shape, channel](Index k) {
    return (k / shape.inner * shape.channels + channel) * shape.inner + k % shape.inner;
  };
}

}  // namespace

template <class T>
void layer_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols, T eps) {
  for (Index row = 0; row < rows; ++row)
    normalise(
        x, weight, bias, out, mean[row], rstd[row], cols, eps, [&](Index k) { return row * cols + k; },
        [](Index k) { return k; });
}

template <class T>
void layer_norm_backward(const NormGradient<T>& work, Index rows, Index cols) {
  if (work.dweight != nullptr) std::fill(work.dweight, work.dweight + cols, T(0));
  if (work.dbias != nullptr) std::fill(work.dbias, work.dbias + cols, T(0));
  for (Index row = 0; row < rows; ++row)
    normalise_backward(
        work, work.mean[row], work.rstd[row], cols, [&](Index k) { return row * cols + k; }, [](Index k) { return k; });
}

template <class T>
void batch_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape,
                T eps) {
  for (Index channel = 0; channel < shape.channels; ++channel)
    normalise(x, weight, bias, out, mean[channel], rstd[channel], shape.n * shape.inner, eps, place_in(shape, channel),
              [&](Index) { return channel; });
}

template <class T>
void batch_norm_apply(const T* x, const T* mean, const T* var, const T* weight, const T* bias, T* out,
                      const ChannelShape& shape, T eps) {
  for (Index channel = 0; channel < shape.channels; ++channel) {
    const T rstd = 1 / std::sqrt(var[channel] + eps);
    const T w = weight == nullptr ? T(1) : weight[channel], b = bias == nullptr ? T(0) : bias[channel];
    const auto place = place_in(shape, channel);
    for (Index k = 0; k < shape.n * shape.inner; ++k) out[place(k)] = (x[place(k)] - mean[channel]) * rstd * w + b;
  }
}

template <class T>
void batch_norm_backward(const NormGradient<T>& work, const ChannelShape& shape) {
  if (work.dweight != nullptr) std::fill(work.dweight, work.dweight + shape.channels, T(0));
  if (work.dbias != nullptr) std::fill(work.dbias, work.dbias + shape.channels, T(0));
  for (Index channel = 0; channel < shape.channels; ++channel)
    normalise_backward(work, work.mean[channel], work.rstd[channel], shape.n * shape.inner, place_in(shape, channel),
                       [&](Index) { return channel; });
}

template <class T>
void sgd_step(const std::vector<Parameter<T>>& parameters, const SgdSettings& settings) {
  const T lr = static_cast<T>(settings.lr), momentum = static_cast<T>(settings.momentum);
  const T dampening = static_cast<T>(settings.dampening), weight_decay = static_cast<T>(settings.weight_decay);
  for (const Parameter<T>& part : parameters)
    for (Index i = 0; i < part.n; ++i) {
      T step = part.grad[i] + weight_decay * part.value[i];
      if (momentum != 0) {
        T& velocity = part.first[i];
        velocity = settings.first_step ? step : momentum * velocity + (1 - dampening) * step;
        step = settings.nesterov ? step + momentum * velocity : velocity;
      }
      part.value[i] -= lr * step;
    }
}

template <class T>
void adadelta_step(const std::vector<Parameter<T>>& parameters, const AdadeltaSettings& settings) {
  const auto lr = static_cast<T>(settings.lr), rho = static_cast<T>(settings.rho);
  const auto rest = static_cast<T>(1 - settings.rho), eps = static_cast<T>(settings.eps);
  const auto decay = static_cast<T>(settings.weight_decay);
  for (const auto& part : parameters)
    for (Index i = 0; i < part.n; ++i) {
      const T grad = part.grad[i] + decay * part.value[i];
      part.first[i] = rho * part.first[i] + rest * grad * grad;
      const T step = std::sqrt(part.second[i] + eps) / std::sqrt(part.first[i] + eps) * grad;
      part.value[i] -= lr * step;
      part.second[i] = rho * part.second[i] + rest * step * step;
    }
}

template <class T>
void adam_step(const std::vector<Parameter<T>>& parameters, const AdamSettings& settings) {
  const double power = static_cast<double>(settings.step);
  const T correction1 = static_cast<T>(1 - std::pow(settings.beta1, power));
  const T correction2 = static_cast<T>(1 - std::pow(settings.beta2, power));
  // In float32, 1 - 0.999f is off by 1e-5 of itself: the differences are formed in float64.
  const T beta1 = static_cast<T>(settings.beta1), beta2 = static_cast<T>(settings.beta2);
  const T rest1 = static_cast<T>(1 - settings.beta1), rest2 = static_cast<T>(1 - settings.beta2);
  const T lr = static_cast<T>(settings.lr), eps = static_cast<T>(settings.eps);
  const T weight_decay = static_cast<T>(settings.weight_decay);
  for (const Parameter<T>& part : parameters)
    for (Index i = 0; i < part.n; ++i) {
      T grad = part.grad[i];
      if (settings.decoupled)
        part.value[i] -= lr * weight_decay * part.value[i];
      else
        grad += weight_decay * part.value[i];
      part.first[i] = beta1 * part.first[i] + rest1 * grad;
      part.second[i] = beta2 * part.second[i] + rest2 * grad * grad;
      const T mean = part.first[i] / correction1, square = part.second[i] / correction2;
      part.value[i] -= lr * mean / (std::sqrt(square) + eps);
    }
}

#define DLKIT_INSTANTIATE(T)                                                                                    \
  template void activation(ActivationKind, const T*, T*, Index, T);                                             \
  template void activation_backward(ActivationKind, const T*, const T*, T*, Index, T);                          \
  template void softmax(const T*, Index, T*, Index, Index, bool);                                               \
  template void softmax_backward(const T*, const T*, T*, Index, Index, bool);                                   \
  template void cross_entropy(const CrossEntropy<T>&);                                                          \
  template void dropout(const T*, T*, Index, double, std::uint64_t, std::uint64_t);                             \
  template void column_sum(const T*, Index, Index, Index, T*, bool);                                            \
  template void embedding(const T*, Index, Index, const std::int64_t*, Index, T*);                              \
  template void embedding_backward(const T*, const std::int64_t*, Index, Index, Index, std::int64_t, T*, bool); \
  template void layer_norm(const T*, const T*, const T*, T*, T*, T*, Index, Index, T);                          \
  template void layer_norm_backward(const NormGradient<T>&, Index, Index);                                      \
  template void batch_norm(const T*, const T*, const T*, T*, T*, T*, const ChannelShape&, T);                   \
  template void batch_norm_apply(const T*, const T*, const T*, const T*, const T*, T*, const ChannelShape&, T); \
  template void batch_norm_backward(const NormGradient<T>&, const ChannelShape&);                               \
  template void sgd_step(const std::vector<Parameter<T>>&, const SgdSettings&);                                 \
  template void adam_step(const std::vector<Parameter<T>>&, const AdamSettings&);                               \
  template void adadelta_step(const std::vector<Parameter<T>>&, const AdadeltaSettings&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::naive
