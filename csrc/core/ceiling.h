// Measures the machine's ceilings, on all asked-for threads at once.
#pragma once

namespace dlkit {

// Floating-point operations a second of fused multiply-adds on registers; the best of several short runs.
double measure_peak(int threads, bool float64);

// Bytes a second read from memory, far past the caches; the best of several passes.
double measure_bandwidth(int threads);

}  // namespace dlkit
