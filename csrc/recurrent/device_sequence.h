// Whole sequences on a GPU: what the variants of the ladder have in common, and where they part.
#pragma once

#include "recurrent/device.h"

namespace dlkit::device {

enum class RecurrentRung { naive, stepwise, persistent, streamed };

// Of an H100, for estimates: a barrier of the grid with what surrounds it, and the second-level cache.
constexpr double kBarrierMicroseconds = 2.5, kCacheBytesPerMicrosecond = 4e6;

// Whether two directions run in one launch.
template <class T>
bool at_once(RecurrentRung rung, const RecurrentShape& shape, bool backward);

// As RecurrentVariant's functions.
template <class T>
std::size_t forward_pass(RecurrentRung rung, Stream stream, const RecurrentForward<T>* passes, int directions,
                         Precision precision, void* scratch);
template <class T>
std::size_t backward_pass(RecurrentRung rung, Stream stream, const RecurrentBackward<T>* passes, int directions,
                          Precision precision, void* scratch);

}  // namespace dlkit::device
