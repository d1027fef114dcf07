// Whole sequences on a GPU: what the variants of the ladder have in common, and where they part.
#pragma once

#include "recurrent/device.h"

namespace dlkit::device {

enum class RecurrentRung { naive, stepwise, persistent };

// As RecurrentVariant's functions.
template <class T>
std::size_t forward_pass(RecurrentRung rung, Stream stream, const RecurrentForward<T>& p, Precision precision,
                         void* scratch);
template <class T>
std::size_t backward_pass(RecurrentRung rung, Stream stream, const RecurrentBackward<T>& p, Precision precision,
                          void* scratch);

}  // namespace dlkit::device
