// Convolution and its gradients on a GPU, or on the SIMT machine: conv.h's three operations on device pointers.
//
// Arrays are contiguous, images first (NCHW), float32 or float64. Nothing here waits for the device or allocates.
//
// Read the steps in the order of the table in device_variants.cpp: naive_conv.cu, implicit_gemm.cu, mma_conv.cu,
// winograd.cu, depthwise.cu.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "conv/conv.h"
#include "matmul/device.h"

namespace dlkit {

enum class ConvOperation : int { forward, backward_input, backward_weight };

struct DeviceConv {
  ConvOperation operation;
  ConvShape shape;
  DeviceType type;      // float32 or float64
  Precision precision;  // what float32 operands may be rounded to, where no variant is named
  const void* x;        // forward, backward_weight
  const void* weight;   // forward, backward_input
  const void* grad;     // of y: backward_input, backward_weight
  const void* bias;     // forward: filters, or null
  void* out;            // y, dx or dweight
  void* out_bias;       // backward_weight: filters, or null
  bool relu;            // forward
  bool accumulate;      // backward_weight: add to what out and out_bias hold
  void* workspace;      // aligned to 16 bytes
  void* stream;
  int tile = -1;  // one of the variant's tiles, for tests and studies; -1: the best by estimate
};

// One way to compute an operation.
struct DeviceConvVariant {
  const char* name;
  const char* idea;
  const char* needs;  // of the problem; "" where it takes any
  bool (*takes)(const DeviceConv&);
  std::size_t (*workspace)(const DeviceConv&);  // bytes; null where none is needed
  void (*run)(const DeviceConv&);               // returns when the kernels are under way; throws DeviceError
  // Names of the tiles of a kernel that comes in several shapes, "implicit_gemm/64x64".
  std::span<const char* const> tiles = {};
};

// takes, workspace and the choice look at operation, shape, type and precision, at no pointer.

// The ladder of an operation, the definition first.
const std::vector<DeviceConvVariant>& device_conv_variants(ConvOperation operation);

// The variant of that name, or nullptr. Where the name is that of one of its tiles, `tile` is set.
const DeviceConvVariant* find_device_conv_variant(ConvOperation operation, std::string_view name, int* tile);

// The variant that a problem gets by default.
const DeviceConvVariant& choose_device_conv(const DeviceConv& problem);

std::size_t device_conv_workspace(const DeviceConv& problem, const DeviceConvVariant& variant);

// Any extents, zero included. The outputs overlap no input.
void device_conv(const DeviceConv& problem, const DeviceConvVariant& variant);

}  // namespace dlkit
