// The layers chapter: what a network does between its matrix products. Activations, softmax and its losses, dropout,
// embeddings, layer and batch normalisation, sums over a batch, and the optimizers' steps.
//
// Everything here is a few operations per element read: memory traffic bounds it, not arithmetic. So the ladder is
// short: naive.cpp defines each operation; the other files do the same in as few passes over memory as there can be,
// on vectors, on threads where it pays.
//
// Arrays are contiguous unless a row stride (in elements) is given. `out` may be an input itself (same start),
// but may not otherwise overlap one. T is float or double.
#pragma once

#include <cstdint>
#include <vector>

#include "core/view.h"

namespace dlkit {

enum class ActivationKind { relu, leaky_relu, elu, sigmoid, tanh, softplus, silu, gelu, exp, count };
constexpr int kActivations = static_cast<int>(ActivationKind::count);

constexpr const char* kActivationNames[kActivations] = {"relu",     "leaky_relu", "elu",  "sigmoid", "tanh",
                                                        "softplus", "silu",       "gelu", "exp"};
inline const char* name(ActivationKind kind) { return kActivationNames[static_cast<int>(kind)]; }

struct LayerVariant {
  const char* operation;
  const char* name;
  const char* idea;
  const char* needs;
};

// Every variant of every operation of this chapter that has more than one. The first of an operation is its
// definition, the last its default.
const std::vector<LayerVariant>& layer_variants();

enum class Rung { naive, estimate, fused, automatic };

// y = f(x). alpha: the slope below zero of leaky_relu, the scale of elu. rung: naive, estimate or automatic.
template <class T>
void activation(ActivationKind kind, const T* x, T* y, Index n, T alpha, Rung rung);

// out = grad * f'(x), from `saved`: x for silu and gelu, f(x) for the others.
template <class T>
void activation_backward(ActivationKind kind, const T* grad, const T* saved, T* out, Index n, T alpha, Rung rung);

// Over each row. out is rows x cols, contiguous. rung: naive or automatic.
template <class T>
void softmax(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm, Rung rung);

// From the output y of softmax (log_softmax). All three contiguous.
template <class T>
void softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm, Rung rung);

template <class T>
struct CrossEntropy {
  const T* logits;
  Index row_stride;
  const std::int64_t* labels;  // 0 <= label < cols, or ignore_index; the caller has checked
  Index rows, cols;
  T label_smoothing;  // the target is (1 - s) of the label plus s / cols of every class
  std::int64_t ignore_index;
  T grad_scale;
  T* losses;  // rows
  T* grad;    // rows x cols, grad_scale * (softmax - target), or null; may be logits where row_stride is cols
};

// losses[i] = -sum_k target_ik log softmax(logits_i)_k; 0 (and a gradient of 0) in ignored rows.
// rung: naive or automatic.
template <class T>
void cross_entropy(const CrossEntropy<T>& work, Rung rung);

// y = x / (1 - p) where element offset + i of the stream `seed` of core/philox.h is at least p 2^32, else 0.
template <class T>
void dropout(const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset, Rung rung);

// out[j] = (accumulate ? out[j] : 0) + sum_i x[i, j], the rows in groups of a fixed size: the same bits on any number
// of threads.
template <class T>
void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate, Rung rung);

// out[i] = weight[indices[i]], rows of `cols` elements. weight has `rows`; 0 <= index < rows, as the caller has checked
// (the row of one that another thread has changed since is 0).
template <class T>
void embedding(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out, Rung rung);

// out[r] = (accumulate ? out[r] : 0) + the sum of grad[i] where indices[i] is r, in order of i: the same bits on any
// number of threads. `padding` is an index to pass over, or -1.
template <class T>
void embedding_backward(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        std::int64_t padding, T* out, bool accumulate, Rung rung);

// Of each row: out = (x - mean) rstd weight + bias, where rstd = 1 / sqrt(variance + eps), the variance that of the
// population. weight and bias (cols each) may be null. mean and rstd: rows each.
template <class T>
void layer_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols, T eps,
                Rung rung);

template <class T>
struct NormGradient {
  const T* grad;  // by the output
  const T* x;
  const T* weight;  // or null
  const T *mean, *rstd;
  T* dx;               // may be grad or x
  T *dweight, *dbias;  // or null
};

// The gradients of layer_norm. Sums over rows are of groups of a size that depends on the shape alone.
template <class T>
void layer_norm_backward(const NormGradient<T>& work, Index rows, Index cols, Rung rung);

// An array (n, channels, inner), contiguous.
struct ChannelShape {
  Index n, channels, inner;
};

// As layer_norm, but over n and inner for each channel; weight, bias, mean and rstd are of `channels` elements.
template <class T>
void batch_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape, T eps,
                Rung rung);

// out = (x - mean) / sqrt(var + eps) weight + bias, with statistics that are given.
template <class T>
void batch_norm_apply(const T* x, const T* mean, const T* var, const T* weight, const T* bias, T* out,
                      const ChannelShape& shape, T eps, Rung rung);

// The gradients of batch_norm.
template <class T>
void batch_norm_backward(const NormGradient<T>& work, const ChannelShape& shape, Rung rung);

// One array among the parameters of a network; what an operation does not use is null.
template <class T>
struct Parameter {
  T* value;
  const T* grad;
  T* first;   // SGD's velocity; Adam's mean of gradients; Adadelta's mean of squared gradients
  T* second;  // Adam's mean of squared gradients; Adadelta's mean of squared changes
  Index n;
};

struct SgdSettings {
  double lr, momentum, dampening, weight_decay;
  bool nesterov;
  bool first_step;  // the velocity starts as the gradient
};

// PyTorch's SGD. `first` may be null where momentum is 0.
template <class T>
void sgd_step(const std::vector<Parameter<T>>& parameters, const SgdSettings& settings, Rung rung);

struct AdamSettings {
  std::int64_t step;  // 1 at the first
  double lr, beta1, beta2, eps, weight_decay;
  bool decoupled;  // AdamW: decay the value, not the gradient
};

// Kingma and Ba, 2015; Loshchilov and Hutter, 2019 where decoupled. rung: naive, estimate or automatic.
template <class T>
void adam_step(const std::vector<Parameter<T>>& parameters, const AdamSettings& settings, Rung rung);

struct AdadeltaSettings {
  double lr, rho, eps, weight_decay;
};

// Zeiler 2012, with PyTorch's lr. `first`: the mean of squared gradients, `second`: of squared changes.
template <class T>
void adadelta_step(const std::vector<Parameter<T>>& parameters, const AdadeltaSettings& settings, Rung rung);

// Of `value`s: the sum of squares, in chunks of a fixed size (the same bits on any number of threads).
template <class T>
double sum_squares(const std::vector<Parameter<T>>& parameters);

template <class T>
void scale_inplace(const std::vector<Parameter<T>>& parameters, T factor);

// To [-limit, limit]; a NaN stays.
template <class T>
void clamp_inplace(const std::vector<Parameter<T>>& parameters, T limit);

}  // namespace dlkit
