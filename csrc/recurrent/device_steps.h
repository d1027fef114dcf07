// The kernels of a step on a GPU. Each launches and returns; `rows` sequences of `hidden` units, whose states lie one
// after another. T is float or double here, and real<T> in a kernel: the same memory.
#pragma once

#include "recurrent/device.h"

namespace dlkit::device {

template <class T>
struct CellStep {
  Cell cell;
  bool new_z;
  bool keep;  // what recurrent.h's reserve holds, in `gates`
  int rows, hidden;
  const T* product;  // U h' + b', gate by gate; null: 0
  Index product_stride;
  T* gates;  // W x + b, gate by gate
  Index gates_stride;
  T* reset;  // of gru_reset_first: r h' as U sees it
  Index reset_stride;
  const T* peepholes;  // or null
  const T* mask;       // or null
  T* h;                // h', then h
  T* c;                // the same of c
  T* seen;             // h as U sees it in the next step; null where that is h
  Index seen_stride;
  T* y;
  Index y_stride;
};

template <class T>
struct CellStepBack {
  Cell cell;
  bool new_z;
  int rows, hidden;
  T* kept;  // the step's rows of the reserve; the gradients by the pre-activations take the gates' places
  Index kept_stride;
  const T* y;
  Index y_stride;
  const T* dy;  // or null
  Index dy_stride;
  T* dh;             // the gradient by h but for what came through U, then that by h'
  T* dc;             // the gradient by c, then that by c'
  const T* through;  // what came through U
  const T* peepholes;
  T* dpeepholes;  // (rows, 3, hidden), added to; or null
  const T* mask;  // or null
  T* exchange;    // the gradients by the pre-activations once more, or null
  Index exchange_stride, exchange_gate;
};

// The states before the first step: copies, or zeros where there is nothing to copy; and what U sees of h.
template <class T>
struct FirstStates {
  const T *h0, *c0, *mask;
  T *h, *c, *seen;  // the last two may be null
  Index elements;
};

template <class T>
void begin_states(Stream stream, const FirstStates<T>& p);

// The whole cell; of gru_reset_first what comes after r and z, which reset_step has put into the gates' places.
template <class T>
void cell_step(Stream stream, const CellStep<T>& p);
// r, z and r h' of gru_reset_first.
template <class T>
void reset_step(Stream stream, const CellStep<T>& p);

// dh becomes dh + through * mask, of all `elements`.
template <class T>
void add_through(Stream stream, const T* through, const T* mask, T* dh, Index elements);
// The whole cell backward; of gru_reset_first all but r.
template <class T>
void cell_step_back(Stream stream, const CellStepBack<T>& p);
// r of gru_reset_first, from the gradient by r h', which is `through`.
template <class T>
void reset_step_back(Stream stream, const CellStepBack<T>& p);

}  // namespace dlkit::device
