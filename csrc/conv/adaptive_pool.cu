// Windows that divide planes into a given number, with out 1 x 1 global pooling: means, maxima, and the means'
// gradient.
//
// `naive` is a thread for each window, that goes through it row by row: neighbouring lanes read neighbouring windows,
// so that a request of small windows finds whole sectors, and one of windows of 8 elements or more a sector for each
// lane. `warps` has lanes side by side in a window, 8 or, from 256 elements, 32, and puts together what they have found
// in 3 or 5 exchanges. 8 lanes read a sector of each of four windows; the rest of those that begin within a sector is
// in the cache for their next request.
//
// Bytes: x read once, an element and for maxima 8 bytes of index written for each window. An addition or comparison an
// element. Bound: memory. Windows of 7 x 7 take, by estimate, 170 instructions for four, 784 bytes, of the 210 for
// which an H100's memory leaves time; all 32 lanes for each would need 130 for one. 2048 threads with up to 4 elements
// each are 32 KB of a multiprocessor on their way, of the 18 that it needs.
//
// The gradient of windows that do not overlap, as global ones, is a value that `warps` fills them with: 4 bytes written
// an element, bound by memory. Others gather by pixels: a pixel's windows follow from its place, at most two along an
// axis where there are no more windows than pixels; 60 instructions by estimate for the 4 bytes, which bound it at half
// of memory's speed. Divisions by extents are products by their inverses (divisor.h), or of 64 bits where those would
// not fit.
//
//   sm_90a, float32: `warps` 30 registers of means and 36 of maxima, `naive` 30 and 39, the gradient 28 and 56: 64
//   warps a multiprocessor, 48 of maxima, 32 of the gathered gradient; no shared memory.
#include "conv/device_windows.h"

namespace dlkit {

bool takes_warps(const DeviceAdaptivePool& p) { return p.height % p.out_h == 0 && p.width % p.out_w == 0; }

namespace device {
namespace {

// Windows along one axis: window i is [floor(i extent / out), ceil((i + 1) extent / out)).
struct AdaptiveAxis {
  int extent, out;
  bool small;  // all products below 2^31
  Divisor by_extent, by_out;

  AdaptiveAxis(Index extent_, Index out_)
      : extent(static_cast<int>(extent_)), out(static_cast<int>(out_)),
        small((extent_ + 1) * (out_ + 1) < (Index{1} << 31)), by_extent(small ? extent_ : 1), by_out(small ? out_ : 1) {
  }

  __device__ __forceinline__ int begin(int i) const {
    return small ? quotient(i * extent, by_out) : static_cast<int>(static_cast<Index>(i) * extent / out);
  }
  __device__ __forceinline__ int end(int i) const {
    return small ? quotient((i + 1) * extent + out - 1, by_out)
                 : static_cast<int>((static_cast<Index>(i + 1) * extent + out - 1) / out);
  }
  // The windows that have pixel `at`: from `first` to `last`.
  __device__ __forceinline__ int first(int at) const {
    return small ? quotient(at * out, by_extent) : static_cast<int>(static_cast<Index>(at) * out / extent);
  }
  __device__ __forceinline__ int last(int at) const {
    return small ? quotient((at + 1) * out + extent - 1, by_extent) - 1
                 : static_cast<int>((static_cast<Index>(at + 1) * out + extent - 1) / extent) - 1;
  }
};

struct Adaptive {
  AdaptiveAxis down, across;
  Index threads;
  int rows, cols;  // of a plane of threads
  bool small;
  Divisor by_row, by_plane;

  Adaptive(const DeviceAdaptivePool& p, Index rows_, Index cols_)
      : down(p.height, p.out_h), across(p.width, p.out_w), threads(p.planes * rows_ * cols_),
        rows(static_cast<int>(rows_)), cols(static_cast<int>(cols_)),
        small(threads < (Index{1} << 31) && rows_ * cols_ < (Index{1} << 31)), by_row(small ? cols_ : 1),
        by_plane(small ? rows_ * cols_ : 1) {}

  __device__ __forceinline__ Index plane_size() const { return static_cast<Index>(down.extent) * across.extent; }
};

// One window of a plane.
struct Window {
  int top, bottom, left, right;

  __device__ __forceinline__ Window(const Adaptive& s, int i, int j)
      : top(s.down.begin(i)), bottom(s.down.end(i)), left(s.across.begin(j)), right(s.across.end(j)) {}

  template <class T>
  __device__ __forceinline__ T count() const {
    return T(static_cast<double>(static_cast<Index>(bottom - top) * (right - left)));
  }
};

enum class Of { mean, maximum };

template <class T, Of Kind>
__global__ void __launch_bounds__(kConvThreads)
    adaptive_kernel(const __grid_constant__ Adaptive s, const T* x, T* y, std::int64_t* indices) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  const Window window(s, spot.row, spot.col);
  x += spot.plane * s.plane_size();
  T sum(0);
  Largest<T> most;
  for (int h = window.top; h < window.bottom; ++h) {
    for (int w = window.left; w < window.right; ++w) {
      const Index at = static_cast<Index>(h) * s.across.extent + w;
      if constexpr (Kind == Of::mean)
        sum += x[at];
      else
        most.take(x[at], at);
    }
  }
  if constexpr (Kind == Of::mean) {
    y[thread] = sum / window.count<T>();
  } else {
    y[thread] = most.value;
    indices[thread] = most.at;
  }
}

constexpr int kInFlight = 4;  // elements of a lane

// One of `Lanes` lanes that walk over a window side by side. Lanes past the last window have nothing to walk over, but
// take part in exchanges.
template <int Lanes>
struct Walk {
  int lane;
  Index number;  // of the window
  bool active;
  Spot spot;
  Window window;
  int wide, more_rows, more_cols, h, w;

  __device__ __forceinline__ explicit Walk(const Adaptive& s)
      : lane(static_cast<int>(threadIdx.x) % Lanes), number(conv_thread() / Lanes), active(number < s.threads),
        spot(s, active ? number : 0), window(s, spot.row, spot.col), wide(window.right - window.left) {
    const bool narrow = wide < Lanes;
    more_rows = narrow ? Lanes / wide : 0;
    more_cols = Lanes - more_rows * wide;
    const int down = narrow ? lane / wide : 0;
    h = active ? window.top + down : window.bottom;
    w = window.left + lane - down * wide;
  }
  __device__ __forceinline__ bool goes_on() const { return h < window.bottom; }
  __device__ __forceinline__ void step() {
    h += more_rows;
    w += more_cols;
    if (w >= window.right) {
      w -= wide;
      ++h;
    }
  }
};

template <class T, Of Kind, int Lanes>
__global__ void __launch_bounds__(kConvThreads)
    adaptive_warps_kernel(const __grid_constant__ Adaptive s, const T* x, T* y, std::int64_t* indices) {
  Walk<Lanes> walk(s);
  x += walk.spot.plane * s.plane_size();
  T sum(0);
  Largest<T> most;
  while (walk.goes_on()) {
    T value[kInFlight];
    Index at[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      at[j] = walk.goes_on() ? static_cast<Index>(walk.h) * s.across.extent + walk.w : -1;
      if (at[j] >= 0) value[j] = x[at[j]];
      walk.step();
    }
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      if (at[j] < 0) continue;
      if constexpr (Kind == Of::mean)
        sum += value[j];
      else
        most.take(value[j], at[j]);
    }
  }
  if constexpr (Kind == Of::mean)
    sum = warp_sum<Lanes>(sum);
  else
    most.template reduce<Lanes>();
  if (walk.lane != 0 || !walk.active) return;
  if constexpr (Kind == Of::mean) {
    y[walk.number] = sum / walk.window.template count<T>();
  } else {
    y[walk.number] = most.value;
    indices[walk.number] = most.at;
  }
}

// Windows that do not overlap: each fills its elements of dx.
template <class T, int Lanes>
__global__ void __launch_bounds__(kConvThreads)
    adaptive_fill_kernel(const __grid_constant__ Adaptive s, const T* grad, T* dx) {
  Walk<Lanes> walk(s);
  if (!walk.active) return;
  const T share = grad[walk.number] / walk.window.template count<T>();
  dx += walk.spot.plane * s.plane_size();
  for (; walk.goes_on(); walk.step()) dx[static_cast<Index>(walk.h) * s.across.extent + walk.w] = share;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    adaptive_backward_kernel(const __grid_constant__ Adaptive s, const T* grad, T* dx) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Spot spot(s, thread);
  grad += spot.plane * s.down.out * s.across.out;
  const int last_row = s.down.last(spot.row), last_col = s.across.last(spot.col);
  T sum(0);
  for (int i = s.down.first(spot.row); i <= last_row; ++i)
    for (int j = s.across.first(spot.col); j <= last_col; ++j)
      sum += grad[static_cast<Index>(i) * s.across.out + j] / Window(s, i, j).count<T>();
  dx[thread] = sum;
}

// Elements of a window from which lanes walk over it side by side, and from which all lanes of a warp do.
constexpr Index kLargeWindow = 32, kWarpsWindow = 256;
constexpr int kFewLanes = 8;

bool windows_have(const DeviceAdaptivePool& p, Index elements) {
  return p.height * p.width / elements >= p.out_h * p.out_w;
}

template <Of Kind, class T>
void adaptive_pool(void* stream, const DeviceAdaptivePool& p, const T* x, T* y, std::int64_t* indices, PoolStep step) {
  using R = real<T>;
  if (p.out_elements() == 0) return;
  const Adaptive s(p, p.out_h, p.out_w);
  const bool warps = step == PoolStep::warps || (step == PoolStep::automatic && windows_have(p, kLargeWindow));
  const int lanes = !warps ? 1 : windows_have(p, kWarpsWindow) ? kWarp : kFewLanes;
  const auto kernel = lanes == 1       ? adaptive_kernel<R, Kind>
                      : lanes == kWarp ? adaptive_warps_kernel<R, Kind, kWarp>
                                       : adaptive_warps_kernel<R, Kind, kFewLanes>;
  const char* const name = Kind == Of::mean ? warps ? "adaptive_avg_pool_warps" : "adaptive_avg_pool"
                           : warps          ? "adaptive_max_pool_warps"
                                            : "adaptive_max_pool";
  launch(name, kernel, one_each(name, s.threads * lanes), stream, s, reinterpret_cast<const R*>(x),
         reinterpret_cast<R*>(y), indices);
}

}  // namespace

template <class T>
void adaptive_avg_pool(void* stream, const DeviceAdaptivePool& p, const T* x, T* y, PoolStep step) {
  adaptive_pool<Of::mean>(stream, p, x, y, nullptr, step);
}

template <class T>
void adaptive_max_pool(void* stream, const DeviceAdaptivePool& p, const T* x, T* y, std::int64_t* indices,
                       PoolStep step) {
  adaptive_pool<Of::maximum>(stream, p, x, y, indices, step);
}

template <class T>
void adaptive_avg_pool_backward(void* stream, const DeviceAdaptivePool& p, const T* grad, T* dx, PoolStep step) {
  using R = real<T>;
  if (p.in_elements() == 0) return;
  const auto* const from = reinterpret_cast<const R*>(grad);
  auto* const to = reinterpret_cast<R*>(dx);
  if (step != PoolStep::naive && takes_warps(p) && (step == PoolStep::warps || windows_have(p, kLargeWindow))) {
    const Adaptive s(p, p.out_h, p.out_w);
    const bool few = !windows_have(p, kWarpsWindow);
    const char* const name = "adaptive_avg_pool_warps_backward";
    return launch(name, few ? adaptive_fill_kernel<R, kFewLanes> : adaptive_fill_kernel<R, kWarp>,
                  one_each(name, s.threads * (few ? kFewLanes : kWarp)), stream, s, from, to);
  }
  const Adaptive s(p, p.height, p.width);
  launch("adaptive_avg_pool_backward", adaptive_backward_kernel<R>, one_each("adaptive_avg_pool_backward", s.threads),
         stream, s, from, to);
}

#define DLKIT_INSTANTIATE(T)                                                                                \
  template void adaptive_avg_pool(void*, const DeviceAdaptivePool&, const T*, T*, PoolStep);                \
  template void adaptive_max_pool(void*, const DeviceAdaptivePool&, const T*, T*, std::int64_t*, PoolStep); \
  template void adaptive_avg_pool_backward(void*, const DeviceAdaptivePool&, const T*, T*, PoolStep);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace device
}  // namespace dlkit
