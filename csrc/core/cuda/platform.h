// CUDA's keywords, types and intrinsics: NVIDIA's where nvcc compiles, the SIMT machine's (csrc/simt) where the host
// compiler does. Everything else in core/cuda stands on this, and the kernels on core/cuda: a .cu file includes nothing
// of either directly.
#pragma once

#if defined(DLKIT_SIMT)
#include "simt/device.h"
#else
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace dlkit {

constexpr int kWarp = 32;
constexpr unsigned kFullMask = 0xFFFFFFFFu;

}  // namespace dlkit
