// Winograd's F(2x2, 3x3): 4 results of a 3x3 kernel by 16 multiplications instead of 36.
//
// A tile of 2 x 2 results reads 4 x 4 of x. With d those, g the kernel:  Y = A' [ sum over channels (G g G') . (B' d B)
// ] A where . is by element. So the sum over channels is 16 matrix products, one for each place in the tile, of filters
// x channels by channels x tiles: 2.25 times fewer multiply-adds. G g G' is computed beforehand by winograd_weights,
// once for all tiles; it takes 16/9 of the weights' memory. All else happens in one kernel, so that neither B' d B nor
// the products are ever in memory (unfused they are 4 times x and y: 200 MB at 32 x 64 x 56 x 56, more than what is
// saved).
//
// A block: 64 filters, 32 tiles, 8 channels at a time. Each thread transforms the patch of one channel and tile, whose
// elements it loaded a step before; 2 of the 16 products are a warp's, 8 x 8 elements of each a thread's, 128 sums in
// registers. After the last channel products go by shared memory, 16 filters at a time, to threads that transform a
// tile each, add the bias, apply ReLU and store.
//
// Of a thread's instructions for 8 channels 1024 are multiply-adds; 64 loads of 16 bytes from shared memory, 32
// additions and 16 stores for the transform, 16 gathered elements of about 6 each, 8 copies of 16 bytes: 1024 of 1250
// slots. 67 * 0.82 = 55 TFLOP/s on an H100, 124 of a direct convolution's, if nothing waits; but its 8 warps hold all
// registers, and 48 KB for 0.5 MFLOP are 5 TB/s from the second-level cache, as much as that has: 70 % of it, 85, is
// likelier.
//
//   sm_90a: 254 registers, none spilled, 96 KB shared: 1 block, 8 warps a multiprocessor. Scratch: 16/9 of the weights,
//   padded.
//
// The gradient to the input is the same with the kernel turned by 180 degrees. Rounding: B' d B adds 4 elements twice,
// so the error is 2 to 3 times that of a direct sum.
//
// Source: A. Lavin, S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016; the fused blocking: D.
// Yan, W. Wang, X. Chu, "Optimizing batched Winograd convolution on GPUs", PPoPP 2020.
#include <algorithm>

#include "conv/device_ladder.h"
#include "conv/gather.h"

namespace dlkit::device {
namespace {

using T = real<float>;

constexpr int kFilters = 64, kTiles = 32, kChannels = 8, kThreads = 256, kPlaces = 16;
constexpr int kWeightElements = kPlaces * kChannels * kFilters, kPatchElements = kPlaces * kChannels * kTiles;
constexpr int kStage = kWeightElements + kPatchElements;
constexpr std::size_t kSharedBytes = 2 * sizeof(float) * kStage;
constexpr int kPitch = kTiles + 16;  // of products on their way to be transformed: 2 rows of 4 lanes meet no bank twice
constexpr int kPassFilters = 16;
static_assert(kPlaces * kPassFilters * kPitch <= 2 * kStage);
static_assert(kThreads == kTiles * kChannels);

struct Winograd {
  int n, groups, channels, in_h, in_w, rows, out_h, out_w;  // as in ConvGather
  int row, col;                                             // what place (0, 0) of tile 0 reads first
  int channels_padded, rows_padded, tiles;
  bool turned, relu;
  Index weight_row, weight_channel, weight_group;
  Divisor by_image, by_row;  // of the number of a tile

  __host__ __device__ constexpr Index weights_of_group() const {
    return static_cast<Index>(channels_padded) * kPlaces * rows_padded;
  }
};

// G g, of a column of 3.
__device__ __forceinline__ void times_g(const T (&g)[3], T (&out)[4]) {
  const T half(0.5f), sum = (g[0] + g[2]) * half, middle = g[1] * half;
  out[0] = g[0];
  out[1] = sum + middle;
  out[2] = sum - middle;
  out[3] = g[2];
}
// B' d, of a column of 4.
__device__ __forceinline__ void times_b(T& a, T& b, T& c, T& d) {
  const T first = a - c, last = b - d, sum = b + c, difference = c - b;
  a = first;
  b = sum;
  c = difference;
  d = last;
}

// [channel][place][filter], zeros beyond both ends.
__global__ void __launch_bounds__(kConvThreads)
    winograd_weights_kernel(const __grid_constant__ Winograd s, const T* weight, T* out) {
  const Index number = conv_thread();
  if (number >= static_cast<Index>(s.groups) * s.channels_padded * s.rows_padded) return;
  const int row = static_cast<int>(number % s.rows_padded);
  const Index rest = number / s.rows_padded;
  const int channel = static_cast<int>(rest % s.channels_padded), group = static_cast<int>(rest / s.channels_padded);
  T u[4][3], all[4][4];
  if (row < s.rows && channel < s.channels) {
    const T* const g = weight + group * s.weight_group + row * s.weight_row + channel * s.weight_channel;
#pragma unroll
    for (int v = 0; v < 3; ++v) {
      T column[3], result[4];
#pragma unroll
      for (int i = 0; i < 3; ++i) column[i] = g[s.turned ? 8 - (3 * i + v) : 3 * i + v];
      times_g(column, result);
#pragma unroll
      for (int i = 0; i < 4; ++i) u[i][v] = result[i];
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) times_g(u[i], all[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) all[i / 4][i % 4] = T(0);
  }
  out += rest * kPlaces * s.rows_padded + row;
#pragma unroll
  for (int i = 0; i < kPlaces; ++i) out[static_cast<Index>(i) * s.rows_padded] = all[i / 4][i % 4];
}

__global__ void __launch_bounds__(kThreads, 1)
    winograd_kernel(const __grid_constant__ Winograd s, const T* weights, const T* x, const T* bias, T* y) {
  DLKIT_DYNAMIC_SHARED(T, shared);
  const int thread = static_cast<int>(threadIdx.x), lane = thread % kWarp, warp = thread / kWarp;
  const int blocks_down = s.rows_padded / kFilters, group = static_cast<int>(blockIdx.y);
  const int filter = static_cast<int>(blockIdx.x) % blocks_down * kFilters;
  const int first_tile = static_cast<int>(blockIdx.x) / blocks_down * kTiles;

  // This thread's patch: of tile `mine`, of channels `own`, own + 8, ...
  const int mine = thread % kTiles, own = thread / kTiles;
  const int across = static_cast<int>(s.by_row.by);
  int row = -(1 << 30), col = -(1 << 30);
  const T* from = x;
  if (first_tile + mine < s.tiles) {
    const int image = quotient(first_tile + mine, s.by_image);
    const int rest = first_tile + mine - image * static_cast<int>(s.by_image.by);
    const int tile_row = quotient(rest, s.by_row);
    row = 2 * tile_row + s.row;
    col = 2 * (rest - tile_row * across) + s.col;
    from += ((static_cast<Index>(image) * s.groups + group) * s.channels + own) * s.in_h * s.in_w +
            static_cast<Index>(row) * s.in_w + col;
  }
  T patch[4][4];
  const auto fetch = [&](int channel) {
    const bool inside = channel + own < s.channels;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const bool in_rows = inside && static_cast<unsigned>(row + i) < static_cast<unsigned>(s.in_h);
#pragma unroll
      for (int j = 0; j < 4; ++j)
        patch[i][j] =
            in_rows && static_cast<unsigned>(col + j) < static_cast<unsigned>(s.in_w) ? from[i * s.in_w + j] : T(0);
    }
    from += static_cast<Index>(kChannels) * s.in_h * s.in_w;
  };
  const auto place = [&](int stage) {
#pragma unroll
    for (int j = 0; j < 4; ++j) times_b(patch[0][j], patch[1][j], patch[2][j], patch[3][j]);
#pragma unroll
    for (int i = 0; i < 4; ++i) times_b(patch[i][0], patch[i][1], patch[i][2], patch[i][3]);
    T* const to = shared + stage * kStage + kWeightElements + own * kTiles + mine;
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) to[i * kChannels * kTiles] = patch[i / 4][i % 4];
  };
  // [place][channel][filter], 16 bytes at a time.
  const T* const filters = weights + group * s.weights_of_group() + filter;
  const auto copy = [&](int channel, int stage) {
    constexpr int kPacks = kFilters / 4;
#pragma unroll
    for (int e = 0; e < kWeightElements / 4 / kThreads; ++e) {
      const int line = (thread + e * kThreads) / kPacks, f = thread % kPacks * 4;  // line: channel, place
      const int c = line / kPlaces, at = line % kPlaces;
      cp_async<16>(shared + stage * kStage + (at * kChannels + c) * kFilters + f,
                   filters + (static_cast<Index>(channel + c) * kPlaces + at) * s.rows_padded + f);
    }
  };

  const int down = lane / 4 * 4, over = lane % 4 * 4;
  T sums[2][8][8];
#pragma unroll
  for (int i = 0; i < 2; ++i)
#pragma unroll
    for (int r = 0; r < 8; ++r)
#pragma unroll
      for (int e = 0; e < 8; ++e) sums[i][r][e] = T(0);

  fetch(0);
  copy(0, 0);
  cp_async_commit();
  place(0);
  if (kChannels < s.channels_padded) fetch(kChannels);
  cp_async_wait<0>();
  __syncthreads();
#pragma unroll 1
  for (int channel = 0, stage = 0; channel < s.channels_padded; channel += kChannels, stage ^= 1) {
    const bool more = channel + kChannels < s.channels_padded;
    if (more) copy(channel + kChannels, stage ^ 1);
    cp_async_commit();
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const T* const panel_a = shared + stage * kStage + (warp * 2 + i) * kChannels * kFilters + down;
      const T* const panel_b = shared + stage * kStage + kWeightElements + (warp * 2 + i) * kChannels * kTiles + over;
#pragma unroll
      for (int c = 0; c < kChannels; ++c) {
        Pack<T, 4> a[2], b[2];
#pragma unroll
        for (int q = 0; q < 2; ++q) {
          a[q] = load_pack<4>(panel_a + c * kFilters + q * 32);
          b[q] = load_pack<4>(panel_b + c * kTiles + q * 16);
        }
#pragma unroll
        for (int r = 0; r < 8; ++r)
#pragma unroll
          for (int e = 0; e < 8; ++e) sums[i][r][e] += a[r / 4][r % 4] * b[e / 4][e % 4];
      }
    }
    if (more) {
      place(stage ^ 1);
      if (channel + 2 * kChannels < s.channels_padded) fetch(channel + 2 * kChannels);
    }
    cp_async_wait<0>();
    __syncthreads();
  }

  // 4 passes, each of one of 4 neighbouring filters of every lane: 16 filters.
  const bool packs = s.out_w % 2 == 0 && is_aligned<2>(y);
#pragma unroll
  for (int pass = 0; pass < 4; ++pass) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int q = 0; q < 2; ++q)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          Pack<T, 4> pack;
#pragma unroll
          for (int e = 0; e < 4; ++e) pack[e] = sums[i][q * 4 + pass][half * 4 + e];
          store_pack(shared + ((warp * 2 + i) * kPassFilters + q * 8 + down / 4) * kPitch + over + half * 16, pack);
        }
    __syncthreads();
#pragma unroll 1
    for (int line = warp; line < kPassFilters; line += kThreads / kWarp) {
      const int f = filter + line / 8 * 32 + line % 8 * 4 + pass, tile = first_tile + lane;
      if (f < s.rows && tile < s.tiles) {
        const T* const m = shared + line * kPitch + lane;
        T t[2][4];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          const auto at = [&](int i) { return m[(i * 4 + j) * kPassFilters * kPitch]; };
          const T one = at(1), two = at(2);
          t[0][j] = at(0) + one + two;
          t[1][j] = one - two - at(3);
        }
        const int image = quotient(tile, s.by_image), rest = tile - image * static_cast<int>(s.by_image.by);
        const int tile_row = quotient(rest, s.by_row), tile_col = rest - tile_row * across;
        T* const to = y + ((static_cast<Index>(image) * s.groups + group) * s.rows + f) * s.out_h * s.out_w +
                      static_cast<Index>(2 * tile_row) * s.out_w + 2 * tile_col;
        const T shift = bias != nullptr ? bias[group * s.rows + f] : T(0);
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          if (2 * tile_row + i >= s.out_h) continue;
          const Pack<T, 2> pair = {conv_relu(t[i][0] + t[i][1] + t[i][2] + shift, s.relu),
                                   conv_relu(t[i][1] - t[i][2] - t[i][3] + shift, s.relu)};
          T* const row_of = to + static_cast<Index>(i) * s.out_w;
          if (packs) {
            store_pack(row_of, pair);
          } else {
            row_of[0] = pair[0];
            if (2 * tile_col + 1 < s.out_w) row_of[1] = pair[1];
          }
        }
      }
    }
    __syncthreads();  // before the next pass writes
  }
}

Winograd winograd_of(const DeviceConv& p) {
  const ConvGather g = conv_gather(p);
  const bool forward = p.operation == ConvOperation::forward;
  const Index down = (g.out_h + 1) / 2, across = (g.out_w + 1) / 2;
  return {g.n,
          g.groups,
          g.channels,
          g.in_h,
          g.in_w,
          g.rows,
          g.out_h,
          g.out_w,
          g.phase[0].row - (forward ? 0 : 2),
          g.phase[0].col - (forward ? 0 : 2),
          ceil_div(g.channels, kChannels) * kChannels,
          ceil_div(g.rows, kFilters) * kFilters,
          static_cast<int>(g.n * down * across),
          !forward,
          p.relu && forward,
          g.weight_row,
          g.weight_channel,
          g.weight_group,
          Divisor(std::max<Index>(1, down * across)),
          Divisor(std::max<Index>(1, across))};
}

}  // namespace

bool fits_winograd(const DeviceConv& p) {
  const ConvShape& s = p.shape;
  return p.operation != ConvOperation::backward_weight && fits_tiles(p) && s.kernel_h == 3 && s.kernel_w == 3 &&
         s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1;
}

std::size_t conv_winograd_workspace(const DeviceConv& p) {
  const Winograd s = winograd_of(p);
  return static_cast<std::size_t>(s.groups * s.weights_of_group()) * sizeof(float);
}

double conv_winograd_cycles(const DeviceConv& p) {
  // As device_plan.cpp's: blocks to 132 multiprocessors, 60 % of their 128 multiply-adds a cycle, two launches.
  constexpr double kMultiprocessors = 132, kRate = 128 * 0.6, kStart = 1500 + 2500;
  const Winograd s = winograd_of(p);
  const double blocks = static_cast<double>(s.groups) * (s.rows_padded / kFilters) * ceil_div(s.tiles, kTiles);
  const double waves = static_cast<double>(static_cast<Index>((blocks + kMultiprocessors - 1) / kMultiprocessors));
  return kStart + waves * s.channels_padded * kPlaces * kFilters * kTiles / kRate;
}

void conv_winograd(const DeviceConv& p) {
  const Winograd s = winograd_of(p);
  if (s.tiles == 0 || s.rows == 0) return;
  T* const weights = static_cast<T*>(p.workspace);
  const auto* const source = static_cast<const T*>(p.operation == ConvOperation::forward ? p.x : p.grad);
  launch("winograd_weights", winograd_weights_kernel,
         one_each("winograd_weights", static_cast<Index>(s.groups) * s.channels_padded * s.rows_padded), p.stream, s,
         static_cast<const T*>(p.weight), weights);
  const dim3 grid(static_cast<unsigned>(s.rows_padded / kFilters * ceil_div(s.tiles, kTiles)),
                  static_cast<unsigned>(s.groups));
  launch("winograd", winograd_kernel, {grid, dim3(kThreads), kSharedBytes}, p.stream, s, static_cast<const T*>(weights),
         source, static_cast<const T*>(p.bias), static_cast<T*>(p.out));
}

}  // namespace dlkit::device
