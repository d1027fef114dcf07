// The definitions: each operation as the textbook writes it, on one thread. See layers.h for the arguments.
#pragma once

#include "layers/layers.h"

namespace dlkit::naive {

template <class T>
void activation(ActivationKind kind, const T* x, T* y, Index n, T alpha);
template <class T>
void activation_backward(ActivationKind kind, const T* grad, const T* saved, T* out, Index n, T alpha);
template <class T>
void softmax(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm);
template <class T>
void softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm);
template <class T>
void cross_entropy(const CrossEntropy<T>& work);
template <class T>
void dropout(const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset);
template <class T>
void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate);
template <class T>
void embedding(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out);
template <class T>
void embedding_backward(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        std::int64_t padding, T* out, bool accumulate);
template <class T>
void layer_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols, T eps);
template <class T>
void layer_norm_backward(const NormGradient<T>& work, Index rows, Index cols);
template <class T>
void batch_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape, T eps);
template <class T>
void batch_norm_apply(const T* x, const T* mean, const T* var, const T* weight, const T* bias, T* out,
                      const ChannelShape& shape, T eps);
template <class T>
void batch_norm_backward(const NormGradient<T>& work, const ChannelShape& shape);
template <class T>
void sgd_step(const std::vector<Parameter<T>>& parameters, const SgdSettings& settings);
template <class T>
void adam_step(const std::vector<Parameter<T>>& parameters, const AdamSettings& settings);
template <class T>
void adadelta_step(const std::vector<Parameter<T>>& parameters, const AdadeltaSettings& settings);

}  // namespace dlkit::naive
