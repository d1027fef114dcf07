// Arguments as NumPy arrays: quick to inspect, and errors that name the operation, the argument, what was given and
// what was expected.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

namespace dlkit {

namespace py = pybind11;

enum class Dtype { float32, float64 };

// A borrowed NumPy array. Construction costs a few loads: no reference is taken, no attribute looked up.
struct ArrayArg {
  PyObject* object;
  const char* operation;
  const char* argument;
  Dtype dtype;

  // Throws py::type_error where `object` is not a NumPy array of native float32 or float64.
  ArrayArg(PyObject* object, const char* operation, const char* argument);

  int ndim() const { return py::detail::array_proxy(object)->nd; }
  const py::ssize_t* shape() const { return py::detail::array_proxy(object)->dimensions; }
  const py::ssize_t* strides() const { return py::detail::array_proxy(object)->strides; }  // bytes
  char* data() const { return py::detail::array_proxy(object)->data; }
  py::ssize_t item_size() const { return dtype == Dtype::float32 ? 4 : 8; }

  void require_writeable() const;
  void require_same_dtype(const ArrayArg& other) const;

  std::string shape_text() const;
  // "operation: " + text, as a ValueError.
  [[noreturn]] void fail(const std::string& text) const;
};

std::string shape_text(const py::ssize_t* shape, int ndim);
// " (did you mean 'x'?)" for the closest of `known`, or "" where none is close or `given` is no text.
std::string suggestion(py::handle given, const std::vector<std::string>& known);
const char* name(Dtype dtype);

// First and one past the last byte that an array touches; equal where it has no elements.
struct Extent {
  const char* begin;
  const char* end;
  bool overlaps(const Extent& other) const {
    return begin < other.end && other.begin < end && begin != end && other.begin != other.end;
  }
};
Extent extent(const ArrayArg& array);

// Whether an element of one array lies in memory of the other's. Exact where NumPy finds out quickly, as for two halves
// of one matrix; true where it does not.
bool share_memory(const ArrayArg& one, const ArrayArg& other);

// Whether two of the array's elements may share memory, as in a broadcast view: no place to write results to.
bool may_overlap_itself(const ArrayArg& array);

}  // namespace dlkit
