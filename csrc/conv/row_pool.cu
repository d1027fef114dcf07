// The largest of rows: the maximum over time (Collobert et al., 2011) and the k largest in the order in which they are
// there (Kalchbrenner, Grefenstette & Blunsom, 2014).
//
// Bytes: rows read once, y and 8 bytes of index for each written; about a comparison an element. A thread for each row
// (`naive`) reads at a distance of a row from its neighbours: a sector for each lane, of which the caches keep the rest
// for the next requests if they can. `warps` reads 8 neighbouring elements of each of four rows at a time, or from 256
// columns 32 of one: 4 sectors a request, up to 8 where rows begin within one, of which the cache keeps the rest.
// Bound: memory; 54 columns (216 bytes) take about 45 instructions a row of the 58 for which an H100 leaves time.
//
// The k largest of a row are those above a threshold, and of those equal to it the first. Numbers become integers that
// are ordered as they are, of which each lane keeps up to 8 in registers (256 columns; longer rows are read again, from
// the caches). The threshold is found bit by bit from the highest, as the largest that k elements reach; a ballot for
// each 32 elements counts them, and once exactly k are left the lower bits do not matter. Then one pass in order: a
// ballot says where each lane's element goes. At most 32 (64) ballots for each 32 elements, 8 to 20 on continuous
// numbers: 3 instructions each, so that up to 60 for 128 bytes; an H100 issues about 900 G a second, 1.9 TB/s. Bound:
// instructions, at half of memory's speed. `naive` counts for each element those above it: cols^2 comparisons.
//
//   sm_90a, float32: k-max 30 registers up to 64 columns, 61 up to 256, 46 beyond; over time 31; no shared memory.
#include <cstdint>

#include "conv/device_windows.h"

namespace dlkit::device {
namespace {

// Unsigned integers ordered as numbers are: -0 and 0 are one, and so are all NaN, above the rest. None is 0.
__device__ __forceinline__ std::uint32_t order_key(real<float> x) {
  if (x != x) return 0xFFFFFFFFu;
  const std::uint32_t bits = x == real<float>(0) ? 0u : static_cast<std::uint32_t>(__float_as_int(x));
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ std::uint64_t order_key(real<double> x) {
  if (x != x) return ~std::uint64_t{0};
  const std::uint64_t bits = x == real<double>(0) ? 0u : static_cast<std::uint64_t>(__double_as_longlong(x));
  return bits >> 63 != 0 ? ~bits : bits | std::uint64_t{1} << 63;
}

template <class T>
struct KeyOf {
  using type = std::uint32_t;
};
template <>
struct KeyOf<real<double>> {
  using type = std::uint64_t;
};

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    k_max_kernel(Index rows, Index cols, Index k, const T* x, T* y, std::int64_t* indices) {
  const Index row = conv_thread();
  if (row >= rows) return;
  x += row * cols;
  y += row * k;
  indices += row * k;
  Index taken = 0;
  for (Index i = 0; i < cols && taken < k; ++i) {
    const auto own = order_key(x[i]);
    Index above = 0;  // how many come before it by size, and by place where equal
    for (Index j = 0; j < cols; ++j) {
      const auto key = order_key(x[j]);
      above += key > own || (key == own && j < i) ? 1 : 0;
    }
    if (above >= k) continue;
    y[taken] = x[i];
    indices[taken++] = i;
  }
}

// A warp's row: element 32 j + lane as a key, 0 past the end. Held 0: rows of any length, read again each time.
template <class T, int Held>
struct RowKeys {
  using Key = typename KeyOf<T>::type;

  const T* x;
  int cols, lane;
  Key key[Held == 0 ? 1 : Held];

  __device__ __forceinline__ RowKeys(const T* row, int cols_, int lane_) : x(row), cols(cols_), lane(lane_) {
    if constexpr (Held > 0) {
#pragma unroll
      for (int j = 0; j < Held; ++j) key[j] = read(j * kWarp);
    }
  }

  __device__ __forceinline__ Key read(int first) const {
    const int col = first + lane;
    return col < cols ? order_key(x[col]) : Key(0);
  }

  // body(first, key): 32 elements at a time, all lanes together.
  template <class Body>
  __device__ __forceinline__ void each(const Body& body) const {
    if constexpr (Held > 0) {
#pragma unroll
      for (int j = 0; j < Held; ++j) body(j * kWarp, key[j]);
    } else {
#pragma unroll 4
      for (int first = 0; first < cols; first += kWarp) body(first, read(first));
    }
  }

  // How many are `least` or more; least > 0.
  __device__ __forceinline__ int count(Key least) const {
    int found = 0;
    each([&](int, Key own) { found += __popc(__ballot_sync(kFullMask, own >= least)); });
    return found;
  }
};

template <class T, int Held>
__global__ void __launch_bounds__(kConvThreads)
    k_max_warps_kernel(Index rows, int cols, int k, const T* x, T* y, std::int64_t* indices) {
  const Index row = conv_thread() / kWarp;
  if (row >= rows) return;
  using Keys = RowKeys<T, Held>;
  using Key = typename Keys::Key;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const Keys keys(x + row * cols, cols, lane);
  y += row * k;
  indices += row * k;

  Key least = 0;
  int reach = cols;  // so many are `least` or more
  for (int bit = static_cast<int>(sizeof(Key)) * 8 - 1; bit >= 0 && reach != k; --bit) {
    const Key candidate = least | Key(1) << bit;
    const int found = keys.count(candidate);
    if (found < k) continue;
    least = candidate;
    reach = found;
  }
  // All that are above it are taken, and the first of those that are equal.
  const int above = least == ~Key(0) ? 0 : keys.count(least + 1);
  const int equals = k - above;

  const unsigned before = (1u << lane) - 1;
  int placed = 0, equal = 0;
  keys.each([&](int first, Key own) {
    const unsigned same = __ballot_sync(kFullMask, own == least && first + lane < cols);
    const bool takes = first + lane < cols && (own > least || (own == least && equal + __popc(same & before) < equals));
    const unsigned all = __ballot_sync(kFullMask, takes);
    if (takes) {
      const int to = placed + __popc(all & before);
      y[to] = keys.x[first + lane];
      indices[to] = first + lane;
    }
    placed += __popc(all);
    equal += __popc(same);
  });
}

// How much of a row counts.
__device__ __forceinline__ Index row_length(const std::int64_t* lengths, Index row, Index per_length, Index cols) {
  if (lengths == nullptr) return cols;
  const std::int64_t length = lengths[row / per_length];
  return length < 1 ? 1 : length > cols ? cols : length;
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    over_time_kernel(Index rows, Index cols, Index per_length, const T* x, const std::int64_t* lengths, T* y,
                     std::int64_t* indices) {
  const Index row = conv_thread();
  if (row >= rows) return;
  x += row * cols;
  const Index length = row_length(lengths, row, per_length, cols);
  Largest<T> most;
  for (Index i = 0; i < length; ++i) most.take(x[i], i);
  y[row] = most.value;
  indices[row] = most.at;
}

template <class T, int Lanes>
__global__ void __launch_bounds__(kConvThreads)
    over_time_warps_kernel(Index rows, Index cols, Index per_length, const T* x, const std::int64_t* lengths, T* y,
                           std::int64_t* indices) {
  constexpr int kInFlight = 4;
  const int lane = static_cast<int>(threadIdx.x) % Lanes;
  const Index row = conv_thread() / Lanes;
  // Rows past the last have no elements, but their lanes take part in exchanges.
  const Index length = row < rows ? row_length(lengths, row, per_length, cols) : 0;
  x += row * cols;
  Largest<T> most;
  for (Index first = lane; first < length; first += Lanes * kInFlight) {
    T value[kInFlight];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j)
      if (first + j * Lanes < length) value[j] = x[first + j * Lanes];
#pragma unroll
    for (int j = 0; j < kInFlight; ++j)
      if (first + j * Lanes < length) most.take(value[j], first + j * Lanes);
  }
  most.template reduce<Lanes>();
  if (lane == 0 && row < rows) {
    y[row] = most.value;
    indices[row] = most.at;
  }
}

constexpr int kFewLanes = 8;
constexpr Index kLongRow = 256;  // columns from which a warp reads a row

}  // namespace

template <class T>
void k_max_pool(void* stream, const DeviceRows& p, Index k, const T* x, T* y, std::int64_t* indices, PoolStep step) {
  using R = real<T>;
  if (p.rows == 0 || k == 0) return;
  const auto* from = reinterpret_cast<const R*>(x);
  auto* const to = reinterpret_cast<R*>(y);
  if (step == PoolStep::naive)
    return launch("k_max_pool", k_max_kernel<R>, one_each("k_max_pool", p.rows), stream, p.rows, p.cols, k, from, to,
                  indices);
  const auto kernel = p.cols <= 2 * kWarp   ? k_max_warps_kernel<R, 2>
                      : p.cols <= 8 * kWarp ? k_max_warps_kernel<R, 8>
                                            : k_max_warps_kernel<R, 0>;
  launch("k_max_pool_warps", kernel, one_each("k_max_pool_warps", p.rows * kWarp), stream, p.rows,
         static_cast<int>(p.cols), static_cast<int>(k), from, to, indices);
}

template <class T>
void max_over_time(void* stream, const DeviceRows& p, const T* x, const std::int64_t* lengths, T* y,
                   std::int64_t* indices, PoolStep step) {
  using R = real<T>;
  if (p.rows == 0) return;
  const auto* from = reinterpret_cast<const R*>(x);
  auto* const to = reinterpret_cast<R*>(y);
  if (step == PoolStep::naive)
    return launch("max_over_time", over_time_kernel<R>, one_each("max_over_time", p.rows), stream, p.rows, p.cols,
                  p.rows_per_length, from, lengths, to, indices);
  const bool few = p.cols < kLongRow;
  launch("max_over_time_warps", few ? over_time_warps_kernel<R, kFewLanes> : over_time_warps_kernel<R, kWarp>,
         one_each("max_over_time_warps", p.rows * (few ? kFewLanes : kWarp)), stream, p.rows, p.cols, p.rows_per_length,
         from, lengths, to, indices);
}

#define DLKIT_INSTANTIATE(T)                                                                        \
  template void k_max_pool(void*, const DeviceRows&, Index, const T*, T*, std::int64_t*, PoolStep); \
  template void max_over_time(void*, const DeviceRows&, const T*, const std::int64_t*, T*, std::int64_t*, PoolStep);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::device
