// The vector kernels of this chapter, on one thread: tables of functions, one table per file and instruction set.
#pragma once

#include <cstdint>

#include "core/dispatch.h"
#include "core/view.h"
#include "layers/factors.h"
#include "layers/layers.h"

namespace dlkit {

template <class T>
using MapKernel = void (*)(const T* x, T* y, Index n, T alpha);

template <class T>
using MapBackwardKernel = void (*)(const T* grad, const T* saved, T* out, Index n, T alpha);

template <class T>
struct ActivationKernels {
  MapKernel<T> forward[kActivations];
  MapBackwardKernel<T> backward[kActivations];
  MapKernel<T> sigmoid_estimate, tanh_estimate;  // without the division instruction
};

template <class T>
struct SoftmaxKernels {
  void (*softmax)(const T* x, Index row_stride, T* out, Index rows, Index cols);
  void (*log_softmax)(const T* x, Index row_stride, T* out, Index rows, Index cols);
  void (*softmax_backward)(const T* grad, const T* y, T* out, Index rows, Index cols);
  void (*log_softmax_backward)(const T* grad, const T* y, T* out, Index rows, Index cols);
  void (*cross_entropy)(const CrossEntropy<T>& work, Index first, Index last);  // rows [first, last)
};

template <class T>
struct UpdateKernels {
  void (*sgd)(const Parameter<T>& part, const SgdFactors<T>& factors);
  void (*adam)(const Parameter<T>& part, const AdamFactors<T>& factors);
  void (*adam_estimate)(const Parameter<T>& part, const AdamFactors<T>& factors);
  void (*scale)(T* x, Index n, T factor);
  void (*clamp)(T* x, Index n, T limit);
  void (*adadelta)(const Parameter<T>& part, const AdadeltaFactors<T>& factors);
};

template <class T>
struct ReductionKernels {
  void (*column_sum)(const T* x, Index row_stride, Index rows, Index cols, T* out);
  double (*sum_squares)(const T* x, Index n);  // n up to kSumChunk
};
constexpr Index kSumChunk = 16384;

template <class T>
struct DropoutKernels {
  void (*dropout)(const T* x, T* y, Index n, std::uint64_t seed, std::uint64_t offset, std::uint32_t threshold,
                  T scale);
};

// What one thread adds to of an embedding's gradient: `width` columns, of the rows r with (r >> shift) & mask == owner.
struct ScatterPart {
  Index width;
  std::int64_t mask, owner;
  int shift;
};

template <class T>
struct EmbeddingKernels {
  // The row of an index that is not below `rows` is 0.
  void (*gather)(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out);
  // out[indices[i]] += grad[i], as far as `part` goes; rows are `cols` apart.
  void (*scatter)(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols, std::int64_t padding,
                  const ScatterPart& part, T* out);
};

// Mean and sum of squared distances from it, of some elements.
struct Moments {
  double mean, squares;
};

// The rows and columns that column_moments and column_products take at most.
constexpr Index kColumnGroup = 512, kColumnStrip = 512;

// Some of a channel's elements: `runs` runs of `length` that begin `stride` apart.
struct Runs {
  Index offset, runs, length, stride;
};

// What batch normalisation does to an element: y = (x - shift) * scale + offset; backward,
// dx = (grad - mean_grad - (x - shift) * slope) * scale.
template <class T>
struct NormFactors {
  T shift, scale, offset;
};
template <class T>
struct NormBackwardFactors {
  T shift, mean_grad, slope, scale;
};

template <class T>
struct NormKernels {
  void (*layer_norm)(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols,
                     T eps);
  // dweight and dbias are added to; both or neither.
  void (*layer_norm_backward)(const NormGradient<T>& work, Index rows, Index cols);

  Moments (*run_moments)(const T* x, const Runs& runs);
  void (*run_apply)(const T* x, T* out, const Runs& runs, const NormFactors<T>& factors);
  void (*run_products)(const T* grad, const T* x, const Runs& runs, T mean, double* sum_grad, double* sum_product);
  void (*run_backward)(const T* grad, const T* x, T* dx, const Runs& runs, const NormBackwardFactors<T>& factors);

  // Down the columns of some rows, `stride` apart; the factors are arrays of a number for each column.
  void (*column_moments)(const T* x, Index stride, Index rows, Index cols, double* mean, double* squares);
  void (*column_apply)(const T* x, T* out, Index stride, Index rows, Index cols, const T* shift, const T* scale,
                       const T* offset);
  void (*column_products)(const T* grad, const T* x, Index stride, Index rows, Index cols, const T* mean, T* sum_grad,
                          T* sum_product);
  void (*column_backward)(const T* grad, const T* x, T* dx, Index stride, Index rows, Index cols, const T* shift,
                          const T* mean_grad, const T* slope, const T* scale);
};

// Both precisions of a table.
template <template <class> class Kernels>
struct Both {
  Kernels<float> of_float;
  Kernels<double> of_double;

  const Kernels<float>& get(float) const { return of_float; }
  const Kernels<double>& get(double) const { return of_double; }
};

DLKIT_DECLARE_PER_ISA(Both<ActivationKernels>, activation_table)
DLKIT_DECLARE_PER_ISA(Both<SoftmaxKernels>, softmax_table)
DLKIT_DECLARE_PER_ISA(Both<UpdateKernels>, update_table)
DLKIT_DECLARE_PER_ISA(Both<ReductionKernels>, reduction_table)
DLKIT_DECLARE_PER_ISA(Both<DropoutKernels>, dropout_table)
DLKIT_DECLARE_PER_ISA(Both<EmbeddingKernels>, embedding_table)
DLKIT_DECLARE_PER_ISA(Both<NormKernels>, norm_table)

}  // namespace dlkit
