// The largest element of a row and the sum of exponentials below it, in one pass: Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018.
#pragma once

#include "layers/functions.h"
#include "layers/rows.h"

namespace dlkit::device {

template <class T>
struct Exponentials {
  T most, sum;  // of exp(x - most)
};

// Of a long row, by a block.
template <int N, class T>
__device__ __forceinline__ Exponentials<T> exponentials_of_long(const T* x, Index cols) {
  const T none = -infinity<T>();
  T most = none, sum = T(0);
  each_of_long_row<N>(cols, [&](Index first) {
    Pack<T, N> held[kLongPacks];
    load_long<T, N>(held, x, first, cols, none);
    T larger = most;
#pragma unroll
    for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
      for (int k = 0; k < N; ++k) larger = Maximum::combine(larger, held[j][k]);
    if (larger == none) return;  // -inf all of them: nothing to add, and -inf - -inf would be a NaN
    T more = T(0);
#pragma unroll
    for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
      for (int k = 0; k < N; ++k) more += exp(held[j][k] - larger);
    sum = sum * exp(most - larger) + more;
    most = larger;
  });
  const T all = block_reduce<Maximum>(most, none);
  return {all, block_sum(most == none ? T(0) : sum * exp(most - all))};
}

}  // namespace dlkit::device
