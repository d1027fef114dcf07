#include "layers/layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/philox.h"

namespace dlkit {
namespace {

bool is_fortran_contiguous(PyObject* array) {
  return (array_proxy(array)->flags & npy_api::NPY_ARRAY_F_CONTIGUOUS_) != 0;
}

// A matrix to read, rows at any distance.
struct RowInput {
  ArrayArg array;
  py::object copy;
  Index rows = 0, cols = 0, row_stride = 0;

  RowInput(PyObject* object, const char* operation, const char* argument, const char* axes)
      : array(object, operation, argument) {
    if (array.ndim() != 2) array.fail(std::string(argument) + " is " + array.shape_text() + "; expected " + axes);
    rows = array.shape()[0];
    cols = array.shape()[1];
    if (rows > 0 && cols > 1 && array.strides()[1] != array.item_size()) copy = contiguous_copy(object);
    row_stride = copy ? cols : array.strides()[0] / array.item_size();
  }

  template <class T>
  const T* as() const {
    return reinterpret_cast<const T*>(copy ? array_proxy(copy.ptr())->data : array.data());
  }
  bool is_own_memory() const { return !copy; }
};

ActivationKind as_kind(PyObject* object) {
  const std::int64_t index = as_integer(object, "activation", "kind");
  if (index < 0 || index >= kActivations)
    fail("activation", "kind is " + std::to_string(index) + "; expected 0 to " + std::to_string(kActivations - 1));
  return static_cast<ActivationKind>(index);
}

// activation(x, kind, out, alpha, variant)
PyObject* activation_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("activation", count, 5);
    const ActivationKind kind = as_kind(args[1]);
    const char* operation = name(kind);
    const Input x(args[0], operation, "x");
    const double alpha = as_double(args[3], operation, "alpha");
    const Rung rung = as_rung(args[4]);
    Output out(args[2], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    const Index n = element_count(args[0]);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      activation<T>(kind, x.as<T>(), to, n, static_cast<T>(alpha), rung);
    });
    return out.finish();
  });
}

// activation_backward(grad, kind, saved, saved_name, out, alpha, variant)
PyObject* activation_backward_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("activation_backward", count, 7);
    const ActivationKind kind = as_kind(args[1]);
    const std::string operation = std::string(name(kind)) + "_backward";
    const char* saved_name = PyUnicode_AsUTF8(args[3]);
    if (saved_name == nullptr) throw py::error_already_set();
    const Input grad(args[0], operation.c_str(), "grad"), saved(args[2], operation.c_str(), saved_name);
    grad.array.require_same_dtype(saved.array);
    require_same_shape(grad.array, saved.array);
    const double alpha = as_double(args[5], operation.c_str(), "alpha");
    const Rung rung = as_rung(args[6]);
    Output out(args[4], grad.array, grad.array.ndim(), grad.array.shape());
    out.check_apart(grad.array, static_cast<bool>(grad.copy), true);
    out.check_apart(saved.array, static_cast<bool>(saved.copy), true);
    const Index n = element_count(args[0]);
    with_dtype(grad.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      activation_backward<T>(kind, grad.as<T>(), saved.as<T>(), to, n, static_cast<T>(alpha), rung);
    });
    return out.finish();
  });
}

// softmax(x, out, logarithm, variant)
PyObject* softmax_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("softmax", count, 4);
    const bool logarithm = as_bool(args[2]);
    const Input x(args[0], logarithm ? "log_softmax" : "softmax", "x");
    Index rows, cols;
    rows_and_cols(x.array, rows, cols);
    const Rung rung = as_rung(args[3]);
    Output out(args[1], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      softmax<T>(x.as<T>(), cols, to, rows, cols, logarithm, rung);
    });
    return out.finish();
  });
}

// softmax_backward(grad, y, out, logarithm, variant)
PyObject* softmax_backward_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("softmax_backward", count, 5);
    const bool logarithm = as_bool(args[3]);
    const char* operation = logarithm ? "log_softmax_backward" : "softmax_backward";
    const Input grad(args[0], operation, "grad"), y(args[1], operation, "y");
    grad.array.require_same_dtype(y.array);
    require_same_shape(grad.array, y.array);
    Index rows, cols;
    rows_and_cols(grad.array, rows, cols);
    const Rung rung = as_rung(args[4]);
    Output out(args[2], grad.array, grad.array.ndim(), grad.array.shape());
    out.check_apart(grad.array, static_cast<bool>(grad.copy), true);
    out.check_apart(y.array, static_cast<bool>(y.copy), true);
    with_dtype(grad.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      softmax_backward<T>(grad.as<T>(), y.as<T>(), to, rows, cols, logarithm, rung);
    });
    return out.finish();
  });
}

// Class indices: any integer dtype, byte order and strides.
struct Labels {
  py::object holder;
  const std::int64_t* data = nullptr;

  Labels(PyObject* object, const ArrayArg& logits, std::int64_t ignore_index) {
    const char* operation = logits.operation;
    auto& api = npy_api::get();
    if (!api.PyArray_Check_(object))
      throw py::type_error(std::string(operation) + ": labels is a " +
                           std::string(py::str(py::type::handle_of(object).attr("__name__"))) +
                           "; expected an array of integers");
    const auto descr = py::reinterpret_borrow<py::dtype>(array_proxy(object)->descr);
    const char kind = descr.kind();
    const Index rows = logits.shape()[0], cols = logits.shape()[1];
    if (kind != 'i' && kind != 'u') {
      if (kind == 'f') refuse_nan(object, operation);
      throw py::type_error(std::string(operation) + ": labels has dtype " + std::string(py::str(descr)) +
                           "; expected integers, the index of each row's class");
    }
    if (array_proxy(object)->nd != 1 || array_proxy(object)->dimensions[0] != rows)
      fail(operation, "labels is " + shape_text(array_proxy(object)->dimensions, array_proxy(object)->nd) +
                          " but logits is " + logits.shape_text() + "; expected " + shape_text(&rows, 1) +
                          ", a class for each row");
    const bool plain =
        descr.num() == npy_api::NPY_INT64_ && descr.byteorder() == '=' &&
        (array_proxy(object)->flags & (npy_api::NPY_ARRAY_ALIGNED_ | npy_api::NPY_ARRAY_C_CONTIGUOUS_)) ==
            (npy_api::NPY_ARRAY_ALIGNED_ | npy_api::NPY_ARRAY_C_CONTIGUOUS_);
    if (plain) {
      data = reinterpret_cast<const std::int64_t*>(array_proxy(object)->data);
    } else {
      holder = py::array_t<std::int64_t, py::array::c_style | py::array::forcecast>::ensure(
          py::reinterpret_borrow<py::object>(object));
      if (!holder) throw py::error_already_set();
      data = reinterpret_cast<const std::int64_t*>(array_proxy(holder.ptr())->data);
    }
    for (Index i = 0; i < rows; ++i)
      if (static_cast<std::uint64_t>(data[i]) >= static_cast<std::uint64_t>(cols) && data[i] != ignore_index)
        fail(operation,
             "labels[" + std::to_string(i) + "] is " +
                 (kind == 'u' ? std::to_string(static_cast<std::uint64_t>(data[i])) : std::to_string(data[i])) +
                 "; expected 0 to " + std::to_string(cols - 1) + " (logits is " + logits.shape_text() +
                 ") or ignore_index " + std::to_string(ignore_index));
  }

  static void refuse_nan(PyObject* object, const char* operation) {
    const auto values = py::array_t<double, py::array::c_style | py::array::forcecast>::ensure(
        py::reinterpret_borrow<py::object>(object));
    if (!values) throw py::error_already_set();
    for (py::ssize_t i = 0; i < values.size(); ++i)
      if (std::isnan(values.data()[i]))
        fail(operation, "labels[" + std::to_string(i) + "] is nan; expected integers, the index of each row's class");
  }
};

enum class Reduction { none, sum, mean };

// The losses of rows as one number, an array of no dimensions, added up in double.
template <class T>
py::object reduced(const T* losses, Index rows, double scale, Dtype dtype) {
  double total = 0;
  for (Index i = 0; i < rows; ++i) total += static_cast<double>(losses[i]);
  py::object result = new_array(dtype, 0, nullptr);
  *reinterpret_cast<T*>(array_proxy(result.ptr())->data) = static_cast<T>(total * scale);
  return result;
}

// cross_entropy(logits, labels, need_grad, grad_scale, label_smoothing, ignore_index, out, variant, reduction)
PyObject* cross_entropy_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "cross_entropy";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 9);
    const RowInput logits(args[0], kOperation, "logits", "(N, C), a row of class scores for each sample");
    const bool need_grad = as_bool(args[2]);
    double grad_scale = as_double(args[3], kOperation, "grad_scale");
    const double smoothing = as_double(args[4], kOperation, "label_smoothing");
    if (!(smoothing >= 0 && smoothing <= 1))
      fail(kOperation, "label_smoothing is " + std::to_string(smoothing) + "; expected 0 to 1");
    const std::int64_t ignore_index = as_integer(args[5], kOperation, "ignore_index");
    if (logits.cols == 0 && logits.rows > 0)
      fail(kOperation, "logits is " + logits.array.shape_text() + "; expected at least one class");
    const Labels labels(args[1], logits.array, ignore_index);
    const Rung rung = as_rung(args[7]);
    const auto reduction = static_cast<Reduction>(as_integer(args[8], kOperation, "reduction"));
    double loss_scale = 1;
    if (reduction == Reduction::mean) {
      const auto counted = logits.rows - std::count(labels.data, labels.data + logits.rows, ignore_index);
      loss_scale = 1 / static_cast<double>(counted);                // of no rows: 0 / 0, not a number, as in PyTorch
      if (counted > 0) grad_scale /= static_cast<double>(counted);  // else all of the gradient is 0
    }
    if (!need_grad && args[6] != Py_None)
      fail(kOperation, "out is given but need_grad is False; out holds the gradient");
    py::object losses = new_array(logits.array.dtype, 1, logits.array.shape());
    const auto compute = [&](void* grad) {
      with_dtype(logits.array.dtype, [&](auto zero) {
        using T = decltype(zero);
        CrossEntropy<T> work;
        work.logits = logits.as<T>();
        work.row_stride = logits.row_stride;
        work.labels = labels.data;
        work.rows = logits.rows;
        work.cols = logits.cols;
        work.label_smoothing = static_cast<T>(smoothing);
        work.ignore_index = ignore_index;
        work.grad_scale = static_cast<T>(grad_scale);
        work.losses = reinterpret_cast<T*>(array_proxy(losses.ptr())->data);
        work.grad = static_cast<T*>(grad);
        {
          const ReleaseGil release;
          cross_entropy<T>(work, rung);
        }
        if (reduction != Reduction::none) losses = reduced(work.losses, work.rows, loss_scale, logits.array.dtype);
      });
    };
    PyObject* result = PyTuple_New(2);
    if (result == nullptr) throw py::error_already_set();
    const auto holder = py::reinterpret_steal<py::object>(result);
    PyObject* grad = Py_None;
    if (need_grad) {
      Output out(args[6], logits.array, 2, logits.array.shape());
      out.check_apart(logits.array, !logits.is_own_memory(), true);
      compute(out.as<char>());
      grad = out.finish();
    } else {
      compute(nullptr);
      Py_INCREF(grad);
    }
    PyTuple_SET_ITEM(result, 0, losses.release().ptr());
    PyTuple_SET_ITEM(result, 1, grad);
    Py_INCREF(result);
    return result;
  });
}

// dropout(x, p, seed, offset, out, variant)
PyObject* dropout_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "dropout";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 6);
    const Input x(args[0], kOperation, "x");
    const double p = as_double(args[1], kOperation, "p");
    if (!(p >= 0 && p <= 1)) fail(kOperation, "p is " + std::to_string(p) + "; expected 0 to 1");
    const std::uint64_t seed = as_unsigned(args[2], kOperation, "seed");
    const std::uint64_t offset = as_unsigned(args[3], kOperation, "offset");
    const Rung rung = as_rung(args[5]);
    Output out(args[4], x.array, x.array.ndim(), x.array.shape());
    out.check_apart(x.array, static_cast<bool>(x.copy), true);
    const Index n = element_count(args[0]);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      dropout<T>(x.as<T>(), to, n, p, seed, offset, rung);
    });
    return out.finish();
  });
}

// column_sum(x, out, accumulate, variant)
PyObject* column_sum_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "column_sum";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 4);
    const RowInput x(args[0], kOperation, "x", "a matrix (M, N)");
    const bool accumulate = as_bool(args[2]);
    const Rung rung = as_rung(args[3]);
    if (accumulate && args[1] == Py_None) fail(kOperation, "accumulate=True needs out, the array to add to");
    const py::ssize_t cols = x.cols;
    Output out(args[1], x.array, 1, &cols, accumulate);
    out.check_apart(x.array, !x.is_own_memory(), false);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* to = out.as<T>();
      const ReleaseGil release;
      column_sum<T>(x.as<T>(), x.row_stride, x.rows, x.cols, to, accumulate, rung);
    });
    return out.finish();
  });
}

// Lists of arrays of one length: parameters, their gradients, their optimizer state. Arrays that are not contiguous
// are worked on in a copy, which is copied back where it was written.
class ParameterLists {
 public:
  struct List {
    PyObject* object;
    const char* name;
    bool written;
  };
  enum Role { kValue, kGrad, kFirst, kSecond, kRoles };

  // lists[kValue] must be there; others may be null or None.
  ParameterLists(const char* operation, const List (&lists)[kRoles]) : operation_(operation) {
    py::object fast[kRoles];
    Py_ssize_t count = 0;
    for (int role = 0; role < kRoles; ++role) {
      if (lists[role].object == nullptr || lists[role].object == Py_None) continue;
      PyObject* items = PySequence_Fast(lists[role].object, "");
      if (items == nullptr || py::detail::npy_api::get().PyArray_Check_(lists[role].object)) {
        PyErr_Clear();
        Py_XDECREF(items);
        throw py::type_error(std::string(operation) + ": " + lists[role].name + " is a " +
                             std::string(py::str(py::type::handle_of(lists[role].object).attr("__name__"))) +
                             "; expected a list of arrays");
      }
      fast[role] = py::reinterpret_steal<py::object>(items);
      const Py_ssize_t length = PySequence_Fast_GET_SIZE(items);
      if (role == kValue)
        count = length;
      else if (length != count)
        fail(operation, std::string(lists[kValue].name) + " has " + std::to_string(count) + " arrays but " +
                            lists[role].name + " has " + std::to_string(length));
    }
    spans_.reserve(static_cast<std::size_t>(count) * kRoles);
    floats_.reserve(static_cast<std::size_t>(count));
    for (Py_ssize_t i = 0; i < count; ++i) {
      PyObject* objects[kRoles] = {};
      for (int role = 0; role < kRoles; ++role)
        if (fast[role]) objects[role] = PySequence_Fast_GET_ITEM(fast[role].ptr(), i);
      add(lists, objects, i);
    }
    check_apart(lists);
    // The lists may be changed by another thread once the GIL is released: the arrays must live until the end.
    for (auto& list : fast)
      if (list) keep_list(list.ptr(), count);
  }

  template <class Body>
  void run(const Body& body) {
    {
      const ReleaseGil release;
      if (!floats_.empty()) body(floats_);
      if (!doubles_.empty()) body(doubles_);
    }
    for (auto& [original, copy] : write_back_)
      if (npy_api::get().PyArray_CopyInto_(original.ptr(), copy.ptr()) != 0) throw py::error_already_set();
  }

 private:
  struct Span {
    Extent extent;
    int role;
    Py_ssize_t index;
  };

  std::string name_of(const List (&lists)[kRoles], int role, Py_ssize_t index) const {
    return std::string(lists[role].name) + "[" + std::to_string(index) + "]";
  }

  void add(const List (&lists)[kRoles], PyObject* const (&objects)[kRoles], Py_ssize_t index) {
    char* data[kRoles] = {};
    Dtype dtype = Dtype::float32;
    bool all_c = true, all_f = true;
    const auto* shape_of = objects[kValue];
    for (int role = 0; role < kRoles; ++role) {
      if (objects[role] == nullptr) continue;
      const ArrayArg array = checked_array(lists, objects[role], role, index);
      if (role == kValue) dtype = array.dtype;
      const auto* proxy = array_proxy(objects[role]);
      const auto* value = array_proxy(const_cast<PyObject*>(shape_of));
      if (array.dtype != dtype)
        throw py::type_error(std::string(operation_) + ": " + name_of(lists, role, index) + " is " + name(array.dtype) +
                             " but " + name_of(lists, kValue, index) + " is " + name(dtype) + "; expected one dtype");
      if (proxy->nd != value->nd || !std::equal(proxy->dimensions, proxy->dimensions + proxy->nd, value->dimensions))
        fail(operation_, name_of(lists, role, index) + " is " + array.shape_text() + " but " +
                             name_of(lists, kValue, index) + " is " + shape_text(value->dimensions, value->nd) +
                             "; expected one shape");
      if (lists[role].written && (proxy->flags & npy_api::NPY_ARRAY_WRITEABLE_) == 0)
        fail(operation_, name_of(lists, role, index) + " is read-only");
      all_c = all_c && is_contiguous(objects[role]);
      all_f = all_f && is_fortran_contiguous(objects[role]);
      data[role] = proxy->data;
      spans_.push_back({extent(array), role, index});
    }
    if (!all_c && !all_f)
      for (int role = 0; role < kRoles; ++role) {
        if (objects[role] == nullptr || is_contiguous(objects[role])) continue;
        if (lists[role].written && may_overlap_itself(ArrayArg(objects[role], operation_, lists[role].name)))
          fail(operation_, name_of(lists, role, index) + " has elements that share memory");
        py::object copy = contiguous_copy(objects[role]);
        data[role] = array_proxy(copy.ptr())->data;
        if (lists[role].written) write_back_.emplace_back(py::reinterpret_borrow<py::object>(objects[role]), copy);
        kept_.push_back(std::move(copy));
      }
    const Index n = element_count(objects[kValue]);
    if (dtype == Dtype::float32)
      floats_.push_back(part<float>(data, n));
    else
      doubles_.push_back(part<double>(data, n));
  }

  ArrayArg checked_array(const List (&lists)[kRoles], PyObject* object, int role, Py_ssize_t index) const {
    try {
      return ArrayArg(object, operation_, lists[role].name);
    } catch (const py::type_error&) {
      const std::string name = name_of(lists, role, index);
      return ArrayArg(object, operation_, name.c_str());  // the same error, with the index
    }
  }

  template <class T>
  static Parameter<T> part(char* const (&data)[kRoles], Index n) {
    return {reinterpret_cast<T*>(data[kValue]), reinterpret_cast<const T*>(data[kGrad]),
            reinterpret_cast<T*>(data[kFirst]), reinterpret_cast<T*>(data[kSecond]), n};
  }

  // Nothing that is written may share memory with anything else.
  void check_apart(const List (&lists)[kRoles]) {
    std::sort(spans_.begin(), spans_.end(),
              [](const Span& a, const Span& b) { return a.extent.begin < b.extent.begin; });
    const Span *furthest = nullptr, *furthest_written = nullptr;
    for (const Span& span : spans_) {
      if (span.extent.begin == span.extent.end) continue;
      const bool written = lists[span.role].written;
      const Span* before = written ? furthest : furthest_written;
      if (before != nullptr && span.extent.begin < before->extent.end)
        fail(operation_, name_of(lists, span.role, span.index) + " shares memory with " +
                             name_of(lists, before->role, before->index) + "; expected memory of its own");
      if (furthest == nullptr || span.extent.end > furthest->extent.end) furthest = &span;
      if (written && (furthest_written == nullptr || span.extent.end > furthest_written->extent.end))
        furthest_written = &span;
    }
  }

  void keep_list(PyObject* list, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; ++i)
      kept_.push_back(py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(list, i)));
  }

  const char* operation_;
  std::vector<Parameter<float>> floats_;
  std::vector<Parameter<double>> doubles_;
  std::vector<Span> spans_;
  std::vector<py::object> kept_;
  std::vector<std::pair<py::object, py::object>> write_back_;
};

// sgd_step(params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov, first, variant)
PyObject* sgd_step_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "sgd_step";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 10);
    SgdSettings settings;
    settings.lr = as_double(args[3], kOperation, "lr");
    settings.momentum = as_double(args[4], kOperation, "momentum");
    settings.dampening = as_double(args[5], kOperation, "dampening");
    settings.weight_decay = as_double(args[6], kOperation, "weight_decay");
    settings.nesterov = as_bool(args[7]);
    settings.first_step = as_bool(args[8]);
    check_setting(kOperation, "lr", settings.lr, std::isfinite(settings.lr), "a finite number");
    check_setting(kOperation, "momentum", settings.momentum, finite_and_not_negative(settings.momentum), "0 or more");
    check_setting(kOperation, "dampening", settings.dampening, std::isfinite(settings.dampening), "a finite number");
    check_setting(kOperation, "weight_decay", settings.weight_decay, finite_and_not_negative(settings.weight_decay),
                  "0 or more");
    if (settings.momentum != 0 && args[2] == Py_None)
      fail(kOperation, "momentum is not 0 but velocities is None; expected a list of arrays to keep them in");
    if (settings.nesterov && (settings.momentum == 0 || settings.dampening != 0))
      fail(kOperation, "nesterov=True needs a momentum above 0 and no dampening");
    const Rung rung = as_rung(args[9]);
    ParameterLists lists(kOperation, {{args[0], "params", true},
                                      {args[1], "grads", false},
                                      {settings.momentum == 0 ? nullptr : args[2], "velocities", true},
                                      {nullptr, "", false}});
    lists.run([&](const auto& parameters) { sgd_step(parameters, settings, rung); });
    Py_RETURN_NONE;
  });
}

// adam_step(params, grads, exp_avgs, exp_avg_sqs, step, lr, beta1, beta2, eps, weight_decay, decoupled, variant)
PyObject* adam_step_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "adam_step";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 12);
    AdamSettings settings;
    settings.step = as_integer(args[4], kOperation, "step");
    settings.lr = as_double(args[5], kOperation, "lr");
    settings.beta1 = as_double(args[6], kOperation, "beta1");
    settings.beta2 = as_double(args[7], kOperation, "beta2");
    settings.eps = as_double(args[8], kOperation, "eps");
    settings.weight_decay = as_double(args[9], kOperation, "weight_decay");
    settings.decoupled = as_bool(args[10]);
    if (settings.step < 1) fail(kOperation, "step is " + std::to_string(settings.step) + "; expected 1 or more");
    check_setting(kOperation, "lr", settings.lr, std::isfinite(settings.lr), "a finite number");
    check_setting(kOperation, "beta1", settings.beta1, settings.beta1 >= 0 && settings.beta1 < 1, "0 <= beta1 < 1");
    check_setting(kOperation, "beta2", settings.beta2, settings.beta2 >= 0 && settings.beta2 < 1, "0 <= beta2 < 1");
    check_setting(kOperation, "eps", settings.eps, finite_and_not_negative(settings.eps), "0 or more");
    check_setting(kOperation, "weight_decay", settings.weight_decay, finite_and_not_negative(settings.weight_decay),
                  "0 or more");
    const Rung rung = as_rung(args[11]);
    ParameterLists lists(kOperation, {{args[0], "params", true},
                                      {args[1], "grads", false},
                                      {args[2], "exp_avgs", true},
                                      {args[3], "exp_avg_sqs", true}});
    lists.run([&](const auto& parameters) { adam_step(parameters, settings, rung); });
    Py_RETURN_NONE;
  });
}

// adadelta_step(params, grads, square_avgs, acc_deltas, lr, rho, eps, weight_decay, variant)
PyObject* adadelta_step_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  constexpr const char* kOperation = "adadelta_step";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 9);
    AdadeltaSettings settings;
    settings.lr = as_double(args[4], kOperation, "lr");
    settings.rho = as_double(args[5], kOperation, "rho");
    settings.eps = as_double(args[6], kOperation, "eps");
    settings.weight_decay = as_double(args[7], kOperation, "weight_decay");
    check_setting(kOperation, "lr", settings.lr, std::isfinite(settings.lr), "a finite number");
    check_setting(kOperation, "rho", settings.rho, settings.rho >= 0 && settings.rho <= 1, "0 <= rho <= 1");
    check_setting(kOperation, "eps", settings.eps, finite_and_not_negative(settings.eps), "0 or more");
    check_setting(kOperation, "weight_decay", settings.weight_decay, finite_and_not_negative(settings.weight_decay),
                  "0 or more");
    const Rung rung = as_rung(args[8]);
    ParameterLists lists(kOperation, {{args[0], "params", true},
                                      {args[1], "grads", false},
                                      {args[2], "square_avgs", true},
                                      {args[3], "acc_deltas", true}});
    lists.run([&](const auto& parameters) { adadelta_step(parameters, settings, rung); });
    Py_RETURN_NONE;
  });
}

// sum_squares(arrays)
PyObject* sum_squares_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("sum_squares", count, 1);
    ParameterLists lists(
        "sum_squares", {{args[0], "arrays", false}, {nullptr, "", false}, {nullptr, "", false}, {nullptr, "", false}});
    double total = 0;
    lists.run([&](const auto& parameters) { total += sum_squares(parameters); });
    return PyFloat_FromDouble(total);
  });
}

// scale_inplace(arrays, factor)
PyObject* scale_inplace_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("scale_inplace", count, 2);
    const double factor = as_double(args[1], "scale_inplace", "factor");
    ParameterLists lists("scale_inplace",
                         {{args[0], "arrays", true}, {nullptr, "", false}, {nullptr, "", false}, {nullptr, "", false}});
    lists.run([&](const auto& parameters) {
      using T = std::decay_t<decltype(*parameters[0].value)>;
      scale_inplace<T>(parameters, static_cast<T>(factor));
    });
    Py_RETURN_NONE;
  });
}

// clamp_inplace(arrays, limit)
PyObject* clamp_inplace_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count("clamp_inplace", count, 2);
    const double limit = as_double(args[1], "clamp_inplace", "limit");
    check_setting("clamp_inplace", "limit", limit, limit >= 0, "0 or more");
    ParameterLists lists("clamp_inplace",
                         {{args[0], "arrays", true}, {nullptr, "", false}, {nullptr, "", false}, {nullptr, "", false}});
    lists.run([&](const auto& parameters) {
      using T = std::decay_t<decltype(*parameters[0].value)>;
      clamp_inplace<T>(parameters, static_cast<T>(limit));
    });
    Py_RETURN_NONE;
  });
}

PyMethodDef methods[] = {
    {"activation", fastcall(activation_call), METH_FASTCALL, "activation(x, kind, out, alpha, variant)"},
    {"activation_backward", fastcall(activation_backward_call), METH_FASTCALL,
     "activation_backward(grad, kind, saved, saved_name, out, alpha, variant)"},
    {"softmax", fastcall(softmax_call), METH_FASTCALL, "softmax(x, out, logarithm, variant)"},
    {"softmax_backward", fastcall(softmax_backward_call), METH_FASTCALL,
     "softmax_backward(grad, y, out, logarithm, variant)"},
    {"cross_entropy", fastcall(cross_entropy_call), METH_FASTCALL,
     "cross_entropy(logits, labels, need_grad, grad_scale, label_smoothing, ignore_index, out, variant, reduction)"},
    {"dropout", fastcall(dropout_call), METH_FASTCALL, "dropout(x, p, seed, offset, out, variant)"},
    {"column_sum", fastcall(column_sum_call), METH_FASTCALL, "column_sum(x, out, accumulate, variant)"},
    {"sgd_step", fastcall(sgd_step_call), METH_FASTCALL,
     "sgd_step(params, grads, velocities, lr, momentum, dampening, weight_decay, nesterov, first, variant)"},
    {"adam_step", fastcall(adam_step_call), METH_FASTCALL,
     "adam_step(params, grads, exp_avgs, exp_avg_sqs, step, lr, beta1, beta2, eps, weight_decay, decoupled, variant)"},
    {"adadelta_step", fastcall(adadelta_step_call), METH_FASTCALL,
     "adadelta_step(params, grads, square_avgs, acc_deltas, lr, rho, eps, weight_decay, variant)"},
    {"sum_squares", fastcall(sum_squares_call), METH_FASTCALL, "sum_squares(arrays)"},
    {"scale_inplace", fastcall(scale_inplace_call), METH_FASTCALL, "scale_inplace(arrays, factor)"},
    {"clamp_inplace", fastcall(clamp_inplace_call), METH_FASTCALL, "clamp_inplace(arrays, limit)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_layers(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def(
      "layer_variants",
      [] {
        py::list result;
        for (const auto& variant : layer_variants())
          result.append(py::make_tuple(variant.operation, variant.name, variant.idea, variant.needs));
        return result;
      },
      "Operation, name, idea and needs of each variant, the definition first.");
  module.def(
      "philox4x32",
      [](std::uint32_t c0, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3, std::uint32_t key0,
         std::uint32_t key1) {
        const Philox block = Philox::block(c0, c1, c2, c3, key0, key1);
        return py::make_tuple(block.word[0], block.word[1], block.word[2], block.word[3]);
      },
      "One block of Philox4x32-10: four words of a counter of four and a key of two.");
  py::list kinds;
  for (int kind = 0; kind < kActivations; ++kind) kinds.append(name(static_cast<ActivationKind>(kind)));
  module.attr("activation_kinds") = py::tuple(kinds);
}

}  // namespace dlkit
