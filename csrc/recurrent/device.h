// The recurrent chapter on a GPU, or on the SIMT machine: recurrent.h's two passes, whose pointers are the device's.
//
// Nothing here waits for the device or allocates: scratch memory comes from the caller. Arrays have contiguous rows at
// any address that is a multiple of their element's size; hn is never null, cn is null just where the cell has no c.
//
// Read the ladder in the order of the table in device_variants.cpp: device_sequence.cpp with the kernels of
// fused_cell.cu, then persistent.cu and streamed.cu.
#pragma once

#include <cstddef>
#include <vector>

#include "matmul/device.h"
#include "recurrent/recurrent.h"

namespace dlkit::device {

using Stream = void*;  // cudaStream_t

// How a layer goes about it, in one direction or in two, whose shapes are the same but for the direction: passes[0] and
// passes[1], of which the second may add to the first one's dx. A function that is given no scratch memory launches
// nothing; each returns how many bytes it takes, which depend on the shape, on the precision and on which pointers are
// null.
template <class T>
struct RecurrentVariant {
  const char* name;
  const char* idea;
  const char* needs;  // "" where it takes any shape
  bool (*takes)(const RecurrentShape&);
  std::size_t (*forward)(Stream, const RecurrentForward<T>* passes, int directions, Precision, void* scratch);
  std::size_t (*backward)(Stream, const RecurrentBackward<T>* passes, int directions, Precision, void* scratch);
};
template <class T>
const std::vector<RecurrentVariant<T>>& recurrent_variants();

// The fastest for the shape, as estimated.
template <class T>
const RecurrentVariant<T>& choose_recurrent(const RecurrentShape& shape, int directions, Precision precision);

// What kernels count in an int: elements of the gates of a step.
constexpr Index kMostStepElements = Index{1} << 30;

}  // namespace dlkit::device
