// What passes over sequences share, with layer normalisation or without: scratch memory, groups of packed columns, the
// order of steps.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/scratch.h"
#include "matmul/split.h"
#include "recurrent/kernels.h"

namespace dlkit {

// Rows of W x that inference makes at a time: enough for the product's full speed.
inline constexpr Index kBlockRows = 512;
// Sequences by which a group of columns is multiplied at a time, so that the products stay in a near cache.
inline constexpr Index kProductRows = 64;

inline Index round_up(Index n, Index to) { return divide_up(n, to) * to; }

// Pieces of one block of scratch memory, each on a cache line of its own.
template <class T>
class Arena {
 public:
  Index place(Index count) {
    const Index at = size_;
    size_ += round_up(count, 64 / static_cast<Index>(sizeof(T)));
    return at;
  }
  void open() { base_ = scratch<T>(Slot::columns, static_cast<std::size_t>(size_)); }
  T* operator[](Index place) const { return base_ + place; }

 private:
  Index size_ = 0;
  T* base_ = nullptr;
};

struct Group {
  Index first, units, vectors, panels;  // the place of the panels, in elements
};

// Units in parts for threads, each in groups, and where the panels of one product are.
class Groups {
 public:
  // `gates` columns for each unit; `depth` rows.
  template <class T>
  Groups(const RecurrentKernels<T>& k, Index hidden, int gates, Index depth, int parts) : gates_(gates), depth_(depth) {
    const auto border = [&](int part) {
      return part == parts ? hidden : std::min(hidden, (hidden * part / parts + k.lanes / 2) / k.lanes * k.lanes);
    };
    // A product of so many columns that what comes with each, and with its cells, does not count.
    const Index most = k.group * std::max(1, 4 / gates) / k.lanes;
    for (int part = 0; part < parts; ++part) {
      begin_.push_back(static_cast<Index>(groups_.size()));
      const Index end = border(part + 1);
      Index first = border(part);
      const auto add = [&](Index units) {
        const Index columns = round_up(units * gates, k.lanes);
        groups_.push_back({first, units, columns / k.lanes, size_});
        widest_ = std::max(widest_, columns);
        size_ += columns * depth;
        first += units;
      };
      // Registers of units, then the few that are left. Groups alike, but where cells go through in whole groups.
      const EvenSplit alike((end - first) / k.lanes, most);
      for (Index i = 0; i < alike.parts; ++i)
        add(gates < 3 ? alike.size(i) * k.lanes : std::min((end - first) / k.lanes, most) * k.lanes);
      if (first < end) add(end - first);
    }
    begin_.push_back(static_cast<Index>(groups_.size()));
  }
  Index size() const { return size_; }
  Index widest() const { return widest_; }  // columns of a group
  Index depth() const { return depth_; }
  int gates() const { return gates_; }
  Index begin(int part) const { return begin_[static_cast<std::size_t>(part)]; }
  Index end(int part) const { return begin_[static_cast<std::size_t>(part) + 1]; }
  const Group& operator[](Index i) const { return groups_[static_cast<std::size_t>(i)]; }

 private:
  int gates_;
  Index depth_, size_ = 0, widest_ = 0;
  std::vector<Group> groups_;
  std::vector<Index> begin_;
};

// The steps of a packed batch in the order in which a direction takes them.
struct Steps {
  struct Step {
    Index row, rows;  // of x and y
  };
  std::vector<Step> at;

  explicit Steps(const RecurrentShape& s) {
    Index row = 0;
    for (const Index rows : s.batch_sizes) {
      at.push_back({row, rows});
      row += rows;
    }
    if (s.reverse) std::reverse(at.begin(), at.end());
  }
  Index count() const { return static_cast<Index>(at.size()); }
  const Step& operator[](Index i) const { return at[static_cast<std::size_t>(i)]; }
};

// Borders of `parts` shares of the sequences, [borders[i], borders[i + 1]), so that each has about as many rows.
// Sequences come longest first.
inline std::vector<Index> sequence_borders(const RecurrentShape& s, int parts) {
  std::vector<Index> lengths(static_cast<std::size_t>(s.batch()), 0);
  Index longer = 0;
  for (Index step = s.steps() - 1; step >= 0; --step)
    for (; longer < s.batch_sizes[static_cast<std::size_t>(step)]; ++longer)
      lengths[static_cast<std::size_t>(longer)] = step + 1;
  std::vector<Index> borders = {0};
  Index sum = 0, at = 0;
  const Index total = s.rows();
  for (int part = 1; part < parts; ++part) {
    while (at < s.batch() && (sum + lengths[static_cast<std::size_t>(at)] / 2) * parts < total * part)
      sum += lengths[static_cast<std::size_t>(at++)];
    borders.push_back(at);
  }
  borders.push_back(s.batch());
  return borders;
}

// from (rows, cols), or zeros where it is null, to rows `stride` apart; times the mask where there is one.
template <class T>
void copy_rows(const T* from, Index rows, Index cols, const T* mask, T* to, Index stride) {
  for (Index row = 0; row < rows; ++row, to += stride) {
    if (from == nullptr) {
      std::fill(to, to + cols, T(0));
      continue;
    }
    for (Index j = 0; j < cols; ++j) to[j] = mask == nullptr ? from[j] : from[j] * mask[row * cols + j];
    from += cols;
  }
}

// The state after each sequence's last step, from those of all steps.
template <class T>
void write_last(const RecurrentShape& s, const Steps& steps, const T* y, Index y_stride, T* hn) {
  Index row = s.batch();  // sequences from `row` on have ended
  for (Index i = steps.count() - 1; i >= 0 && row > 0; --i) {
    const auto& step = steps[i];
    // Forward, the sequences that end at this step are those that the step after lacks; backward, all end at last.
    const Index first = s.reverse || i + 1 == steps.count() ? 0 : steps[i + 1].rows;
    for (Index b = first; b < step.rows; ++b)
      std::memcpy(hn + b * s.hidden, y + (step.row + b) * y_stride, static_cast<std::size_t>(s.hidden) * sizeof(T));
    if (s.reverse) break;
  }
}

}  // namespace dlkit
