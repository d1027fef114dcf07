// What tensor cores are given, by type: how fragments of 16 rows or columns are read from panels in shared memory
// (mma_tile.h), and multiplied.
#pragma once

#include <cstdint>

#include "core/cuda/mma.h"
#include "core/cuda/number.h"

namespace dlkit::device {

struct Tf32 {
  using Element = real<float>;
  static constexpr int kDepth = 8;

  static __device__ __forceinline__ void round(std::uint32_t (&r)[4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) r[i] = dlkit::to_tf32(real<float>(__uint_as_float(r[i])));
  }

  // Rows x to x + 15, k to k + 7 (see core/cuda/mma.h for who holds what). To ldmatrix a float is a pair of 16 bits,
  // and a chunk a row of 4 of them: good along k. It cannot transpose them; across k they are read one by one.
  template <class Panel>
  static __device__ __forceinline__ void load_a(std::uint32_t (&r)[4], const Element* panel, int x, int k, int lane) {
    if constexpr (Panel::kAlongK) {
      ldmatrix(r, panel + Panel::offset(x + lane % 16, k + lane / 16 * 4));
    } else {
      const int g = lane / 4, t = lane % 4;
      r[0] = __float_as_uint(panel[Panel::offset(x + g, k + t)]);
      r[1] = __float_as_uint(panel[Panel::offset(x + g + 8, k + t)]);
      r[2] = __float_as_uint(panel[Panel::offset(x + g, k + t + 4)]);
      r[3] = __float_as_uint(panel[Panel::offset(x + g + 8, k + t + 4)]);
    }
  }

  // Columns x to x + 7 in r[0], r[1], x + 8 to x + 15 in r[2], r[3].
  template <class Panel>
  static __device__ __forceinline__ void load_b(std::uint32_t (&r)[4], const Element* panel, int x, int k, int lane) {
    if constexpr (Panel::kAlongK) {
      ldmatrix(r, panel + Panel::offset(x + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 4));
    } else {
      const int g = lane / 4, t = lane % 4;
      r[0] = __float_as_uint(panel[Panel::offset(x + g, k + t)]);
      r[1] = __float_as_uint(panel[Panel::offset(x + g, k + t + 4)]);
      r[2] = __float_as_uint(panel[Panel::offset(x + g + 8, k + t)]);
      r[3] = __float_as_uint(panel[Panel::offset(x + g + 8, k + t + 4)]);
    }
  }

  static __device__ __forceinline__ void multiply(real<float> (&c)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    dlkit::mma_tf32(c, a, b);
  }
};

template <class T>
struct Bits16 {
  using Element = T;
  static constexpr int kDepth = 16;

  static __device__ __forceinline__ void round(std::uint32_t (&)[4]) {}  // they have 16 bits already

  // Rows x to x + 15, k to k + 15: four matrices of 8 x 8, rows first.
  template <class Panel>
  static __device__ __forceinline__ void load_a(std::uint32_t (&r)[4], const T* panel, int x, int k, int lane) {
    if constexpr (Panel::kAlongK)
      ldmatrix(r, panel + Panel::offset(x + lane % 16, k + lane / 16 * 8));
    else
      ldmatrix<true>(r, panel + Panel::offset(x + lane / 8 % 2 * 8, k + lane / 16 * 8 + lane % 8));
  }

  // Columns x to x + 7 in r[0], r[1], x + 8 to x + 15 in r[2], r[3].
  template <class Panel>
  static __device__ __forceinline__ void load_b(std::uint32_t (&r)[4], const T* panel, int x, int k, int lane) {
    if constexpr (Panel::kAlongK)
      ldmatrix(r, panel + Panel::offset(x + lane / 16 * 8 + lane % 8, k + lane / 8 % 2 * 8));
    else
      ldmatrix<true>(r, panel + Panel::offset(x + lane / 16 * 8, k + lane % 16));
  }

  static __device__ __forceinline__ void multiply(real<float> (&c)[4], const std::uint32_t (&a)[4],
                                                  const std::uint32_t (&b)[2]) {
    dlkit::mma_16bit(c, a, b, T());
  }
};

}  // namespace dlkit::device
