// The bindings of the CUDA sources: one file per chapter, compiled into _simt and into _cuda.
#pragma once

#include <pybind11/pybind11.h>

namespace dlkit {

void bind_device_conv(pybind11::module_& module);
void bind_device_crf(pybind11::module_& module);
void bind_device_layers(pybind11::module_& module);
void bind_device_matmul(pybind11::module_& module);
void bind_device_pool(pybind11::module_& module);
void bind_device_recurrent(pybind11::module_& module);
void bind_device_word2vec(pybind11::module_& module);
void bind_device_word2vec_engine(pybind11::module_& module);
// What only one of the two modules has: simt.cpp or cuda.cpp.
void bind_device_platform(pybind11::module_& module);

}  // namespace dlkit
