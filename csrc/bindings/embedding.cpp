#include <cstdint>
#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "layers/layers.h"

namespace dlkit {
namespace {

// Numbers of rows: integers of any dtype, byte order, shape and strides.
struct Indices {
  py::object holder;
  const std::int64_t* data = nullptr;
  Index count = 0;
  int ndim = 0;
  const py::ssize_t* shape = nullptr;

  // Throws where one is not in [0, rows); `of` says what has that many rows.
  Indices(PyObject* object, const char* operation, Index rows, const std::string& of) {
    auto& api = npy_api::get();
    if (!api.PyArray_Check_(object))
      throw py::type_error(std::string(operation) + ": indices is a " +
                           std::string(py::str(py::type::handle_of(object).attr("__name__"))) +
                           "; expected an array of integers");
    const auto* array = array_proxy(object);
    const auto descr = py::reinterpret_borrow<py::dtype>(array->descr);
    const char kind = descr.kind();
    if (kind != 'i' && kind != 'u')
      throw py::type_error(std::string(operation) + ": indices has dtype " + std::string(py::str(descr)) +
                           "; expected integers, the number of a row each");
    ndim = array->nd;
    shape = array->dimensions;
    count = element_count(object);
    constexpr int kPlain = npy_api::NPY_ARRAY_ALIGNED_ | npy_api::NPY_ARRAY_C_CONTIGUOUS_;
    if (descr.num() == npy_api::NPY_INT64_ && descr.byteorder() == '=' && (array->flags & kPlain) == kPlain) {
      data = reinterpret_cast<const std::int64_t*>(array->data);
    } else {
      holder = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(
          py::reinterpret_borrow<py::object>(object));
      if (!holder) throw py::error_already_set();
      data = reinterpret_cast<const std::int64_t*>(array_proxy(holder.ptr())->data);
    }
    for (Index i = 0; i < count; ++i)
      if (static_cast<std::uint64_t>(data[i]) >= static_cast<std::uint64_t>(rows))
        throw py::index_error(
            std::string(operation) + ": indices" + place(i) + " is " +
            (kind == 'u' ? std::to_string(static_cast<std::uint64_t>(data[i])) : std::to_string(data[i])) +
            (rows == 0 ? "; there are no rows" : "; expected 0 to " + std::to_string(rows - 1)) + " (" + of + ")");
  }

 private:
  // "[2, 0]", or nothing for a single number.
  std::string place(Index flat) const {
    std::string text;
    for (int axis = ndim - 1; axis >= 0; --axis) {
      text = std::to_string(flat % shape[axis]) + (text.empty() ? "" : ", ") + text;
      flat /= shape[axis];
    }
    return text.empty() ? text : "[" + text + "]";
  }
};

void require_matrix(const ArrayArg& array, const char* expected) {
  if (array.ndim() != 2)
    array.fail(std::string(array.argument) + " is " + array.shape_text() + "; expected " + expected);
}

// The shape of what embedding returns; room for NumPy's largest number of dimensions.
struct ResultShape {
  static constexpr int kMost = 64;
  py::ssize_t sizes[kMost + 1];
  int ndim;

  ResultShape(const Indices& indices, Index cols, const char* operation) : ndim(indices.ndim + 1) {
    if (indices.ndim >= kMost)
      fail(operation,
           "indices has " + std::to_string(indices.ndim) + " dimensions; expected less than " + std::to_string(kMost));
    std::copy(indices.shape, indices.shape + indices.ndim, sizes);
    sizes[indices.ndim] = cols;
  }
};

// embedding(weight, indices, out, variant)
PyObject* embedding_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "embedding";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 4);
    const Input weight(args[0], kOperation, "weight");
    require_matrix(weight.array, "(num_embeddings, embedding_dim)");
    const Index rows = weight.array.shape()[0], cols = weight.array.shape()[1];
    const Indices indices(args[1], kOperation, rows, "weight is " + weight.array.shape_text());
    const Rung rung = as_rung(args[3]);
    const ResultShape shape(indices, cols, kOperation);
    Output out(args[2], weight.array, shape.ndim, shape.sizes);
    out.check_apart(weight.array, static_cast<bool>(weight.copy), false);
    with_dtype(weight.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      embedding<T>(weight.as<T>(), rows, cols, indices.data, indices.count, to, rung);
    });
    return out.finish();
  });
}

// embedding_backward(grad, indices, num_embeddings, padding_idx, out, accumulate, variant)
PyObject* embedding_backward_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "embedding_backward";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 7);
    const Input grad(args[0], kOperation, "grad");
    const std::int64_t rows = as_integer(args[2], kOperation, "num_embeddings");
    if (rows < 0) fail(kOperation, "num_embeddings is " + std::to_string(rows) + "; expected 0 or more");
    const Indices indices(args[1], kOperation, rows, "num_embeddings is " + std::to_string(rows));
    if (grad.array.ndim() != indices.ndim + 1 ||
        !std::equal(indices.shape, indices.shape + indices.ndim, grad.array.shape()))
      fail(kOperation, "grad is " + grad.array.shape_text() + " but indices is " +
                           shape_text(indices.shape, indices.ndim) +
                           "; expected the shape of indices and one dimension more");
    std::int64_t padding = -1;
    if (args[3] != Py_None) {
      padding = as_integer(args[3], kOperation, "padding_idx");
      if (padding < 0 || padding >= rows)
        fail(kOperation,
             "padding_idx is " + std::to_string(padding) + "; expected 0 to " + std::to_string(rows - 1) + " or None");
    }
    const bool accumulate = as_bool(args[5]);
    if (accumulate && args[4] == Py_None) fail(kOperation, "accumulate=True needs out, the array to add to");
    const Rung rung = as_rung(args[6]);
    const py::ssize_t shape[] = {static_cast<py::ssize_t>(rows), grad.array.shape()[indices.ndim]};
    Output out(args[4], grad.array, 2, shape, accumulate);
    out.check_apart(grad.array, static_cast<bool>(grad.copy), false);
    with_dtype(grad.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      embedding_backward<T>(grad.as<T>(), indices.data, indices.count, rows, shape[1], padding, to, accumulate, rung);
    });
    return out.finish();
  });
}

PyMethodDef methods[] = {
    {"embedding", fastcall(embedding_call), METH_FASTCALL, "embedding(weight, indices, out, variant)"},
    {"embedding_backward", fastcall(embedding_backward_call), METH_FASTCALL,
     "embedding_backward(grad, indices, num_embeddings, padding_idx, out, accumulate, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_embedding(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace dlkit
