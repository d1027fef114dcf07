// What one step of a sequence is made of, built once per instruction set: the product of the state with U, and the
// cell.
//
// Both work on a group of units, so that the pre-activations of all gates of a unit meet in the first-level cache: a
// group's product is a few rows of numbers, and the cell takes them from there.
#pragma once

#include "core/dispatch.h"
#include "recurrent/recurrent.h"

namespace dlkit {

// `rows` sequences by `units` units of a step. Pointers are to the group's first unit in the first row; strides are
// from row to row unless they say otherwise.
template <class T>
struct CellForward {
  Cell cell;
  bool new_z;
  bool halves;  // of LSTMs: the gates and c; h follows in `show`, which needs c of all units
  Index rows, units;
  const T* product;  // U h', gate by gate; null: 0
  Index product_stride, product_gate;
  T* gates;  // W x + biases, gate by gate; then the activated gates, if they are kept
  Index gates_stride, gate_stride;
  bool keep;
  const T* hh_bias;    // of the gru's n, or null
  const T* peepholes;  // or null; of the next gate `hidden` elements on
  Index hidden;
  const T* h;  // h'
  Index h_stride;
  T* new_h;  // h once more where not null; may be `h`
  T* c;      // c' and then c
  Index c_stride;
  const T* mask;  // or null
  Index mask_stride;
  T* state;  // h times the mask, for the next step's product
  Index state_stride;
  T* y;
  Index y_stride;
};

template <class T>
struct CellBackward {
  Cell cell;
  bool new_z;
  bool halves;  // of LSTMs: o and h are done, in `unshow`
  Index rows, units;
  const T* product;  // the gradient by h that came through U, of the first product_rows rows
  Index product_stride, product_rows;
  const T* mask;
  Index mask_stride;
  const T* dy;  // or null
  Index dy_stride;
  T* dh;  // carried along: the gradient by h that does not come through U; then that by h'
  T* dc;  // carried along: the gradient by c, then by c'
  Index carry_stride;
  T* gates;  // as kept; then the gradients by the pre-activations
  Index gates_stride, gate_stride;
  const T* y;  // h
  Index y_stride;
  const T* peepholes;
  T* dpeepholes;  // added to, or null
  Index hidden;
};

// Of each row `slots` runs of `units` elements, which the cell goes through after the product.
template <class T>
struct Kept {
  T* first;  // null: nothing to fetch
  Index row_stride, slot_stride, units;
  int slots;
};

// out = a times packed panels.
template <class T>
struct StepProduct {
  const T* a;
  Index a_stride, rows, depth;
  const T* panels;
  Index vectors;
  T* out;
  Index out_stride;
  int last_columns;  // that out has of the last vector; 0: whole vectors
  const T* bias;     // of the columns, added to out; or null
  const T* next;     // panels that will be wanted after these, to be fetched; or null
  Kept<T> kept;      // of these rows; to be fetched, too
};

// The normalisation of an LSTM's cell state. The rows' mean and 1 / deviation are `stride` elements apart.
template <class T>
struct CellNorm {
  const T *gain, *shift;  // of each unit; null: no shift
  T *mean, *rstd;         // null where they are not kept
  Index stride;
  T *dgain, *dshift;  // backward: added to
};

// (x - mean) / sqrt(variance + kNormEps) over the units of each gate, times gains, plus shifts. Gate by gate.
template <class T>
struct NormaliseRows {
  Index rows, gates, units;
  const T* from;
  Index from_stride;
  const T *gain, *shift;  // (gates units); null: no shift
  T* to;                  // may be `from`
  Index to_stride;
  T *normal, *rstd;  // as they are before the gains, and 1 / deviation of each gate; null where they are not kept
  Index kept_stride;
};

// The gradient by what was normalised, from that by the result.
template <class T>
struct DenormaliseRows {
  Index rows, gates, units;
  const T* gradient;
  T* normal;  // then the gradient
  const T* rstd;
  Index stride;  // of all three
  const T* gain;
  T *dgain, *dshift;  // added to; null: no dshift
};

template <class T>
struct RecurrentKernels {
  void (*forward)(const CellForward<T>&);
  void (*backward)(const CellBackward<T>&);
  // The two halves of gru_reset_first: r, z and r h'; then n and h. Backward: z and n; then r.
  void (*reset)(const CellForward<T>&);
  void (*unreset)(const CellBackward<T>&);
  // The second half of an LSTM whose c is normalised on its way to h; backward, the first.
  void (*show)(const CellForward<T>&, const CellNorm<T>&);
  void (*unshow)(const CellBackward<T>&, const CellNorm<T>&);
  void (*normalise)(const NormaliseRows<T>&);
  void (*denormalise)(const DenormaliseRows<T>&);
  void (*multiply)(const StepProduct<T>&);
  // Columns of U for the products of a step; `vectors` registers wide, padded with zeros.
  // Forward: of units [first, first + units) of each of the gates. `hh` is (gates H, H).
  void (*pack_gates)(const T* hh, Index hidden, Index depth, int gates, Index first, Index units, T* to);
  // Backward: columns [first, first + units) of the rows of U.
  void (*pack_units)(const T* hh, Index hidden, Index depth, Index first, Index units, T* to);
  // to (+)= the sums down the columns of a matrix.
  void (*column_sums)(const T* from, Index stride, Index rows, Index cols, bool accumulate, T* to);
  // Rows of `target`, `stride` apart, times rows of `mask`.
  void (*scale_rows)(const T* mask, Index rows, Index cols, T* target, Index stride);
  Index lanes;
  Index group;  // units of a group, a multiple of lanes
};

template <class T>
const RecurrentKernels<T>& recurrent_kernels();

}  // namespace dlkit
