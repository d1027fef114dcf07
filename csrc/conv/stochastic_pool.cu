// Stochastic pooling: an element of each window, drawn with a probability proportional to it, what that is on average,
// and the average's gradient. Zeiler & Fergus, "Stochastic pooling for regularization of deep convolutional neural
// networks", 2013.
//
// Output e takes number offset + e of the Philox stream of the seed (core/philox.h), as the CPU's kernels do, adds up
// its window in the same order, and draws the same element; the gradient of a draw is that of max-pooling with its
// place. `naive` is a thread for each output, which goes through its window twice, the second time in the cache.
// `packs` loads 16 bytes of two rows for windows of 2 x 2 side by side, and goes through registers.
//
// Bytes, 2 x 2 with stride 2, float32: 16 read, 4 and a byte of place written: 160 G outputs a second of an H100's
// 3.35 TB/s. Integer work: a Philox block, about 70 instructions, of which two outputs share one in `packs` where the
// offset is even: 35 an output and 20 for the draw, of the about 180 that memory leaves time for. Bound: memory.
//
// The gradient of the average, m = sum x^2 / sum x, is (2 x - m) grad / sum for each element above 0 of the window.
// Where windows overlap, elements gather from all windows that have them, in order, no atomics: a first kernel leaves m
// and grad / sum of each window in scratch memory (two elements each), a second adds up. `packs` does both in
// registers: x and grad read, dx written once, 36 bytes a window.
//
//   sm_90a, float32: 26 to 32 registers, the gather 40: 64 warps a multiprocessor, 48; no shared memory.
#include "conv/device_windows.h"
#include "core/philox.h"

namespace dlkit::device {
namespace {

// How much an element weighs; a NaN stays.
template <class T>
__device__ __forceinline__ T share_of(T x) {
  return x < T(0) ? T(0) : x;
}

// body(tap, value): the taps of a window that are in the plane, in order.
template <class T, class Body>
__device__ __forceinline__ void each_tap(const Windows& s, const T* plane, int i, int j, const Body& body) {
  for (int u = 0; u < s.kernel_h; ++u) {
    const int h = i * s.stride_h - s.pad_h + u;
    if (h < 0 || h >= s.height) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int w = j * s.stride_w - s.pad_w + v;
      if (w >= 0 && w < s.width) body(u * s.kernel_w + v, plane[static_cast<Index>(h) * s.width + w]);
    }
  }
}

__device__ __forceinline__ Philox block_of(std::uint64_t seed, std::uint64_t element) {
  const std::uint64_t counter = element >> 2;
  return Philox::block(static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32), 0, 0,
                       static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32));
}

__device__ __forceinline__ std::uint32_t word_of(const Philox& block, std::uint64_t element) {
  const int k = static_cast<int>(element & 3);
  return k == 0 ? block.word[0] : k == 1 ? block.word[1] : k == 2 ? block.word[2] : block.word[3];
}

// Which tap a number draws: the last of those that begin at or below its share of the sum.
template <class T>
struct Draw {
  T threshold, before, value;
  int tap = kPoolNowhere;

  __device__ __forceinline__ Draw(std::uint32_t word, T sum)
      : threshold(T(static_cast<float>(word >> 8)) * T(0x1p-24f) * sum), before(0),
        value(threshold != threshold ? threshold : T(0)) {}

  __device__ __forceinline__ void take(int number, T x) {
    const T share = share_of(x);
    if (share > T(0) && before <= threshold) {
      tap = number;
      value = share;
    }
    before += share;
  }
};

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_pool_kernel(const __grid_constant__ Windows s, const T* x, T* y, std::uint8_t* places,
                           std::uint64_t seed, std::uint64_t offset, const std::uint64_t* offset_pointer) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  if (offset_pointer != nullptr) offset += *offset_pointer;
  const Spot spot(s, thread);
  x += spot.plane * s.height * s.width;
  T sum(0);
  each_tap(s, x, spot.row, spot.col, [&](int, T value) { sum += share_of(value); });
  const std::uint64_t element = offset + static_cast<std::uint64_t>(thread);
  Draw<T> draw(word_of(block_of(seed, element), element), sum);
  each_tap(s, x, spot.row, spot.col, [&](int tap, T value) { draw.take(tap, value); });
  y[thread] = draw.value;
  places[thread] = static_cast<std::uint8_t>(draw.tap);
}

// The sum over a window and that of squares.
template <class T>
struct Moments {
  T sum = T(0), squares = T(0);
  __device__ __forceinline__ void take(T x) {
    const T share = share_of(x);
    sum += share;
    squares += share * share;
  }
  __device__ __forceinline__ T mean() const { return sum == T(0) ? T(0) : squares / sum; }
  __device__ __forceinline__ T scale(T grad) const { return sum == T(0) ? T(0) : grad / sum; }
};

// The gradient by an element, of one window.
template <class T>
__device__ __forceinline__ T share_of_gradient(T x, T mean, T scale) {
  return x < T(0) ? T(0) : (T(2) * x - mean) * scale;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_average_kernel(const __grid_constant__ Windows s, const T* x, T* y) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  Moments<T> found;
  each_tap(s, x + spot.plane * s.height * s.width, spot.row, spot.col, [&](int, T value) { found.take(value); });
  y[thread] = found.mean();
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_moments_kernel(const __grid_constant__ Windows s, const T* grad, const T* x, T* means, T* scales) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  Moments<T> found;
  each_tap(s, x + spot.plane * s.height * s.width, spot.row, spot.col, [&](int, T value) { found.take(value); });
  means[thread] = found.mean();
  scales[thread] = found.scale(grad[thread]);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_gather_kernel(const __grid_constant__ Windows s, const T* x, const T* means, const T* scales, T* dx) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Readers down(spot.row, s.pad_h, s.kernel_h, s.stride_h, 1, s.out_h);
  const Readers across(spot.col, s.pad_w, s.kernel_w, s.stride_w, 1, s.out_w);
  const T value = x[thread];
  T sum(0);
  for (int i = down.first; i <= down.last; ++i)
    for (int j = across.first; j <= across.last; ++j) {
      const Index window = (spot.plane * s.out_h + i) * s.out_w + j;
      sum += share_of_gradient(value, means[window], scales[window]);
    }
  dx[thread] = sum;
}

// --- 2 x 2 -------------------------------------------------------------------------------------------------------

// The elements of a thread's windows: 16 bytes of two rows.
template <class T>
struct Squares {
  static constexpr int N = kWindows<T>;
  Index first;  // of them, in the array
  Pack<T, 2 * N> half[2];

  __device__ __forceinline__ Squares(const Windows& s, Index thread, const T* x) {
    const Spot spot(s, thread);
    first = spot.plane * s.height * s.width + static_cast<Index>(spot.row) * 2 * s.width + spot.col * 2 * N;
    half[0] = load_pack<2 * N>(x + first);
    half[1] = load_pack<2 * N>(x + first + s.width);
  }
  __device__ __forceinline__ T at(int window, int tap) const { return half[tap >> 1][2 * window + (tap & 1)]; }
  __device__ __forceinline__ Moments<T> moments(int window) const {
    Moments<T> found;
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) found.take(at(window, tap));
    return found;
  }
};

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_packs_kernel(const __grid_constant__ Windows s, const T* x, T* y, std::uint8_t* places,
                            std::uint64_t seed, std::uint64_t offset, const std::uint64_t* offset_pointer) {
  constexpr int N = kWindows<T>;
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  if (offset_pointer != nullptr) offset += *offset_pointer;
  const Squares<T> squares(s, thread, x);
  std::uint64_t element = offset + static_cast<std::uint64_t>(thread) * N;
  Philox block = block_of(seed, element);
  Pack<T, N> result;
  Pack<std::uint8_t, N> place;
#pragma unroll
  for (int i = 0; i < N; ++i, ++element) {
    if (i > 0 && (element & 3) == 0) block = block_of(seed, element);
    T sum(0);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) sum += share_of(squares.at(i, tap));
    Draw<T> draw(word_of(block, element), sum);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap) draw.take(tap, squares.at(i, tap));
    result[i] = draw.value;
    place[i] = static_cast<std::uint8_t>(draw.tap);
  }
  store_pack(y + thread * N, result);
  store_pack(places + thread * N, place);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_average_packs_kernel(const __grid_constant__ Windows s, const T* x, T* y) {
  constexpr int N = kWindows<T>;
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Squares<T> squares(s, thread, x);
  Pack<T, N> result;
#pragma unroll
  for (int i = 0; i < N; ++i) result[i] = squares.moments(i).mean();
  store_pack(y + thread * N, result);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    stochastic_average_packs_backward_kernel(const __grid_constant__ Windows s, const T* grad, const T* x, T* dx) {
  constexpr int N = kWindows<T>;
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Squares<T> squares(s, thread, x);
  const Pack<T, N> given = load_pack<N>(grad + thread * N);
  Pack<T, 2 * N> half[2];
#pragma unroll
  for (int i = 0; i < N; ++i) {
    const Moments<T> found = squares.moments(i);
    const T mean = found.mean(), scale = found.scale(given[i]);
#pragma unroll
    for (int tap = 0; tap < 4; ++tap)
      half[tap >> 1][2 * i + (tap & 1)] = share_of_gradient(squares.at(i, tap), mean, scale);
  }
  store_pack(dx + squares.first, half[0]);
  store_pack(dx + squares.first + s.width, half[1]);
}

}  // namespace

template <class T>
void stochastic_pool(void* stream, const DevicePool& p, const T* x, T* y, std::uint8_t* places, std::uint64_t seed,
                     std::uint64_t offset, const std::uint64_t* offset_pointer, PoolStep step) {
  using R = real<T>;
  if (p.out_elements() == 0) return;
  const bool packs = in_packs(p, step, x, y, places);
  const Windows s = packs ? each_pack<T>(p) : each_result(p);
  const char* const name = packs ? "stochastic_pool_packs" : "stochastic_pool";
  launch(name, packs ? stochastic_packs_kernel<R> : stochastic_pool_kernel<R>, one_each(name, s.threads), stream, s,
         reinterpret_cast<const R*>(x), reinterpret_cast<R*>(y), places, seed, offset, offset_pointer);
}

template <class T>
void stochastic_average(void* stream, const DevicePool& p, const T* x, T* y, PoolStep step) {
  using R = real<T>;
  if (p.out_elements() == 0) return;
  const bool packs = in_packs(p, step, x, y, nullptr);
  const Windows s = packs ? each_pack<T>(p) : each_result(p);
  const char* const name = packs ? "stochastic_average_packs" : "stochastic_average";
  launch(name, packs ? stochastic_average_packs_kernel<R> : stochastic_average_kernel<R>, one_each(name, s.threads),
         stream, s, reinterpret_cast<const R*>(x), reinterpret_cast<R*>(y));
}

template <class T>
void stochastic_average_backward(void* stream, const DevicePool& p, const T* grad, const T* x, T* dx, T* scratch,
                                 PoolStep step) {
  using R = real<T>;
  if (p.in_elements() == 0) return;
  const auto* const given = reinterpret_cast<const R*>(grad);
  const auto* const from = reinterpret_cast<const R*>(x);
  auto* const to = reinterpret_cast<R*>(dx);
  if (in_packs(p, step, x, grad, nullptr) && is_aligned<16 / sizeof(T)>(dx)) {
    const Windows s = each_pack<T>(p);
    return launch("stochastic_average_packs_backward", stochastic_average_packs_backward_kernel<R>,
                  one_each("stochastic_average_packs_backward", s.threads), stream, s, given, from, to);
  }
  auto* const means = reinterpret_cast<R*>(scratch);
  auto* const scales = means + p.out_elements();
  if (p.out_elements() > 0) {
    const Windows s = each_result(p);
    launch("stochastic_moments", stochastic_moments_kernel<R>, one_each("stochastic_moments", s.threads), stream, s,
           given, from, means, scales);
  }
  const Windows s = each_pixel(p);
  launch("stochastic_gather", stochastic_gather_kernel<R>, one_each("stochastic_gather", s.threads), stream, s, from,
         means, scales, to);
}

#define DLKIT_INSTANTIATE(T)                                                                                         \
  template void stochastic_pool(void*, const DevicePool&, const T*, T*, std::uint8_t*, std::uint64_t, std::uint64_t, \
                                const std::uint64_t*, PoolStep);                                                     \
  template void stochastic_average(void*, const DevicePool&, const T*, T*, PoolStep);                                \
  template void stochastic_average_backward(void*, const DevicePool&, const T*, const T*, T*, T*, PoolStep);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::device
