// The k largest of each row, in the order in which they are there.
//
// Numbers become integers that are ordered as they are, NaN above all; std::nth_element finds the k-th largest of a
// copy in about 3 comparisons an element; one pass then takes what is larger, and of what is equal the first. Bytes: x
// read once, the copy is in the first-level cache. Bound: the branches of the partial sort.
//
// Source of the operation: Kalchbrenner, Grefenstette & Blunsom 2014.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <type_traits>

#include "conv/pool_vector.h"
#include "conv/pool_windows.h"
#include "core/scratch.h"

namespace dlkit {
namespace {

// An integer for each number, ordered alike: -0 and 0 are one, and so are all NaN.
template <class T>
auto key_of(T x) {
  using Key = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  if (x != x) return std::numeric_limits<Key>::max();
  x += T(0);  // -0 becomes 0
  Key bits;
  std::memcpy(&bits, &x, sizeof(T));
  return static_cast<Key>(bits < 0 ? bits ^ std::numeric_limits<Key>::max() : bits);
}

}  // namespace

template <class T>
void pool_select(const KMaxPool<T>& p, int threads) {
  using Key = decltype(key_of(T{}));
  if (p.k == 0) return;
  const Index bytes = (p.cols + p.k) * static_cast<Index>(sizeof(T));
  for_planes(p.rows, 4 * bytes, threads, [&](Index begin, Index end) {
    Key* keys = scratch<Key>(Slot::columns, static_cast<std::size_t>(2 * p.cols));
    Key* sorted = keys + p.cols;
    for (Index row = begin; row < end; ++row) {
      const T* x = p.x + row * p.cols;
      for (Index i = 0; i < p.cols; ++i) keys[i] = key_of(x[i]);
      std::copy(keys, keys + p.cols, sorted);
      std::nth_element(sorted, sorted + (p.k - 1), sorted + p.cols, std::greater<Key>());
      const Key least = sorted[p.k - 1];
      Index equal = p.k - std::count_if(keys, keys + p.cols, [&](Key key) { return key > least; });
      T* y = p.y + row * p.k;
      std::int64_t* indices = p.indices + row * p.k;
      for (Index i = 0; i < p.cols; ++i) {
        if (keys[i] < least || (keys[i] == least && equal-- <= 0)) continue;
        *y++ = x[i];
        *indices++ = i;
      }
    }
  });
}

template void pool_select(const KMaxPool<float>&, int);
template void pool_select(const KMaxPool<double>&, int);

}  // namespace dlkit
