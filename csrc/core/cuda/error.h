// What a device reports: a launch that the driver refused, a kernel that touched memory it was not given.
#pragma once

#include <stdexcept>

namespace dlkit {

struct DeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

}  // namespace dlkit
