// Pooling on a GPU, or on the SIMT machine: maxima, means and draws over windows that step over planes, windows that
// adapt to planes, the largest of rows and of groups, and their gradients, on device pointers. What they are is said in
// pool.h, whose order among equals and NaN they keep: of equal elements the first, of NaN the last. Taps outside of the
// plane are left out.
//
// A gradient is gathered by its pixel from the windows that have it, so that nothing is added by atomics, and each
// element is written once. Arrays are contiguous, float or double; results overlap no input.
#pragma once

#include <cstdint>

#include "core/view.h"

namespace dlkit {

struct DevicePool {
  Index planes, height, width;  // of x; extents and windows below 2^30
  Index kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  Index out_h, out_w;
  // Of means: the sum is divided by the number of taps, with those in the padding or without, or by `divisor` if not 0.
  bool include_pad;
  Index divisor;

  Index in_elements() const { return planes * height * width; }
  Index out_elements() const { return planes * out_h * out_w; }
};

constexpr std::uint8_t kPoolNowhere = 255;  // of a place, where no tap is the maximum; of an index, -1

// automatic: the fastest that takes the problem.
enum class PoolStep : int { naive, packs, warps, automatic };

struct DevicePoolVariant {
  PoolStep step;
  const char* name;
  const char* idea;
  const char* needs;
};
// Of windows that step over planes, and of drawing from them.
inline constexpr DevicePoolVariant kDevicePoolVariants[] = {
    {PoolStep::naive, "naive", "one thread for each element of the result", ""},
    {PoolStep::packs, "packs", "windows of 2 x 2 side by side, 16 bytes of two rows at a time",
     "windows of 2 x 2 with stride 2, no padding or dilation, on planes of even height, a width that is a multiple of "
     "16 bytes, and arrays aligned to 16"},
};
// Of windows that adapt to planes, k-max and the maximum over time.
inline constexpr DevicePoolVariant kDeviceReducingVariants[] = {
    {PoolStep::naive, "naive", "one thread for each window or row", ""},
    {PoolStep::warps, "warps", "the lanes of a warp side by side in a window or row", ""},
};
// Of the gradient of adaptive means.
inline constexpr DevicePoolVariant kDeviceFillingVariants[] = {
    {PoolStep::naive, "naive", "one thread for each element of the result", ""},
    {PoolStep::warps, "warps", "the lanes of a warp fill a window side by side",
     "an output size that divides the input's"},
};
inline constexpr DevicePoolVariant kDeviceMaxoutVariants[] = {
    {PoolStep::naive, "naive", "one thread for each element of the result", ""},
    {PoolStep::packs, "packs", "16 bytes of each piece at a time",
     "a stride between pieces that is a multiple of 16 bytes, and arrays aligned to 16"},
};
// Whether extents allow the step; pointers are the caller's to look at.
bool takes_packs(const DevicePool& pool, std::size_t item);

namespace device {

// At most one of `places` (numbers of taps in their window) and `indices` (of elements in their plane); both may be
// null.
template <class T>
void max_pool(void* stream, const DevicePool& pool, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
              bool relu, PoolStep step);
template <class T>
void max_pool_backward(void* stream, const DevicePool& pool, const T* grad, const std::uint8_t* places,
                       const std::int64_t* indices, T* dx, PoolStep step);
// Of indices alone, whatever the windows were: kernel, stride and the rest of `pool` do not count.
template <class T>
void max_unpool(void* stream, const DevicePool& pool, const T* grad, const std::int64_t* indices, T* dx);
template <class T>
void avg_pool(void* stream, const DevicePool& pool, const T* x, T* y, PoolStep step);
template <class T>
void avg_pool_backward(void* stream, const DevicePool& pool, const T* grad, T* dx, PoolStep step);

// stochastic_pool.cu. Element e of y takes number offset + e of the Philox stream of the seed, as on the CPU; offset +
// *offset_pointer + e where that is not null, which may change between the replays of a graph.
template <class T>
void stochastic_pool(void* stream, const DevicePool& pool, const T* x, T* y, std::uint8_t* places, std::uint64_t seed,
                     std::uint64_t offset, const std::uint64_t* offset_pointer, PoolStep step);
template <class T>
void stochastic_average(void* stream, const DevicePool& pool, const T* x, T* y, PoolStep step);
// `scratch`: two elements for each of y.
template <class T>
void stochastic_average_backward(void* stream, const DevicePool& pool, const T* grad, const T* x, T* dx, T* scratch,
                                 PoolStep step);

}  // namespace device

// Windows that divide planes into out_h x out_w; extents below 2^30, none 0 but planes.
struct DeviceAdaptivePool {
  Index planes, height, width, out_h, out_w;

  Index in_elements() const { return planes * height * width; }
  Index out_elements() const { return planes * out_h * out_w; }
};

// Whether extents allow the step of the means' gradient: windows do not overlap.
bool takes_warps(const DeviceAdaptivePool& pool);

// Rows of `cols` elements; `rows_per_length` rows have one length.
struct DeviceRows {
  Index rows, cols, rows_per_length;
};

// x is (outer, pieces, inner), y (outer, inner): the largest of the pieces.
struct DeviceMaxout {
  Index outer, pieces, inner;
};
// Whether extents allow the step; pointers are the caller's to look at.
bool takes_packs(const DeviceMaxout& maxout, std::size_t item);

namespace device {

// adaptive_pool.cu
template <class T>
void adaptive_avg_pool(void* stream, const DeviceAdaptivePool& pool, const T* x, T* y, PoolStep step);
template <class T>
void adaptive_avg_pool_backward(void* stream, const DeviceAdaptivePool& pool, const T* grad, T* dx, PoolStep step);
// Its gradient is max_unpool, as are those of the next two.
template <class T>
void adaptive_max_pool(void* stream, const DeviceAdaptivePool& pool, const T* x, T* y, std::int64_t* indices,
                       PoolStep step);

// row_pool.cu. 1 <= k <= cols; y and indices are (rows, k).
template <class T>
void k_max_pool(void* stream, const DeviceRows& rows, Index k, const T* x, T* y, std::int64_t* indices, PoolStep step);
// Lengths may be null; those outside [1, cols] count as the nearest of these.
template <class T>
void max_over_time(void* stream, const DeviceRows& rows, const T* x, const std::int64_t* lengths, T* y,
                   std::int64_t* indices, PoolStep step);

// maxout.cu. At most one of `places` (for at most 255 pieces) and `indices`: the number of the piece.
template <class T>
void maxout(void* stream, const DeviceMaxout& maxout, const T* x, T* y, std::uint8_t* places, std::int64_t* indices,
            PoolStep step);
template <class T>
void maxout_backward(void* stream, const DeviceMaxout& maxout, const T* grad, const std::uint8_t* places,
                     const std::int64_t* indices, T* dx, PoolStep step);

}  // namespace device
}  // namespace dlkit
