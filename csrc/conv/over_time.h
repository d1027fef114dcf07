// Convolution over time and the maximum over time in one operation, as networks for sentences have it (Collobert et al.
// 2011; Kim 2014), and its gradients.
//
//   s[n, f, t] = sum over j, c of weight[f, c, j] x[n, t + j, c],   y[n, f] = bias[f] + max over t of s[n, f, t]
//
// place[n, f] is the first t at which the maximum is. A NaN is larger than any number. x has time before channels, as
// embeddings give it, and is contiguous; the weight is that of conv1d. 2 N (L - K + 1) F C K floating-point operations.
//
// Two variants: the definition (over_time_naive.cpp) and products of matrices (over_time.cpp).
#pragma once

#include "core/dispatch.h"
#include "core/view.h"

namespace dlkit {

struct OverTimeShape {
  Index n, length, channels;  // of x
  Index filters, size;        // of the weight: (filters, channels, size), 1 <= size <= length

  Index windows() const { return length - size + 1; }
  Index depth() const { return channels * size; }
  double flops() const { return 2.0 * static_cast<double>(n * windows() * filters) * static_cast<double>(depth()); }
};

// Places are kept in numbers of the arrays' type on the way.
constexpr Index kLongestTime = Index{1} << 24;

template <class T>
struct OverTimeForward {
  OverTimeShape shape;
  const T* x;
  const T* weight;
  const T* bias;        // filters, or null
  T* y;                 // (n, filters)
  std::int64_t* place;  // (n, filters)
};

template <class T>
struct OverTimeBackward {
  OverTimeShape shape;
  const T* grad;              // by y
  const std::int64_t* place;  // each within [0, windows)
  const T* x;                 // null where dweight is
  const T* weight;            // null where dx is
  T* dx;                      // or null
  T* dweight;                 // or null
  T* dbias;                   // or null
  bool accumulate;            // add to what dweight and dbias hold
};

// On up to `threads` threads; the same bits on any number. No extent is 0. Throws std::bad_alloc.
template <class T>
void conv_max(const OverTimeForward<T>& p, int threads);
template <class T>
void conv_max_backward(const OverTimeBackward<T>& p, int threads);

namespace naive {

template <class T>
void conv_max(const OverTimeForward<T>& p);
template <class T>
void conv_max_backward(const OverTimeBackward<T>& p);

}  // namespace naive

// The vector kernels (over_time_kernels.cpp), on one thread.
template <class T>
struct OverTimeKernels {
  // Of each of `columns` columns the maximum of so many rows and its first place; rows are `stride` elements apart.
  void (*column_max)(const T* rows, Index stride, Index count, Index columns, const T* bias, T* y, std::int64_t* place);
  // to += factor from
  void (*add_scaled)(const T* from, T factor, T* to, Index n);
};

struct OverTimeTables {
  OverTimeKernels<float> single_precision;
  OverTimeKernels<double> double_precision;

  const OverTimeKernels<float>& get(float) const { return single_precision; }
  const OverTimeKernels<double>& get(double) const { return double_precision; }
};

DLKIT_DECLARE_PER_ISA(OverTimeTables, over_time_table)

}  // namespace dlkit
