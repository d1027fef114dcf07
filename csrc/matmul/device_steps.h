// The steps of the CUDA ladder. Each launches its kernels and returns.
#pragma once

#include "matmul/device.h"

namespace dlkit::device {

void naive(const DeviceMatmul&);
void coalesced(const DeviceMatmul&);
void tiled(const DeviceMatmul&);
void register_tile(const DeviceMatmul&);
void vectorised(const DeviceMatmul&);
void warp_tiled(const DeviceMatmul&);
void splitk(const DeviceMatmul&);
std::size_t splitk_workspace(const DeviceMatmul&);
void mma_tf32(const DeviceMatmul&);
void mma_16bit(const DeviceMatmul&);

}  // namespace dlkit::device
