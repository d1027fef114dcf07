// The definitions, and the reference of the tests: a loop over the taps of each window.
//
// A comparison or an addition for each tap, one after another: bound by the latency of these and by branches that the
// processor cannot foresee. One thread.
#include "conv/pool_naive.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "conv/pool_windows.h"
#include "core/philox.h"

namespace dlkit::naive {
namespace {

// body(tap, at): every tap of a window that meets the plane: its number, and that of its element.
template <class Body>
void taps(const PoolShape& s, Index i, Index j, const Body& body) {
  const Index top = i * s.stride_h - s.pad_h, left = j * s.stride_w - s.pad_w;
  const PoolTaps rows(top, s.kernel_h, s.dilation_h, s.height), cols(left, s.kernel_w, s.dilation_w, s.width);
  for (Index u = rows.begin; u < rows.end; ++u)
    for (Index v = cols.begin; v < cols.end; ++v)
      body(u * s.kernel_w + v, (top + u * s.dilation_h) * s.width + left + v * s.dilation_w);
}

// body(plane, i, j, place): every element of the output, and its number.
template <class Body>
void outputs(const PoolShape& s, const Body& body) {
  Index place = 0;
  for (Index plane = 0; plane < s.planes; ++plane)
    for (Index i = 0; i < s.out_h; ++i)
      for (Index j = 0; j < s.out_w; ++j) body(plane, i, j, place++);
}

template <class T>
void clear(T* data, Index count) {
  std::fill(data, data + count, T(0));
}

// body(at): every element of a window, divided by `over` in total.
template <class Problem, class Body>
void mean(const Problem& p, Index i, Index j, const Body& body) {
  const PoolShape& s = p.shape;
  const PoolSpan rows(i, s.kernel_h, s.stride_h, s.pad_h, s.height, p.include_pad);
  const PoolSpan cols(j, s.kernel_w, s.stride_w, s.pad_w, s.width, p.include_pad);
  const Index over = p.divisor != 0 ? p.divisor : rows.count * cols.count;
  for (Index h = rows.begin; h < rows.end; ++h)
    for (Index w = cols.begin; w < cols.end; ++w) body(h * s.width + w, over);
}

template <class Body>
void adaptive(const PoolShape& s, Index i, Index j, const Body& body) {
  const AdaptiveSpan rows(i, s.out_h, s.height), cols(j, s.out_w, s.width);
  for (Index h = rows.begin; h < rows.end; ++h)
    for (Index w = cols.begin; w < cols.end; ++w)
      body(h * s.width + w, (rows.end - rows.begin) * (cols.end - cols.begin));
}

// Whether an element takes the place of the largest so far, of one before it.
template <class T>
bool wins(T value, T best) {
  return value > best || value != value;
}

template <class T>
T activation_of(T value) {
  return value < 0 ? T(0) : value;  // NaN stays
}

}  // namespace

template <class T>
void pool(const MaxPool<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    const T* x = p.x + plane * s.in_size();
    T best = -std::numeric_limits<T>::infinity();
    Index tap_of = -1, at_of = -1;
    taps(s, i, j, [&](Index tap, Index at) {
      if (at_of >= 0 && !wins(x[at], best)) return;
      best = x[at], tap_of = tap, at_of = at;
    });
    if (p.relu && !(best > 0)) {
      best = best != best ? best : T(0);
      if (best == 0) tap_of = at_of = -1;
    }
    p.y[place] = best;
    if (p.places != nullptr) p.places[place] = tap_of < 0 ? kNoPlace : static_cast<std::uint8_t>(tap_of);
    if (p.indices != nullptr) p.indices[place] = at_of;
  });
}

template <class T>
void pool(const MaxPoolBackward<T>& p, int) {
  const PoolShape& s = p.shape;
  clear(p.dx, s.planes * s.in_size());
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    T* dx = p.dx + plane * s.in_size();
    if (p.indices != nullptr) {
      const std::int64_t at = p.indices[place];
      if (at < -1 || at >= s.in_size()) throw BadPoolIndex(at);
      if (at >= 0) dx[at] += p.grad[place];
      return;
    }
    taps(s, i, j, [&](Index tap, Index at) {
      if (tap == p.places[place] && tap != kNoPlace) dx[at] += p.grad[place];
    });
  });
}

template <class T>
void pool(const AvgPool<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    T sum = 0;
    Index divisor = 1;
    mean(p, i, j, [&](Index at, Index over) { sum += p.x[plane * s.in_size() + at], divisor = over; });
    p.y[place] = sum / static_cast<T>(divisor);
  });
}

template <class T>
void pool(const AvgPoolBackward<T>& p, int) {
  const PoolShape& s = p.shape;
  clear(p.dx, s.planes * s.in_size());
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    mean(p, i, j,
         [&](Index at, Index over) { p.dx[plane * s.in_size() + at] += p.grad[place] / static_cast<T>(over); });
  });
}

template <class T>
void pool(const StochasticPool<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    const T* x = p.x + plane * s.in_size();
    T sum = 0;
    taps(s, i, j, [&](Index, Index at) { sum += activation_of(x[at]); });
    const std::uint32_t word = Philox::element(p.seed, p.offset + static_cast<std::uint64_t>(place));
    const T threshold = static_cast<T>(word >> 8) * T(0x1p-24) * sum;
    // The last of those that begin at or below the threshold: the one that it falls into.
    T before = 0, value = threshold != threshold ? threshold : T(0);
    Index tap_of = -1;
    taps(s, i, j, [&](Index tap, Index at) {
      const T share = activation_of(x[at]);
      if (share > 0 && before <= threshold) tap_of = tap, value = share;
      before += share;
    });
    p.y[place] = value;
    p.places[place] = tap_of < 0 ? kNoPlace : static_cast<std::uint8_t>(tap_of);
  });
}

template <class T>
void pool(const StochasticAverage<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    T sum = 0, squares = 0;
    taps(s, i, j, [&](Index, Index at) {
      const T share = activation_of(p.x[plane * s.in_size() + at]);
      sum += share, squares += share * share;
    });
    p.y[place] = sum == 0 ? T(0) : squares / sum;
  });
}

template <class T>
void pool(const StochasticAverageBackward<T>& p, int) {
  const PoolShape& s = p.shape;
  clear(p.dx, s.planes * s.in_size());
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    const T* x = p.x + plane * s.in_size();
    T sum = 0, squares = 0;
    taps(s, i, j, [&](Index, Index at) {
      const T share = activation_of(x[at]);
      sum += share, squares += share * share;
    });
    if (sum == 0) return;
    const T mean = squares / sum, scale = p.grad[place] / sum;
    taps(s, i, j, [&](Index, Index at) {
      if (!(x[at] < 0)) p.dx[plane * s.in_size() + at] += (2 * x[at] - mean) * scale;
    });
  });
}

template <class T>
void pool(const AdaptiveMaxPool<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    const T* x = p.x + plane * s.in_size();
    Index best = -1;
    adaptive(s, i, j, [&](Index at, Index) {
      if (best < 0 || wins(x[at], x[best])) best = at;
    });
    p.y[place] = x[best];
    p.indices[place] = best;
  });
}

template <class T>
void pool(const AdaptiveAvgPool<T>& p, int) {
  const PoolShape& s = p.shape;
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    T sum = 0;
    Index divisor = 1;
    adaptive(s, i, j, [&](Index at, Index over) { sum += p.x[plane * s.in_size() + at], divisor = over; });
    p.y[place] = sum / static_cast<T>(divisor);
  });
}

template <class T>
void pool(const AdaptiveAvgPoolBackward<T>& p, int) {
  const PoolShape& s = p.shape;
  clear(p.dx, s.planes * s.in_size());
  outputs(s, [&](Index plane, Index i, Index j, Index place) {
    adaptive(s, i, j,
             [&](Index at, Index over) { p.dx[plane * s.in_size() + at] += p.grad[place] / static_cast<T>(over); });
  });
}

template <class T>
void pool(const KMaxPool<T>& p, int) {
  std::vector<Index> order(static_cast<std::size_t>(p.cols));
  for (Index row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.cols;
    for (Index i = 0; i < p.cols; ++i) order[static_cast<std::size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(),
                     [&](Index a, Index b) { return x[a] > x[b] || (x[a] != x[a] && x[b] == x[b]); });
    std::sort(order.begin(), order.begin() + p.k);
    for (Index i = 0; i < p.k; ++i) {
      const Index at = order[static_cast<std::size_t>(i)];
      p.y[row * p.k + i] = x[at];
      p.indices[row * p.k + i] = at;
    }
  }
}

template <class T>
void pool(const MaxOverTime<T>& p, int) {
  for (Index row = 0; row < p.rows; ++row) {
    const T* x = p.x + row * p.cols;
    const Index length = p.lengths == nullptr ? p.cols : p.lengths[row / p.rows_per_length];
    Index best = 0;
    for (Index i = 1; i < length; ++i)
      if (wins(x[i], x[best])) best = i;
    p.y[row] = x[best];
    p.indices[row] = best;
  }
}

#define DLKIT_INSTANTIATE(T)                                    \
  template void pool(const MaxPool<T>&, int);                   \
  template void pool(const MaxPoolBackward<T>&, int);           \
  template void pool(const AvgPool<T>&, int);                   \
  template void pool(const AvgPoolBackward<T>&, int);           \
  template void pool(const StochasticPool<T>&, int);            \
  template void pool(const StochasticAverage<T>&, int);         \
  template void pool(const StochasticAverageBackward<T>&, int); \
  template void pool(const AdaptiveMaxPool<T>&, int);           \
  template void pool(const AdaptiveAvgPool<T>&, int);           \
  template void pool(const AdaptiveAvgPoolBackward<T>&, int);   \
  template void pool(const KMaxPool<T>&, int);                  \
  template void pool(const MaxOverTime<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::naive
