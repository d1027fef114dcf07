// Kernels to try the SIMT machine on: some do work of which every count is known, some have a fault planted in them.
#pragma once

#include <string>
#include <vector>

namespace dlkit::simt {

struct Specimen {
  const char* name;
  const char* what;  // it counts, or which fault it has
  // Runs over x and y, n floats each. `n` is a multiple of 1024.
  void (*run)(const float* x, float* y, int n);
};

const std::vector<Specimen>& specimens();

}  // namespace dlkit::simt
