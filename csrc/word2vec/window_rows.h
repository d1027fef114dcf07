// The input rows of a sentence's window, in memory of the worker's own: a row is copied when its word enters the
// window, changed there by the 2 window + 1 words that it is near to, and written back when it leaves. A word that is
// in the window twice has one copy, so that one worker computes the very same.
//
// On a GPU it saves the trips to memory (FULL-W2V). On a processor the first-level cache does that by itself: of 11
// rows of 448 bytes 10 are there. What is left is the copy, two passes over a row for each word, against steps of
// several workers that meet in a row less often.
//
// Source: Randall, Allen & Ge 2021 (FULL-W2V: fully exploiting data reuse for W2V on GPU-accelerated systems).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/view.h"

namespace dlkit::word2vec {

class WindowRows {
 public:
  WindowRows(Index window, Index dim)
      : dim_(dim), slots_(static_cast<std::size_t>(2 * window + 1)), places_(2),
        memory_(slots_.size() * static_cast<std::size_t>(dim) + 16) {
    while (places_.size() < slots_.size()) places_.resize(2 * places_.size());
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    rows_ = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
  }

  // The word at position j of the sentence; `row` is where it is kept.
  void enter(Index j, std::int32_t word, float* row) {
    Index chosen = -1;
    for (Index s = 0; s < static_cast<Index>(slots_.size()); ++s) {
      if (slots_[static_cast<std::size_t>(s)].uses == 0) {
        if (chosen < 0) chosen = s;
      } else if (slots_[static_cast<std::size_t>(s)].word == word) {
        ++slots_[static_cast<std::size_t>(s)].uses;
        place(j) = s;
        return;
      }
    }
    slots_[static_cast<std::size_t>(chosen)] = {word, 1, row};
    place(j) = chosen;
    std::copy(row, row + dim_, rows_ + chosen * dim_);
  }

  void leave(Index j) {
    const Index s = place(j);
    Slot& slot = slots_[static_cast<std::size_t>(s)];
    if (--slot.uses == 0) std::copy(rows_ + s * dim_, rows_ + (s + 1) * dim_, slot.row);
  }

  float* row(Index j) { return rows_ + place(j) * dim_; }

 private:
  struct Slot {
    std::int32_t word = 0;
    int uses = 0;
    float* row = nullptr;
  };

  Index& place(Index j) { return places_[static_cast<std::size_t>(j) & (places_.size() - 1)]; }

  const Index dim_;
  std::vector<Slot> slots_;
  std::vector<Index> places_;  // of positions; a power of two
  std::vector<float> memory_;
  float* rows_;
};

}  // namespace dlkit::word2vec
