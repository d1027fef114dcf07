// The ladders on a GPU as tables, and the choice among their steps.
#include "conv/device_steps.h"

namespace dlkit {
namespace {

constexpr const char* kTilesNeed =
    "float32, extents below 2^30 and, for the gradient by the input, strides whose product is at most 16";

bool any(const DeviceConv&) { return true; }

// The steps, of which the three operations differ in the idea alone.
DeviceConvVariant naive(const char* idea) { return {"naive", idea, "", any, nullptr, device::conv_naive}; }

DeviceConvVariant implicit_gemm(const char* idea) {
  return {"implicit_gemm",
          idea,
          kTilesNeed,
          device::fits_tiles,
          device::conv_implicit_gemm_workspace,
          device::conv_implicit_gemm,
          device::kImplicitGemmTiles};
}

DeviceConvVariant tensor_tf32() {
  return {"tensor_tf32",
          "the same by tensor cores, operands rounded to TF32",
          kTilesNeed,
          device::fits_tiles,
          device::conv_tensor_tf32_workspace,
          device::conv_tensor_tf32,
          device::kTensorTf32Tiles};
}

DeviceConvVariant tensor_bf16() {
  return {"tensor_bf16",
          "the same by tensor cores, operands rounded to bfloat16",
          kTilesNeed,
          device::fits_tiles,
          device::conv_tensor_bf16_workspace,
          device::conv_tensor_bf16,
          device::kTensorBf16Tiles};
}

DeviceConvVariant winograd(const char* idea) {
  return {"winograd",
          idea,
          "float32, a kernel of 3 x 3, stride and dilation 1, extents below 2^30",
          device::fits_winograd,
          device::conv_winograd_workspace,
          device::conv_winograd};
}

DeviceConvVariant depthwise(const char* idea) {
  return {"depthwise",
          idea,
          "one channel in each group, extents below 2^30",
          device::fits_depthwise,
          device::conv_depthwise_workspace,
          device::conv_depthwise};
}

}  // namespace

const std::vector<DeviceConvVariant>& device_conv_variants(ConvOperation operation) {
  static const std::vector<DeviceConvVariant> tables[3] = {
      {naive("one thread for each element of the output"),
       implicit_gemm("a matrix product whose panels of patches are gathered into shared memory, never written out"),
       tensor_tf32(), tensor_bf16(),
       winograd("F(2x2, 3x3): 16 multiplications for 36, transforms and products in one kernel"),
       depthwise("a thread a column of 4 rows, taps in registers")},
      {naive("one thread for each element of the input's gradient"),
       implicit_gemm("the same on the gradient, with the taps backwards; strides by phases"), tensor_tf32(),
       tensor_bf16(), winograd("F(2x2, 3x3) with the kernel turned"),
       depthwise("the same with the taps backwards, summed over the filters of a group")},
      {naive("one thread for each weight, which goes through all images"),
       implicit_gemm("the gradient times gathered patches, summed over places in slices"), tensor_tf32(), tensor_bf16(),
       depthwise("a block a filter, 9 taps in the registers of each thread")},
  };
  return tables[static_cast<int>(operation)];
}

const DeviceConvVariant* find_device_conv_variant(ConvOperation operation, std::string_view name, int* tile) {
  *tile = -1;
  for (const auto& variant : device_conv_variants(operation)) {
    if (name == variant.name) return &variant;
    for (std::size_t i = 0; i < variant.tiles.size(); ++i)
      if (name == variant.tiles[i]) {
        *tile = static_cast<int>(i);
        return &variant;
      }
  }
  return nullptr;
}

const DeviceConvVariant& choose_device_conv(const DeviceConv& problem) {
  const auto named = [&](std::string_view name) -> const DeviceConvVariant& {
    int tile;
    return *find_device_conv_variant(problem.operation, name, &tile);
  };
  if (problem.shape.groups > 1 && device::fits_depthwise(problem)) return named("depthwise");
  if (!device::fits_tiles(problem)) return named("naive");
  if (problem.precision != Precision::float32)
    return named(problem.precision == Precision::tf32 ? "tensor_tf32" : "tensor_bf16");
  const bool winograd = device::fits_winograd(problem) &&
                        device::conv_winograd_cycles(problem) < device::conv_implicit_gemm_cycles(problem);
  return named(winograd ? "winograd" : "implicit_gemm");
}

std::size_t device_conv_workspace(const DeviceConv& p, const DeviceConvVariant& variant) {
  return variant.workspace == nullptr || p.shape.flops() == 0 ? 0 : variant.workspace(p);
}

void device_conv(const DeviceConv& p, const DeviceConvVariant& variant) {
  if (p.shape.flops() == 0) return device::conv_naive(p);  // sums of nothing
  variant.run(p);
}

}  // namespace dlkit
