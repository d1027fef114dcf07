// The definitions on a GPU: one thread an element, a row or a column. See device.h for the arguments.
#pragma once

#include "layers/device.h"

namespace dlkit::device::naive {

template <class T>
void activation(Stream stream, ActivationKind kind, const T* x, T* y, Index n, double alpha);
template <class T>
void activation_backward(Stream stream, ActivationKind kind, const T* grad, const T* saved, T* out, Index n,
                         double alpha);
template <class T>
void softmax(Stream stream, const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm);
template <class T>
void softmax_backward(Stream stream, const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm);
// Of a mean, the gradient is divided by *counted.
template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& work, const Index* counted);
template <class T>
void dropout(Stream stream, const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset,
             const std::uint64_t* offset_pointer);
template <class T>
void column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate);
// One launch for each parameter.
template <class T>
void sgd_step(Stream stream, const std::vector<Parameter<T>>& parameters, const SgdFactors<T>& factors,
              const SgdFactors<T>* on_device);
template <class T>
void adam_step(Stream stream, const std::vector<Parameter<T>>& parameters, const AdamFactors<T>& factors,
               const AdamFactors<T>* on_device);
template <class T>
void embedding(Stream stream, const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out);
template <class T>
void embedding_backward(Stream stream, const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        Index padding_idx, T* out);
template <class T>
void layer_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                Index cols, double eps);
template <class T>
void layer_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index rows, Index cols);
template <class T>
void batch_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index n,
                Index channels, Index inner, double eps);
template <class T>
void batch_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index n, Index channels, Index inner);

}  // namespace dlkit::device::naive
