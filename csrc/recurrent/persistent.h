// All steps of a sequence in one launch (persistent.cu).
#pragma once

#include <cstddef>

#include "recurrent/device_steps.h"

namespace dlkit::device {

// Steps in the order in which the kernel takes them: of `rows[i]` rows from where the run before ends until until[i].
constexpr int kMostRuns = 64;
struct StepRuns {
  int count;
  bool from_end;  // of the rows
  Index all_rows;
  int until[kMostRuns], rows[kMostRuns];
};

template <class T>
struct Persistent {
  CellStep<T> cell;  // gates and y of the first row; seen is not used
  const T* hh;
  const T* hh_bias;  // or null
  T* exchange;       // twice (batch, persistent_pitch)
  int batch;
  StepRuns runs;
};

template <class T>
struct PersistentBack {
  CellStepBack<T> cell;  // kept, y and dy of the first row; through and exchange are not used
  const T* hh;
  T* exchange;
  int batch;
  bool by_state;  // whether dh is wanted at the end
  StepRuns runs;
};

// Elements from row to row of what blocks exchange: of the state, or of the gradients by its gates.
template <class T>
Index persistent_pitch(Index width);

// Whether the recurrent weights fit in the multiprocessors, forward and backward.
template <class T>
bool fits_persistent(const RecurrentShape& shape);

template <class T>
void persistent_forward(Stream stream, const Persistent<T>& p);
template <class T>
void persistent_backward(Stream stream, const PersistentBack<T>& p);

}  // namespace dlkit::device
