#include "bindings/arrays.h"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>

namespace dlkit {
namespace {

constexpr int kNumpyFloat = 11, kNumpyDouble = 12;  // NPY_FLOAT, NPY_DOUBLE

std::string type_text(PyObject* object) {
  const auto handle = py::handle(object);
  if (py::isinstance<py::array>(handle)) return std::string(py::str(handle.attr("dtype").attr("str")));
  return std::string(py::str(py::type::handle_of(handle).attr("__name__")));
}

}  // namespace

const char* name(Dtype dtype) { return dtype == Dtype::float32 ? "float32" : "float64"; }

std::string shape_text(const py::ssize_t* shape, int ndim) {
  std::string text = "(";
  for (int i = 0; i < ndim; ++i) text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + (ndim == 1 ? ",)" : ")");
}

std::string suggestion(py::handle given, const std::vector<std::string>& known) {
  if (!py::isinstance<py::str>(given)) return "";
  const py::list close = py::module_::import("difflib").attr("get_close_matches")(given, py::cast(known), 1, 0.5);
  return close.empty() ? "" : " (did you mean " + std::string(py::repr(close[0])) + "?)";
}

ArrayArg::ArrayArg(PyObject* given, const char* operation_name, const char* argument_name)
    : object(given), operation(operation_name), argument(argument_name), dtype(Dtype::float32) {
  // Texts are made only for errors: this runs for each array of each call.
  const auto where = [&] { return std::string(operation) + ": " + argument; };
  if (!py::detail::npy_api::get().PyArray_Check_(object))
    throw py::type_error(where() + " is a " + type_text(object) + "; expected a NumPy array of float32 or float64");
  const auto* proxy = py::detail::array_proxy(object);
  const auto descr = py::reinterpret_borrow<py::dtype>(proxy->descr);
  const int number = descr.num();
  if (number != kNumpyFloat && number != kNumpyDouble)
    throw py::type_error(where() + " has dtype " + std::string(py::str(descr)) + "; expected float32 or float64");
  dtype = number == kNumpyFloat ? Dtype::float32 : Dtype::float64;
  if (descr.byteorder() != '=' && descr.byteorder() != '|')
    throw py::type_error(where() + " has dtype " + type_text(object) +
                         " (byte-swapped); expected native float32 or float64: use " + argument + ".astype('" +
                         name(dtype) + "')");
  if ((proxy->flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_) == 0)
    fail(std::string(argument) + " is not aligned to its elements; use a copy of it");
  for (int i = 0; i < proxy->nd; ++i)
    if (proxy->dimensions[i] > 1 && proxy->strides[i] % item_size() != 0)
      fail(std::string(argument) + " has strides that are no multiple of its element size; use a copy of it");
}

void ArrayArg::require_writeable() const {
  if ((py::detail::array_proxy(object)->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) == 0)
    fail(std::string(argument) + " is read-only");
}

void ArrayArg::require_same_dtype(const ArrayArg& other) const {
  if (dtype != other.dtype)
    throw py::type_error(std::string(operation) + ": " + other.argument + " is " + dlkit::name(other.dtype) + " but " +
                         argument + " is " + dlkit::name(dtype) + "; expected one dtype");
}

std::string ArrayArg::shape_text() const { return dlkit::shape_text(shape(), ndim()); }

void ArrayArg::fail(const std::string& text) const { throw py::value_error(std::string(operation) + ": " + text); }

bool may_overlap_itself(const ArrayArg& array) {
  // Elements are apart if, with the dimensions ordered by stride, each steps over all that the smaller ones span.
  int order[64];
  int count = 0;
  for (int i = 0; i < array.ndim(); ++i) {
    if (array.shape()[i] == 0) return false;
    if (array.shape()[i] > 1) order[count++] = i;
  }
  const auto step = [&](int i) { return std::abs(array.strides()[i]); };
  std::sort(order, order + count, [&](int a, int b) { return step(a) < step(b); });
  py::ssize_t span = array.item_size();
  for (int n = 0; n < count; ++n) {
    if (step(order[n]) < span) return true;
    span += step(order[n]) * (array.shape()[order[n]] - 1);
  }
  return false;
}

Extent extent(const ArrayArg& array) {
  const char* begin = array.data();
  const char* end = begin + array.item_size();
  for (int i = 0; i < array.ndim(); ++i) {
    const py::ssize_t size = array.shape()[i], stride = array.strides()[i];
    if (size == 0) return {begin, begin};
    (stride < 0 ? begin : end) += (size - 1) * stride;
  }
  return {begin, end};
}

bool share_memory(const ArrayArg& one, const ArrayArg& other) {
  if (!extent(one).overlaps(extent(other))) return false;
  constexpr int kMaxWork = 1000;
  return py::module_::import("numpy")
      .attr("may_share_memory")(py::handle(one.object), py::handle(other.object), py::arg("max_work") = kMaxWork)
      .cast<bool>();
}

}  // namespace dlkit
