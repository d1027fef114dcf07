// The arguments of recurrent layers, of the CPU and of devices: which cell, and which packed batch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "recurrent/recurrent.h"

namespace dlkit {

inline Cell cell_named(PyObject* object, const char* operation) {
  std::vector<std::string> names;
  std::string listing;
  for (int i = 0; i < static_cast<int>(Cell::count); ++i) {
    const char* name = traits(static_cast<Cell>(i)).name;
    if (PyUnicode_Check(object) && PyUnicode_CompareWithASCIIString(object, name) == 0) return static_cast<Cell>(i);
    listing += (names.empty() ? "" : ", ") + std::string(name);
    names.emplace_back(name);
  }
  fail(operation,
       "cell is " + std::string(py::repr(object)) + "; expected one of " + listing + suggestion(object, names));
}

inline std::vector<Index> batch_sizes_of(PyObject* object, const char* operation, Index rows) {
  std::vector<Index> sizes;
  // A tuple: nothing that runs while its elements are read can change it.
  const auto sequence = py::reinterpret_steal<py::object>(PySequence_Tuple(object));
  if (!sequence) {
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    throw py::type_error(std::string(operation) + ": batch_sizes is " + std::string(py::repr(object)) +
                         "; expected a sequence of integers");
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(sequence.ptr());
  sizes.reserve(static_cast<std::size_t>(count));
  Index total = 0;
  for (Py_ssize_t i = 0; i < count; ++i) {
    const Index size = as_integer(PyTuple_GET_ITEM(sequence.ptr(), i), operation, "batch_sizes");
    if (size < 1 || (i > 0 && size > sizes.back()))
      fail(operation, "batch_sizes[" + std::to_string(i) + "] is " + std::to_string(size) +
                          (size < 1 ? "; expected at least 1"
                                    : " after " + std::to_string(sizes.back()) + "; expected no increase"));
    if (size > rows - total)
      fail(operation, "batch_sizes up to batch_sizes[" + std::to_string(i) + "] add up to " +
                          std::to_string(static_cast<std::uint64_t>(total) + static_cast<std::uint64_t>(size)) +
                          "; expected the rows of x, " + std::to_string(rows));
    total += size;
    sizes.push_back(size);
  }
  if (total != rows || count == 0)
    fail(operation, "batch_sizes add up to " + std::to_string(total) + "; expected the rows of x, " +
                        std::to_string(rows) + ", and at least one");
  return sizes;
}

}  // namespace dlkit
