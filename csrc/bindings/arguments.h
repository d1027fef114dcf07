// What the bindings of elementwise and row-wise kernels have in common: numbers, arrays to read and arrays to write, by
// position as Python's wrappers pass them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>

#include "bindings/array_memory.h"
#include "bindings/arrays.h"
#include "layers/layers.h"

namespace dlkit {

using py::detail::array_proxy;
using py::detail::npy_api;

inline bool is_contiguous(PyObject* array) {
  return (array_proxy(array)->flags & npy_api::NPY_ARRAY_C_CONTIGUOUS_) != 0;
}

inline py::object contiguous_copy(PyObject* array) {
  PyObject* copy = npy_api::get().PyArray_NewCopy_(array, 0);  // NPY_CORDER
  if (copy == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(copy);
}

inline Index element_count(PyObject* array) {
  const auto* proxy = array_proxy(array);
  Index count = 1;
  for (int i = 0; i < proxy->nd; ++i) count *= proxy->dimensions[i];
  return count;
}

// A new array of a type's number, contents undefined. The product of its extents fits an address.
inline py::object new_array(int type, std::size_t item, int nd, const py::ssize_t* shape) {
  auto& api = npy_api::get();
  std::size_t bytes = item;
  for (int i = 0; i < nd; ++i) bytes *= static_cast<std::size_t>(shape[i]);
  const ArrayMemory memory(bytes);
  PyObject* descr = api.PyArray_DescrFromType_(type);
  PyObject* array = api.PyArray_NewFromDescr_(api.PyArray_Type_, descr, nd, reinterpret_cast<const Py_intptr_t*>(shape),
                                              nullptr, nullptr, 0, nullptr);
  if (array == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(array);
}

inline py::object new_array(Dtype dtype, int nd, const py::ssize_t* shape) {
  const bool single = dtype == Dtype::float32;
  return new_array(single ? npy_api::NPY_FLOAT_ : npy_api::NPY_DOUBLE_, single ? sizeof(float) : sizeof(double), nd,
                   shape);
}

inline void check_count(const char* operation, Py_ssize_t given, Py_ssize_t expected) {
  if (given != expected)
    throw py::type_error(std::string(operation) + ": takes " + std::to_string(expected) + " arguments, given " +
                         std::to_string(given));
}

inline double as_double(PyObject* object, const char* operation, const char* argument) {
  const double value = PyFloat_AsDouble(object);
  if (value == -1.0 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": " + argument + " is " + std::string(py::repr(object)) +
                         "; expected a number");
  }
  return value;
}

inline std::int64_t as_integer(PyObject* object, const char* operation, const char* argument) {
  const long long value = PyLong_AsLongLong(object);
  if (value == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": " + argument + " is " + std::string(py::repr(object)) +
                         "; expected an integer of 64 bits");
  }
  return value;
}

inline std::uint64_t as_unsigned(PyObject* object, const char* operation, const char* argument) {
  const unsigned long long value = PyLong_AsUnsignedLongLong(object);
  if (value == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": " + argument + " is " + std::string(py::repr(object)) +
                         "; expected an integer from 0 to 2^64 - 1");
  }
  return value;
}

inline bool as_bool(PyObject* object) { return object == Py_True; }

inline Rung as_rung(PyObject* object) {
  const std::int64_t index = as_integer(object, "layers", "variant");
  return index >= 0 && index < static_cast<int>(Rung::automatic) ? static_cast<Rung>(index) : Rung::automatic;
}

template <class Body>
void with_dtype(Dtype dtype, const Body& body) {
  if (dtype == Dtype::float32)
    body(float{});
  else
    body(double{});
}

[[noreturn]] inline void fail(const char* operation, const std::string& text) {
  throw py::value_error(std::string(operation) + ": " + text);
}

// An array to read, as contiguous memory: its own where it is so, a copy's otherwise.
struct Input {
  ArrayArg array;
  py::object copy;

  Input(PyObject* object, const char* operation, const char* argument) : array(object, operation, argument) {
    if (!is_contiguous(object)) copy = contiguous_copy(object);
  }

  const void* data() const { return copy ? array_proxy(copy.ptr())->data : array.data(); }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data());
  }
};

// An array to write: new, or the caller's `out`, by way of a contiguous one where that is not.
class Output {
 public:
  Output(PyObject* out, const ArrayArg& like, int nd, const py::ssize_t* shape, bool keep_contents = false) {
    if (out == Py_None) {
      result_ = new_array(like.dtype, nd, shape);
      return;
    }
    const ArrayArg given(out, like.operation, "out");
    like.require_same_dtype(given);
    if (given.ndim() != nd || !std::equal(shape, shape + nd, given.shape()))
      given.fail("out is " + given.shape_text() + "; expected " + shape_text(shape, nd));
    given.require_writeable();
    result_ = py::reinterpret_borrow<py::object>(out);
    if (is_contiguous(out)) {
      checked_ = true;
    } else {
      if (may_overlap_itself(given))
        given.fail("out has elements that share memory; expected an array that owns each element once");
      temporary_ = keep_contents ? contiguous_copy(out) : new_array(like.dtype, nd, shape);
    }
  }

  // Throws where the kernel would write into `input` elsewhere than where it has just read.
  void check_apart(const ArrayArg& input, bool copied, bool may_be_same) const {
    if (!checked_ || copied) return;
    const ArrayArg out(result_.ptr(), input.operation, "out");
    if (!extent(out).overlaps(extent(input))) return;
    if (may_be_same && out.data() == input.data() && is_contiguous(input.object)) return;
    input.fail(std::string("out overlaps ") + input.argument + "; expected " +
               (may_be_same ? std::string(input.argument) + " itself or " : "") + "memory of its own");
  }

  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(array_proxy(temporary_ ? temporary_.ptr() : result_.ptr())->data);
  }

  PyObject* finish() {
    if (temporary_ && npy_api::get().PyArray_CopyInto_(result_.ptr(), temporary_.ptr()) != 0)
      throw py::error_already_set();
    return result_.release().ptr();
  }

 private:
  py::object result_, temporary_;
  bool checked_ = false;  // whether the kernel writes the caller's memory
};

inline void require_same_shape(const ArrayArg& a, const ArrayArg& b) {
  if (a.ndim() != b.ndim() || !std::equal(a.shape(), a.shape() + a.ndim(), b.shape()))
    a.fail(std::string(a.argument) + " is " + a.shape_text() + " but " + b.argument + " is " + b.shape_text() +
           "; expected one shape");
}

// Last axis and the product of the others.
inline void rows_and_cols(const ArrayArg& array, Index& rows, Index& cols) {
  if (array.ndim() == 0) array.fail(std::string(array.argument) + " is a scalar; expected at least one dimension");
  cols = array.shape()[array.ndim() - 1];
  rows = 1;
  for (int i = 0; i + 1 < array.ndim(); ++i) rows *= array.shape()[i];
}

inline void check_setting(const char* operation, const char* argument, double value, bool ok, const char* expected) {
  if (!ok)
    fail(operation,
         std::string(argument) + " is " + std::string(py::repr(py::float_(value))) + "; expected " + expected);
}

inline bool finite_and_not_negative(double value) { return std::isfinite(value) && value >= 0; }

inline PyCFunction fastcall(PyObject* (*function)(PyObject*, PyObject* const*, Py_ssize_t)) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

}  // namespace dlkit
