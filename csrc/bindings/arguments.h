// What the bindings of elementwise and row-wise kernels have in common: numbers, arrays to read and arrays to write, by
// position as Python's wrappers pass them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

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

// As Python's bool(object): a NumPy bool or an integer is one, too.
inline bool as_bool(PyObject* object) {
  if (object == Py_True) return true;
  if (object == Py_False) return false;
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw py::error_already_set();
  return truth == 1;
}

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

// A kernel of one or two dimensions, whose number Python's wrappers pass first: what errors call it.
struct Operation {
  int dims = 2;
  const char* name;

  constexpr explicit Operation(const char* in_two) : name(in_two) {}  // there is none in one dimension
  Operation(PyObject* given, const char* in_one, const char* in_two) {
    const std::int64_t number = as_integer(given, in_two, "dims");
    if (number != 1 && number != 2) fail(in_two, "dims is " + std::to_string(number) + "; expected 1 or 2");
    dims = static_cast<int>(number);
    name = dims == 1 ? in_one : in_two;
  }
};

constexpr std::int64_t kMostExtent = 0x7FFFFFFF;  // of an array or a window along an axis: products of two are exact

// An extent, a step or the like along an axis.
inline std::int64_t as_extent(PyObject* object, const char* operation, const char* argument, std::int64_t least) {
  const std::int64_t value = as_integer(object, operation, argument);
  if (value < least || value > kMostExtent)
    fail(operation, std::string(argument) + " is " + std::to_string(value) + "; expected " + std::to_string(least) +
                        (value > kMostExtent ? " to 2147483647" : " or more"));
  return value;
}

// The row of a table of variants that a text names, or null for None. Whether it takes the problem is another matter.
template <class Table>
const typename Table::value_type* variant_named(PyObject* object, const Table& table, const char* operation) {
  if (object == Py_None) return nullptr;
  if (PyUnicode_Check(object))
    for (const auto& variant : table)
      if (PyUnicode_CompareWithASCIIString(object, variant.name) == 0) return &variant;
  std::vector<std::string> names;
  std::string listing;
  for (const auto& variant : table) {
    listing += (names.empty() ? "" : ", ") + std::string(variant.name);
    names.emplace_back(variant.name);
  }
  fail(operation, "variant is " + std::string(py::repr(object)) + "; expected None or one of " + listing +
                      suggestion(object, names));
}

// (name, idea, needs) of each row of a table of variants.
template <class Table>
py::list ladder_of(const Table& table) {
  py::list rows;
  for (const auto& variant : table) rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
  return rows;
}

inline void require_shape(const ArrayArg& array, std::initializer_list<py::ssize_t> expected) {
  const int ndim = static_cast<int>(expected.size());
  if (array.ndim() != ndim || !std::equal(expected.begin(), expected.end(), array.shape()))
    array.fail(std::string(array.argument) + " is " + array.shape_text() + "; expected " +
               shape_text(expected.begin(), ndim));
}

// An array to read, as contiguous memory: its own where it is so, a copy's otherwise.
struct Input {
  ArrayArg array;
  py::object copy;

  explicit Input(const ArrayArg& given) : array(given) {
    if (!is_contiguous(array.object)) copy = contiguous_copy(array.object);
  }
  Input(PyObject* object, const char* operation, const char* argument) : Input(ArrayArg(object, operation, argument)) {}

  const void* data() const { return copy ? array_proxy(copy.ptr())->data : array.data(); }
  template <class T>
  const T* as() const {
    return static_cast<const T*>(data());
  }
};

// An array to read, of the dtype of `like`, or None.
class OptionalInput {
 public:
  OptionalInput(PyObject* object, const ArrayArg& like, const char* argument,
                std::initializer_list<py::ssize_t> expected) {
    if (object == Py_None) return;
    const ArrayArg array(object, like.operation, argument);
    like.require_same_dtype(array);
    require_shape(array, expected);
    input_.emplace(array);
  }
  const Input* get() const { return input_ ? &*input_ : nullptr; }
  template <class T>
  const T* as() const {
    return input_ ? input_->as<T>() : nullptr;
  }

 private:
  std::optional<Input> input_;
};

// An array to write: new, or the caller's `out`, by way of a contiguous one where that is not.
class Output {
 public:
  Output(PyObject* out, const ArrayArg& like, int nd, const py::ssize_t* shape, bool keep_contents = false,
         const char* argument = "out")
      : operation_(like.operation), argument_(argument) {
    if (out == Py_None) {
      result_ = new_array(like.dtype, nd, shape);
      return;
    }
    const ArrayArg given(out, like.operation, argument);
    like.require_same_dtype(given);
    if (given.ndim() != nd || !std::equal(shape, shape + nd, given.shape()))
      given.fail(std::string(argument) + " is " + given.shape_text() + "; expected " + shape_text(shape, nd));
    given.require_writeable();
    result_ = py::reinterpret_borrow<py::object>(out);
    extent_ = extent(given);
    if (is_contiguous(out)) {
      checked_ = true;
    } else {
      if (may_overlap_itself(given))
        given.fail(std::string(argument) +
                   " has elements that share memory; expected an array that owns each element once");
      temporary_ = keep_contents ? contiguous_copy(out) : new_array(like.dtype, nd, shape);
    }
  }

  // Throws where the kernel would write into `input` elsewhere than where it has just read.
  void check_apart(const ArrayArg& input, bool copied, bool may_be_same) const {
    if (!checked_ || copied) return;
    if (!extent_.overlaps(extent(input))) return;
    if (may_be_same && extent_.begin == input.data() && is_contiguous(input.object)) return;
    input.fail(std::string(argument_) + " overlaps " + input.argument + "; expected " +
               (may_be_same ? std::string(input.argument) + " itself or " : "") + "memory of its own");
  }
  void check_apart(const Input& input) const { check_apart(input.array, static_cast<bool>(input.copy), false); }
  void check_apart(const OptionalInput& input) const {
    if (input.get() != nullptr) check_apart(*input.get());
  }
  // From an input of another dtype, which a view may share memory with: as the kernel reads it.
  void check_apart(const Extent& input, const char* argument) const {
    if (checked_ && extent_.overlaps(input))
      fail(operation_, std::string(argument_) + " overlaps " + argument + "; expected memory of its own");
  }
  void check_apart(const Output& other) const {
    if (!extent_.overlaps(other.extent_)) return;
    if (share_memory(ArrayArg(result_.ptr(), operation_, argument_),
                     ArrayArg(other.result_.ptr(), operation_, other.argument_)))
      fail(operation_, std::string(argument_) + " overlaps " + other.argument_ + "; expected memory of its own");
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
  const char *operation_, *argument_;
  py::object result_, temporary_;
  Extent extent_ = {nullptr, nullptr};  // of the caller's array, empty for a new one
  bool checked_ = false;                // whether the kernel writes the caller's memory
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
