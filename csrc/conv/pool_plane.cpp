// Windows that are a whole row of memory: global pooling, and the largest over time.
//
// A mean: one load and addition for each register, in four sums that do not wait for each other. A maximum: its value
// first, then the first element that equals it, so that no numbers are carried along. Bytes: x read once (a maximum's
// row a second time, from the first-level cache). Bound: memory.
#include "conv/pool_kernels.h"
#include "conv/pool_lanes.h"
#include "core/transpose.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
void mean(const T* x, T* y, Index cols, T divisor, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  Index row = begin;
  if (cols <= 16 * kLanes)  // short rows: a register of their results at a time, whose sums are added as columns
    for (; row + kLanes <= end; row += kLanes) {
      T partial[kLanes * kLanes];
      const T* from = x + row * cols;
      const Index whole = cols / kLanes * kLanes, left = cols - whole;
      for (Index r = 0; r < kLanes; ++r, from += cols) {
        V sum = left > 0 ? load_first(from + whole, left) : V::zero();
        for (Index i = 0; i < whole; i += kLanes) sum = sum + V::load(from + i);
        sum.store(partial + r * kLanes);
      }
      V total = V::zero();
      transpose_block(partial, kLanes, [&](int, V part) __attribute__((always_inline)) { total = total + part; });
      (total / V::broadcast(divisor)).store(y + row);
    }
  for (; row < end; ++row) {
    const T* from = x + row * cols;
    V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    Index i = 0;
    for (; i + 4 * kLanes <= cols; i += 4 * kLanes)
      for (int k = 0; k < 4; ++k) sum[k] = sum[k] + V::load(from + i + k * kLanes);
    for (int k = 0; i < cols; i += kLanes, ++k) sum[k & 3] = sum[k & 3] + load_first(from + i, cols - i);
    y[row] = ((sum[0] + sum[1]) + (sum[2] + sum[3])).sum() / divisor;
  }
}

template <class T>
void spread(const T* grad, T* dx, Index cols, T divisor, Index begin, Index end) {
  using V = Vec<T>;
  for (Index row = begin; row < end; ++row) {
    T* to = dx + row * cols;
    const V share = V::broadcast(grad[row] / divisor);
    for (Index i = 0; i < cols; i += V::lanes) store_first(share, to + i, cols - i);
  }
}

template <class T>
DLKIT_INLINE Index largest(const T* x, Index n) {
  using V = Vec<T>;
  constexpr Index kLanes = V::lanes;
  if (n < kLanes) {
    Index best = 0;
    for (Index i = 1; i < n; ++i)
      if (x[i] > x[best] || x[i] != x[i]) best = i;
    return best;
  }
  // The last register overlaps the one before: it changes no maximum.
  V best = V::load(x + n - kLanes);
  auto nan = V::is_nan(best);
  for (Index i = 0; i + kLanes < n; i += kLanes) {
    const V next = V::load(x + i);
    nan = either(nan, V::is_nan(next));
    best = V::max(best, next);
  }
  if (first_lane<T>(nan) < kLanes) {
    Index at = n - 1;
    while (x[at] == x[at]) --at;
    return at;
  }
  const V value = V::broadcast(best.maximum());
  if (n <= 4 * kLanes && 4 * kLanes <= 64) {  // all comparisons at once, no branch that depends on the place
    std::uint64_t places = lane_bits<T>(V::less_equal(value, V::load(x + n - kLanes))) << (n - kLanes);
    for (Index i = 0; i + kLanes < n; i += kLanes) places |= lane_bits<T>(V::less_equal(value, V::load(x + i))) << i;
    return __builtin_ctzll(places);
  }
  for (Index i = 0; i + kLanes < n; i += kLanes) {
    const int lane = first_lane<T>(V::less_equal(value, V::load(x + i)));
    if (lane < kLanes) return i + lane;
  }
  return n - kLanes + first_lane<T>(V::less_equal(value, V::load(x + n - kLanes)));
}

template <class T>
void max(const MaxOverTime<T>& p, Index begin, Index end) {
  for (Index row = begin; row < end; ++row) {
    const T* x = p.x + row * p.cols;
    const Index at = largest(x, p.lengths == nullptr ? p.cols : p.lengths[row / p.rows_per_length]);
    p.y[row] = x[at];
    p.indices[row] = at;
  }
}

template <class T>
void max_pool(const MaxPool<T>& p, Index begin, Index end) {
  const Index cols = p.shape.height * p.shape.width;
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * cols;
    const Index at = largest(x, cols);
    const bool off = p.relu && x[at] <= 0;
    p.y[plane] = off ? T(0) : x[at];
    if (p.places != nullptr) p.places[plane] = off ? kNoPlace : static_cast<std::uint8_t>(at);
    if (p.indices != nullptr) p.indices[plane] = off ? -1 : at;
  }
}

template <class T>
constexpr PoolPlaneKernels<T> kKernels = {mean<T>, spread<T>, max<T>, max_pool<T>};

}  // namespace

extern const PoolTable<PoolPlaneKernels> pool_plane_table;
const PoolTable<PoolPlaneKernels> pool_plane_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
