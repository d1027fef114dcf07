#include "conv/over_time.h"

#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/counters.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

void require_three(const ArrayArg& array, const char* expected) {
  if (array.ndim() != 3)
    array.fail(std::string(array.argument) + " is " + array.shape_text() + "; expected " + expected);
}

OverTimeShape shape_of(const char* operation, const ArrayArg& x, const ArrayArg& weight) {
  x.require_same_dtype(weight);
  require_three(x, "(N, L, C), time before channels");
  require_three(weight, "(F, C, K)");
  const auto *in = x.shape(), *kernel = weight.shape();
  const OverTimeShape s = {in[0], in[1], in[2], kernel[0], kernel[2]};
  if (kernel[1] != s.channels)
    fail(operation, "x is " + x.shape_text() + " but weight is " + weight.shape_text() + ": " +
                        std::to_string(s.channels) + " channels need a weight of as many, not " +
                        std::to_string(kernel[1]) + " (x has time before channels)");
  if (s.size < 1 || s.size > s.length)
    fail(operation, "x is " + x.shape_text() + " but weight is " + weight.shape_text() + ": a window of " +
                        std::to_string(s.size) + " does not fit into a length of " + std::to_string(s.length));
  if (s.length > kLongestTime)
    fail(operation, "x is " + x.shape_text() + "; expected a length of at most " + std::to_string(kLongestTime));
  return s;
}

bool by_definition(PyObject* object, const char* operation) {
  if (object == Py_None) return false;
  if (PyUnicode_Check(object)) {
    if (PyUnicode_CompareWithASCIIString(object, "naive") == 0) return true;
    if (PyUnicode_CompareWithASCIIString(object, "windows") == 0) return false;
  }
  fail(operation, "variant is " + std::string(py::repr(object)) + "; expected None, naive or windows");
}

// conv1d_max(x, weight, bias, variant) returns (y, place)
PyObject* conv_max_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  constexpr const char* kOperation = "conv1d_max";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, given, 4);
    const ArrayArg x(args[0], kOperation, "x"), weight(args[1], kOperation, "weight");
    const OverTimeShape s = shape_of(kOperation, x, weight);
    const OptionalInput bias(args[2], x, "bias", {s.filters});
    const bool naive = by_definition(args[3], kOperation);
    const Input x_in(x), weight_in(weight);
    const py::ssize_t shape[] = {static_cast<py::ssize_t>(s.n), static_cast<py::ssize_t>(s.filters)};
    Output out(Py_None, x, 2, shape);
    py::array_t<std::int64_t> place({shape[0], shape[1]});
    std::int64_t* const place_data = place.mutable_data();
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const OverTimeForward<T> problem = {s, x_in.as<T>(), weight_in.as<T>(), bias.as<T>(), out.as<T>(), place_data};
      if (s.n == 0 || s.filters == 0) return;
      count_work(
          static_cast<std::uint64_t>(s.flops()),
          static_cast<std::uint64_t>(s.n * (s.length * s.channels + s.filters) + s.filters * s.depth()) * sizeof(T));
      const ReleaseGil release;
      if (naive || s.channels == 0)
        naive::conv_max(problem);
      else
        conv_max(problem, threads);
    });
    py::object y = py::reinterpret_steal<py::object>(out.finish());
    return py::make_tuple(y, place).release().ptr();
  });
}

// conv1d_max_backward(grad, place, x, weight, by_x, with_bias, out, out_bias, accumulate, variant), where out is the
// gradient by the weight: None for a new array, False for no gradient at all; returns (dx, dweight, dbias)
PyObject* conv_max_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  constexpr const char* kOperation = "conv1d_max_backward";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, given, 10);
    const ArrayArg grad(args[0], kOperation, "grad"), x(args[2], kOperation, "x"),
        weight(args[3], kOperation, "weight");
    const OverTimeShape s = shape_of(kOperation, x, weight);
    x.require_same_dtype(grad);
    if (grad.ndim() != 2 || grad.shape()[0] != s.n || grad.shape()[1] != s.filters)
      grad.fail("grad is " + grad.shape_text() + "; expected (" + std::to_string(s.n) + ", " +
                std::to_string(s.filters) + "), the shape of the output");
    const auto place =
        py::array_t<std::int64_t, py::array::c_style>::ensure(py::reinterpret_borrow<py::object>(args[1]));
    if (!place) throw py::error_already_set();
    if (place.ndim() != 2 || place.shape(0) != s.n || place.shape(1) != s.filters)
      fail(kOperation, "place is " + shape_text(place.shape(), static_cast<int>(place.ndim())) + "; expected (" +
                           std::to_string(s.n) + ", " + std::to_string(s.filters) + ")");
    for (Index i = 0; i < s.n * s.filters; ++i)
      if (place.data()[i] < 0 || place.data()[i] >= s.windows())
        fail(kOperation,
             "place holds " + std::to_string(place.data()[i]) + "; expected 0 to " + std::to_string(s.windows() - 1));
    const bool by_x = as_bool(args[4]), by_weight = args[6] != Py_False, accumulate = as_bool(args[8]);
    const bool with_bias = by_weight && as_bool(args[5]);
    if (accumulate && (!by_weight || args[6] == Py_None || (with_bias && args[7] == Py_None)))
      fail(kOperation, "accumulate=True needs out and out_bias, the arrays to add to");
    const bool naive = by_definition(args[9], kOperation);
    const Input grad_in(grad), x_in(x), weight_in(weight);
    const py::ssize_t x_shape[] = {static_cast<py::ssize_t>(s.n), static_cast<py::ssize_t>(s.length),
                                   static_cast<py::ssize_t>(s.channels)};
    const py::ssize_t weight_shape[] = {static_cast<py::ssize_t>(s.filters), static_cast<py::ssize_t>(s.channels),
                                        static_cast<py::ssize_t>(s.size)};
    const py::ssize_t nothing = 0, filters = static_cast<py::ssize_t>(s.filters);
    Output dx(Py_None, x, by_x ? 3 : 1, by_x ? x_shape : &nothing);
    Output dweight(by_weight ? args[6] : Py_None, x, by_weight ? 3 : 1, by_weight ? weight_shape : &nothing,
                   accumulate);
    Output dbias(with_bias ? args[7] : Py_None, x, 1, with_bias ? &filters : &nothing, accumulate, "out_bias");
    const Extent places = {reinterpret_cast<const char*>(place.data()),
                           reinterpret_cast<const char*>(place.data() + place.size())};
    for (const Output* out : {&dweight, &dbias}) {
      out->check_apart(grad_in);
      out->check_apart(x_in);
      out->check_apart(weight_in);
      out->check_apart(places, "place");
    }
    dbias.check_apart(dweight);
    const std::int64_t* const place_data = place.data();
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const OverTimeBackward<T> problem = {s,
                                           grad_in.as<T>(),
                                           place_data,
                                           x_in.as<T>(),
                                           weight_in.as<T>(),
                                           by_x ? dx.as<T>() : nullptr,
                                           by_weight ? dweight.as<T>() : nullptr,
                                           with_bias ? dbias.as<T>() : nullptr,
                                           accumulate};
      const ReleaseGil release;
      if (naive || s.n == 0 || s.filters == 0 || s.channels == 0)
        naive::conv_max_backward(problem);
      else
        conv_max_backward(problem, threads);
    });
    py::object results[] = {py::reinterpret_steal<py::object>(dx.finish()),
                            py::reinterpret_steal<py::object>(dweight.finish()),
                            py::reinterpret_steal<py::object>(dbias.finish())};
    return py::make_tuple(by_x ? results[0] : py::none(), by_weight ? results[1] : py::none(),
                          with_bias ? results[2] : py::none())
        .release()
        .ptr();
  });
}

PyMethodDef methods[] = {
    {"conv1d_max", fastcall(conv_max_call), METH_FASTCALL, "conv1d_max(x, weight, bias, variant)"},
    {"conv1d_max_backward", fastcall(conv_max_backward_call), METH_FASTCALL,
     "conv1d_max_backward(grad, place, x, weight, by_x, with_bias, out, out_bias, accumulate, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_over_time(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace dlkit
