#include "simt/specimens.h"

#include "core/cuda/launch.h"
#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "core/cuda/warp.h"

namespace dlkit::simt {
namespace {

using Real = real<float>;
constexpr int kBlock = 256;

// --- Of known counts -------------------------------------------------------------------------------------------------

__global__ void copy(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i];
}

__global__ void copy4(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  store_pack<4>(y + 4 * i, load_pack<4>(x + 4 * i));
}

// Lanes read 32 floats apart.
__global__ void strided_copy(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int warp = i / kWarp, lane = i % kWarp;
  y[i] = x[warp / kWarp * kWarp * kWarp + lane * kWarp + warp % kWarp];
}

// A tile of 32 x 32, written by rows and read by columns.
template <int Width>
__global__ void transpose(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kWarp][Width]);
  const Real* from = x + blockIdx.x * kWarp * kWarp;
  Real* to = y + blockIdx.x * kWarp * kWarp;
  for (int row = static_cast<int>(threadIdx.y); row < kWarp; row += static_cast<int>(blockDim.y))
    tile[row][threadIdx.x] = from[row * kWarp + static_cast<int>(threadIdx.x)];
  __syncthreads();
  for (int row = static_cast<int>(threadIdx.y); row < kWarp; row += static_cast<int>(blockDim.y))
    to[row * kWarp + static_cast<int>(threadIdx.x)] = tile[threadIdx.x][row];
}

// Two halves of a warp go different ways, twice in each thread.
__global__ void divergent(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  for (int round = 0; round < 2; ++round) {
    if (i % 2 == 0)
      y[i] = y[i] + x[i] * Real(2);
    else
      y[i] = y[i] - exp(x[i]);
  }
}

// y[0] is the sum: a block's by shuffles, the grid's by atomics.
__global__ void sum(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const Real total = block_sum(x[i]);
  if (threadIdx.x == 0) atomicAdd(y, total);
}

// Each block writes; after the grid's barrier each reads what the next one wrote.
__global__ void neighbours(const Real* x, Real* y) {
  const int n = static_cast<int>(gridDim.x * blockDim.x);
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i];
  grid_sync();
  const Real next = y[(i + kBlock) % n];
  grid_sync();
  y[i] = next;
}

// --- With a fault ----------------------------------------------------------------------------------------------------

// As neighbours, without a barrier between writing and reading.
__global__ void race_grid(const Real* x, Real* y) {
  const int n = static_cast<int>(gridDim.x * blockDim.x);
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i];
  const Real next = y[(i + kBlock) % n];
  grid_sync();
  y[i] = next;
}

__global__ void reads_past_end(const Real* x, Real* y, int n) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i] = x[i + (i == n - 1)];
}

__global__ void writes_before_begin(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  y[i - 1] = x[i];
}

__global__ void writes_input(const Real* x, Real* y) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const_cast<Real*>(x)[i] = y[i];
}

__global__ void misaligned(const Real* x, Real* y) {
  const int i = static_cast<int>(threadIdx.x);
  store_pack<4>(y + 4 * i, load_pack<4>(x + 4 * i + 1));
}

__global__ void shared_past_end(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  tile[i + 1] = x[i];
  __syncthreads();
  y[i] = tile[i + 1];
}

__global__ void shared_unwritten(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  if (i != 100) tile[i] = x[i];
  __syncthreads();
  y[i] = tile[kBlock - 1 - i];
}

// The barrier between writing and reading is missing...
__global__ void race_read(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = x[i];
  y[i] = tile[i - i % 2];
}

// ... or that between reading and writing the next.
__global__ void race_write(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  for (int round = 0; round < 2; ++round) {
    tile[i] = x[i];
    __syncthreads();
    y[i] = tile[(i + 64) % kBlock];
  }
}

// A barrier of the warp does not order what another warp did.
__global__ void race_warps(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = Real(0);
  __syncthreads();
  tile[i] = x[i];
  __syncwarp();
  y[i] = tile[(i + kBlock - kWarp) % kBlock];
}

// But within a warp it does: no fault.
__global__ void warp_ordered(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  tile[i] = x[i];
  __syncwarp();
  y[i] = tile[i ^ 1];
}

__global__ void barrier_not_reached(const Real* x, Real* y) {
  const int i = static_cast<int>(threadIdx.x);
  if (i == 7) return;
  __syncthreads();
  y[i] = x[i];
}

__global__ void barriers_differ(const Real* x, Real* y) {
  const int i = static_cast<int>(threadIdx.x);
  if (i < 128)
    __syncthreads();
  else
    __syncthreads();
  y[i] = x[i];
}

__global__ void shuffle_with_ended(const Real* x, Real* y) {
  const int i = static_cast<int>(threadIdx.x);
  if (i % kWarp == 3) return;
  y[i] = __shfl_xor_sync(kFullMask, x[i], 1);
}

__global__ void shuffle_outside_mask(const Real* x, Real* y) {
  const int i = static_cast<int>(threadIdx.x);
  if (i % kWarp < 16) y[i] = __shfl_sync(0xFFFFu, x[i], 20);
}

__global__ void copy_not_awaited(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [4 * kBlock]);
  const int i = static_cast<int>(threadIdx.x);
  cp_async<16>(&tile[4 * i], x + 4 * i);
  cp_async_commit();
  __syncthreads();
  store_pack<4>(y + 4 * i, load_pack<4>(&tile[4 * i]));
}

__global__ void too_much_shared(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [16384]);
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x];
}

__global__ void too_much_together(const Real* x, Real* y) {
  DLKIT_SHARED(Real, tile, [5120]);
  tile[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = tile[threadIdx.x];
}

const Real* in(const float* x) { return reinterpret_cast<const Real*>(x); }
Real* out(float* y) { return reinterpret_cast<Real*>(y); }

LaunchShape over(int threads) { return {dim3(static_cast<unsigned>(threads / kBlock)), dim3(kBlock)}; }

template <auto Kernel>
void one_block(const char* name, const float* x, float* y) {
  launch(name, Kernel, {dim3(1), dim3(kBlock)}, nullptr, in(x), out(y));
}

}  // namespace

#define DLKIT_FAULT(kernel) [](const float* x, float* y, int) { one_block<kernel>(#kernel, x, y); }

const std::vector<Specimen>& specimens() {
  static const std::vector<Specimen> all = {
      {"copy", "n / 32 requests of 4 sectors each way",
       [](const float* x, float* y, int n) { launch("copy", copy, over(n), nullptr, in(x), out(y)); }},
      {"copy4", "n / 128 requests of 16 sectors each way",
       [](const float* x, float* y, int n) { launch("copy4", copy4, over(n / 4), nullptr, in(x), out(y)); }},
      {"strided_copy", "n / 32 loads of 32 sectors, an eighth of each sector used",
       [](const float* x, float* y, int n) { launch("strided_copy", strided_copy, over(n), nullptr, in(x), out(y)); }},
      {"transpose", "each read of shared memory is a 32-way bank conflict",
       [](const float* x, float* y, int n) {
         launch("transpose", transpose<kWarp>, {dim3(static_cast<unsigned>(n / 1024)), dim3(32, 8)}, nullptr, in(x),
                out(y));
       }},
      {"transpose_padded", "a padding column: no bank conflict",
       [](const float* x, float* y, int n) {
         launch("transpose_padded", transpose<kWarp + 1>, {dim3(static_cast<unsigned>(n / 1024)), dim3(32, 8)}, nullptr,
                in(x), out(y));
       }},
      {"divergent", "every warp parts twice; 3 n operations and n exponentials",
       [](const float* x, float* y, int n) { launch("divergent", divergent, over(n), nullptr, in(x), out(y)); }},
      {"sum", "an atomic addition for each block of 256",
       [](const float* x, float* y, int n) { launch("sum", sum, over(n), nullptr, in(x), out(y)); }},
      {"neighbours", "a barrier of the whole grid",
       [](const float* x, float* y, int n) {
         LaunchShape shape = over(n);
         shape.cooperative = true;
         launch("neighbours", neighbours, shape, nullptr, in(x), out(y));
       }},
      {"warp_ordered", "a warp barrier orders what its lanes wrote", DLKIT_FAULT(warp_ordered)},
      {"reads_past_end", "fault: reads one element past the end of x",
       [](const float* x, float* y, int n) {
         launch("reads_past_end", reads_past_end, over(n), nullptr, in(x), out(y), n);
       }},
      {"writes_before_begin", "fault: writes one element before y", DLKIT_FAULT(writes_before_begin)},
      {"writes_input", "fault: writes to x, which is an input", DLKIT_FAULT(writes_input)},
      {"misaligned", "fault: a load of 16 bytes from an address that is no multiple of 16", DLKIT_FAULT(misaligned)},
      {"shared_past_end", "fault: writes past the end of an array in shared memory", DLKIT_FAULT(shared_past_end)},
      {"shared_unwritten", "fault: reads shared memory that nobody wrote", DLKIT_FAULT(shared_unwritten)},
      {"race_read", "fault: no barrier between writing and reading", DLKIT_FAULT(race_read)},
      {"race_write", "fault: no barrier between reading and writing again", DLKIT_FAULT(race_write)},
      {"race_warps", "fault: a warp barrier where a block barrier is needed", DLKIT_FAULT(race_warps)},
      {"race_grid", "fault: no barrier of the grid between writing and another block's reading",
       [](const float* x, float* y, int n) {
         LaunchShape shape = over(n);
         shape.cooperative = true;
         launch("race_grid", race_grid, shape, nullptr, in(x), out(y));
       }},
      {"barrier_not_reached", "fault: a thread has returned before the barrier", DLKIT_FAULT(barrier_not_reached)},
      {"barriers_differ", "fault: threads wait at different barriers", DLKIT_FAULT(barriers_differ)},
      {"shuffle_with_ended", "fault: a shuffle names a lane that has returned", DLKIT_FAULT(shuffle_with_ended)},
      {"shuffle_outside_mask", "fault: a shuffle reads a lane that takes no part", DLKIT_FAULT(shuffle_outside_mask)},
      {"copy_not_awaited", "fault: reads what an asynchronous copy has not brought yet", DLKIT_FAULT(copy_not_awaited)},
      {"too_much_shared", "fault: 64 KB of static shared memory", DLKIT_FAULT(too_much_shared)},
      {"too_much_together", "fault: 20 KB of static and 32 KB of dynamic shared memory, of which CUDA is not told",
       [](const float* x, float* y, int) {
         launch("too_much_together", too_much_together, {dim3(1), dim3(kBlock), 32 << 10}, nullptr, in(x), out(y));
       }},
  };
  return all;
}

}  // namespace dlkit::simt
