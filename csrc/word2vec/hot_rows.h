// A worker's own copies of the rows that every worker changes all the time.
//
// The root of the Huffman tree is in the path of each word, the 64 nodes that most words have are half of all that a
// word changes, and each of their cache lines is another core's when it is needed: it has to travel, 7 lines a row of
// 100 elements, for each word of each worker. With copies a worker changes its own and adds what it has changed to the
// shared rows every so many words, under a lock, so that no step is lost; then it has the others' steps, too. Its copy
// is late by as many words at most: an average over many words moves little in that time.
//
// Twice count rows a worker; a merge reads and writes three times as many.
//
// Source: the idea is that of a bounded delay: Ho et al. 2013 (stale synchronous parallel parameter server).
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "core/view.h"
#include "word2vec/word2vec.h"

namespace dlkit::word2vec {

class HotRows {
 public:
  // Rows [first, first + count) of a matrix at `shared`; none where count is 0.
  HotRows(float* shared, Index first, Index count, Index dim)
      : shared_(shared), first_(first), count_(count), dim_(dim), kernels_(DLKIT_SELECT(bag_table)),
        memory_(count > 0 ? static_cast<std::size_t>(2 * count * dim + kMostLanes) : 0) {
    if (count == 0) return;
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    own_ = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
    before_ = own_ + count * dim;
    const float* const from = shared + first * dim;
    for (Index i = 0; i < count * dim; ++i) own_[i] = before_[i] = from[i];
  }

  float* row(Index row) const {
    const Index at = row - first_;
    return static_cast<std::uint64_t>(at) < static_cast<std::uint64_t>(count_) ? own_ + at * dim_
                                                                               : shared_ + row * dim_;
  }

  // Under a lock that all workers share.
  void merge() {
    if (count_ > 0) kernels_.merge(own_, before_, shared_ + first_ * dim_, count_ * dim_);
  }

 private:
  float* const shared_;
  const Index first_, count_, dim_;
  const BagTables& kernels_;
  std::vector<float> memory_;
  float* own_ = nullptr;
  float* before_ = nullptr;  // the shared rows at the last merge
};

}  // namespace dlkit::word2vec
