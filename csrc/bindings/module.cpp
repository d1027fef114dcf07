#include <pybind11/pybind11.h>

#include "bindings/bindings.h"

PYBIND11_MODULE(_cpu, module) {
  module.doc() = "dlkit's CPU kernels. Use them through dlkit.kernels.";
  dlkit::bind_augment(module);
  dlkit::bind_conv(module);
  dlkit::bind_core(module);
  dlkit::bind_crf(module);
  dlkit::bind_embedding(module);
  dlkit::bind_layers(module);
  dlkit::bind_matmul(module);
  dlkit::bind_nearest(module);
  dlkit::bind_ngram(module);
  dlkit::bind_normalisation(module);
  dlkit::bind_pool(module);
  dlkit::bind_over_time(module);
  dlkit::bind_recurrent(module);
  dlkit::bind_word2vec(module);
  dlkit::bind_word2vec_corpus(module);
  dlkit::bind_word2vec_engine(module);
}
