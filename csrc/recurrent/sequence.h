// What the variants cell, sequence and packed differ in.
#pragma once

#include "recurrent/recurrent.h"

namespace dlkit {

struct SequenceOptions {
  bool whole_input;    // W x of all steps at once
  bool packed;         // U packed once, its products and the cell by groups of units
  Index fetch_beyond;  // bytes of packed U for a thread from which the next panel is fetched ahead
};

template <class T>
void sequence_forward(const RecurrentForward<T>& p, const SequenceOptions& options, int threads);
template <class T>
void sequence_backward(const RecurrentBackward<T>& p, const SequenceOptions& options, int threads);

// The last part of sequence_backward: dx from the gradients by the pre-activations that the rest leaves in `reserve`.
template <class T>
void input_gradient(const RecurrentBackward<T>& p, int threads);

namespace naive {

template <class T>
void recurrent_forward(const RecurrentForward<T>& p);
template <class T>
void recurrent_backward(const RecurrentBackward<T>& p);

}  // namespace naive
}  // namespace dlkit
