// Planes in parallel, and the gradient of maxima for any window: clear the plane, then add each output's gradient where
// its maximum was. That is an addition to the first-level cache for each output, about a nanosecond; where it goes
// comes from a table of taps.
#include "conv/pool_vector.h"

#include <algorithm>

#include "conv/pool_kernels.h"
#include "conv/pool_naive.h"
#include "conv/pool_windows.h"
#include "core/scratch.h"

namespace dlkit {
namespace {

const PoolTable<PoolRowKernels>& row_kernels() { return DLKIT_SELECT(pool_row_table); }
const PoolTable<PoolGradKernels>& grad_kernels() { return DLKIT_SELECT(pool_grad_table); }
const PoolTable<PoolPlaneKernels>& plane_kernels() { return DLKIT_SELECT(pool_plane_table); }
const PoolTable<PoolSmallKernels>& small_kernels() { return DLKIT_SELECT(pool_small_table); }
const PoolTable<PoolMoveKernels>& move_kernels() { return DLKIT_SELECT(pool_move_table); }
const PoolTable<PoolInterleavedKernels>& interleaved_kernels() { return DLKIT_SELECT(pool_interleaved_table); }

// kernel(p, layout, begin, end, scratch), by pieces
template <class T, class Problem, class Layout, class Kernel>
void in_rows(const Problem& p, const Layout& layout, int threads, const Kernel& kernel) {
  for_planes(p.shape.planes, plane_bytes<T>(p.shape), threads, [&](Index begin, Index end) {
    kernel(p, layout, begin, end, scratch_bytes(Slot::columns, layout.bytes(p.shape, sizeof(T))));
  });
}

template <class T, class Problem, class Kernel>
void in_planes(const Problem& p, int threads, const Kernel& kernel) {
  for_planes(p.shape.planes, plane_bytes<T>(p.shape), threads, [&](Index begin, Index end) { kernel(p, begin, end); });
}

// The same in whole registers of planes, but for the last.
template <class T, class Problem, class Kernel>
void in_lanes(const Problem& p, int threads, const Kernel& kernel) {
  constexpr Index kLanes = 16;  // of the longest register
  const Index planes = p.shape.planes;
  for_planes((planes + kLanes - 1) / kLanes, kLanes * plane_bytes<T>(p.shape), threads,
             [&](Index begin, Index end) { kernel(p, begin * kLanes, std::min(end * kLanes, planes)); });
}

// Where the taps of a window lie, from its first on.
struct TapTable {
  Index row[kMostPlaces], col[kMostPlaces], at[kMostPlaces];
  explicit TapTable(const PoolShape& s) {
    for (Index tap = 0; tap < s.taps(); ++tap) {
      row[tap] = tap / s.kernel_w * s.dilation_h;
      col[tap] = tap % s.kernel_w * s.dilation_w;
      at[tap] = row[tap] * s.width + col[tap];
    }
  }
};

// Windows [begin, end) along an axis that lie within the plane as a whole.
struct Inside {
  Index begin, end;
  Inside(Index outputs, Index kernel, Index stride, Index dilation, Index pad, Index extent) {
    begin = std::min(pad == 0 ? 0 : (pad - 1) / stride + 1, outputs);
    const Index last = extent - 1 - dilation * (kernel - 1) + pad;  // first taps up to there, from the padding's on
    end = last < 0 ? begin : std::clamp(last / stride + 1, begin, outputs);
  }
};

template <class T>
void scatter_places(const MaxPoolBackward<T>& p, const TapTable& table, Index plane) {
  const PoolShape& s = p.shape;
  const Index taps = s.taps();
  const T* grad = p.grad + plane * s.out_size();
  const std::uint8_t* places = p.places + plane * s.out_size();
  T* dx = p.dx + plane * s.in_size();
  const Inside rows(s.out_h, s.kernel_h, s.stride_h, s.dilation_h, s.pad_h, s.height);
  const Inside cols(s.out_w, s.kernel_w, s.stride_w, s.dilation_w, s.pad_w, s.width);
  for (Index i = 0; i < s.out_h; ++i, grad += s.out_w, places += s.out_w) {
    const Index top = i * s.stride_h - s.pad_h;
    const auto checked = [&](Index begin, Index end) {
      for (Index j = begin; j < end; ++j) {
        const std::uint8_t tap = places[j];
        if (tap >= taps) continue;
        const Index h = top + table.row[tap], w = j * s.stride_w - s.pad_w + table.col[tap];
        const auto inside = [](Index at, Index extent) {
          return static_cast<std::size_t>(at) < static_cast<std::size_t>(extent);
        };
        if (inside(h, s.height) && inside(w, s.width)) dx[h * s.width + w] += grad[j];  // else places of another call
      }
    };
    if (i < rows.begin || i >= rows.end) {
      checked(0, s.out_w);
      continue;
    }
    checked(0, cols.begin);
    T* to = dx + top * s.width + cols.begin * s.stride_w - s.pad_w;
    for (Index j = cols.begin; j < cols.end; ++j, to += s.stride_w) {
      const std::uint8_t tap = places[j];
      if (tap < taps) to[table.at[tap]] += grad[j];
    }
    checked(cols.end, s.out_w);
  }
}

template <class T>
void scatter_indices(const MaxPoolBackward<T>& p, Index plane) {
  const PoolShape& s = p.shape;
  const T* grad = p.grad + plane * s.out_size();
  const std::int64_t* indices = p.indices + plane * s.out_size();
  T* dx = p.dx + plane * s.in_size();
  for (Index i = 0; i < s.out_size(); ++i) {
    if (indices[i] < -1 || indices[i] >= s.in_size()) throw BadPoolIndex(indices[i]);
    if (indices[i] >= 0) dx[indices[i]] += grad[i];
  }
}

// Planes [begin, end) of a problem, as one of its own.
template <class T>
StochasticAverageBackward<T> part(StochasticAverageBackward<T> p, Index begin, Index end) {
  p.grad += begin * p.shape.out_size();
  p.x += begin * p.shape.in_size();
  p.dx += begin * p.shape.in_size();
  p.shape.planes = end - begin;
  return p;
}

template <class T>
AdaptiveMaxPool<T> part(AdaptiveMaxPool<T> p, Index begin, Index end) {
  p.x += begin * p.shape.in_size();
  p.y += begin * p.shape.out_size();
  p.indices += begin * p.shape.out_size();
  p.shape.planes = end - begin;
  return p;
}

template <class T>
AdaptiveAvgPool<T> part(AdaptiveAvgPool<T> p, Index begin, Index end) {
  p.x += begin * p.shape.in_size();
  p.y += begin * p.shape.out_size();
  p.shape.planes = end - begin;
  return p;
}

template <class T>
AdaptiveAvgPoolBackward<T> part(AdaptiveAvgPoolBackward<T> p, Index begin, Index end) {
  p.grad += begin * p.shape.out_size();
  p.dx += begin * p.shape.in_size();
  p.shape.planes = end - begin;
  return p;
}

// The windows of an adaptive shape whose extents its outputs divide.
PoolShape even_shape(PoolShape s) {
  s.kernel_h = s.stride_h = s.height / s.out_h;
  s.kernel_w = s.stride_w = s.width / s.out_w;
  s.dilation_h = s.dilation_w = 1;
  s.pad_h = s.pad_w = 0;
  return s;
}

}  // namespace

template <class Problem>
void pool_planes(const Problem& p, int threads) {
  constexpr Index kItem = sizeof(double);
  for_planes(p.shape.planes, (p.shape.in_size() + p.shape.out_size()) * kItem, threads,
             [&](Index begin, Index end) { naive::pool(part(p, begin, end), 1); });
}

template <class T>
void pool_rows(const MaxPool<T>& p, int threads) {
  in_rows<T>(p, RowLayout(p.shape, sizeof(T)), threads, row_kernels().get(T{}).max);
}
template <class T>
void pool_rows(const AvgPool<T>& p, int threads) {
  in_rows<T>(p, RowLayout(p.shape, sizeof(T)), threads, row_kernels().get(T{}).avg);
}
template <class T>
void pool_rows(const StochasticPool<T>& p, int threads) {
  in_rows<T>(p, RowLayout(p.shape, sizeof(T)), threads, row_kernels().get(T{}).stochastic);
}
template <class T>
void pool_rows(const StochasticAverage<T>& p, int threads) {
  in_rows<T>(p, RowLayout(p.shape, sizeof(T)), threads, row_kernels().get(T{}).stochastic_average);
}
template <class T>
void pool_rows(const MaxPoolBackward<T>& p, int threads) {
  in_rows<T>(p, GradLayout(p.shape), threads, grad_kernels().get(T{}).max);
}
template <class T>
void pool_rows(const AvgPoolBackward<T>& p, int threads) {
  in_rows<T>(p, GradLayout(p.shape), threads, grad_kernels().get(T{}).avg);
}

template <class T>
void pool_scatter(const MaxPoolBackward<T>& p, int threads) {
  const PoolShape& s = p.shape;
  const auto run = [&](const auto& one) {
    in_planes<T>(p, threads, [&](const MaxPoolBackward<T>&, Index begin, Index end) {
      for (Index plane = begin; plane < end; ++plane) {
        std::fill(p.dx + plane * s.in_size(), p.dx + (plane + 1) * s.in_size(), T(0));
        one(plane);
      }
    });
  };
  if (p.indices != nullptr) return run([&](Index plane) { scatter_indices(p, plane); });
  const TapTable table(s);
  run([&](Index plane) { scatter_places(p, table, plane); });
}

template <class T>
void pool_2x2(const MaxPool<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).max_2x2);
}
template <class T>
void pool_2x2(const MaxPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).max_2x2_backward);
}
template <class T>
void pool_2x2(const AvgPool<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).avg_2x2);
}
template <class T>
void pool_2x2(const AvgPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).avg_2x2_backward);
}

template <class T>
void pool_3x3(const MaxPool<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).max_3x3);
}
template <class T>
void pool_3x3(const MaxPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, small_kernels().get(T{}).max_3x3_backward);
}

template <class T>
void pool_moves(const MaxPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, move_kernels().get(T{}).max_backward);
}
template <class T>
void pool_moves(const AvgPool<T>& p, int threads) {
  in_planes<T>(p, threads, move_kernels().get(T{}).avg);
}
template <class T>
void pool_moves(const AvgPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, move_kernels().get(T{}).avg_backward);
}
template <class T>
void pool_moves(const AdaptiveAvgPool<T>& p, int threads) {
  in_planes<T>(p, threads, move_kernels().get(T{}).adaptive_avg);
}
template <class T>
void pool_moves(const AdaptiveAvgPoolBackward<T>& p, int threads) {
  in_planes<T>(p, threads, move_kernels().get(T{}).adaptive_avg_backward);
}
template <class T>
Index pool_move_lanes() {
  return move_kernels().get(T{}).lanes;
}
template <class T>
bool pool_moves_are_fast() {
  return move_kernels().get(T{}).lanes > 0;
}

template <class T>
void pool_interleaved(const MaxPool<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).max);
}
template <class T>
void pool_interleaved(const MaxPoolBackward<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).max_backward);
}
template <class T>
void pool_interleaved(const AvgPool<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).avg);
}
template <class T>
void pool_interleaved(const AvgPoolBackward<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).avg_backward);
}
template <class T>
void pool_interleaved(const AdaptiveMaxPool<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).adaptive_max);
}
template <class T>
void pool_interleaved(const AdaptiveAvgPool<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).adaptive_avg);
}
template <class T>
void pool_interleaved(const AdaptiveAvgPoolBackward<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).adaptive_avg_backward);
}
template <class T>
void pool_interleaved(const StochasticPool<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).stochastic);
}
template <class T>
void pool_interleaved(const StochasticAverage<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).stochastic_average);
}
template <class T>
void pool_interleaved(const StochasticAverageBackward<T>& p, int threads) {
  in_lanes<T>(p, threads, interleaved_kernels().get(T{}).stochastic_average_backward);
}

template <class T>
void pool_interleaved(const KMaxPool<T>& p, int threads) {
  constexpr Index kLanes = 16;  // of the longest register
  for_planes((p.rows + kLanes - 1) / kLanes, 4 * kLanes * (p.cols + p.k) * static_cast<Index>(sizeof(T)), threads,
             [&](Index begin, Index end) {
               interleaved_kernels().get(T{}).k_max(p, begin * kLanes, std::min(end * kLanes, p.rows));
             });
}

template <class T>
void pool_widened(const MaxPool<T>& p, int threads) {
  const PoolShape& s = p.shape;
  const PoolWiden& kernel = DLKIT_SELECT(pool_widen);
  WideTaps taps{s.taps(), {}};
  for (Index tap = 0; tap < taps.count; ++tap)
    taps.at[tap] =
        static_cast<std::int32_t>(tap / s.kernel_w * s.dilation_h * s.width + tap % s.kernel_w * s.dilation_w);
  // Places that stay in a near cache until they are read: of whole registers of planes, but of the largest.
  constexpr Index kPlaces = 16 << 10, kMost = 256 << 10, kLanes = 16;
  const Index fit = std::max<Index>(kPlaces / s.out_size(), 1);
  const Index step = kLanes * s.out_size() > kMost ? fit : std::max(fit / kLanes, Index{1}) * kLanes;
  in_planes<T>(p, threads, [&](const MaxPool<T>&, Index begin, Index end) {
    auto* const places = static_cast<std::uint8_t*>(
        scratch_bytes(Slot::result, static_cast<std::size_t>(std::min(step, end - begin) * s.out_size())));
    for (Index plane = begin; plane < end; plane += step) {
      MaxPool<T> few = p;
      few.shape.planes = std::min(step, end - plane);
      few.x += plane * s.in_size();
      few.y += plane * s.out_size();
      few.places = places;
      few.indices = nullptr;
      pool<MaxPool<T>>(few, nullptr, 1);
      std::int64_t* to = p.indices + plane * s.out_size();
      const std::uint8_t* from = places;
      for (Index row = 0; row < few.shape.planes * s.out_h; ++row, to += s.out_w, from += s.out_w)
        kernel.row(taps, from, (row % s.out_h * s.stride_h - s.pad_h) * s.width - s.pad_w, s.stride_w, s.out_w, to);
    }
  });
}

template <class T>
void pool_plane(const MaxPool<T>& p, int threads) {
  in_planes<T>(p, threads, plane_kernels().get(T{}).max_pool);
}
template <class T>
void pool_plane(const AvgPool<T>& p, int threads) {
  const T divisor = static_cast<T>(p.divisor != 0 ? p.divisor : p.shape.in_size());
  in_planes<T>(p, threads, [&](const AvgPool<T>&, Index begin, Index end) {
    plane_kernels().get(T{}).mean(p.x, p.y, p.shape.in_size(), divisor, begin, end);
  });
}
template <class T>
void pool_plane(const AvgPoolBackward<T>& p, int threads) {
  const T divisor = static_cast<T>(p.divisor != 0 ? p.divisor : p.shape.in_size());
  in_planes<T>(p, threads, [&](const AvgPoolBackward<T>&, Index begin, Index end) {
    plane_kernels().get(T{}).spread(p.grad, p.dx, p.shape.in_size(), divisor, begin, end);
  });
}
template <class T>
void pool_plane(const MaxOverTime<T>& p, int threads) {
  for_planes(p.rows, p.cols * static_cast<Index>(sizeof(T)), threads,
             [&](Index begin, Index end) { plane_kernels().get(T{}).max(p, begin, end); });
}

template <class T>
void pool_even(const AdaptiveMaxPool<T>& p, int threads) {
  const MaxPool<T> problem = {even_shape(p.shape), p.x, p.y, nullptr, p.indices, false};
  pool<MaxPool<T>>(problem, nullptr, threads);
}
template <class T>
void pool_even(const AdaptiveAvgPool<T>& p, int threads) {
  const AvgPool<T> problem = {even_shape(p.shape), p.x, p.y, false, 0};
  pool<AvgPool<T>>(problem, nullptr, threads);
}
template <class T>
void pool_even(const AdaptiveAvgPoolBackward<T>& p, int threads) {
  const AvgPoolBackward<T> problem = {even_shape(p.shape), p.grad, p.dx, false, 0};
  pool<AvgPoolBackward<T>>(problem, nullptr, threads);
}

#define DLKIT_INSTANTIATE(T)                                                \
  template void pool_widened(const MaxPool<T>&, int);                       \
  template void pool_moves(const MaxPoolBackward<T>&, int);                 \
  template void pool_moves(const AvgPool<T>&, int);                         \
  template void pool_moves(const AvgPoolBackward<T>&, int);                 \
  template void pool_moves(const AdaptiveAvgPool<T>&, int);                 \
  template void pool_moves(const AdaptiveAvgPoolBackward<T>&, int);         \
  template Index pool_move_lanes<T>();                                      \
  template bool pool_moves_are_fast<T>();                                   \
  template void pool_interleaved(const MaxPool<T>&, int);                   \
  template void pool_interleaved(const MaxPoolBackward<T>&, int);           \
  template void pool_interleaved(const AvgPool<T>&, int);                   \
  template void pool_interleaved(const AvgPoolBackward<T>&, int);           \
  template void pool_interleaved(const AdaptiveMaxPool<T>&, int);           \
  template void pool_interleaved(const AdaptiveAvgPool<T>&, int);           \
  template void pool_interleaved(const AdaptiveAvgPoolBackward<T>&, int);   \
  template void pool_interleaved(const KMaxPool<T>&, int);                  \
  template void pool_interleaved(const StochasticPool<T>&, int);            \
  template void pool_interleaved(const StochasticAverage<T>&, int);         \
  template void pool_interleaved(const StochasticAverageBackward<T>&, int); \
  template void pool_planes(const StochasticAverageBackward<T>&, int);      \
  template void pool_planes(const AdaptiveMaxPool<T>&, int);                \
  template void pool_planes(const AdaptiveAvgPool<T>&, int);                \
  template void pool_planes(const AdaptiveAvgPoolBackward<T>&, int);        \
  template void pool_rows(const MaxPool<T>&, int);                          \
  template void pool_rows(const AvgPool<T>&, int);                          \
  template void pool_rows(const StochasticPool<T>&, int);                   \
  template void pool_rows(const StochasticAverage<T>&, int);                \
  template void pool_rows(const MaxPoolBackward<T>&, int);                  \
  template void pool_rows(const AvgPoolBackward<T>&, int);                  \
  template void pool_scatter(const MaxPoolBackward<T>&, int);               \
  template void pool_2x2(const MaxPool<T>&, int);                           \
  template void pool_2x2(const MaxPoolBackward<T>&, int);                   \
  template void pool_2x2(const AvgPool<T>&, int);                           \
  template void pool_2x2(const AvgPoolBackward<T>&, int);                   \
  template void pool_3x3(const MaxPool<T>&, int);                           \
  template void pool_3x3(const MaxPoolBackward<T>&, int);                   \
  template void pool_plane(const MaxPool<T>&, int);                         \
  template void pool_plane(const AvgPool<T>&, int);                         \
  template void pool_plane(const AvgPoolBackward<T>&, int);                 \
  template void pool_plane(const MaxOverTime<T>&, int);                     \
  template void pool_even(const AdaptiveMaxPool<T>&, int);                  \
  template void pool_even(const AdaptiveAvgPool<T>&, int);                  \
  template void pool_even(const AdaptiveAvgPoolBackward<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
