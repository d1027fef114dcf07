// One function per chapter that adds its names to the module.
#pragma once

#include <pybind11/pybind11.h>

namespace dlkit {

void bind_augment(pybind11::module_& module);
void bind_conv(pybind11::module_& module);
void bind_core(pybind11::module_& module);
void bind_crf(pybind11::module_& module);
void bind_embedding(pybind11::module_& module);
void bind_layers(pybind11::module_& module);
void bind_matmul(pybind11::module_& module);
void bind_nearest(pybind11::module_& module);
void bind_ngram(pybind11::module_& module);
void bind_normalisation(pybind11::module_& module);
void bind_pool(pybind11::module_& module);
void bind_over_time(pybind11::module_& module);
void bind_recurrent(pybind11::module_& module);
void bind_word2vec(pybind11::module_& module);
void bind_word2vec_corpus(pybind11::module_& module);
void bind_word2vec_engine(pybind11::module_& module);

}  // namespace dlkit
