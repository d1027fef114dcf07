// The steps of the CUDA ladder that only Hopper (sm_90a) can run. hopper_tile.h tells how they work.
//
// Taken are operands that the copy engine can read: A and B aligned to 16 bytes, the stride that is not 1 and that of
// the batch a multiple of 16 bytes; and, of float32, only what wgmma can read as tf32: A's rows and B's columns
// contiguous (b is a transposed row-major matrix). 16-bit operands may lie either way. K is not 0.
#pragma once

#include "matmul/device.h"

namespace dlkit::device {

// Whether the automatic choice may pick these. Not before they have been measured beside the plain kernels on a Hopper
// GPU; until then they run where they are asked for by name. Who sets this also has to see to operands that are not
// aligned: the workspace is asked for before their addresses are known, so their fallback may not be one that needs it.
constexpr bool kHopperMeasured = false;

// On the current device. Where A or B is null, as if it were aligned.
bool takes_hopper_tf32(const DeviceMatmul&);
bool takes_hopper_16bit(const DeviceMatmul&);

void hopper_tf32(const DeviceMatmul&);
void hopper_16bit(const DeviceMatmul&);

}  // namespace dlkit::device
