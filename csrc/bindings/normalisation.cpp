#include <optional>
#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "layers/layers.h"

namespace dlkit {
namespace {

// A vector of one number for each column or channel, or None.
class OptionalVector {
 public:
  OptionalVector(PyObject* object, const ArrayArg& like, const char* argument, Index size) {
    if (object == Py_None) return;
    given_.emplace(object, like.operation, argument);
    like.require_same_dtype(given_->array);
    if (given_->array.ndim() != 1 || given_->array.shape()[0] != size)
      given_->array.fail(std::string(argument) + " is " + given_->array.shape_text() + " but " + like.argument +
                         " is " + like.shape_text() + "; expected " + shape_text(&size, 1));
  }
  template <class T>
  const T* as() const {
    return given_ ? given_->as<T>() : nullptr;
  }
  const Input* input() const { return given_ ? &*given_ : nullptr; }

 private:
  std::optional<Input> given_;
};

// Statistics, of a shape that follows from that of x.
Input statistics(PyObject* object, const ArrayArg& x, const char* argument, int nd, const py::ssize_t* shape) {
  Input given(object, x.operation, argument);
  x.require_same_dtype(given.array);
  if (given.array.ndim() != nd || !std::equal(shape, shape + nd, given.array.shape()))
    given.array.fail(std::string(argument) + " is " + given.array.shape_text() + " but x is " + x.shape_text() +
                     "; expected " + shape_text(shape, nd));
  return given;
}

double as_eps(PyObject* object, const char* operation) {
  const double eps = as_double(object, operation, "eps");
  check_setting(operation, "eps", eps, finite_and_not_negative(eps), "0 or more");
  return eps;
}

// A tuple of three, which takes the references over.
PyObject* three(PyObject* first, py::object second, py::object third) {
  PyObject* result = PyTuple_New(3);
  if (result == nullptr) {
    Py_DECREF(first);
    throw py::error_already_set();
  }
  PyTuple_SET_ITEM(result, 0, first);
  PyTuple_SET_ITEM(result, 1, second.release().ptr());
  PyTuple_SET_ITEM(result, 2, third.release().ptr());
  return result;
}

template <class T>
T* data_of(const py::object& array) {
  return array.is_none() ? nullptr : reinterpret_cast<T*>(array_proxy(array.ptr())->data);
}

// (N, C) or (N, C, ...)
ChannelShape channels_of(const ArrayArg& x) {
  if (x.ndim() < 2)
    x.fail(std::string(x.argument) + " is " + x.shape_text() + "; expected (N, C) or (N, C, ...), C channels");
  ChannelShape shape = {x.shape()[0], x.shape()[1], 1};
  for (int i = 2; i < x.ndim(); ++i) shape.inner *= x.shape()[i];
  return shape;
}

// layer_norm(x, weight, bias, eps, out, variant)
PyObject* layer_norm_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "layer_norm";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 6);
    const Input x(args[0], kOperation, "x");
    Index rows, cols;
    rows_and_cols(x.array, rows, cols);
    const OptionalVector weight(args[1], x.array, "weight", cols), bias(args[2], x.array, "bias", cols);
    const double eps = as_eps(args[3], kOperation);
    const Rung rung = as_rung(args[5]);
    Output out(args[4], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    for (const Input* vector : {weight.input(), bias.input()})
      if (vector != nullptr) out.check_apart(vector->array, static_cast<bool>(vector->copy), false);
    py::object mean = new_array(x.array.dtype, x.array.ndim() - 1, x.array.shape());
    py::object rstd = new_array(x.array.dtype, x.array.ndim() - 1, x.array.shape());
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T *to = out.as<T>(), *means = data_of<T>(mean), *rstds = data_of<T>(rstd);
      const ReleaseGil release;
      layer_norm<T>(x.as<T>(), weight.as<T>(), bias.as<T>(), to, means, rstds, rows, cols, static_cast<T>(eps), rung);
    });
    return three(out.finish(), std::move(mean), std::move(rstd));
  });
}

// What layer_norm_backward and batch_norm_backward have in common.
// (grad, x, mean, rstd, weight, need_weight, need_bias, variant)
class Backward {
 public:
  Backward(PyObject* const* args, const char* operation)
      : grad(args[0], operation, "grad"), x(args[1], operation, "x"), args_(args) {
    grad.array.require_same_dtype(x.array);
    require_same_shape(grad.array, x.array);
  }

  // compute(work) of a NormGradient; statistics are of the given shape, weight and bias of `size`.
  template <class Compute>
  PyObject* run(int nd, const py::ssize_t* shape, Index size, const Compute& compute) const {
    const Input mean = statistics(args_[2], x.array, "mean", nd, shape);
    const Input rstd = statistics(args_[3], x.array, "rstd", nd, shape);
    const OptionalVector weight(args_[4], x.array, "weight", size);
    const Dtype dtype = x.array.dtype;
    py::object dx = new_array(dtype, x.array.ndim(), x.array.shape());
    const py::ssize_t sizes[] = {static_cast<py::ssize_t>(size)};
    py::object dweight = as_bool(args_[5]) ? new_array(dtype, 1, sizes) : py::none();
    py::object dbias = as_bool(args_[6]) ? new_array(dtype, 1, sizes) : py::none();
    with_dtype(dtype, [&](auto zero) {
      using T = decltype(zero);
      const NormGradient<T> work = {grad.as<T>(), x.as<T>(),      weight.as<T>(),      mean.as<T>(),
                                    rstd.as<T>(), data_of<T>(dx), data_of<T>(dweight), data_of<T>(dbias)};
      const ReleaseGil release;
      compute(work);
    });
    return three(dx.release().ptr(), std::move(dweight), std::move(dbias));
  }

  Input grad, x;

 private:
  PyObject* const* args_;
};

PyObject* layer_norm_backward_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "layer_norm_backward";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 8);
    const Backward arguments(args, kOperation);
    const ArrayArg& x = arguments.x.array;
    Index rows, cols;
    rows_and_cols(x, rows, cols);
    const Rung rung = as_rung(args[7]);
    return arguments.run(x.ndim() - 1, x.shape(), cols,
                         [&](const auto& work) { layer_norm_backward(work, rows, cols, rung); });
  });
}

// batch_norm(x, weight, bias, eps, out, variant)
PyObject* batch_norm_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "batch_norm";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 6);
    const Input x(args[0], kOperation, "x");
    const ChannelShape shape = channels_of(x.array);
    const OptionalVector weight(args[1], x.array, "weight", shape.channels);
    const OptionalVector bias(args[2], x.array, "bias", shape.channels);
    const double eps = as_eps(args[3], kOperation);
    const Rung rung = as_rung(args[5]);
    Output out(args[4], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    for (const Input* vector : {weight.input(), bias.input()})
      if (vector != nullptr) out.check_apart(vector->array, static_cast<bool>(vector->copy), false);
    const py::ssize_t channels[] = {x.array.shape()[1]};
    py::object mean = new_array(x.array.dtype, 1, channels), rstd = new_array(x.array.dtype, 1, channels);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T *to = out.as<T>(), *means = data_of<T>(mean), *rstds = data_of<T>(rstd);
      const ReleaseGil release;
      batch_norm<T>(x.as<T>(), weight.as<T>(), bias.as<T>(), to, means, rstds, shape, static_cast<T>(eps), rung);
    });
    return three(out.finish(), std::move(mean), std::move(rstd));
  });
}

// batch_norm_apply(x, mean, var, weight, bias, eps, out, variant)
PyObject* batch_norm_apply_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "batch_norm_apply";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 8);
    const Input x(args[0], kOperation, "x");
    const ChannelShape shape = channels_of(x.array);
    const Input mean = statistics(args[1], x.array, "mean", 1, x.array.shape() + 1);
    const Input var = statistics(args[2], x.array, "var", 1, x.array.shape() + 1);
    const OptionalVector weight(args[3], x.array, "weight", shape.channels);
    const OptionalVector bias(args[4], x.array, "bias", shape.channels);
    const double eps = as_eps(args[5], kOperation);
    const Rung rung = as_rung(args[7]);
    Output out(args[6], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    for (const Input* vector : {&mean, &var, weight.input(), bias.input()})
      if (vector != nullptr) out.check_apart(vector->array, static_cast<bool>(vector->copy), false);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      batch_norm_apply<T>(x.as<T>(), mean.as<T>(), var.as<T>(), weight.as<T>(), bias.as<T>(), to, shape,
                          static_cast<T>(eps), rung);
    });
    return out.finish();
  });
}

PyObject* batch_norm_backward_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "batch_norm_backward";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 8);
    const Backward arguments(args, kOperation);
    const ArrayArg& x = arguments.x.array;
    const ChannelShape shape = channels_of(x);
    const Rung rung = as_rung(args[7]);
    return arguments.run(1, x.shape() + 1, shape.channels,
                         [&](const auto& work) { batch_norm_backward(work, shape, rung); });
  });
}

PyMethodDef methods[] = {
    {"layer_norm", fastcall(layer_norm_call), METH_FASTCALL, "layer_norm(x, weight, bias, eps, out, variant)"},
    {"layer_norm_backward", fastcall(layer_norm_backward_call), METH_FASTCALL,
     "layer_norm_backward(grad, x, mean, rstd, weight, need_weight, need_bias, variant)"},
    {"batch_norm", fastcall(batch_norm_call), METH_FASTCALL, "batch_norm(x, weight, bias, eps, out, variant)"},
    {"batch_norm_apply", fastcall(batch_norm_apply_call), METH_FASTCALL,
     "batch_norm_apply(x, mean, var, weight, bias, eps, out, variant)"},
    {"batch_norm_backward", fastcall(batch_norm_backward_call), METH_FASTCALL,
     "batch_norm_backward(grad, x, mean, rstd, weight, need_weight, need_bias, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_normalisation(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace dlkit
