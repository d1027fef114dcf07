// Scores against a threshold, eight registers at a time: one comparison of their largest. Once k good rows are known
// almost nothing exceeds it, so that a score costs a load and a maximum: 1/60 of the product of 300 dimensions before.
#include "core/simd.h"
#include "word2vec/nearest.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, bool kScaled>
DLKIT_INLINE Index scan_row(const T* scores, const T* scale, Index from, Index n, T threshold, std::int64_t first,
                            Candidate<T>* candidates, Index& count, Index room) {
  using V = Vec<T>;
  constexpr Index kStep = 8 * V::lanes;
  static_assert(kStep <= kMostScanned);
  const auto score = [&](Index i) { return kScaled ? scores[i] * scale[i] : scores[i]; };
  const auto vector = [&](Index i) { return kScaled ? V::load(scores + i) * V::load(scale + i) : V::load(scores + i); };
  Index found = count;
  for (; from < n; from += kStep) {
    if (room - found < kStep) {
      count = found;
      return from;
    }
    Index end = from + kStep;
    if (end <= n) {
      // The second operand where the first is NaN: a NaN is nowhere the largest.
      V low = V::broadcast(threshold), high = low;
      for (Index i = from; i < end; i += 2 * V::lanes) {
        low = V::max(vector(i), low);
        high = V::max(vector(i + V::lanes), high);
      }
      if (!(V::max(low, high).maximum() > threshold)) continue;
    } else {
      end = n;
    }
    for (Index i = from; i < end; ++i)
      if (score(i) > threshold) candidates[found++] = {score(i), first + i};
  }
  count = found;
  return n;
}

template <class T>
DLKIT_INLINE Index scan_either(const T* scores, const T* scale, Index from, Index n, T threshold, std::int64_t first,
                               Candidate<T>* candidates, Index& count, Index room) {
  return scale != nullptr ? scan_row<T, true>(scores, scale, from, n, threshold, first, candidates, count, room)
                          : scan_row<T, false>(scores, scale, from, n, threshold, first, candidates, count, room);
}

Index scan_float(const float* scores, const float* scale, Index from, Index n, float threshold, std::int64_t first,
                 Candidate<float>* candidates, Index& count, Index room) {
  return scan_either(scores, scale, from, n, threshold, first, candidates, count, room);
}
Index scan_double(const double* scores, const double* scale, Index from, Index n, double threshold, std::int64_t first,
                  Candidate<double>* candidates, Index& count, Index room) {
  return scan_either(scores, scale, from, n, threshold, first, candidates, count, room);
}

}  // namespace

extern const ScanTables scan_table;
const ScanTables scan_table = {{scan_float}, {scan_double}};

}  // namespace dlkit::DLKIT_TARGET
