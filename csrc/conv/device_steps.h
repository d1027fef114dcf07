// The steps of the convolution's ladders on a GPU. Each launches its kernels and returns.
#pragma once

#include "conv/device.h"

namespace dlkit::device {

void conv_naive(const DeviceConv& problem);

// What the tile kernels need of a problem: float32, and numbers that fit in an int.
bool fits_tiles(const DeviceConv& problem);
// One channel in each group.
bool fits_depthwise(const DeviceConv& problem);

inline constexpr const char* kImplicitGemmTiles[] = {"implicit_gemm/128x128", "implicit_gemm/64x64",
                                                     "implicit_gemm/32x64"};
void conv_implicit_gemm(const DeviceConv& problem);
std::size_t conv_implicit_gemm_workspace(const DeviceConv& problem);

inline constexpr const char* kTensorTf32Tiles[] = {"tensor_tf32/128x128", "tensor_tf32/64x64"};
void conv_tensor_tf32(const DeviceConv& problem);
std::size_t conv_tensor_tf32_workspace(const DeviceConv& problem);
inline constexpr const char* kTensorBf16Tiles[] = {"tensor_bf16/128x128", "tensor_bf16/64x64"};
void conv_tensor_bf16(const DeviceConv& problem);
std::size_t conv_tensor_bf16_workspace(const DeviceConv& problem);

// 3 x 3, stride and dilation 1; not for the gradient to the weights.
bool fits_winograd(const DeviceConv& problem);
void conv_winograd(const DeviceConv& problem);
std::size_t conv_winograd_workspace(const DeviceConv& problem);
// Estimates of an H100's cycles, for the choice.
double conv_winograd_cycles(const DeviceConv& problem);
double conv_implicit_gemm_cycles(const DeviceConv& problem);

void conv_depthwise(const DeviceConv& problem);
std::size_t conv_depthwise_workspace(const DeviceConv& problem);

}  // namespace dlkit::device
