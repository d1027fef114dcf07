// The steps of the convolution's ladders on a GPU. Each launches its kernels and returns.
#pragma once

#include "conv/device.h"

namespace dlkit::device {

void conv_naive(const DeviceConv& problem);

}  // namespace dlkit::device
