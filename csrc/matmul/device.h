// Matrix product on a GPU, or on the SIMT machine: C = activation(A B + bias), or C += A B + bias.
//
//   A is M x K, B is K x N, C is M x N with contiguous rows, bias has N elements. One of A's strides is 1, and one of
//   B's; `batch` such products lie a stride apart, which may be 0 for A and for B. All pointers are the device's.
//
// Read the steps in the order of the table in device_variants.cu: naive.cu, coalesced.cu, tiled.cu, register_tile.cu,
// vectorised.cu, warp_tiled.cu, splitk.cu, mma_tf32.cu, mma_16bit.cu.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "matmul/matmul.h"

namespace dlkit {

enum class DeviceType : int { float32, float64, float16, bfloat16 };

// What float32 operands may be rounded to, for the tensor cores. Sums are float32 always.
enum class Precision : int { float32, tf32, bf16 };

constexpr std::size_t size_of(DeviceType type) {
  return type == DeviceType::float64 ? 8 : type == DeviceType::float32 ? 4 : 2;
}
constexpr bool is_16bit(DeviceType type) { return type == DeviceType::float16 || type == DeviceType::bfloat16; }

struct DeviceMatmul {
  DeviceType type;      // of A and B
  DeviceType out_type;  // of C and bias: `type`, or float32 where that has 16 bits
  Precision precision;
  std::int64_t m, n, k, batch;  // m, n and k at most kMaxDeviceExtent
  const void* a;
  std::int64_t a_row, a_col, a_batch;  // strides, in elements
  const void* b;
  std::int64_t b_row, b_col, b_batch;
  void* c;
  std::int64_t c_row, c_batch;
  const void* bias;  // or null
  Activation activation;
  bool accumulate;  // then activation is none
  void* workspace;  // aligned to 16 bytes
  std::size_t workspace_bytes;
  void* stream;
  int tile = -1;  // one of the variant's tiles, for tests and studies; -1: the best by estimate
};

// Kernels count rows, columns and depth in an int, and may step one tile beyond the end. Offsets have 64 bits.
constexpr std::int64_t kMaxDeviceExtent = 0x7FFFFFFF - 1024;

struct DeviceMatmulVariant {
  const char* name;
  const char* idea;
  const char* needs;  // of the problem; "" where it takes any
  bool (*takes)(const DeviceMatmul&);
  std::size_t (*workspace)(const DeviceMatmul&);  // bytes; null where none is needed
  void (*run)(const DeviceMatmul&);               // returns when the kernels are under way; throws DeviceError
};

const std::vector<DeviceMatmulVariant>& device_matmul_variants();

// The variant of that name, or nullptr. Of those that have several tiles one may be named: "warp_tiled/128x64"; then
// `tile` is set.
const DeviceMatmulVariant* find_device_matmul_variant(const char* name, int* tile);

// The fastest for types, shape and strides, as estimated: looks at no pointer.
const DeviceMatmulVariant& choose_device_matmul(const DeviceMatmul& problem);

std::size_t device_matmul_workspace(const DeviceMatmul& problem, const DeviceMatmulVariant& variant);

// Any extents, zero included; C must not overlap the others.
void device_matmul(const DeviceMatmul& problem, const DeviceMatmulVariant& variant);

}  // namespace dlkit
