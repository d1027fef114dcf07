// A layer with layer normalisation: where what its training keeps lies, and its passes.
#pragma once

#include "recurrent/sequence.h"

namespace dlkit {

// A row of the reserve. First the slots that there are without normalisation (CellTraits), then the normalised products
// of the gates with the state and with the input, G vectors of H each, then what they were multiplied with, 1 /
// deviation of each gate. Of LSTMs whose cell state is normalised, its mean and its 1 / deviation follow. Backward puts
// the gradients by the products, as they were before, into the places of the normalised ones.
struct NormalisedRow {
  Index by_state, by_input;      // where each begins, in elements
  Index state_rstd, input_rstd;  // (G)
  Index c_mean, c_rstd;
  Index size;  // with what keeps rows on cache lines of their own where H is a multiple of those

  explicit NormalisedRow(const RecurrentShape& s)
      : by_state(s.slots() * s.hidden), by_input(by_state + s.gates() * s.hidden),
        state_rstd(by_input + s.gates() * s.hidden), input_rstd(state_rstd + s.gates()), c_mean(input_rstd + s.gates()),
        c_rstd(c_mean + 1), size(state_rstd + 16) {
    static_assert(2 * 4 + 2 <= 16);
  }
};

template <class T>
void normalised_forward(const RecurrentForward<T>& p, const SequenceOptions& options, int threads);
// All but the gradient by the input.
template <class T>
void normalised_backward(const RecurrentBackward<T>& p, const SequenceOptions& options, int threads);

}  // namespace dlkit
