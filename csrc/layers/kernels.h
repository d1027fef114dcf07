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

}  // namespace dlkit
