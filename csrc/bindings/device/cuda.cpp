// What a GPU tells of itself.
#include <cuda_runtime_api.h>

#include <sstream>
#include <string>

#include "bindings/device/bindings.h"
#include "core/cuda/error.h"

namespace dlkit {
namespace py = pybind11;
namespace {

std::string version_text(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int driver_version() {
  int version = 0;
  return cudaDriverGetVersion(&version) == cudaSuccess ? version : 0;
}

int device_count() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  cudaGetLastError();  // not left for the next call to find
  return status == cudaSuccess ? count : 0;
}

// The oldest architecture with code in this build, 80 for sm_80.
int oldest_architecture() {
  std::istringstream list(DLKIT_CUDA_ARCHITECTURES);
  std::string name;
  int oldest = 1000;
  while (list >> name) oldest = std::min(oldest, std::stoi(name));
  return oldest;
}

std::pair<int, int> compute_capability(int device) {
  int major = 0, minor = 0;
  if (cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess ||
      cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device) != cudaSuccess) {
    cudaGetLastError();
    throw DeviceError("cuda: device is " + std::to_string(device) + "; this machine has " +
                      std::to_string(device_count()) + " (numbered from 0)");
  }
  return {major, minor};
}

// Throws one sentence that says what is missing.
void require_device(int device) {
  const int driver = driver_version();
  if (driver == 0)
    throw DeviceError("cuda: no NVIDIA driver on this machine; expected one of CUDA " + version_text(CUDART_VERSION) +
                      " or newer");
  if (driver / 1000 < CUDART_VERSION / 1000)
    throw DeviceError("cuda: the NVIDIA driver is of CUDA " + version_text(driver) + "; expected CUDA " +
                      std::to_string(CUDART_VERSION / 1000) + ".0 or newer, which this dlkit was built with");
  const int count = device_count();
  if (count == 0) throw DeviceError("cuda: an NVIDIA driver but no GPU that this process may use");
  if (device < 0 || device >= count)
    throw DeviceError("cuda: device is " + std::to_string(device) + "; expected 0 to " + std::to_string(count - 1));
  const auto [major, minor] = compute_capability(device);
  if (10 * major + minor < oldest_architecture())
    throw DeviceError("cuda: device " + std::to_string(device) + " is of compute capability " + std::to_string(major) +
                      "." + std::to_string(minor) + "; this dlkit was built for " +
                      std::to_string(oldest_architecture() / 10) + "." + std::to_string(oldest_architecture() % 10) +
                      " and newer");
}

}  // namespace

void bind_device_platform(py::module_& module) {
  module.def("device_count", device_count, "How many GPUs this process may use; 0 without a driver.");
  module.def("driver_version", driver_version, "Of CUDA, 13000 for 13.0; 0 without a driver.");
  module.def("runtime_version", [] { return CUDART_VERSION; }, "Of CUDA, 13000 for 13.0.");
  module.def(
      "architectures",
      [] {
        py::list names;
        std::istringstream list(DLKIT_CUDA_ARCHITECTURES);
        std::string name;
        while (list >> name) {
          const bool is_virtual = name.ends_with("-virtual");
          if (is_virtual || name.ends_with("-real")) name.resize(name.rfind('-'));
          names.append((is_virtual ? "compute_" : "sm_") + name);
        }
        return names;
      },
      "What this build has code for.");
  module.def("compute_capability", compute_capability, py::arg("device"));
  module.def("require_device", require_device, py::arg("device") = 0, "Raise DeviceError unless the GPU can be used.");
}

}  // namespace dlkit
