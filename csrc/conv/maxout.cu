// Maxout: the largest of `pieces` numbers that lie `inner` apart, and which it is. Goodfellow et al., "Maxout
// networks", 2013.
//
// x is (outer, pieces, inner), y (outer, inner). Bytes: x read once, y and a byte of place written; for two pieces 13 a
// result. A comparison for each element. Bound: memory. With an inner extent (feature maps), neighbouring lanes read
// neighbouring elements of a piece, 16 bytes each where the extent allows (`packs`): 64 warps have 32 KB of a
// multiprocessor on their way. With none (features), a lane's pieces follow each other: a request of 32 lanes takes up
// to a sector for each, of which the first-level cache keeps the rest for the next piece's; at 4 sectors a cycle that
// is 26 bytes a cycle and multiprocessor for 5 pieces, where memory brings 15 to an H100's.
//
// The gradient is gathered: each element of dx looks whether its group's place is its own.
//
//   sm_90a, float32: 32 registers, the gradient 26 to 28: 64 warps a multiprocessor; no shared memory.
#include "conv/device_windows.h"

namespace dlkit {

bool takes_packs(const DeviceMaxout& m, std::size_t item) { return m.inner * static_cast<Index>(item) % 16 == 0; }

namespace device {
namespace {

template <class T>
constexpr int kAtOnce = 16 / static_cast<int>(sizeof(T));

// `cols` threads for each of rows of results, or of elements.
struct Lines {
  Index threads, inner;
  int pieces, cols;
  bool small;  // threads below 2^31
  Divisor by_cols, by_pieces;

  Lines(const DeviceMaxout& m, Index rows, int at_once)
      : threads(rows * (m.inner / at_once)), inner(m.inner), pieces(static_cast<int>(m.pieces)),
        cols(static_cast<int>(m.inner / at_once)), small(threads < (Index{1} << 31)),
        by_cols(small ? m.inner / at_once : 1), by_pieces(small ? m.pieces : 1) {}
};

struct Line {
  Index row;
  int col;

  __device__ __forceinline__ Line(const Lines& s, Index thread) {
    if (s.small) {
      const int number = static_cast<int>(thread), line = quotient(number, s.by_cols);
      row = line;
      col = number - line * s.cols;
    } else {
      row = thread / s.cols;
      col = static_cast<int>(thread - row * s.cols);
    }
  }
};

template <class T, int N>
__global__ void __launch_bounds__(kConvThreads)
    maxout_kernel(const __grid_constant__ Lines s, const T* x, T* y, std::uint8_t* places, std::int64_t* indices) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Line line(s, thread);
  x += line.row * s.pieces * s.inner + static_cast<Index>(line.col) * N;
  Pack<T, N> most = load_pack<N>(x);
  int at[N] = {};
  for (int piece = 1; piece < s.pieces; ++piece) {
    const Pack<T, N> next = load_pack<N>(x + piece * s.inner);
#pragma unroll
    for (int i = 0; i < N; ++i)
      if (is_larger(next[i], most[i])) {
        most[i] = next[i];
        at[i] = piece;
      }
  }
  store_pack(y + thread * N, most);
  if (places != nullptr) {
    Pack<std::uint8_t, N> place;
#pragma unroll
    for (int i = 0; i < N; ++i) place[i] = static_cast<std::uint8_t>(at[i]);
    store_pack(places + thread * N, place);
  }
  if (indices != nullptr) {
#pragma unroll
    for (int i = 0; i < N; ++i) indices[thread * N + i] = at[i];
  }
}

template <class T, int N>
__global__ void __launch_bounds__(kConvThreads)
    maxout_backward_kernel(const __grid_constant__ Lines s, const T* grad, const std::uint8_t* places,
                           const std::int64_t* indices, T* dx) {
  const Index thread = conv_thread();
  if (thread >= s.threads) return;
  const Line line(s, thread);
  const Index group = s.small ? quotient(static_cast<int>(line.row), s.by_pieces) : line.row / s.pieces;
  const int piece = static_cast<int>(line.row - group * s.pieces);
  const Index from = group * s.inner + static_cast<Index>(line.col) * N;
  const Pack<T, N> given = load_pack<N>(grad + from);
  Pack<T, N> result;
  if (places != nullptr) {
    const Pack<std::uint8_t, N> place = load_pack<N>(places + from);
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = place[i] == piece ? given[i] : T(0);
  } else {
#pragma unroll
    for (int i = 0; i < N; ++i) result[i] = indices[from + i] == piece ? given[i] : T(0);
  }
  store_pack(dx + thread * N, result);
}

template <class T>
bool in_maxout_packs(const DeviceMaxout& m, PoolStep step, const T* x, const T* y, const std::uint8_t* places) {
  constexpr int N = kAtOnce<T>;
  return step != PoolStep::naive && takes_packs(m, sizeof(T)) && is_aligned<N>(x) && is_aligned<N>(y) &&
         is_aligned<N>(places);
}

}  // namespace

template <class T>
void maxout(void* stream, const DeviceMaxout& m, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
            PoolStep step) {
  using R = real<T>;
  if (m.outer * m.inner == 0) return;
  const bool packs = in_maxout_packs(m, step, x, y, places);
  const Lines s(m, m.outer, packs ? kAtOnce<T> : 1);
  const char* const name = packs ? "maxout_packs" : "maxout";
  launch(name, packs ? maxout_kernel<R, kAtOnce<T>> : maxout_kernel<R, 1>, one_each(name, s.threads), stream, s,
         reinterpret_cast<const R*>(x), reinterpret_cast<R*>(y), places, indices);
}

template <class T>
void maxout_backward(void* stream, const DeviceMaxout& m, const T* grad, const std::uint8_t* places,
                     const std::int64_t* indices, T* dx, PoolStep step) {
  using R = real<T>;
  if (m.outer * m.inner == 0) return;
  const bool packs = in_maxout_packs(m, step, dx, grad, places);
  const Lines s(m, m.outer * m.pieces, packs ? kAtOnce<T> : 1);
  const char* const name = packs ? "maxout_packs_backward" : "maxout_backward";
  launch(name, packs ? maxout_backward_kernel<R, kAtOnce<T>> : maxout_backward_kernel<R, 1>, one_each(name, s.threads),
         stream, s, reinterpret_cast<const R*>(grad), places, indices, reinterpret_cast<R*>(dx));
}

#define DLKIT_INSTANTIATE(T)                                                                                        \
  template void maxout(void*, const DeviceMaxout&, const T*, T*, std::uint8_t*, std::int64_t*, PoolStep);           \
  template void maxout_backward(void*, const DeviceMaxout&, const T*, const std::uint8_t*, const std::int64_t*, T*, \
                                PoolStep);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace device
}  // namespace dlkit
