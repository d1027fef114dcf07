// Matrix product: C = activation(A B + bias), or C += A B + bias.
//
//   A is M x K, B is K x N, C is M x N, bias has N elements; float or double; any strides.
//   2 M N K floating-point operations on M K + K N + M N elements.
//
// Every variant below computes this; the tests hold each of them to naive.cpp. Read them in the order of the table
// in variants.cpp: each is the previous one with one idea more.
#pragma once

#include <vector>

#include "core/view.h"

namespace dlkit {

enum class Activation { none, relu, sigmoid, tanh };

template <class T>
struct MatmulProblem {
  Matrix<const T> a;
  Matrix<const T> b;
  Matrix<T> c;
  bool accumulate = false;  // add to what C holds; then activation is none
  const T* bias = nullptr;  // N elements, or null
  Activation activation = Activation::none;
};

template <class T>
using MatmulKernel = void (*)(const MatmulProblem<T>&);

// The ladder, built once per instruction set. All of these run on the caller's thread.
template <class T>
struct MatmulKernels {
  MatmulKernel<T> naive, loop_order, blocked, register_tile, packed, fused, direct, swapped, dot, matvec;
  // What a sub-problem is given to by default, chosen by its shape and strides.
  MatmulKernel<T> best;
  // The problem's bias and activation over its C, as a pass of its own.
  MatmulKernel<T> finish;
  // target += addend, both rows x cols, with the bias and activation of `problem` on top.
  void (*add)(const Matrix<T>& target, const Matrix<const T>& addend, const MatmulProblem<T>& problem);
  // One column panel is this many elements wide: where threads may cut N without making a narrow panel.
  Index panel_width;
  Index lanes;
};

template <class T>
const MatmulKernels<T>& matmul_kernels();

template <class T>
struct MatmulVariant {
  const char* name;
  const char* idea;
  const char* needs;  // of the problem; "" where it takes any
  bool (*takes)(const MatmulProblem<T>&);
  void (*run)(const MatmulProblem<T>&, int threads);
};

template <class T>
const std::vector<MatmulVariant<T>>& matmul_variants();

// The variant of that name, or nullptr.
template <class T>
const MatmulVariant<T>* find_matmul_variant(const char* name);

// Runs a variant, or where it is null the fastest for the shape, on up to `threads` threads. Any extents, zero
// included, and any strides; C must not overlap A, B or the bias. Throws std::bad_alloc.
template <class T>
void matmul(const MatmulProblem<T>& problem, const MatmulVariant<T>* variant, int threads);

// Over threads: C cut into blocks, one sub-problem each (threaded.cpp).
template <class T>
void matmul_threaded(const MatmulProblem<T>& problem, MatmulKernel<T> kernel, int threads);

// Over threads: K cut into slices whose partial products are added up in a fixed order (ksplit.cpp).
template <class T>
void matmul_ksplit(const MatmulProblem<T>& problem, int slices, int threads);

}  // namespace dlkit
