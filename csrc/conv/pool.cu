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
// place it is. One window where they do not overlap. No atomics, no zeroing beforehand, the same bits every time. Where
// no windows are known, but only indices, threads share out the elements of a plane and each looks for its own:
// max_unpool, for the maxima of adaptive windows, over time and the k largest, of which there are few.
//
//   sm_90a, float32: `packs` 26 to 28 registers, `naive` 30 to 32, the gradient of means 46: 64 warps a multiprocessor,
//   40 for the last; no shared memory. H100: `packs` at most 3.35 TB/s, memory's.
#include "conv/device_pool.h"

#include "conv/device_windows.h"

namespace dlkit {

bool takes_packs(const DevicePool& p, std::size_t item) {
  return p.kernel_h == 2 && p.kernel_w == 2 && p.stride_h == 2 && p.stride_w == 2 && p.pad_h == 0 && p.pad_w == 0 &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.height % 2 == 0 && p.width * static_cast<Index>(item) % 16 == 0 &&
         p.planes * p.height * p.width < (Index{1} << 31) && (p.divisor == 0 || p.divisor == 4);
}

namespace device {
namespace {

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

// Indices may come in any order and more than once. `Group` threads have a plane, and each of them the elements that
// have its number modulo `Group`: it clears them, goes through all indices, and adds up those of its own, in order.
template <class T, int Group>
__global__ void __launch_bounds__(kConvThreads)
    max_unpool_kernel(Index planes, Index size, Index out_size, const T* grad, const std::int64_t* indices, T* dx) {
  const int member = static_cast<int>(threadIdx.x) % Group;
  const Index plane = static_cast<Index>(blockIdx.x) * (kConvThreads / Group) + static_cast<int>(threadIdx.x) / Group;
  if (plane >= planes) return;
  dx += plane * size;
  grad += plane * out_size;
  indices += plane * out_size;
  for (Index i = member; i < size; i += Group) dx[i] = T(0);
#pragma unroll 4
  for (Index i = 0; i < out_size; ++i) {
    const std::int64_t at = indices[i];
    if (at >= 0 && at < size && static_cast<int>(at & (Group - 1)) == member) dx[at] += grad[i];
  }
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

// Planes of more elements have a block of threads each.
constexpr Index kUnpooledByWarp = 1024;

template <class T>
void max_unpool(void* stream, const DevicePool& p, const T* grad, const std::int64_t* indices, T* dx) {
  using R = real<T>;
  if (p.in_elements() == 0) return;
  const Index size = p.height * p.width, out_size = p.out_h * p.out_w;
  const bool wide = size > kUnpooledByWarp;
  const auto kernel = wide ? max_unpool_kernel<R, kConvThreads> : max_unpool_kernel<R, kWarp>;
  launch("max_unpool", kernel, one_each("max_unpool", p.planes * (wide ? kConvThreads : kWarp)), stream, p.planes, size,
         out_size, reinterpret_cast<const R*>(grad), indices, reinterpret_cast<R*>(dx));
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
