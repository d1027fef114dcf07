// What processor this is: instruction sets, caches, how many threads it may run.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace dlkit {

enum class Isa { baseline, avx2, avx512, neon };

const char* name(Isa isa);

// Instruction sets that the kernels were built for and that this processor (and operating system) runs,
// slowest first.
const std::vector<Isa>& available_isas();

// The instruction set in use. Chosen once: the last of available_isas(), or the one named by DLKIT_ISA.
// Throws std::invalid_argument where DLKIT_ISA names one that is unknown or not available.
Isa active_isa();

struct CacheSizes {
  std::size_t l1d;  // bytes, of one core
  std::size_t l2;   // bytes, of one core
  std::size_t l3;   // bytes, shared; 0 where there is none or it is unknown
};

const CacheSizes& cache_sizes();
const std::string& cpu_model();

// Processors that this process may run on (its affinity mask).
int usable_cpus();

}  // namespace dlkit
