// All steps of a sequence in one launch (persistent_kernel.h, persistent.cu, streamed.cu).
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
  CellStep<T> cell;  // gates and y of the first row; seen and reset are not used
  const T* hh;
  const T* hh_bias;  // or null
  T* exchange;       // twice (batch, pitch); of gru_reset_first three times
  T* rest;           // of weights that are streamed
  int batch;
  StepRuns runs;
};

template <class T>
struct PersistentBack {
  CellStepBack<T> cell;  // kept, y and dy of the first row; through and exchange are not used
  const T* hh;
  T* exchange;  // twice (batch, G pitch)
  T* rest;
  int batch;
  bool by_state;  // whether dh is wanted at the end
  StepRuns runs;
};

// Elements from row to row of a state that blocks exchange, or of one gate's gradients.
template <class T>
constexpr Index persistent_pitch(Index hidden) {
  constexpr Index kPacked = 16 / static_cast<Index>(sizeof(T));
  return (hidden + kPacked - 1) / kPacked * kPacked;
}

// Of a direction, where so many run at once: whether a pass can be done, what it keeps in all multiprocessors and what
// it reads anew in each step, in elements.
struct PersistentFacts {
  bool fits;
  Index kept, streamed;  // of U
  Index rest;            // elements of Persistent::rest
};
template <class T>
PersistentFacts persistent_facts(const RecurrentShape& shape, int directions, bool backward, bool streams);

// Whether the steps have few enough different batch sizes.
bool few_runs(const RecurrentShape& shape);

// `directions`: how many passes, one or two, of one shape but for its direction.
template <class T>
void persistent_forward(Stream stream, const RecurrentShape& shape, const Persistent<T>* passes, int directions);
template <class T>
void persistent_backward(Stream stream, const RecurrentShape& shape, const PersistentBack<T>* passes, int directions);
template <class T>
void streamed_forward(Stream stream, const RecurrentShape& shape, const Persistent<T>* passes, int directions);
template <class T>
void streamed_backward(Stream stream, const RecurrentShape& shape, const PersistentBack<T>* passes, int directions);

}  // namespace dlkit::device
