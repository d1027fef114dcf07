// The conditional random field (crf.h) on a GPU: the same losses, gradients and paths, from device pointers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/view.h"

namespace dlkit::device {

using Stream = void*;  // cudaStream_t

// Tags whose scores of a step fit in the shared memory of a block, of float64 as of float32.
constexpr Index kMostTags = 4096;

template <class T>
struct DeviceCrf {
  Index tags, steps, rows, batch;
  const T* emissions;             // (rows, K)
  const T* transitions;           // (K, K)
  const T *start, *end;           // (K), or null
  const std::int64_t* first_row;  // (steps + 1): of each step, and `rows`
};

// path null: the loss is log Z alone. A tag that is none gives a loss of NaN, and its sequence gradients of log Z times
// the weight. weights null: no gradients; else d_emissions (rows, K) and sums (K K + 2 K), the gradients by
// transitions, start and end one after another.
template <class T>
void crf_loss(Stream stream, const DeviceCrf<T>& p, const std::int64_t* path, T* losses, const T* weights,
              T* d_emissions, T* sums, void* scratch);
template <class T>
std::size_t crf_loss_scratch(Index rows, Index tags, Index batch, bool gradients);

template <class T>
void crf_decode(Stream stream, const DeviceCrf<T>& p, std::int64_t* path, T* scores, void* scratch);
std::size_t crf_decode_scratch(Index rows, Index tags);

}  // namespace dlkit::device
