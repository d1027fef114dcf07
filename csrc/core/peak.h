// What this machine can do at most: the ceilings that kernels are measured against.
#pragma once

#include <cstddef>

namespace dlkit {

// Runs independent fused multiply-adds on registers alone, `iterations` rounds, and returns how many floating-point
// operations (an FMA is two) that was.
using PeakKernel = double (*)(long iterations);

// Reads `count` floats, a whole number of 64-element groups, and returns a value that depends on all of them.
using ReadKernel = float (*)(const float* data, std::size_t count);

struct PeakKernels {
  PeakKernel float32;
  PeakKernel float64;
  ReadKernel read;
};

const PeakKernels& peak_kernels();

}  // namespace dlkit
