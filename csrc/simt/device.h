// What a .cu file sees of CUDA when the SIMT machine runs it: keywords, built-in variables, types and intrinsics.
//
// A thread of a block is a fibre. Whatever makes threads wait for each other or exchange values calls the machine
// (machine.cpp); loads and stores need no help from here, since the compiler instruments them (memory.cpp).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <tuple>
#include <type_traits>

#include "simt/counted.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) alignas(n)

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};

#define DLKIT_SIMT_VECTOR(T, name, size)                             \
  struct alignas(2 * sizeof(T)) name##2 { T x, y; };                 \
  struct name##3 { T x, y, z; };                                     \
  struct alignas(4 * sizeof(T)) name##4 { T x, y, z, w; };           \
  inline name##2 make_##name##2(T x, T y) { return {x, y}; }         \
  inline name##3 make_##name##3(T x, T y, T z) { return {x, y, z}; } \
  inline name##4 make_##name##4(T x, T y, T z, T w) { return {x, y, z, w}; }
DLKIT_SIMT_VECTOR(dlkit::simt::Counted<float>, float, 4)
DLKIT_SIMT_VECTOR(int, int, 4)
#undef DLKIT_SIMT_VECTOR
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(16) double2 {
  dlkit::simt::Counted<double> x, y;
};
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline double2 make_double2(dlkit::simt::Counted<double> x, dlkit::simt::Counted<double> y) { return {x, y}; }

namespace dlkit::simt {

// Start a kernel and wait for its end: entry(context) in each thread. `context` may be read by them.
void run(const char* name, dim3 grid, dim3 block, std::size_t shared, bool cooperative, void (*entry)(const void*),
         const void* context, std::size_t context_bytes);

// Of the thread that runs.
uint3 thread_index() __attribute__((const));
uint3 block_index() __attribute__((const));
uint3 block_extent() __attribute__((const));
uint3 grid_extent() __attribute__((const));

enum class Collective {
  sync,
  shuffle,
  ballot,
  any,
  all,
  reduce_add,
  reduce_min,
  reduce_max,
  reduce_and,
  reduce_or,
  reduce_xor,
  mma,
  ldmatrix
};

void block_barrier(int line);
int block_barrier_reduce(int line, Collective operation, int value);  // any: or; all: and; reduce_add: count
void grid_sync();
void warp_barrier(unsigned mask, int line);
std::uint64_t shuffle(unsigned mask, std::uint64_t value, int source, int line);
std::uint32_t warp_reduce(unsigned mask, Collective operation, std::uint32_t value, bool is_signed, int line);

void* shared_array(const void* key, std::size_t bytes, const char* name);
void* dynamic_shared();

void async_copy(void* to, const void* from, int bytes, int valid);
void async_commit();
void async_wait(int pending);

enum class Atomic {
  add,
  add_float,
  minimum,
  maximum,
  signed_minimum,
  signed_maximum,
  exchange,
  compare_and_swap,
  bit_and,
  bit_or,
  bit_xor
};
std::uint32_t atomic32(void* at, Atomic operation, std::uint32_t value, std::uint32_t expected = 0);
std::uint64_t atomic64(void* at, Atomic operation, std::uint64_t value, std::uint64_t expected = 0);

void mma_tf32(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
void mma_half(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
void mma_bfloat16(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]);
void ldmatrix(std::uint32_t* r, int matrices, const void* row, bool transposed);

template <class T>
DLKIT_SIMT_INLINE std::uint64_t to_bits(T x) {
  static_assert(sizeof(T) <= 8 && std::is_trivially_copyable_v<T>);
  if constexpr (sizeof(T) == 8) return std::bit_cast<std::uint64_t>(x);
  if constexpr (sizeof(T) == 4) return std::bit_cast<std::uint32_t>(x);
  if constexpr (sizeof(T) == 2) return std::bit_cast<std::uint16_t>(x);
  if constexpr (sizeof(T) == 1) return std::bit_cast<std::uint8_t>(x);
}

template <class T>
DLKIT_SIMT_INLINE T from_bits(std::uint64_t bits) {
  if constexpr (sizeof(T) == 8) return std::bit_cast<T>(bits);
  if constexpr (sizeof(T) == 4) return std::bit_cast<T>(static_cast<std::uint32_t>(bits));
  if constexpr (sizeof(T) == 2) return std::bit_cast<T>(static_cast<std::uint16_t>(bits));
  if constexpr (sizeof(T) == 1) return std::bit_cast<T>(static_cast<std::uint8_t>(bits));
}

template <class T>
DLKIT_SIMT_INLINE T atomic(T* at, Atomic operation, T value, T expected = T()) {
  if constexpr (sizeof(T) == 4)
    return from_bits<T>(atomic32(at, operation, static_cast<std::uint32_t>(to_bits(value)),
                                 static_cast<std::uint32_t>(to_bits(expected))));
  else
    return from_bits<T>(atomic64(at, operation, to_bits(value), to_bits(expected)));
}

template <class T>
constexpr bool is_integer =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
template <class T>
constexpr bool is_real = std::is_same_v<T, Counted<float>> || std::is_same_v<T, Counted<double>>;
template <class T>
constexpr bool is_small_signed = std::is_same_v<T, int>;

}  // namespace dlkit::simt

#define threadIdx (::dlkit::simt::thread_index())
#define blockIdx (::dlkit::simt::block_index())
#define blockDim (::dlkit::simt::block_extent())
#define gridDim (::dlkit::simt::grid_extent())
#define warpSize 32

// Barriers. The line of the call tells one from another.
__forceinline__ void __syncthreads(int line = __builtin_LINE()) { ::dlkit::simt::block_barrier(line); }
__forceinline__ int __syncthreads_or(int value, int line = __builtin_LINE()) {
  return ::dlkit::simt::block_barrier_reduce(line, ::dlkit::simt::Collective::any, value);
}
__forceinline__ int __syncthreads_and(int value, int line = __builtin_LINE()) {
  return ::dlkit::simt::block_barrier_reduce(line, ::dlkit::simt::Collective::all, value);
}
__forceinline__ int __syncthreads_count(int value, int line = __builtin_LINE()) {
  return ::dlkit::simt::block_barrier_reduce(line, ::dlkit::simt::Collective::reduce_add, value);
}
__forceinline__ void __syncwarp(unsigned mask = 0xFFFFFFFFu, int line = __builtin_LINE()) {
  ::dlkit::simt::warp_barrier(mask, line);
}
__forceinline__ void __threadfence() {}  // fibres of one processor thread see each other's writes in order
__forceinline__ void __threadfence_block() {}

// Shuffles, votes and reductions of a warp. `width` cuts the warp into segments, as in CUDA.
template <class T>
__forceinline__ T __shfl_sync(unsigned mask, T value, int source, int width = 32, int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  const int base = lane & ~(width - 1);
  return ::dlkit::simt::from_bits<T>(
      ::dlkit::simt::shuffle(mask, ::dlkit::simt::to_bits(value), base + (source & (width - 1)), line));
}
template <class T>
__forceinline__ T __shfl_xor_sync(unsigned mask, T value, int by, int width = 32, int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  const int source = lane ^ by;
  // A lane of a later segment keeps its own value.
  return ::dlkit::simt::from_bits<T>(
      ::dlkit::simt::shuffle(mask, ::dlkit::simt::to_bits(value), source > (lane | (width - 1)) ? lane : source, line));
}
template <class T>
__forceinline__ T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  const int source = lane - static_cast<int>(by);
  return ::dlkit::simt::from_bits<T>(::dlkit::simt::shuffle(mask, ::dlkit::simt::to_bits(value),
                                                            source < (lane & ~(width - 1)) ? lane : source, line));
}
template <class T>
__forceinline__ T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, int line = __builtin_LINE()) {
  const int lane = static_cast<int>(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32;
  const int source = lane + static_cast<int>(by);
  return ::dlkit::simt::from_bits<T>(
      ::dlkit::simt::shuffle(mask, ::dlkit::simt::to_bits(value), source > (lane | (width - 1)) ? lane : source, line));
}
__forceinline__ unsigned __ballot_sync(unsigned mask, int value, int line = __builtin_LINE()) {
  return ::dlkit::simt::warp_reduce(mask, ::dlkit::simt::Collective::ballot, value != 0, false, line);
}
__forceinline__ int __any_sync(unsigned mask, int value, int line = __builtin_LINE()) {
  return __ballot_sync(mask, value, line) != 0;
}
__forceinline__ int __all_sync(unsigned mask, int value, int line = __builtin_LINE()) {
  return __ballot_sync(mask, value, line) == mask;
}
#define DLKIT_SIMT_REDUCE(name)                                                                                       \
  __forceinline__ unsigned __##name##_sync(unsigned mask, unsigned value, int line = __builtin_LINE()) {              \
    return ::dlkit::simt::warp_reduce(mask, ::dlkit::simt::Collective::name, value, false, line);                     \
  }                                                                                                                   \
  __forceinline__ int __##name##_sync(unsigned mask, int value, int line = __builtin_LINE()) {                        \
    return static_cast<int>(                                                                                          \
        ::dlkit::simt::warp_reduce(mask, ::dlkit::simt::Collective::name, static_cast<unsigned>(value), true, line)); \
  }
DLKIT_SIMT_REDUCE(reduce_add)
DLKIT_SIMT_REDUCE(reduce_min)
DLKIT_SIMT_REDUCE(reduce_max)
DLKIT_SIMT_REDUCE(reduce_and)
DLKIT_SIMT_REDUCE(reduce_or)
DLKIT_SIMT_REDUCE(reduce_xor)
#undef DLKIT_SIMT_REDUCE

// Loads through other caches are loads.
template <class T>
__forceinline__ T __ldg(const T* from) {
  return *from;
}
template <class T>
__forceinline__ T __ldcs(const T* from) {
  return *from;
}
template <class T>
__forceinline__ void __stcs(T* to, T value) {
  *to = value;
}

// Atomic operations on global and shared memory.
template <class T>
  requires(dlkit::simt::is_integer<T> || dlkit::simt::is_real<T>)
__forceinline__ T atomicAdd(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(
      at, dlkit::simt::is_real<T> ? ::dlkit::simt::Atomic::add_float : ::dlkit::simt::Atomic::add, value);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicMin(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(
      at, dlkit::simt::is_small_signed<T> ? ::dlkit::simt::Atomic::signed_minimum : ::dlkit::simt::Atomic::minimum,
      value);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicMax(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(
      at, dlkit::simt::is_small_signed<T> ? ::dlkit::simt::Atomic::signed_maximum : ::dlkit::simt::Atomic::maximum,
      value);
}
template <class T>
__forceinline__ T atomicExch(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(at, ::dlkit::simt::Atomic::exchange, value);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(at, ::dlkit::simt::Atomic::compare_and_swap, value, expected);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicAnd(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(at, ::dlkit::simt::Atomic::bit_and, value);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicOr(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(at, ::dlkit::simt::Atomic::bit_or, value);
}
template <class T>
  requires dlkit::simt::is_integer<T>
__forceinline__ T atomicXor(T* at, std::type_identity_t<T> value) {
  return ::dlkit::simt::atomic(at, ::dlkit::simt::Atomic::bit_xor, value);
}

// Bits and conversions.
__forceinline__ int __popc(unsigned x) { return std::popcount(x); }
__forceinline__ int __popcll(unsigned long long x) { return std::popcount(x); }
__forceinline__ int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
__forceinline__ int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
__forceinline__ unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((std::uint64_t{a} * b) >> 32);
}
__forceinline__ unsigned __float_as_uint(dlkit::simt::Counted<float> x) { return std::bit_cast<unsigned>(x.value); }
__forceinline__ int __float_as_int(dlkit::simt::Counted<float> x) { return std::bit_cast<int>(x.value); }
__forceinline__ dlkit::simt::Counted<float> __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
__forceinline__ dlkit::simt::Counted<float> __int_as_float(int x) { return std::bit_cast<float>(x); }
__forceinline__ long long __double_as_longlong(dlkit::simt::Counted<double> x) {
  return std::bit_cast<long long>(x.value);
}
__forceinline__ dlkit::simt::Counted<double> __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
__forceinline__ dlkit::simt::Counted<float> __half2float(dlkit::simt::half x) { return dlkit::simt::to_float(x); }
__forceinline__ dlkit::simt::half __float2half_rn(dlkit::simt::Counted<float> x) {
  return dlkit::simt::to_half(x.value);
}
__forceinline__ dlkit::simt::Counted<float> __bfloat162float(dlkit::simt::bfloat16 x) {
  return dlkit::simt::to_float(x);
}
__forceinline__ dlkit::simt::bfloat16 __float2bfloat16_rn(dlkit::simt::Counted<float> x) {
  return dlkit::simt::to_bfloat16(x.value);
}

// Arithmetic that a GPU rounds as asked, and its fast approximations, which here are as exact as the library's.
using dlkit_simt_float = dlkit::simt::Counted<float>;
__forceinline__ dlkit_simt_float __fmaf_rn(dlkit_simt_float a, dlkit_simt_float b, dlkit_simt_float c) {
  return fma(a, b, c);
}
__forceinline__ dlkit_simt_float __fadd_rn(dlkit_simt_float a, dlkit_simt_float b) { return a + b; }
__forceinline__ dlkit_simt_float __fsub_rn(dlkit_simt_float a, dlkit_simt_float b) { return a - b; }
__forceinline__ dlkit_simt_float __fmul_rn(dlkit_simt_float a, dlkit_simt_float b) { return a * b; }
__forceinline__ dlkit_simt_float __fdiv_rn(dlkit_simt_float a, dlkit_simt_float b) { return a / b; }
__forceinline__ dlkit_simt_float __fdividef(dlkit_simt_float a, dlkit_simt_float b) { return a / b; }
__forceinline__ dlkit_simt_float __fsqrt_rn(dlkit_simt_float x) { return sqrt(x); }
__forceinline__ dlkit_simt_float __frcp_rn(dlkit_simt_float x) { return dlkit_simt_float(1) / x; }
__forceinline__ dlkit_simt_float __expf(dlkit_simt_float x) { return exp(x); }
__forceinline__ dlkit_simt_float __logf(dlkit_simt_float x) { return log(x); }
__forceinline__ dlkit_simt_float rsqrtf(dlkit_simt_float x) { return rsqrt(x); }
__forceinline__ dlkit::simt::Counted<double> __dadd_rn(dlkit::simt::Counted<double> a, dlkit::simt::Counted<double> b) {
  return a + b;
}
__forceinline__ dlkit::simt::Counted<double> __dmul_rn(dlkit::simt::Counted<double> a, dlkit::simt::Counted<double> b) {
  return a * b;
}
