#include "word2vec/word2vec.h"

#include <cstdint>
#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/counters.h"

namespace dlkit {
namespace {

// Numbers of rows, as the wrapper passes them: contiguous int64, two or three dimensions; -1 is none.
struct Rows {
  const std::int64_t* data;
  int ndim;
  const py::ssize_t* shape;

  Rows(PyObject* object, const char* operation, const char* argument, py::ssize_t rows) {
    constexpr int kPlain = npy_api::NPY_ARRAY_ALIGNED_ | npy_api::NPY_ARRAY_C_CONTIGUOUS_;
    if (!py::isinstance<py::array_t<std::int64_t>>(object) || (array_proxy(object)->flags & kPlain) != kPlain)
      throw py::type_error(std::string(operation) + ": " + argument + " is no contiguous array of int64");
    ndim = array_proxy(object)->nd;
    shape = array_proxy(object)->dimensions;
    data = reinterpret_cast<const std::int64_t*>(array_proxy(object)->data);
    const Index count = element_count(object);
    for (Index i = 0; i < count; ++i)
      if (data[i] < -1 || data[i] >= rows)
        throw py::index_error(std::string(operation) + ": " + argument + " has row " + std::to_string(data[i]) +
                              "; expected 0 to " + std::to_string(rows - 1) + ", or -1 for none");
  }
};

// A matrix that is changed where it is.
ArrayArg changed_matrix(PyObject* object, const char* operation, const char* argument) {
  const ArrayArg array(object, operation, argument);
  if (array.ndim() != 2)
    array.fail(std::string(argument) + " is " + array.shape_text() + "; expected (words, dimensions)");
  array.require_writeable();
  if (!is_contiguous(object))
    array.fail(std::string(argument) + " is not contiguous; expected rows one after the other");
  return array;
}

// update_words(operation, inputs, outputs, labels, w_in, w_out, lr, cbow, mean, divide, with_loss, variant) returns the
// loss, or 0
PyObject* update_words_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("update_words", given, 12);
    const std::string name = py::cast<std::string>(py::handle(args[0]));
    const char* const operation = name.c_str();
    const ArrayArg w_in = changed_matrix(args[4], operation, "w_in"),
                   w_out = changed_matrix(args[5], operation, "w_out");
    w_in.require_same_dtype(w_out);
    if (w_in.shape()[1] != w_out.shape()[1])
      w_in.fail("w_in is " + w_in.shape_text() + " but w_out is " + w_out.shape_text() + "; expected as many columns");
    if (share_memory(w_in, w_out)) w_out.fail("w_out overlaps w_in; expected memory of its own");
    const Rows inputs(args[1], operation, "contexts", w_in.shape()[0]);
    const Rows outputs(args[2], operation, "outputs", w_out.shape()[0]);
    if (!py::isinstance<py::array_t<std::uint8_t>>(args[3]) || !is_contiguous(args[3]) ||
        element_count(args[3]) != element_count(args[2]))
      throw py::type_error(name + ": labels is no contiguous array of uint8, one for each output");
    const bool own = outputs.ndim == 3;
    if (inputs.ndim != 2 || outputs.ndim < 2 || outputs.ndim > 3 || outputs.shape[0] != inputs.shape[0] ||
        (own && outputs.shape[1] != inputs.shape[1]))
      fail(operation, "contexts is " + shape_text(inputs.shape, inputs.ndim) + " and outputs " +
                          shape_text(outputs.shape, outputs.ndim) + "; expected one row for each word");
    const double lr = as_double(args[6], operation, "lr");
    check_setting(operation, "lr", lr, finite_and_not_negative(lr), "0 or more");
    const bool cbow = as_bool(args[7]), mean = as_bool(args[8]), divide = as_bool(args[9]);
    const PairVariant* const variant = variant_named(args[11], pair_variants(), operation);
    double loss = 0;
    with_dtype(w_in.dtype, [&](auto zero) {
      using T = decltype(zero);
      const WordUpdate<T> work = {reinterpret_cast<T*>(w_in.data()),
                                  reinterpret_cast<T*>(w_out.data()),
                                  w_in.shape()[1],
                                  inputs.shape[0],
                                  inputs.shape[1],
                                  outputs.shape[outputs.ndim - 1],
                                  inputs.data,
                                  outputs.data,
                                  reinterpret_cast<const std::uint8_t*>(array_proxy(args[3])->data),
                                  own,
                                  cbow,
                                  mean,
                                  divide,
                                  static_cast<T>(lr),
                                  as_bool(args[10])};
      const auto pairs = static_cast<std::uint64_t>(work.words * (cbow ? 1 : work.most_inputs) * work.most_outputs);
      const auto rows = static_cast<std::uint64_t>(work.words * (work.most_inputs + work.most_outputs));
      const auto dim = static_cast<std::uint64_t>(work.dim);
      count_work(6 * pairs * dim, 2 * rows * dim * sizeof(T));
      const ReleaseGil release;
      loss = update_words(work, variant != nullptr ? *variant : pair_variants().back());
    });
    return PyFloat_FromDouble(loss);
  });
}

PyMethodDef methods[] = {
    {"update_words", fastcall(update_words_call), METH_FASTCALL,
     "update_words(operation, inputs, outputs, labels, w_in, w_out, lr, cbow, mean, divide, with_loss, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_word2vec(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def("word2vec_variants", [] {
    py::dict tables;
    for (const char* operation : {"sgns_update", "sghs_update", "cbow_update", "cbow_hs_update"})
      tables[operation] = ladder_of(pair_variants());
    return tables;
  });
}

}  // namespace dlkit
