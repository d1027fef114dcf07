// The layers chapter on a GPU: the operations of layers.h and the normalisations and embedding beside them, on device
// pointers and a stream. Nothing here waits for the device or allocates: scratch memory comes from the caller, as many
// bytes as the function of that name says.
//
// Memory traffic bounds nearly all of it, so the ladder is two rungs: naive_layers.cu defines each operation, one
// thread an element, row or column; the other .cu files do it in one pass over memory, 16 bytes an access. A rung that
// an operation does not have runs its fastest.
//
// Arrays are contiguous unless a row stride (in elements) is given, at any address that is a multiple of their
// element's size. `out` may be an input itself, but may not otherwise overlap one. T is float or double.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "core/view.h"
#include "layers/factors.h"
#include "layers/layers.h"

namespace dlkit::device {

using Stream = void*;  // cudaStream_t

template <class T>
void activation(Stream stream, ActivationKind kind, const T* x, T* y, Index n, double alpha, Rung rung);
template <class T>
void activation_backward(Stream stream, ActivationKind kind, const T* grad, const T* saved, T* out, Index n,
                         double alpha, Rung rung);

template <class T>
void softmax(Stream stream, const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm, Rung rung);
template <class T>
void softmax_backward(Stream stream, const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm,
                      Rung rung);

enum class Reduction { none, sum, mean };

// layers.h's, and of all losses their sum or mean to `result`. The mean is over the rows whose label is not
// ignore_index, which are counted on the device; grad_scale is divided by their number then. A label that is no class
// gives a loss and a gradient of NaN.
template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& work, Reduction reduction, T* result, void* scratch,
                   Rung rung);
std::size_t cross_entropy_scratch(Index rows);

// Where `offset_pointer` is not null, what it points to on the device is added to `offset`.
template <class T>
void dropout(Stream stream, const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset,
             const std::uint64_t* offset_pointer, Rung rung);

template <class T>
void column_sum(Stream stream, const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate,
                void* scratch, Rung rung);
template <class T>
std::size_t column_sum_scratch(Index rows, Index cols);

// Of `value`s, in float64, in chunks of a fixed size: the same bits on any device.
template <class T>
void sum_squares(Stream stream, const std::vector<Parameter<T>>& parameters, double* out, void* scratch);
std::size_t sum_squares_scratch(const std::vector<Index>& sizes);

// By factor, and by *factor_pointer where that is not null.
template <class T>
void scale_inplace(Stream stream, const std::vector<Parameter<T>>& parameters, double factor,
                   const double* factor_pointer);

// *out = min(1, max_norm / (sqrt(*sum_squares) + 1e-6)); a NaN stays.
void clip_factor(Stream stream, const double* sum_squares, double max_norm, double* out);

template <class T>
void clamp_inplace(Stream stream, const std::vector<Parameter<T>>& parameters, double limit);

// `on_device`, where it is not null, is read when the kernel runs, and `factors` is not used.
template <class T>
void sgd_step(Stream stream, const std::vector<Parameter<T>>& parameters, const SgdFactors<T>& factors,
              const SgdFactors<T>* on_device, Rung rung);
template <class T>
void adam_step(Stream stream, const std::vector<Parameter<T>>& parameters, const AdamFactors<T>& factors,
               const AdamFactors<T>* on_device, Rung rung);

// out[i] = weight[indices[i]]; a row of NaN where that is no row of weight.
template <class T>
void embedding(Stream stream, const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out,
               Rung rung);

// out[r] = the sum of grad[i] over all i with indices[i] = r, in order of i, so that the bits are the same every time;
// 0 for padding_idx. Indices that are no row are left out. Rung::estimate adds by atomic operations, in any order.
template <class T>
void embedding_backward(Stream stream, const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        Index padding_idx, T* out, void* scratch, Rung rung);
std::size_t embedding_backward_scratch(Index n, Index rows);

// Over each row; weight and bias may be null. mean and rstd = 1 / sqrt(variance + eps) are kept for the way back.
template <class T>
void layer_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows,
                Index cols, double eps, Rung rung);
template <class T>
void layer_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, void* scratch, Index rows, Index cols, Rung rung);
template <class T>
std::size_t layer_norm_backward_scratch(Index rows, Index cols);

// x is (n, channels, inner); the statistics of a channel are over n and inner.
template <class T>
void batch_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index n,
                Index channels, Index inner, double eps, void* scratch, Rung rung);
template <class T>
void batch_norm_apply(Stream stream, const T* x, const T* weight, const T* bias, const T* mean, const T* var, T* out,
                      Index n, Index channels, Index inner, double eps);
template <class T>
void batch_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index n, Index channels, Index inner, void* scratch, Rung rung);
template <class T>
std::size_t batch_norm_scratch(Index n, Index channels, Index inner);

}  // namespace dlkit::device
