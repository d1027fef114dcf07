// Tensor cores: products of small matrices by the 32 lanes of a warp together (PTX mma.sync, sm_80 and later).
//
// Registers of lane l, with g = l / 4 and t = l % 4 (PTX ISA, "Matrix Fragments"):
//   C, D (16 x 8, float):      c[0], c[1] = C[g][2t], C[g][2t+1]        c[2], c[3] = C[g+8][2t], C[g+8][2t+1]
//   tf32 A (16 x 8):           a[0..3] = A[g][t], A[g+8][t], A[g][t+4], A[g+8][t+4]
//   tf32 B (8 x 8):            b[0], b[1] = B[t][g], B[t+4][g]
//   16-bit A (16 x 16), pairs: a[0..3] = A[g][2t..], A[g+8][2t..], A[g][2t+8..], A[g+8][2t+8..]
//   16-bit B (16 x 8), pairs:  b[0], b[1] = B[2t..][g], B[2t+8..][g]      (the lower half is the first of a pair)
#pragma once

#include <cstdint>

#include "core/cuda/number.h"

namespace dlkit {

#if defined(DLKIT_SIMT)

// c += A B.
inline void mma_tf32(real<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  simt::mma_tf32(c, a, b);
}
inline void mma_16bit(real<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], half) {
  simt::mma_half(c, a, b);
}
inline void mma_16bit(real<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], bfloat16) {
  simt::mma_bfloat16(c, a, b);
}

// float32 to TF32 (10 bits of mantissa), to nearest, ties away from zero.
inline std::uint32_t to_tf32(real<float> x) { return simt::to_tf32(x); }

// Four (two) 8 x 8 matrices of 16-bit elements from shared memory, one after another: lane l gives the address of row
// l % 8 of matrix l / 8 (16 bytes, aligned to 16), and gets in r[i] elements 2 (l % 4), + 1 of row l / 4 of matrix i.
// With `Transposed`, of the transposed matrix.
template <bool Transposed = false>
inline void ldmatrix(std::uint32_t (&r)[4], const void* row) {
  simt::ldmatrix(r, 4, row, Transposed);
}
template <bool Transposed = false>
inline void ldmatrix(std::uint32_t (&r)[2], const void* row) {
  simt::ldmatrix(r, 2, row, Transposed);
}

#else

__device__ __forceinline__ void mma_tf32(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_16bit(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                          half) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_16bit(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                          bfloat16) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

__device__ __forceinline__ std::uint32_t to_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

template <bool Transposed = false>
__device__ __forceinline__ void ldmatrix(std::uint32_t (&r)[4], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(address)
                 : "memory");
}
template <bool Transposed = false>
__device__ __forceinline__ void ldmatrix(std::uint32_t (&r)[2], const void* row) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(row));
  if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
                 : "=r"(r[0]), "=r"(r[1])
                 : "r"(address)
                 : "memory");
}

#endif

}  // namespace dlkit
