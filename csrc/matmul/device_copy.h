// How a block copies panels of A and B to shared memory without registers in between (cp.async), for the kernels whose
// threads read whole vectors of them.
//
// A panel is Depth x Width elements of an operand, kept as panel[k][x]: x is the row of A or the column of B. From an
// operand that is contiguous along x, 16 bytes move at once, or single elements where addresses are no multiples of 16.
// One that is contiguous along k is transposed on the way: element by element, a warp takes 8 k of 4 x, which are whole
// sectors of global memory and, rows of the panel being 4 words more than Width apart, 32 different banks.
#pragma once

#include "core/cuda/memory.h"
#include "core/cuda/platform.h"

namespace dlkit::device {

template <class T, int Depth, int Width, int Threads, bool AlongK>
class PanelCopy {
 public:
  static constexpr int kVector = 16 / sizeof(T);
  static constexpr int kPitch = Width + 4;
  static constexpr int kElements = Depth * kPitch;

  // The panels of elements from x0 on of an operand with x_end of them, from k0 on.
  __device__ __forceinline__ PanelCopy(const T* operand, std::int64_t x_stride, std::int64_t k_stride, int x0,
                                       int x_end, int k0) {
    const int thread = static_cast<int>(threadIdx.x);
    if constexpr (AlongK) {
      const int lane = thread % kWarp, warp = thread / kWarp;
      k_ = lane % 8 + warp % kGroups * 8;
      x_ = lane / 8 + warp / kGroups * 4;
      step_ = kStep * x_stride;
      wide_ = false;
    } else {
      k_ = thread / kPacks;
      x_ = thread % kPacks * kVector;
      step_ = kStep * k_stride;
      wide_ = is_aligned<kVector>(operand) && k_stride % kVector == 0 && x0 % kVector == 0;
    }
    left_ = x_end - x0 - x_;
    whole_ = x_end - x0 >= Width;
    from_ = operand + (x0 + x_) * x_stride + (k0 + k_) * k_stride;
    to_ = k_ * kPitch + x_;
  }

  // Starts the copy of the next panel, of which k_left are inside the operand; the rest of it becomes 0.
  __device__ __forceinline__ void operator()(T* panel, int k_left) {
    if (whole_ && k_left >= Depth)
      start<true>(panel + to_, k_left);
    else
      start<false>(panel + to_, k_left);
    from_ += AlongK ? Depth : Depth / kStep * step_;
  }

 private:
  static constexpr int kWarps = Threads / kWarp;
  static constexpr int kGroups = Depth / 8;        // of 8 k
  static constexpr int kPacks = Width / kVector;   // in a row of the panel
  // Elements of a row, or rows of the panel, that all threads together copy at a time.
  static constexpr int kStep = AlongK ? 4 * kWarps / kGroups : Threads / kPacks > Depth ? Depth : Threads / kPacks;
  static_assert(Depth % 8 == 0 && kWarps % kGroups == 0 && Width % (4 * kWarps / kGroups) == 0);
  static_assert(AlongK || (Threads % kPacks == 0 && Depth % kStep == 0));

  template <bool Whole>
  __device__ __forceinline__ void start(T* to, int k_left) const {
    if constexpr (AlongK) {
      const T* from = from_;
#pragma unroll
      for (int e = 0; e < Width / kStep; ++e) {
        const bool inside = Whole || (k_ < k_left && e * kStep < left_);
        cp_async<sizeof(T)>(to + e * kStep, inside ? from : from_, inside ? sizeof(T) : 0);
        from += step_;
      }
    } else {
      if (kStep * kPacks < Threads && k_ >= Depth) return;  // a small panel
      const T* from = from_;
#pragma unroll
      for (int e = 0; e < Depth / kStep; ++e) {
        const bool inside = Whole || k_ + e * kStep < k_left;
        const int valid = Whole ? kVector : inside ? max(0, min(kVector, left_)) : 0;
        if (wide_) {
          cp_async<16>(to + e * kStep * kPitch, valid > 0 ? from : from_, valid * static_cast<int>(sizeof(T)));
        } else {
#pragma unroll
          for (int v = 0; v < kVector; ++v)
            cp_async<sizeof(T)>(to + e * kStep * kPitch + v, v < valid ? from + v : from_,
                                v < valid ? static_cast<int>(sizeof(T)) : 0);
        }
        from += step_;
      }
    }
  }

  const T* from_;        // this thread's first element of the next panel
  std::int64_t step_;    // between the elements, or packs, that it copies
  int to_, k_, x_, left_;
  bool wide_, whole_;
};

}  // namespace dlkit::device
