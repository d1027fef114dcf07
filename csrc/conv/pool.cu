// Pooling: each thread one element of the result (`naive`), or a stretch of 16 bytes of two rows (`packs`).
//
// 2x2 with stride 2, float32: 16 bytes read for 4 written, and one for a place: 5.25 bytes for each element of x, a
// comparison or an addition for each. Memory bounds it: an H100's 3.35 TB/s are 640 G elements a second, 10 us for
// 128 x 64 x 28 x 28. `naive` asks for each element by itself, at a stride of two elements between lanes, so that a
// request takes 8 sectors and uses half of each; the other half is asked for next, and found in the first-level cache,
// which is then what bounds it: 4 sectors a cycle, 4 requests of 8 for 32 results. `packs` asks for whole sectors once:
// 2 loads of 16 bytes a thread, 2048 threads with 64 KB on their way on each multiprocessor, 40 are enough.
//
// The gradient is gathered: an element of dx looks at the windows that have it, and takes the gradient of those whose
// place it is. One window where they do not overlap. No atomics, no zeroing beforehand, the same bits every time.
//
//   sm_90a, float32: `packs` 26 to 28 registers, `naive` 30 to 32, the gradient of means 46: 64 warps a multiprocessor,
//   40 for the last; no shared memory. H100: `packs` at most 3.35 TB/s, memory's.
#include "conv/device_pool.h"

#include "conv/device_ladder.h"

namespace dlkit {

bool takes_packs(const DevicePool& p, std::size_t item) {
  return p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.pad_h == 0 && p.pad_w == 0 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.height % 2 == 0 && p.width * static_cast<Index>(item) % 16 == 0 &&
         p.planes * p.height * p.width < (Index{1} << 31) && (p.divisor == 0 || p.divisor == 4);
}

namespace device {
namespace {

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

  __device__ __forceinline__ Spot(const Windows& s, Index thread) {
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

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    max_pool_kernel(const __grid_constant__ Windows s, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
                    bool relu) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  x += spot.plane * s.height * s.width;
  T most(0);
  int place = kPoolNowhere;
  Index index = -1;
  for (int u = 0; u < s.kernel_h; ++u) {
    const int h = spot.row * s.stride_h - s.pad_h + u * s.dilation_h;
    if (h < 0 || h >= s.height) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int w = spot.col * s.stride_w - s.pad_w + v * s.dilation_w;
      if (w < 0 || w >= s.width) continue;
      const Index at = static_cast<Index>(h) * s.width + w;
      const T value = x[at];
      if (index < 0 || is_larger(value, most)) {
        most = value;
        place = u * s.kernel_w + v;
        index = at;
      }
    }
  }
  if (index < 0) most = -T(1) / T(0);  // no tap is in the plane
  if (relu && most <= T(0)) {
    most = T(0);
    place = kPoolNowhere;
    index = -1;
  }
  y[thread] = most;
  if (places != nullptr) places[thread] = static_cast<std::uint8_t>(place);
  if (indices != nullptr) indices[thread] = index;
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

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    max_pool_backward_kernel(const __grid_constant__ Windows s, const T* grad, const std::uint8_t* places,
                             const std::int64_t* indices, T* dx) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Readers down(spot.row, s.pad_h, s.kernel_h, s.stride_h, s.dilation_h, s.out_h);
  const Readers across(spot.col, s.pad_w, s.kernel_w, s.stride_w, s.dilation_w, s.out_w);
  const std::int64_t index = static_cast<std::int64_t>(spot.row) * s.width + spot.col;
  T sum(0);
  for (int i = down.first; i <= down.last; ++i) {
    const int u = tap_of(spot.row, s.pad_h, i, s.stride_h, s.dilation_h);
    if (u < 0) continue;
    for (int j = across.first; j <= across.last; ++j) {
      const int v = tap_of(spot.col, s.pad_w, j, s.stride_w, s.dilation_w);
      if (v < 0) continue;
      const Index window = (spot.plane * s.out_h + i) * s.out_w + j;
      if (places != nullptr ? places[window] == u * s.kernel_w + v : indices[window] == index) sum += grad[window];
    }
  }
  dx[thread] = sum;
}

// A block a plane. Indices may come in any order and more than once, so one thread adds them up.
template <class T>
__global__ void __launch_bounds__(kConvThreads)
    max_unpool_kernel(Index size, Index out_size, const T* grad, const std::int64_t* indices, T* dx) {
  dx += static_cast<Index>(blockIdx.x) * size;
  grad += static_cast<Index>(blockIdx.x) * out_size;
  indices += static_cast<Index>(blockIdx.x) * out_size;
  for (Index i = threadIdx.x; i < size; i += kConvThreads) dx[i] = T(0);
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (Index i = 0; i < out_size; ++i)
    if (indices[i] >= 0 && indices[i] < size) dx[indices[i]] += grad[i];
}

// By what the sum over a window is divided. Taps beyond the padding at the end, which rounding up gives, never count.
template <class T>
__device__ __forceinline__ T window_count(const Windows& s, int i, int j) {
  if (s.divisor != 0) return T(static_cast<double>(s.divisor));
  int top = i * s.stride_h - s.pad_h, left = j * s.stride_w - s.pad_w;
  int bottom = top + s.kernel_h, right = left + s.kernel_w;
  const int pad_h = s.include_pad ? s.pad_h : 0, pad_w = s.include_pad ? s.pad_w : 0;
  top = top < -pad_h ? -pad_h : top;
  left = left < -pad_w ? -pad_w : left;
  bottom = bottom > s.height + pad_h ? s.height + pad_h : bottom;
  right = right > s.width + pad_w ? s.width + pad_w : right;
  return T(static_cast<double>(static_cast<Index>(bottom - top) * (right - left)));
}

template <class T>
__global__ void __launch_bounds__(kConvThreads) avg_pool_kernel(const __grid_constant__ Windows s, const T* x, T* y) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  x += spot.plane * s.height * s.width;
  T sum(0);
  for (int u = 0; u < s.kernel_h; ++u) {
    const int h = spot.row * s.stride_h - s.pad_h + u;
    if (h < 0 || h >= s.height) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int w = spot.col * s.stride_w - s.pad_w + v;
      if (w >= 0 && w < s.width) sum += x[static_cast<Index>(h) * s.width + w];
    }
  }
  y[thread] = sum / window_count<T>(s, spot.row, spot.col);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    avg_pool_backward_kernel(const __grid_constant__ Windows s, const T* grad, T* dx) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Readers down(spot.row, s.pad_h, s.kernel_h, s.stride_h, 1, s.out_h);
  const Readers across(spot.col, s.pad_w, s.kernel_w, s.stride_w, 1, s.out_w);
  T sum(0);
  for (int i = down.first; i <= down.last; ++i)
    for (int j = across.first; j <= across.last; ++j)
      sum += grad[(spot.plane * s.out_h + i) * s.out_w + j] / window_count<T>(s, i, j);
  dx[thread] = sum;
}

// --- 2 x 2 -------------------------------------------------------------------------------------------------------

// Windows side by side in a thread: 16 bytes of a row.
template <class T>
constexpr int kWindows = 8 / static_cast<int>(sizeof(T));

enum class Of2x2 { maximum, mean };

template <class T, Of2x2 Kind>
__global__ void __launch_bounds__(kConvThreads)
    pool_packs_kernel(const __grid_constant__ Windows s, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
                      bool relu) {
  constexpr int N = kWindows<T>;
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Index row = static_cast<Index>(spot.row) * 2 * s.width + spot.col * 2 * N;  // in the plane
  const T* const from = x + spot.plane * s.height * s.width + row;
  const Pack<T, 2 * N> upper = load_pack<2 * N>(from), lower = load_pack<2 * N>(from + s.width);
  Pack<T, N> result;
  Pack<std::uint8_t, N> place;
  const Index out = thread * N;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const T four[4] = {upper[2 * i], upper[2 * i + 1], lower[2 * i], lower[2 * i + 1]};
    if constexpr (Kind == Of2x2::mean) {
      result[i] = (four[0] + four[1] + four[2] + four[3]) / T(4);
    } else {
      T most = four[0];
      int at = 0;
#pragma unroll
      for (int tap = 1; tap < 4; ++tap)
        if (is_larger(four[tap], most)) {
          most = four[tap];
          at = tap;
        }
      if (relu && most <= T(0)) {
        most = T(0);
        at = kPoolNowhere;
      }
      result[i] = most;
      place[i] = static_cast<std::uint8_t>(at);
      if (indices != nullptr)
        indices[out + i] = at == kPoolNowhere ? -1 : row + (at >> 1) * static_cast<Index>(s.width) + 2 * i + (at & 1);
    }
  }
  store_pack(y + out, result);
  if constexpr (Kind == Of2x2::maximum)
    if (places != nullptr) store_pack(places + out, place);
}

template <class T, Of2x2 Kind>
__global__ void __launch_bounds__(kConvThreads)
    pool_packs_backward_kernel(const __grid_constant__ Windows s, const T* grad, const std::uint8_t* places,
                               const std::int64_t* indices, T* dx) {
  constexpr int N = kWindows<T>;
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Index row = static_cast<Index>(spot.row) * 2 * s.width + spot.col * 2 * N;
  const Pack<T, N> given = load_pack<N>(grad + thread * N);
  Pack<std::uint8_t, N> place;
  if constexpr (Kind == Of2x2::maximum)
    if (places != nullptr) place = load_pack<N>(places + thread * N);
  Pack<T, 2 * N> half[2];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if constexpr (Kind == Of2x2::mean) {
      half[0][2 * i] = half[0][2 * i + 1] = half[1][2 * i] = half[1][2 * i + 1] = given[i] / T(4);
    } else {
      const Index first = row + 2 * i;  // of the window
      const Index index = places == nullptr ? indices[thread * N + i] : 0;
#pragma unroll
      for (int tap = 0; tap < 4; ++tap) {
        const Index here = first + (tap >> 1) * static_cast<Index>(s.width) + (tap & 1);
        half[tap >> 1][2 * i + (tap & 1)] = (places != nullptr ? place[i] == tap : index == here) ? given[i] : T(0);
      }
    }
  }
  T* const to = dx + spot.plane * s.height * s.width + row;
  store_pack(to, half[0]);
  store_pack(to + s.width, half[1]);
}

// -----------------------------------------------------------------------------------------------------------------

Windows each_result(const DevicePool& p) { return Windows(p, p.out_h, p.out_w); }
Windows each_pixel(const DevicePool& p) { return Windows(p, p.height, p.width); }
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

}  // namespace

template <class T>
void max_pool(void* stream, const DevicePool& p, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
              bool relu, PoolStep step) {
  using R = real<T>;
  const auto* from = reinterpret_cast<const R*>(x);
  auto* const to = reinterpret_cast<R*>(y);
  if (p.out_elements() == 0) return;
  if (in_packs(p, step, x, y, places)) {
    const Windows s = each_pack<T>(p);
    return launch("max_pool_packs", pool_packs_kernel<R, Of2x2::maximum>, one_each("max_pool_packs", s.threads), stream,
                  s, from, to, places, indices, relu);
  }
  const Windows s = each_result(p);
  launch("max_pool", max_pool_kernel<R>, one_each("max_pool", s.threads), stream, s, from, to, places, indices, relu);
}

template <class T>
void max_pool_backward(void* stream, const DevicePool& p, const T* grad, const std::uint8_t* places,
                       const std::int64_t* indices, T* dx, PoolStep step) {
  using R = real<T>;
  const auto* from = reinterpret_cast<const R*>(grad);
  auto* const to = reinterpret_cast<R*>(dx);
  if (p.in_elements() == 0) return;
  if (in_packs(p, step, dx, grad, places)) {
    const Windows s = each_pack<T>(p);
    return launch("max_pool_packs_backward", pool_packs_backward_kernel<R, Of2x2::maximum>,
                  one_each("max_pool_packs_backward", s.threads), stream, s, from, places, indices, to);
  }
  const Windows s = each_pixel(p);
  launch("max_pool_backward", max_pool_backward_kernel<R>, one_each("max_pool_backward", s.threads), stream, s, from,
         places, indices, to);
}

template <class T>
void max_unpool(void* stream, const DevicePool& p, const T* grad, const std::int64_t* indices, T* dx) {
  using R = real<T>;
  if (p.in_elements() == 0) return;
  if (p.planes > 0x7FFFFFFF) throw DeviceError("max_pool2d_backward: more than 2147483647 planes");
  launch("max_unpool", max_unpool_kernel<R>, {static_cast<unsigned>(p.planes), kConvThreads}, stream,
         p.height * p.width, p.out_h * p.out_w, reinterpret_cast<const R*>(grad), indices, reinterpret_cast<R*>(dx));
}

template <class T>
void avg_pool(void* stream, const DevicePool& p, const T* x, T* y, PoolStep step) {
  using R = real<T>;
  const auto* from = reinterpret_cast<const R*>(x);
  auto* const to = reinterpret_cast<R*>(y);
  if (p.out_elements() == 0) return;
  if (in_packs(p, step, x, y, nullptr)) {
    const Windows s = each_pack<T>(p);
    return launch("avg_pool_packs", pool_packs_kernel<R, Of2x2::mean>, one_each("avg_pool_packs", s.threads), stream, s,
                  from, to, nullptr, nullptr, false);
  }
  const Windows s = each_result(p);
  launch("avg_pool", avg_pool_kernel<R>, one_each("avg_pool", s.threads), stream, s, from, to);
}

template <class T>
void avg_pool_backward(void* stream, const DevicePool& p, const T* grad, T* dx, PoolStep step) {
  using R = real<T>;
  const auto* from = reinterpret_cast<const R*>(grad);
  auto* const to = reinterpret_cast<R*>(dx);
  if (p.in_elements() == 0) return;
  if (in_packs(p, step, dx, grad, nullptr)) {
    const Windows s = each_pack<T>(p);
    return launch("avg_pool_packs_backward", pool_packs_backward_kernel<R, Of2x2::mean>,
                  one_each("avg_pool_packs_backward", s.threads), stream, s, from, nullptr, nullptr, to);
  }
  const Windows s = each_pixel(p);
  launch("avg_pool_backward", avg_pool_backward_kernel<R>, one_each("avg_pool_backward", s.threads), stream, s, from,
         to);
}

#define DLKIT_INSTANTIATE(T)                                                                                        \
  template void max_pool(void*, const DevicePool&, const T*, T*, std::uint8_t*, std::int64_t*, bool, PoolStep);     \
  template void max_pool_backward(void*, const DevicePool&, const T*, const std::uint8_t*, const std::int64_t*, T*, \
                                  PoolStep);                                                                        \
  template void max_unpool(void*, const DevicePool&, const T*, const std::int64_t*, T*);                            \
  template void avg_pool(void*, const DevicePool&, const T*, T*, PoolStep);                                         \
  template void avg_pool_backward(void*, const DevicePool&, const T*, T*, PoolStep);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace device
}  // namespace dlkit
