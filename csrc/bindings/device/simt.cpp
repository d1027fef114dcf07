// The SIMT machine itself: modes, counts, specimens.
#include <pybind11/numpy.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string>

#include "bindings/device/bindings.h"
#include "core/cuda/operands.h"
#include "core/thread_pool.h"
#include "simt/machine.h"
#include "simt/specimens.h"

namespace dlkit {
namespace py = pybind11;
namespace {

void add(py::dict& row, const char* prefix, const simt::GlobalTraffic& traffic) {
  const std::string name = prefix;
  row[py::str(name + "_requests")] = traffic.requests;
  row[py::str(name + "_sectors")] = traffic.sectors;
  row[py::str(name + "_bytes")] = traffic.bytes;
}

void add(py::dict& row, const char* prefix, const simt::SharedTraffic& traffic) {
  const std::string name = prefix;
  row[py::str(name + "_requests")] = traffic.requests;
  row[py::str(name + "_wavefronts")] = traffic.wavefronts;
  row[py::str(name + "_conflicts")] = traffic.conflicts;
}

py::list counters() {
  py::list rows;
  for (const auto& record : simt::records()) {
    py::dict row;
    const simt::Counters& c = record.counters;
    row["operation"] = record.operation;
    row["kernel"] = record.kernel;
    row["grid"] = py::make_tuple(record.grid[0], record.grid[1], record.grid[2]);
    row["block"] = py::make_tuple(record.block[0], record.block[1], record.block[2]);
    row["shared_bytes"] = record.shared_bytes;
    row["flops"] = c.flops;
    row["special"] = c.special;
    row["tensor_flops"] = c.tensor_flops;
    add(row, "global_load", c.global_load);
    add(row, "global_store", c.global_store);
    add(row, "global_atomic", c.global_atomic);
    add(row, "shared_load", c.shared_load);
    add(row, "shared_store", c.shared_store);
    add(row, "shared_atomic", c.shared_atomic);
    row["barriers"] = c.barriers;
    row["basic_blocks"] = c.basic_blocks;
    row["active_lanes"] = c.active_lanes;
    row["divergent_branches"] = c.divergent_branches;
    rows.append(row);
  }
  return rows;
}

void set_mode(const std::string& name) {
  if (name != "check" && name != "count" && name != "both" && name != "fast")
    throw py::value_error("set_mode: mode is '" + name + "'; expected 'check', 'count', 'both' or 'fast'");
  simt::set_mode({.check = name == "check" || name == "both", .count = name == "count" || name == "both"});
}

std::string get_mode() {
  const simt::Mode mode = simt::mode();
  return mode.check ? mode.count ? "both" : "check" : mode.count ? "count" : "fast";
}

py::array_t<float> run_specimen(const std::string& name, const py::array_t<float, py::array::c_style>& x) {
  for (const auto& specimen : simt::specimens()) {
    if (name != specimen.name) continue;
    const auto n = static_cast<int>(x.size());
    if (n == 0 || n % 1024 != 0)
      throw py::value_error("specimen: x has " + std::to_string(x.size()) + " elements; expected a multiple of 1024");
    py::array_t<float> y(n);
    const auto bytes = static_cast<std::size_t>(n) * sizeof(float);
    // As a GPU's memory is aligned; NumPy's is to 16 bytes, and counts would depend on it.
    constexpr std::align_val_t kAlignment{256};
    const auto release_memory = [](float* p) { ::operator delete(p, kAlignment); };
    using Memory = std::unique_ptr<float, decltype(release_memory)>;
    const Memory from(static_cast<float*>(::operator new(bytes, kAlignment)), release_memory);
    const Memory to(static_cast<float*>(::operator new(bytes, kAlignment)), release_memory);
    std::copy_n(x.data(), n, from.get());
    std::fill_n(to.get(), n, 0.0f);
    {
      const Operands operands("specimen", {{"x", from.get(), bytes, false}, {"y", to.get(), bytes, true}});
      const py::gil_scoped_release release;
      specimen.run(from.get(), to.get(), n);
    }
    std::copy_n(to.get(), n, y.mutable_data());
    return y;
  }
  throw py::value_error("specimen: name is '" + name + "'; expected one of specimens()");
}

}  // namespace

void bind_device_platform(py::module_& module) {
  module.def("counters", counters, "What each launch since reset_counters did, in the modes 'count' and 'both'.");
  module.def("reset_counters", simt::clear_records);
  module.def("set_mode", set_mode, py::arg("mode"),
             "'check' looks for faults, 'count' makes records, 'both' does, 'fast' neither.");
  module.def("get_mode", get_mode);
  module.def("set_num_threads", set_num_threads, py::arg("count"));
  module.def(
      "specimens",
      [] {
        py::list rows;
        for (const auto& specimen : simt::specimens()) rows.append(py::make_tuple(specimen.name, specimen.what));
        return rows;
      },
      "Name of each specimen kernel, and what it counts or which fault it has.");
  module.def("specimen", run_specimen, py::arg("name"), py::arg("x"), "Run a specimen kernel; returns y.");
}

}  // namespace dlkit
