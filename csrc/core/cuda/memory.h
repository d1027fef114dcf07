// Shared memory, vector loads, and copies from global to shared memory that pass by the registers (cp.async).
#pragma once

#include <cstdint>

#include "core/cuda/platform.h"

// An array in the memory that the threads of a block share:   DLKIT_SHARED(T, tile, [32][33]);
// Dynamic shared memory, of the size that the launch asks for: DLKIT_DYNAMIC_SHARED(T, buffer);   aligned to 128 bytes
#if defined(DLKIT_SIMT)
#define DLKIT_SHARED(T, name, ...)    \
  using name##_array = T __VA_ARGS__; \
  static char name##_key;             \
  auto& name = *static_cast<name##_array*>(::dlkit::simt::shared_array(&name##_key, sizeof(name##_array), #name))
#define DLKIT_DYNAMIC_SHARED(T, name) T* const name = static_cast<T*>(::dlkit::simt::dynamic_shared())
#else
#define DLKIT_SHARED(T, name, ...) __shared__ T name __VA_ARGS__
#define DLKIT_DYNAMIC_SHARED(T, name)                                    \
  extern __shared__ __align__(128) unsigned char dlkit_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(dlkit_dynamic_shared)
#endif

namespace dlkit {

// N elements that move as one: one instruction where N * sizeof(T) is 4, 8 or 16, and the address a multiple of it.
template <class T, int N>
struct alignas(sizeof(T) * N) Pack {
  T at[N];
  __device__ __forceinline__ T& operator[](int i) { return at[i]; }
  __device__ __forceinline__ const T& operator[](int i) const { return at[i]; }
};

template <int N, class T>
__device__ __forceinline__ Pack<T, N> load_pack(const T* from) {
  return *reinterpret_cast<const Pack<T, N>*>(from);
}

template <int N, class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T, N>& pack) {
  *reinterpret_cast<Pack<T, N>*>(to) = pack;
}

// Whether N elements at `p` may move as one.
template <int N, class T>
__host__ __device__ __forceinline__ bool is_aligned(const T* p) {
  return reinterpret_cast<std::uintptr_t>(p) % (N * sizeof(T)) == 0;
}

// A load that passes by the first-level cache, which does not see what other multiprocessors write.
#if defined(DLKIT_SIMT)
template <class T>
inline __attribute__((always_inline)) T load_current(const T* from) {
  return *from;
}
#else
template <class T>
__device__ __forceinline__ T load_current(const T* from) {
  return __ldcg(from);
}
#endif

// Asynchronous copies of Bytes (4, 8 or 16) from global to shared memory, in groups:
//   cp_async<16>(to, from); ... cp_async_commit(); ... cp_async_wait<Pending>(); __syncthreads();
// cp_async_wait returns when all but the newest `Pending` groups of this thread have landed. Only `valid` bytes are
// read, the others of the destination become 0.
#if defined(DLKIT_SIMT)

template <int Bytes>
inline void cp_async(void* to, const void* from, int valid = Bytes) {
  simt::async_copy(to, from, Bytes, valid);
}
inline void cp_async_commit() { simt::async_commit(); }
template <int Pending>
inline void cp_async_wait() {
  simt::async_wait(Pending);
}

#else

template <int Bytes>
__device__ __forceinline__ void cp_async(void* to, const void* from, int valid = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  const unsigned target = static_cast<unsigned>(__cvta_generic_to_shared(to));
  if constexpr (Bytes == 16)  // past the first-level cache
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(target), "l"(from), "r"(valid) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(target), "l"(from), "r"(valid), "n"(Bytes)
                 : "memory");
}
__device__ __forceinline__ void cp_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

#endif

}  // namespace dlkit
