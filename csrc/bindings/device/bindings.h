// The bindings of the CUDA sources: one file per chapter, compiled into _simt and into _cuda.
#pragma once

#include <pybind11/pybind11.h>

namespace dlkit {

void bind_device_platform(pybind11::module_& module);  // simt.cpp or cuda.cpp: what only one of the two has

}  // namespace dlkit
