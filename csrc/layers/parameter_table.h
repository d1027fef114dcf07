// All parameters of a network in one launch: their addresses travel with the kernel's arguments, of which CUDA takes
// 32,764 bytes, and blocks take chunks of them. A launch costs a few microseconds, the time in which an H100 updates
// half a million weights.
#pragma once

#include <algorithm>
#include <vector>

#include "layers/device.h"
#include "layers/each_pack.h"

namespace dlkit::device {

constexpr Index kChunk = 4096;  // elements that a block takes at once

// kRoles arrays of each parameter.
template <class T, int kRoles, int kMost_>
struct ParameterTable {
  static constexpr int kMost = kMost_;

  T* array[kRoles][kMost];
  Index n[kMost];
  Index chunks_end[kMost];  // chunks of this parameter and of those before it
  int count;

  __device__ __forceinline__ int parameter_of(Index chunk) const {
    int first = 0, last = count - 1;
    while (first < last) {
      const int middle = (first + last) / 2;
      if (chunks_end[middle] > chunk)
        last = middle;
      else
        first = middle + 1;
    }
    return first;
  }
};

// What a block works on: elements of one parameter.
template <class T, int kRoles>
struct Chunk {
  T* array[kRoles];
  Index n;
  bool packed;  // whether all are aligned to 16 bytes
};

// body(chunk, number) for the chunks that are this block's.
template <class T, int kRoles, int kMost, class Body>
__device__ __forceinline__ void each_chunk(const ParameterTable<T, kRoles, kMost>& table, const Body& body) {
  const Index chunks = table.chunks_end[table.count - 1];
  for (Index number = blockIdx.x; number < chunks; number += gridDim.x) {
    const int parameter = table.parameter_of(number);
    const Index before = parameter == 0 ? 0 : table.chunks_end[parameter - 1];
    const Index begin = (number - before) * kChunk, left = table.n[parameter] - begin;
    Chunk<T, kRoles> chunk;
    chunk.n = left < kChunk ? left : kChunk;
    chunk.packed = true;
#pragma unroll
    for (int role = 0; role < kRoles; ++role) {
      T* const array = table.array[role][parameter];
      chunk.array[role] = array == nullptr ? nullptr : array + begin;
      chunk.packed = chunk.packed && is_aligned<kPack<T>>(chunk.array[role]);
    }
    body(chunk, number);
  }
}

// A map (each_pack.h) over a chunk.
template <class T, int kUnroll, class Map>
__device__ __forceinline__ void map_chunk(const Map& map, Index n, bool packed) {
  if (packed) {
    map_block<kPack<T>, kUnroll>(map, n, 0, 1);
    map_rest<kPack<T>>(map, n);
  } else {
    map_block<1, kUnroll>(map, n, 0, 1);
  }
}

namespace detail {

template <int kMost, class T, int kRoles, class Launch>
void launch_tables(const std::vector<Parameter<T>>& parameters, const Launch& launch) {
  using R = real<T>;
  ParameterTable<R, kRoles, kMost> table = {};
  Index chunks = 0;
  const auto flush = [&] {
    if (table.count > 0) launch(table, chunks, full_grid(chunks, kThreads));
    table.count = 0;
    chunks = 0;
  };
  for (const Parameter<T>& part : parameters) {
    if (part.n == 0) continue;
    const T* const arrays[] = {part.value, part.grad, part.first, part.second};
    for (int role = 0; role < kRoles; ++role) table.array[role][table.count] = reals(const_cast<T*>(arrays[role]));
    table.n[table.count] = part.n;
    chunks += ceil_div(part.n, kChunk);
    table.chunks_end[table.count] = chunks;
    if (++table.count == kMost) flush();
  }
  flush();
}

}  // namespace detail

// As many, of how many roles, fit the arguments of a launch.
constexpr int kFewParameters = 24, kManyParameters = 640;

// launch(table, chunks, blocks) with tables of all parameters that are not empty: one, of one of two sizes (copying a
// table of 30 KB for a handful of parameters would take longer than updating them); or several of the larger size.
template <int kRoles, class T, class Launch>
void with_tables(const std::vector<Parameter<T>>& parameters, const Launch& launch) {
  if (parameters.size() <= kFewParameters)
    detail::launch_tables<kFewParameters, T, kRoles>(parameters, launch);
  else
    detail::launch_tables<kManyParameters, T, kRoles>(parameters, launch);
}

}  // namespace dlkit::device
