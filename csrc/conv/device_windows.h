// What the kernels of pooling share: windows as kernels take them, the numbers of threads, and maxima with their
// places.
#pragma once

#include "conv/device_ladder.h"
#include "conv/device_pool.h"
#include "core/cuda/warp.h"

namespace dlkit::device {

// A problem for kernels. `by_row` and `by_plane` split the number of a thread into plane, row and column.
struct Windows {
  int height, width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, out_h, out_w;
  Index threads;
  int rows, cols;  // of a plane of threads
  bool small;      // threads below 2^31
  Divisor by_row, by_plane;
  bool include_pad;
  Index divisor;

  Windows(const DevicePool& p, Index planes_of_rows, Index planes_of_cols)
      : height(static_cast<int>(p.height)), width(static_cast<int>(p.width)), kernel_h(static_cast<int>(p.kernel_h)),
        kernel_w(static_cast<int>(p.kernel_w)), stride_h(static_cast<int>(p.stride_h)),
        stride_w(static_cast<int>(p.stride_w)), pad_h(static_cast<int>(p.pad_h)), pad_w(static_cast<int>(p.pad_w)),
        dilation_h(static_cast<int>(p.dilation_h)), dilation_w(static_cast<int>(p.dilation_w)),
        out_h(static_cast<int>(p.out_h)), out_w(static_cast<int>(p.out_w)),
        threads(p.planes * planes_of_rows * planes_of_cols), rows(static_cast<int>(planes_of_rows)),
        cols(static_cast<int>(planes_of_cols)),
        small(threads < (Index{1} << 31) && planes_of_rows * planes_of_cols < (Index{1} << 31)),
        by_row(small && planes_of_cols > 0 ? planes_of_cols : 1),
        by_plane(small && planes_of_rows * planes_of_cols > 0 ? planes_of_rows * planes_of_cols : 1),
        include_pad(p.include_pad), divisor(p.divisor) {}
};

struct Spot {
  Index plane;
  int row, col;

  template <class Problem>
  __device__ __forceinline__ Spot(const Problem& s, Index thread) {
    if (s.small) {
      const int number = static_cast<int>(thread), image = quotient(number, s.by_plane);
      const int rest = number - image * static_cast<int>(s.by_plane.by);
      plane = image;
      row = quotient(rest, s.by_row);
      col = rest - row * s.cols;
    } else {
      const Index line = thread / s.cols;
      col = static_cast<int>(thread - line * s.cols);
      plane = line / s.rows;
      row = static_cast<int>(line - plane * s.rows);
    }
  }
};

template <class T>
__device__ __forceinline__ bool is_larger(T x, T than) {
  return x > than || x != x;
}

// The windows that may have pixel `at` of an axis: from `first` to `last`.
struct Readers {
  int first, last;
  __device__ __forceinline__ Readers(int at, int pad, int kernel, int stride, int dilation, int out) {
    const int past = at + pad - (kernel - 1) * dilation;
    first = past <= 0 ? 0 : (past + stride - 1) / stride;
    last = (at + pad) / stride;
    if (last >= out) last = out - 1;
  }
};

// Which tap of window i has pixel `at`, or -1.
__device__ __forceinline__ int tap_of(int at, int pad, int i, int stride, int dilation) {
  const int t = at + pad - i * stride;
  return t % dilation == 0 ? t / dilation : -1;
}

// The largest element so far and where it is: of equal ones the first, of NaN the last.
template <class T>
struct Largest {
  T value = T(0);
  Index at = -1;  // none yet

  // One that comes after those that it has.
  __device__ __forceinline__ void take(T x, Index i) {
    if (at >= 0 && !is_larger(x, value)) return;
    value = x;
    at = i;
  }
  // Of elements that lie between its own, before or after them.
  __device__ __forceinline__ void join(T x, Index i) {
    if (i < 0) return;
    const bool nan = value != value, other_nan = x != x;
    const bool takes = at < 0 || (other_nan ? !nan || i > at : !nan && (x > value || (x == value && i < at)));
    if (!takes) return;
    value = x;
    at = i;
  }
  // Over groups of `Lanes` lanes; each gets the result.
  template <int Lanes>
  __device__ __forceinline__ void reduce() {
#pragma unroll
    for (int distance = Lanes / 2; distance > 0; distance /= 2) {
      const T x = __shfl_xor_sync(kFullMask, value, distance);
      const Index i = __shfl_xor_sync(kFullMask, at, distance);
      join(x, i);
    }
  }
};

// --- 2 x 2 -------------------------------------------------------------------------------------------------------

// Windows side by side in a thread: 16 bytes of a row.
template <class T>
constexpr int kWindows = 8 / static_cast<int>(sizeof(T));

inline Windows each_result(const DevicePool& p) { return Windows(p, p.out_h, p.out_w); }
inline Windows each_pixel(const DevicePool& p) { return Windows(p, p.height, p.width); }
template <class T>
Windows each_pack(const DevicePool& p) {
  return Windows(p, p.out_h, p.out_w / kWindows<T>);
}

template <class T>
bool in_packs(const DevicePool& p, PoolStep step, const T* wide, const T* narrow, const void* places) {
  if (step == PoolStep::naive || !takes_packs(p, sizeof(T))) return false;
  return is_aligned<16 / sizeof(T)>(wide) && is_aligned<8 / sizeof(T)>(narrow) &&
         reinterpret_cast<std::uintptr_t>(places) % 2 == 0;
}

}  // namespace dlkit::device
