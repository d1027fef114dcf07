// What the files of one instruction set share.
#pragma once

#include "core/pack.h"
#include "recurrent/kernels.h"

namespace dlkit::DLKIT_TARGET {

// As traits(cell).slots, for code that knows the cell when it is compiled.
template <Cell kCell>
constexpr int kSlots = kCell == Cell::tanh || kCell == Cell::relu || kCell == Cell::additive ? 2
                       : kCell == Cell::interpolate                                          ? 3
                       : kCell == Cell::input_gate                                           ? 4
                       : kCell == Cell::lstm                                                 ? 6
                                                                                             : 5;

// As CellTraits counts them, for LSTMs: the place of the candidate g among the gates, of o, and of what c' is kept in.
template <Cell kCell>
struct LstmSlots {
  static constexpr bool kCoupled = kCell == Cell::coupled_lstm;
  static constexpr int kG = kCoupled ? 1 : 2, kO = kG + 1, kC = kO + 1;
};
constexpr bool is_lstm(Cell cell) { return cell == Cell::lstm || cell == Cell::coupled_lstm; }

// Calls body(row, unit, mask...) for every vector of a block: without a mask where it is whole.
template <class T, class Body>
DLKIT_INLINE void each_vector(Index rows, Index units, const Body& body) {
  using V = Vec<T>;
  for (Index row = 0; row < rows; ++row) {
    Index j = 0;
    for (; j + V::lanes <= units; j += V::lanes) body(row, j);
    if (j < units) body(row, j, V::few(units - j));
  }
}

// Calls body.operator()<V>(row, unit, mask...) for a block, with V a pack of vectors as long as one is whole.
template <class T, int kCount, class Body>
DLKIT_INLINE void each_pack(Index rows, Index units, const Body& body) {
  using V = Vec<T>;
  using P = Pack<T, kCount>;
  for (Index row = 0; row < rows; ++row) {
    Index j = 0;
    if constexpr (kCount > 1)
      for (; j + P::lanes <= units; j += P::lanes) body.template operator()<P>(row, j);
    for (; j + V::lanes <= units; j += V::lanes) body.template operator()<V>(row, j);
    if (j < units) body.template operator()<V>(row, j, V::few(units - j));
  }
}

template <class T, class V, class... M>
DLKIT_INLINE void put_h(const CellForward<T>& p, Index row, Index j, V h, M... mask) {
  h.store(p.y + row * p.y_stride + j, mask...);
  if (p.new_h != nullptr) h.store(p.new_h + row * p.h_stride + j, mask...);
  if (p.mask != nullptr) h = h * V::load(p.mask + row * p.mask_stride + j, mask...);
  h.store(p.state + row * p.state_stride + j, mask...);
}

// The gradient by h: what was carried along, what the outputs bring, what came through U.
template <class T, class... M>
DLKIT_INLINE Vec<T> gradient_by_h(const CellBackward<T>& p, Index row, Index j, M... mask) {
  using V = Vec<T>;
  V dh = V::load(p.dh + row * p.carry_stride + j, mask...);
  if (p.dy != nullptr) dh = dh + V::load(p.dy + row * p.dy_stride + j, mask...);
  if (row < p.product_rows) {
    V through = V::load(p.product + row * p.product_stride + j, mask...);
    if (p.mask != nullptr) through = through * V::load(p.mask + row * p.mask_stride + j, mask...);
    dh = dh + through;
  }
  return dh;
}

template <class V>
DLKIT_INLINE V by_sigmoid(V d, V s) {
  return d * s * (V::broadcast(1) - s);
}
template <class V>
DLKIT_INLINE V by_tanh(V d, V t) {
  return d * V::fnma(t, t, V::broadcast(1));
}

template <class T>
void cell_forward(const CellForward<T>& p);
template <class T>
void cell_backward(const CellBackward<T>& p);
template <class T>
void gru_reset(const CellForward<T>& p);
template <class T>
void gru_unreset(const CellBackward<T>& p);
template <class T>
void show_cells(const CellForward<T>& p, const CellNorm<T>& norm);
template <class T>
void unshow_cells(const CellBackward<T>& p, const CellNorm<T>& norm);
template <class T>
void normalise_rows(const NormaliseRows<T>& p);
template <class T>
void denormalise_rows(const DenormaliseRows<T>& p);
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
