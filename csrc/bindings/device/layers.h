// The layers chapter's part of _simt and _cuda, by topic.
#pragma once

#include <pybind11/pybind11.h>

#include "bindings/device/arguments.h"
#include "layers/device.h"

namespace dlkit {

void bind_device_layers(pybind11::module_& module);         // layers.cpp: all of them
void bind_device_parameters(pybind11::module_& module);     // parameters.cpp: what is done to lists of arrays
void bind_device_normalisation(pybind11::module_& module);  // normalisation.cpp: embedding, layer and batch norm

inline Rung rung_of(const Arguments& arguments, int rung) {
  arguments.expect(rung >= 0 && rung <= static_cast<int>(Rung::automatic), "rung", std::to_string(rung), "0 to 3");
  return static_cast<Rung>(rung);
}

}  // namespace dlkit
