// The ladders on a GPU as tables, and the choice among their steps.
#include "conv/device_steps.h"

namespace dlkit {
namespace {

bool any(const DeviceConv&) { return true; }

}  // namespace

const std::vector<DeviceConvVariant>& device_conv_variants(ConvOperation operation) {
  static const std::vector<DeviceConvVariant> tables[3] = {
      {
          {"naive", "one thread for each element of the output", "", any, nullptr, device::conv_naive},
      },
      {
          {"naive", "one thread for each element of the input's gradient", "", any, nullptr, device::conv_naive},
      },
      {
          {"naive", "one thread for each weight, which goes through all images", "", any, nullptr, device::conv_naive},
      },
  };
  return tables[static_cast<int>(operation)];
}

const DeviceConvVariant& choose_device_conv(const DeviceConv& problem) {
  return device_conv_variants(problem.operation).front();
}

std::size_t device_conv_workspace(const DeviceConv& p, const DeviceConvVariant& variant) {
  return variant.workspace == nullptr || p.shape.flops() == 0 ? 0 : variant.workspace(p);
}

void device_conv(const DeviceConv& p, const DeviceConvVariant& variant) {
  if (p.shape.flops() == 0) return device::conv_naive(p);  // sums of nothing
  variant.run(p);
}

}  // namespace dlkit
