// The steps of the ladder, and what they share. Included only by files compiled per instruction set.
#pragma once

#include "core/simd.h"
#include "matmul/matmul.h"

namespace dlkit::DLKIT_TARGET {

template <class T> void naive(const MatmulProblem<T>&);
template <class T> void loop_order(const MatmulProblem<T>&);
template <class T> void blocked(const MatmulProblem<T>&);
template <class T> void register_tile(const MatmulProblem<T>&);
template <class T> void packed(const MatmulProblem<T>&);
template <class T> void fused(const MatmulProblem<T>&);
template <class T> void direct(const MatmulProblem<T>&);
template <class T> void swapped(const MatmulProblem<T>&);
template <class T> void dot(const MatmulProblem<T>&);
template <class T> void matvec(const MatmulProblem<T>&);
template <class T> void best(const MatmulProblem<T>&);
template <class T> void add(const Matrix<T>& target, const Matrix<const T>& addend, const MatmulProblem<T>&);

// bias and activation over `count` contiguous elements of a row of C; bias may be null (epilogue.cpp).
template <class T>
void finish_row(T* c, Index count, const T* bias, Activation activation);

// C = 0, for steps that add slices of K onto C.
template <class T>
DLKIT_INLINE void clear(const Matrix<T>& c) {
  for (Index i = 0; i < c.rows; ++i)
    for (Index j = 0; j < c.cols; ++j) c(i, j) = 0;
}

// bias and activation over all of C, as a pass of its own.
template <class T>
void finish(const MatmulProblem<T>& p);

}  // namespace dlkit::DLKIT_TARGET
