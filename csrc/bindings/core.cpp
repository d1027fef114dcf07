#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>

#include "bindings/arguments.h"
#include "bindings/array_memory.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/ceiling.h"
#include "core/counters.h"
#include "core/cpu.h"
#include "core/thread_pool.h"

namespace py = pybind11;

namespace dlkit {
namespace {

int checked_threads(int threads, const char* operation) {
  if (threads == 0) return num_threads();
  if (threads < 0 || threads > 1024)
    throw py::value_error(std::string(operation) + ": threads is " + std::to_string(threads) + "; expected 1 to 1024");
  return threads;
}

py::dict config() {
  py::list isas;
  for (const Isa isa : available_isas()) isas.append(name(isa));
  py::dict caches;
  caches["l1d"] = cache_sizes().l1d;
  caches["l2"] = cache_sizes().l2;
  caches["l3"] = cache_sizes().l3;
  py::dict result;
  result["cpu"] = cpu_model();
  result["isa"] = name(active_isa());
  result["isas_available"] = isas;
  result["threads"] = num_threads();
  result["cpus_usable"] = usable_cpus();
  result["cache_bytes"] = caches;
#ifdef __VERSION__
#if defined(__GNUC__) && !defined(__clang__)
  result["compiler"] = "GCC " __VERSION__;
#else
  result["compiler"] = __VERSION__;  // Clang's names itself
#endif
#endif
  return result;
}

}  // namespace

void bind_core(py::module_& module) {
  (void)active_isa();  // a bad DLKIT_ISA or DLKIT_NUM_THREADS stops the import, not a later kernel
  (void)num_threads();

  module.def("config", &config, "Processor, instruction sets, caches and threads, as a dictionary.");
  module.def("num_threads", &num_threads, "How many threads kernels may use.");
  module.def("set_num_threads", &set_num_threads, py::arg("count"), "Sets how many threads kernels may use.");
  module.def("kept_memory", &kept_memory, "Bytes of freed results that are kept for new ones.");
  module.def("most_kept_memory", &most_kept_memory, "Bytes of freed results that are kept at most.");
  module.def("release_kept_memory", &release_kept_memory, "Gives the memory of freed results back to the system.");
  module.def(
      "empty",
      [](const std::vector<py::ssize_t>& shape, const py::dtype& dtype) {
        return new_array(dtype.num(), static_cast<std::size_t>(dtype.itemsize()), static_cast<int>(shape.size()),
                         shape.data());
      },
      py::arg("shape"), py::arg("dtype"), "As numpy.empty, in memory that is kept for new results once it is free.");
  module.def(
      "counters",
      [] {
        py::dict result;
        result["flops"] = counters.flops.load();
        result["bytes"] = counters.bytes.load();
        result["calls"] = counters.calls.load();
        return result;
      },
      "Work done by matrix products since the last reset_counters.");
  module.def(
      "reset_counters",
      [] {
        counters.flops = 0;
        counters.bytes = 0;
        counters.calls = 0;
      },
      "Sets the work counters to zero.");
  module.def(
      "measure_peak",
      [](int threads, bool float64) {
        threads = checked_threads(threads, "measure_peak");
        const ReleaseGil release;
        return measure_peak(threads, float64);
      },
      py::arg("threads") = 0, py::arg("float64") = false,
      "FLOP/s of fused multiply-adds on registers, on `threads` threads (0: num_threads()).");
  module.def(
      "measure_bandwidth",
      [](int threads) {
        threads = checked_threads(threads, "measure_bandwidth");
        const ReleaseGil release;
        return measure_bandwidth(threads);
      },
      py::arg("threads") = 0, "Bytes/s read from memory, on `threads` threads (0: num_threads()).");
}

}  // namespace dlkit
