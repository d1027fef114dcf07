// What the files of one instruction set share.
#pragma once

#include "core/simd.h"
#include "recurrent/kernels.h"

namespace dlkit::DLKIT_TARGET {

// As traits(cell).slots, for code that knows the cell when it is compiled.
template <Cell kCell>
constexpr int kSlots = kCell == Cell::tanh || kCell == Cell::relu || kCell == Cell::additive ? 2
                       : kCell == Cell::interpolate                                          ? 3
                       : kCell == Cell::input_gate                                           ? 4
                       : kCell == Cell::lstm                                                 ? 6
                                                                                             : 5;

template <class T>
void cell_forward(const CellForward<T>& p);
template <class T>
void cell_backward(const CellBackward<T>& p);
template <class T>
void gru_reset(const CellForward<T>& p);
template <class T>
void gru_unreset(const CellBackward<T>& p);
template <class T>
void column_sums(const T* from, Index stride, Index rows, Index cols, bool accumulate, T* to);
template <class T>
void scale_rows(const T* mask, Index rows, Index cols, T* target, Index stride);

template <class T>
void multiply_step(const StepProduct<T>& p);
template <class T>
void pack_gates(const T* hh, Index hidden, Index depth, int gates, Index first, Index units, T* to);
template <class T>
void pack_units(const T* hh, Index hidden, Index depth, Index first, Index units, T* to);

}  // namespace dlkit::DLKIT_TARGET
