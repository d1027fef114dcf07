// Depthwise: each group has one channel, so that there is nothing to multiply matrices for. 2 Kh Kw FLOPs for each
// element read and written once: 2.25 FLOP per byte for 3x3, a ninth of what an H100's memory could feed its
// multipliers at float32. Memory bounds it: 32 x 64 x 56 x 56 moves 51 MB, 15 us; what has to be seen to is that the
// first-level cache does not. It delivers 4 sectors a cycle, a warp's row of 32 elements is 4 to 5 of them, so each
// element of the result may cost about 4 loads: 9 are too many. Where stride and dilation are 1 a thread computes 4
// rows of a column: 6 rows of 3 elements for 4 results, 4.5 loads each. Lanes go along a row, all taps in registers.
//
// The gradient to the input is the same with the taps backwards, summed over the group's filters; with another stride a
// pixel looks for the places that read it.
//
// The gradient to the weights: a block takes a filter and a slice of the images; each thread adds up 9 taps (more in
// several passes) over its places, in registers; then the block, then the slices in order. It reads grad once and x 9
// times, mostly from the first-level cache: bound by that, 10 loads a place, about 25 us for the shape above.
//
//   sm_90a, float32: forward 64 registers (3x3, 5x5), 32 for other shapes, the input's gradient 40, the weights' 56:
//   32, 64, 48 and 32 warps a multiprocessor; 128 bytes shared for the last.
#include <algorithm>

#include "conv/device_ladder.h"
#include "conv/gather.h"
#include "core/cuda/warp.h"

namespace dlkit::device {
namespace {

constexpr int kRowsEach = 4;  // of a thread
constexpr int kTapsEach = 9;  // of the weights' gradient in a pass

struct Depthwise {
  int in_h, in_w, out_h, out_w;                       // of the planes that are read and written
  int out_channels, in_channels, inputs, multiplier;  // each output sums over `inputs` planes
  int kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, top, left;
  bool flipped, relu;
  int threads;
  Divisor by_row, by_plane, by_image, by_multiplier;
};

// An output's plane: image and channel, its first input plane and first filter.
struct DepthwisePlane {
  int plane, channel, row, col;
  Index source;
  int filter;

  __device__ __forceinline__ DepthwisePlane(const Depthwise& s, int thread, int rows) {
    plane = quotient(thread, s.by_plane);
    const int rest = thread - plane * static_cast<int>(s.by_plane.by);
    const int line = quotient(rest, s.by_row);
    row = line * rows;
    col = rest - line * s.out_w;
    const int image = quotient(plane, s.by_image);
    channel = plane - image * s.out_channels;
    const int first = s.flipped ? channel * s.multiplier : quotient(channel, s.by_multiplier);
    filter = s.flipped ? first : channel;
    source = (static_cast<Index>(image) * s.in_channels + first) * s.in_h * s.in_w;
  }
};

// Stride and dilation 1, a square kernel.
template <class T, int K>
__global__ void __launch_bounds__(kConvThreads)
    depthwise_unit_kernel(const __grid_constant__ Depthwise s, const T* x, const T* weight, const T* bias, T* y) {
  const Index number = conv_thread();
  if (number >= s.threads) return;
  const DepthwisePlane at(s, static_cast<int>(number), kRowsEach);
  T sums[kRowsEach];
  const T shift = bias != nullptr ? bias[at.channel] : T(0);
#pragma unroll
  for (int r = 0; r < kRowsEach; ++r) sums[r] = shift;
  for (int input = 0; input < s.inputs; ++input) {
    const T* const from = x + at.source + static_cast<Index>(input) * s.in_h * s.in_w;
    const T* const taps = weight + static_cast<Index>(at.filter + input) * (K * K);
    T w[K][K];
#pragma unroll
    for (int tap = 0; tap < K * K; ++tap) w[tap / K][tap % K] = taps[s.flipped ? K * K - 1 - tap : tap];
#pragma unroll
    for (int r = 0; r < kRowsEach + K - 1; ++r) {
      const int h = at.row - s.top + r;
      const bool in_rows = static_cast<unsigned>(h) < static_cast<unsigned>(s.in_h);
#pragma unroll
      for (int v = 0; v < K; ++v) {
        const int col = at.col - s.left + v;
        const T value =
            in_rows && static_cast<unsigned>(col) < static_cast<unsigned>(s.in_w) ? from[h * s.in_w + col] : T(0);
#pragma unroll
        for (int u = 0; u < K; ++u)
          if (r - u >= 0 && r - u < kRowsEach) sums[r - u] += w[u][v] * value;
      }
    }
  }
  y += static_cast<Index>(at.plane) * s.out_h * s.out_w;
#pragma unroll
  for (int r = 0; r < kRowsEach; ++r)
    if (at.row + r < s.out_h) y[(at.row + r) * s.out_w + at.col] = conv_relu(sums[r], s.relu);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    depthwise_kernel(const __grid_constant__ Depthwise s, const T* x, const T* weight, const T* bias, T* y) {
  const Index number = conv_thread();
  if (number >= s.threads) return;
  const DepthwisePlane at(s, static_cast<int>(number), 1);
  const T* const from = x + at.source;
  const T* const taps = weight + static_cast<Index>(at.filter) * s.kernel_h * s.kernel_w;
  T sum = bias != nullptr ? bias[at.channel] : T(0);
  for (int u = 0; u < s.kernel_h; ++u) {
    const int h = at.row * s.stride_h - s.top + u * s.dilation_h;
    if (h < 0 || h >= s.in_h) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int w = at.col * s.stride_w - s.left + v * s.dilation_w;
      if (w >= 0 && w < s.in_w) sum += taps[u * s.kernel_w + v] * from[h * s.in_w + w];
    }
  }
  y[number] = conv_relu(sum, s.relu);
}

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    depthwise_backward_kernel(const __grid_constant__ Depthwise s, const T* grad, const T* weight, T* dx) {
  const Index number = conv_thread();
  if (number >= s.threads) return;
  const DepthwisePlane at(s, static_cast<int>(number), 1);
  T sum(0);
  for (int u = 0; u < s.kernel_h; ++u) {
    const int h = at.row + s.top - u * s.dilation_h;
    if (h < 0 || h % s.stride_h != 0 || h / s.stride_h >= s.in_h) continue;
    for (int v = 0; v < s.kernel_w; ++v) {
      const int w = at.col + s.left - v * s.dilation_w;
      if (w < 0 || w % s.stride_w != 0 || w / s.stride_w >= s.in_w) continue;
      for (int input = 0; input < s.inputs; ++input)
        sum += weight[(static_cast<Index>(at.filter + input) * s.kernel_h + u) * s.kernel_w + v] *
               grad[at.source + (static_cast<Index>(input) * s.in_h + h / s.stride_h) * s.in_w + w / s.stride_w];
    }
  }
  dx[number] = sum;
}

struct DepthwiseWeight {
  int n, filters, channels, in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w;
  int top, left, images;  // images of a slice
  Index slice;            // elements from one slice of the results to the next
  bool accumulate;
  Divisor by_image, by_row, by_multiplier;
};

template <class T>
__global__ void __launch_bounds__(kConvThreads)
    depthwise_weight_kernel(const __grid_constant__ DepthwiseWeight s, const T* grad, const T* x, T* dweight,
                            T* dbias) {
  const int filter = static_cast<int>(blockIdx.x), first = static_cast<int>(blockIdx.y) * s.images;
  const int images = s.n - first < s.images ? s.n - first : s.images;
  const int channel = quotient(filter, s.by_multiplier), plane = s.out_h * s.out_w, taps = s.kernel_h * s.kernel_w;
  dweight += blockIdx.y * s.slice + static_cast<Index>(filter) * taps;
  for (int tap0 = 0; tap0 < taps; tap0 += kTapsEach) {
    T sums[kTapsEach], of_bias(0);
    int row[kTapsEach], col[kTapsEach];
#pragma unroll
    for (int t = 0; t < kTapsEach; ++t) {
      sums[t] = T(0);
      row[t] = tap0 + t < taps ? (tap0 + t) / s.kernel_w * s.dilation_h - s.top : -(1 << 30);
      col[t] = (tap0 + t) % s.kernel_w * s.dilation_w - s.left;
    }
    for (int at = static_cast<int>(threadIdx.x); at < images * plane; at += kConvThreads) {
      const int image = quotient(at, s.by_image), place = at - image * plane;
      const int i = quotient(place, s.by_row), j = place - i * s.out_w;
      const T g = grad[(static_cast<Index>(first + image) * s.filters + filter) * plane + place];
      const T* const from = x + (static_cast<Index>(first + image) * s.channels + channel) * s.in_h * s.in_w;
      if (tap0 == 0) of_bias += g;
#pragma unroll
      for (int t = 0; t < kTapsEach; ++t) {
        const int h = i * s.stride_h + row[t], w = j * s.stride_w + col[t];
        if (static_cast<unsigned>(h) < static_cast<unsigned>(s.in_h) &&
            static_cast<unsigned>(w) < static_cast<unsigned>(s.in_w))
          sums[t] += g * from[h * s.in_w + w];
      }
    }
#pragma unroll
    for (int t = 0; t < kTapsEach; ++t) {
      const T total = block_sum(sums[t]);
      if (threadIdx.x == 0 && tap0 + t < taps) dweight[tap0 + t] = s.accumulate ? dweight[tap0 + t] + total : total;
    }
    if (tap0 == 0 && dbias != nullptr) {
      const T total = block_sum(of_bias);
      T* const to = dbias + blockIdx.y * s.slice + filter;
      if (threadIdx.x == 0) *to = s.accumulate ? *to + total : total;
    }
  }
}

// Enough blocks to fill 132 multiprocessors four times over, one image at least.
int images_of_slice(const DeviceConv& p) {
  constexpr Index kBlocks = 4 * 132;
  const Index slices = std::min(p.shape.n, std::max<Index>(1, kBlocks / p.shape.filters));
  return static_cast<int>((p.shape.n + slices - 1) / slices);
}
int slice_count(const DeviceConv& p) {
  const int images = images_of_slice(p);
  return static_cast<int>((p.shape.n + images - 1) / images);
}
Index slice_elements(const DeviceConv& p) { return p.shape.filters * (p.shape.kernel_size() + 1); }

template <class T>
void run_weight(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  const int slices = slice_count(p);
  const bool split = slices > 1;
  T* const out = static_cast<T*>(split ? p.workspace : p.out);
  T* const out_bias = p.out_bias == nullptr ? nullptr
                      : split               ? out + s.filters * s.kernel_size()
                                            : static_cast<T*>(p.out_bias);
  const auto i = [](Index value) { return static_cast<int>(value); };
  const DepthwiseWeight w = {i(s.n),
                             i(s.filters),
                             i(s.channels),
                             i(s.height),
                             i(s.width),
                             i(s.out_h),
                             i(s.out_w),
                             i(s.kernel_h),
                             i(s.kernel_w),
                             i(s.stride_h),
                             i(s.stride_w),
                             i(s.dilation_h),
                             i(s.dilation_w),
                             i(s.pad_top),
                             i(s.pad_left),
                             images_of_slice(p),
                             split ? slice_elements(p) : 0,
                             p.accumulate && !split,
                             Divisor(s.out_size()),
                             Divisor(s.out_w),
                             Divisor(s.group_filters())};
  const dim3 grid(static_cast<unsigned>(s.filters), static_cast<unsigned>(slices));
  launch("depthwise_weight", depthwise_weight_kernel<T>, {grid, kConvThreads}, p.stream, w,
         static_cast<const T*>(p.grad), static_cast<const T*>(p.x), out, out_bias);
  if (!split) return;
  const auto sum = [&](const T* partial, Index count, void* to) {
    sum_slices<T>({partial, slices, count, slice_elements(p), nullptr, 1, 1, false, p.accumulate, to}, p.stream);
  };
  sum(out, s.filters * s.kernel_size(), p.out);
  if (out_bias != nullptr) sum(out_bias, s.filters, p.out_bias);
}

template <class T>
void run_planes(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  const bool forward = p.operation == ConvOperation::forward;
  const auto i = [](Index value) { return static_cast<int>(value); };
  const bool unit = s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1 &&
                    s.kernel_h == s.kernel_w && (s.kernel_h == 3 || s.kernel_h == 5);
  const Index out_h = forward ? s.out_h : s.height, out_w = forward ? s.out_w : s.width;
  const Index channels = forward ? s.filters : s.channels, each = unit ? kRowsEach : 1;
  const Index lines = (out_h + each - 1) / each;
  if (s.n * channels * out_h * out_w == 0) return;
  // Backwards with stride 1 the padding is what is left of the kernel.
  const bool turned = !forward && unit;
  const Depthwise d = {i(forward ? s.height : s.out_h),
                       i(forward ? s.width : s.out_w),
                       i(out_h),
                       i(out_w),
                       i(channels),
                       i(forward ? s.channels : s.filters),
                       forward ? 1 : i(s.group_filters()),
                       i(s.group_filters()),
                       i(s.kernel_h),
                       i(s.kernel_w),
                       i(s.stride_h),
                       i(s.stride_w),
                       i(s.dilation_h),
                       i(s.dilation_w),
                       i(turned ? s.kernel_h - 1 - s.pad_top : s.pad_top),
                       i(turned ? s.kernel_w - 1 - s.pad_left : s.pad_left),
                       !forward,
                       p.relu && forward,
                       i(s.n * channels * lines * out_w),
                       Divisor(out_w),
                       Divisor(lines * out_w),
                       Divisor(channels),
                       Divisor(s.group_filters())};
  const auto *from = static_cast<const T*>(forward ? p.x : p.grad), *weight = static_cast<const T*>(p.weight),
             *bias = static_cast<const T*>(p.bias);
  T* const out = static_cast<T*>(p.out);
  const char* const name = forward ? "depthwise" : "depthwise_backward";
  const LaunchShape shape = one_each(name, d.threads);
  if (unit && s.kernel_h == 3)
    launch(name, depthwise_unit_kernel<T, 3>, shape, p.stream, d, from, weight, bias, out);
  else if (unit)
    launch(name, depthwise_unit_kernel<T, 5>, shape, p.stream, d, from, weight, bias, out);
  else if (forward)
    launch(name, depthwise_kernel<T>, shape, p.stream, d, from, weight, bias, out);
  else
    launch(name, depthwise_backward_kernel<T>, shape, p.stream, d, from, weight, out);
}

}  // namespace

std::size_t conv_depthwise_workspace(const DeviceConv& p) {
  const int slices = p.operation == ConvOperation::backward_weight ? slice_count(p) : 1;
  return slices == 1 ? 0 : static_cast<std::size_t>(slices * slice_elements(p)) * size_of(p.type);
}

void conv_depthwise(const DeviceConv& p) {
  with_conv_type(p, [&]<class T>(T) {
    if (p.operation == ConvOperation::backward_weight)
      run_weight<T>(p);
    else
      run_planes<T>(p);
  });
}

}  // namespace dlkit::device
