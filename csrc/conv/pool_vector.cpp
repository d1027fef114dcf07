// Planes in parallel, and the gradient of maxima for any window: clear the plane, then add each output's gradient where
// its maximum was. That is an addition to the first-level cache for each output, about a nanosecond; where it goes
// comes from a table of taps.
#include "conv/pool_vector.h"

#include <algorithm>

#include "conv/pool_kernels.h"
#include "conv/pool_windows.h"
#include "core/scratch.h"

namespace dlkit {
namespace {

const PoolTable<PoolRowKernels>& row_kernels() { return DLKIT_SELECT(pool_row_table); }
const PoolTable<PoolSmallKernels>& small_kernels() { return DLKIT_SELECT(pool_small_table); }

// body(begin, end, scratch)
template <class T, class Problem, class Kernel>
void in_rows(const Problem& p, int threads, const Kernel& kernel) {
  const RowLayout layout(p.shape);
  for_planes(p.shape.planes, plane_bytes<T>(p.shape), threads, [&](Index begin, Index end) {
    kernel(p, layout, begin, end, scratch_bytes(Slot::columns, layout.bytes(p.shape, sizeof(T))));
  });
}

template <class T, class Problem, class Kernel>
void in_planes(const Problem& p, int threads, const Kernel& kernel) {
  for_planes(p.shape.planes, plane_bytes<T>(p.shape), threads, [&](Index begin, Index end) { kernel(p, begin, end); });
}

// Where the taps of a window lie, from its first on.
struct TapTable {
  Index row[kMostPlaces], col[kMostPlaces];
  explicit TapTable(const PoolShape& s) {
    for (Index tap = 0; tap < s.taps(); ++tap) {
      row[tap] = tap / s.kernel_w * s.dilation_h;
      col[tap] = tap % s.kernel_w * s.dilation_w;
    }
  }
};

template <class T>
void scatter_places(const MaxPoolBackward<T>& p, const TapTable& table, Index plane) {
  const PoolShape& s = p.shape;
  const Index taps = s.taps();
  const T* grad = p.grad + plane * s.out_size();
  const std::uint8_t* places = p.places + plane * s.out_size();
  T* dx = p.dx + plane * s.in_size();
  for (Index i = 0; i < s.out_h; ++i)
    for (Index j = 0; j < s.out_w; ++j) {
      const std::uint8_t tap = *places++;
      const T g = *grad++;
      if (tap >= taps) continue;
      const Index h = i * s.stride_h - s.pad_h + table.row[tap], w = j * s.stride_w - s.pad_w + table.col[tap];
      if (h < 0 || h >= s.height || w < 0 || w >= s.width) continue;  // places of another call
      dx[h * s.width + w] += g;
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

}  // namespace

template <class T>
void pool_rows(const MaxPool<T>& p, int threads) {
  in_rows<T>(p, threads, row_kernels().get(T{}).max);
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

#define DLKIT_INSTANTIATE(T)                                  \
  template void pool_rows(const MaxPool<T>&, int);            \
  template void pool_scatter(const MaxPoolBackward<T>&, int); \
  template void pool_2x2(const MaxPool<T>&, int);             \
  template void pool_2x2(const MaxPoolBackward<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
