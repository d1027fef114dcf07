// Windows that divide planes into a given number, with out 1 x 1 global pooling: means, maxima, and the means' gradient.
//
// `naive` is a thread for each window, that goes through it row by row: neighbouring lanes read neighbouring windows,
// so that a request of small windows finds whole sectors, and one of windows of 8 elements or more a sector for each
// lane. `warps` is a warp for each window: its 32 lanes read neighbouring elements, 4 sectors a request, whatever the
// window; what each has found is put together in 5 exchanges (10 of a maximum, which carries its place along).
//
// Bytes: x read once, an element and for maxima 8 bytes of index written for each window. An addition or comparison an
// element. Bound: memory; 32 lanes with 4 elements each on their way are 512 bytes a warp, 32 KB a multiprocessor, of
// the 18 KB that an H100 needs.
//
// The gradient is gathered by pixels: a pixel's windows follow from its place, at most two along an axis where there
// are no more windows than pixels. Stores are of neighbouring elements; bytes: dx once, and grad, which is small, from
// the caches. Divisions by extents are products by their inverses (divisor.h), or of 64 bits where they would not fit.
#include "conv/device_windows.h"

namespace dlkit::device {
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

template <class T, Of Kind>
__global__ void __launch_bounds__(kConvThreads)
    adaptive_warps_kernel(const __grid_constant__ Adaptive s, const T* x, T* y, std::int64_t* indices) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Index number = conv_thread() / kWarp;
  if (number >= s.threads) return;
  const Spot spot(s, number);
  const Window window(s, spot.row, spot.col);
  x += spot.plane * s.plane_size();
  const int wide = window.right - window.left;
  const int more_rows = kWarp / wide, more_cols = kWarp - more_rows * wide;
  int h = window.top + lane / wide, w = window.left + lane % wide;
  T sum(0);
  Largest<T> most;
  while (h < window.bottom) {
    T value[kInFlight];
    Index at[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j) {
      at[j] = h < window.bottom ? static_cast<Index>(h) * s.across.extent + w : -1;
      if (at[j] >= 0) value[j] = x[at[j]];
      h += more_rows;
      w += more_cols;
      if (w >= window.right) {
        w -= wide;
        ++h;
      }
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
  if constexpr (Kind == Of::mean) {
    sum = warp_sum(sum);
    if (lane == 0) y[number] = sum / window.count<T>();
  } else {
    most.template reduce<kWarp>();
    if (lane == 0) {
      y[number] = most.value;
      indices[number] = most.at;
    }
  }
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

// Windows from which `naive` leaves most of each sector to later requests, if the cache still has it then.
constexpr Index kLargeWindow = 32;

template <Of Kind, class T>
void adaptive_pool(void* stream, const DeviceAdaptivePool& p, const T* x, T* y, std::int64_t* indices, PoolStep step) {
  using R = real<T>;
  if (p.out_elements() == 0) return;
  const Adaptive s(p, p.out_h, p.out_w);
  const bool large = p.height * p.width / kLargeWindow >= p.out_h * p.out_w;
  const bool warps = step == PoolStep::warps || (step == PoolStep::automatic && large);
  const char* const name = Kind == Of::mean ? warps ? "adaptive_avg_pool_warps" : "adaptive_avg_pool"
                           : warps          ? "adaptive_max_pool_warps"
                                            : "adaptive_max_pool";
  launch(name, warps ? adaptive_warps_kernel<R, Kind> : adaptive_kernel<R, Kind>,
         one_each(name, warps ? s.threads * kWarp : s.threads), stream, s, reinterpret_cast<const R*>(x),
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
void adaptive_avg_pool_backward(void* stream, const DeviceAdaptivePool& p, const T* grad, T* dx) {
  using R = real<T>;
  if (p.in_elements() == 0) return;
  const Adaptive s(p, p.height, p.width);
  launch("adaptive_avg_pool_backward", adaptive_backward_kernel<R>, one_each("adaptive_avg_pool_backward", s.threads),
         stream, s, reinterpret_cast<const R*>(grad), reinterpret_cast<R*>(dx));
}

#define DLKIT_INSTANTIATE(T)                                                                                \
  template void adaptive_avg_pool(void*, const DeviceAdaptivePool&, const T*, T*, PoolStep);                \
  template void adaptive_max_pool(void*, const DeviceAdaptivePool&, const T*, T*, std::int64_t*, PoolStep); \
  template void adaptive_avg_pool_backward(void*, const DeviceAdaptivePool&, const T*, T*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::device
