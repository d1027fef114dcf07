// How a kernel is started: launch("name", kernel<T>, {grid, block, shared_bytes}, stream, arguments...).
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "core/cuda/error.h"
#include "core/cuda/platform.h"

namespace dlkit {

// Of CUDA: cudaStream_t. The SIMT machine has none, and returns when the kernel has ended.
using Stream = void*;

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared = 0;    // bytes of dynamic shared memory
  bool cooperative = false;  // all blocks at once, so that grid_sync() can be called
};

// A kernel has to be told where its dynamic shared memory, with the static that it has, is above 48 KB: 16 KB are left
// for that, and to be told of less does no harm.
constexpr std::size_t kSharedUntold = 32 << 10;

// ceil(n / d), for grids.
template <class Int>
constexpr Int ceil_div(Int n, Int d) {
  return (n + d - 1) / d;
}

// Waits for all threads of a cooperative launch.
#if defined(DLKIT_SIMT)
inline void grid_sync() { simt::grid_sync(); }
#else
__device__ __forceinline__ void grid_sync() { cooperative_groups::this_grid().sync(); }
#endif

namespace detail {

inline void check_shape(const char* name, const LaunchShape& shape) {
  const auto threads = static_cast<unsigned long long>(shape.block.x) * shape.block.y * shape.block.z;
  if (threads == 0 || threads > 1024 || shape.grid.x > 0x7FFFFFFFu || shape.grid.y > 65535 || shape.grid.z > 65535)
    throw DeviceError(std::string("kernel '") + name + "': grid (" + std::to_string(shape.grid.x) + ", " +
                      std::to_string(shape.grid.y) + ", " + std::to_string(shape.grid.z) + ") of " +
                      std::to_string(threads) +
                      " threads; expected at most (2147483647, 65535, 65535) blocks of 1 to 1024 threads");
}

}  // namespace detail

#if defined(DLKIT_SIMT)

namespace detail {

// Not instrumented: it copies the arguments, which are the launcher's memory, to where the kernel's parameters are.
template <class... Params>
struct Call {
  void (*kernel)(Params...);
  std::tuple<Params...> arguments;
  __attribute__((no_sanitize_thread, noinline)) static void run(const void* context) {
    const auto* call = static_cast<const Call*>(context);
    std::apply(call->kernel, call->arguments);
  }
};

}  // namespace detail

template <class... Params, class... Arguments>
void launch(const char* name, void (*kernel)(Params...), const LaunchShape& shape, Stream, Arguments&&... arguments) {
  detail::check_shape(name, shape);
  const detail::Call<Params...> call{kernel, std::tuple<Params...>(static_cast<Params>(arguments)...)};
  simt::run(name, shape.grid, shape.block, shape.shared, shape.cooperative, detail::Call<Params...>::run, &call,
            sizeof call);
}

#else

inline void check(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
}

namespace detail {

// Never less than before: another thread may be about to launch the same kernel with more.
inline void allow_shared(const char* name, const void* kernel, std::size_t bytes) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int>, std::size_t> allowed;  // of a kernel and a device
  int device = 0;
  check(cudaGetDevice(&device), name);
  const std::lock_guard lock(mutex);
  std::size_t& most = allowed[{kernel, device}];
  if (bytes <= most) return;
  check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)), name);
  most = bytes;
}

}  // namespace detail

template <class... Params, class... Arguments>
void launch(const char* name, void (*kernel)(Params...), const LaunchShape& shape, Stream stream,
            Arguments&&... arguments) {
  detail::check_shape(name, shape);
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;
  if (shape.shared > kSharedUntold) detail::allow_shared(name, reinterpret_cast<const void*>(kernel), shape.shared);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeCooperative;
  attribute.val.cooperative = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared;
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = shape.cooperative ? 1 : 0;
  check(cudaLaunchKernelEx(&config, kernel, static_cast<Params>(arguments)...), name);
}

#endif

}  // namespace dlkit
