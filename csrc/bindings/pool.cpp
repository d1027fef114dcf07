#include "conv/pool.h"

#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "bindings/pool_shape.h"
#include "core/counters.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

enum class Keep { nothing, indices, places };

int dims_of(PyObject* object, const char* operation) {
  const std::int64_t dims = as_integer(object, operation, "dims");
  if (dims != 1 && dims != 2) fail(operation, "dims is " + std::to_string(dims) + "; expected 1 or 2");
  return static_cast<int>(dims);
}

// Throws where the name is unknown. Whether the variant takes the problem is for `start` to check.
template <class Problem>
const PoolVariant<Problem>* variant_named(PyObject* object, const char* operation) {
  if (object == Py_None) return nullptr;
  std::vector<std::string> names;
  std::string listing;
  for (const auto& variant : pool_variants<Problem>()) {
    listing += (names.empty() ? "" : ", ") + std::string(variant.name);
    names.emplace_back(variant.name);
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : nullptr;
  PyErr_Clear();
  const auto* found = text == nullptr ? nullptr : find_pool_variant<Problem>({text, static_cast<std::size_t>(size)});
  if (found == nullptr)
    fail(operation, "variant is " + std::string(py::repr(object)) + "; expected None or one of " + listing +
                        suggestion(object, names));
  return found;
}

// Runs a problem whose arguments are checked; `bytes` is what it reads and writes.
template <class Problem>
void start(const Problem& problem, PyObject* variant_name, Index bytes, const char* operation) {
  const auto* variant = variant_named<Problem>(variant_name, operation);
  if (variant != nullptr && !variant->takes(problem))
    fail(operation, std::string("variant '") + variant->name + "' needs " + variant->needs);
  const int threads = num_threads();
  count_work(0, static_cast<std::uint64_t>(bytes));
  const ReleaseGil release;
  pool(problem, variant, threads);
}

Index moved(const PoolShape& s, Index item) { return s.planes * (s.in_size() + s.out_size()) * item; }

// max_pool(dims, x, geometry, keep, relu, out, variant): y, or (y, places) or (y, indices)
PyObject* max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("max_pool", given, 7);
    const int dims = dims_of(args[0], "max_pool");
    const char* operation = dims == 1 ? "max_pool1d" : "max_pool2d";
    const ArrayArg x(args[1], operation, "x");
    const PoolGeometry geometry(args[2], operation);
    const PoolExtents in(x, dims);
    const PoolShape s = make_pool_shape(operation, dims, in.planes(), in.height, in.width, geometry);
    const auto keep = static_cast<Keep>(as_integer(args[3], operation, "return_indices"));
    if (keep == Keep::places && (s.kernel_h > kMostPlaces || s.taps() > kMostPlaces))
      fail(operation, "the window has " + std::to_string(s.kernel_h) + " x " + std::to_string(s.kernel_w) +
                          " elements; expected at most 255 for places of one byte");
    const PoolArrayShape shape(operation, dims, sizeof(std::int64_t), in.lead, s.out_h, s.out_w);
    const Input x_in(args[1], operation, "x");
    Output out(args[5], x, shape.ndim, shape.size);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    py::object kept = keep == Keep::places    ? py::object(new_integers<std::uint8_t>(shape))
                      : keep == Keep::indices ? py::object(new_integers<std::int64_t>(shape))
                                              : py::object(py::none());
    void* memory = keep == Keep::nothing ? nullptr : array_proxy(kept.ptr())->data;
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const MaxPool<T> problem = {s,
                                  x_in.as<T>(),
                                  out.as<T>(),
                                  keep == Keep::places ? static_cast<std::uint8_t*>(memory) : nullptr,
                                  keep == Keep::indices ? static_cast<std::int64_t*>(memory) : nullptr,
                                  as_bool(args[4])};
      start(problem, args[6], moved(s, sizeof(T)), operation);
    });
    py::object y = py::reinterpret_steal<py::object>(out.finish());
    if (keep == Keep::nothing) return y.release().ptr();
    return py::make_tuple(y, kept).release().ptr();
  });
}

// The extents of an input whose gradient is asked for.
struct InputSize {
  Index height, width;
  InputSize(PyObject* h, PyObject* w, const char* operation)
      : height(as_integer(h, operation, "height")), width(as_integer(w, operation, "width")) {
    for (const Index extent : {height, width})
      if (extent < 0 || extent > PoolGeometry::kMost)
        fail(operation, "an extent of the input is " + std::to_string(extent) + "; expected 0 to 2147483647");
  }
};

// max_pool_backward(dims, grad, indices, height, width, geometry, out, variant); geometry None with int64 indices
PyObject* max_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("max_pool_backward", given, 8);
    const int dims = dims_of(args[0], "max_pool_backward");
    const char* operation = dims == 1 ? "max_pool1d_backward" : "max_pool2d_backward";
    const ArrayArg grad(args[1], operation, "grad");
    const PoolExtents out_grad(grad, dims);
    const InputSize size(args[3], args[4], operation);
    const Index height = size.height, width = size.width;
    const bool places = py::isinstance<py::array_t<std::uint8_t>>(args[2]);
    PoolShape s = {};
    if (places) {
      if (args[5] == Py_None)
        fail(operation, "indices are uint8 places within the window and kernel_size is None; expected the window");
      s = make_pool_shape(operation, dims, out_grad.planes(), height, width, PoolGeometry(args[5], operation));
      if (s.kernel_h > kMostPlaces || s.taps() > kMostPlaces)
        fail(operation, "the window has " + std::to_string(s.kernel_h) + " x " + std::to_string(s.kernel_w) +
                            " elements; expected at most 255 for places of one byte");
      const PoolArrayShape expected(operation, dims, grad.item_size(), out_grad.lead, s.out_h, s.out_w);
      if (!expected.is(grad.shape(), grad.ndim()))
        fail(operation, "grad is " + out_grad.text + "; expected " + shape_text(expected.size, expected.ndim) +
                            ", the shape of the output");
    } else {
      s.planes = out_grad.planes();
      s.height = height;
      s.width = width;
      s.out_h = out_grad.height;
      s.out_w = out_grad.width;
    }
    const PoolArrayShape kept_shape(operation, dims, grad.item_size(), out_grad.lead, s.out_h, s.out_w);
    py::object kept = places ? IntegerInput<std::uint8_t>(args[2], operation, "indices", &kept_shape).array
                             : IntegerInput<std::int64_t>(args[2], operation, "indices", &kept_shape).array;
    const void* memory = array_proxy(kept.ptr())->data;
    const PoolArrayShape shape(operation, dims, grad.item_size(), out_grad.lead, height, width);
    const Input grad_in(args[1], operation, "grad");
    Output out(args[6], grad, shape.ndim, shape.size);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    try {
      with_dtype(grad.dtype, [&](auto zero) {
        using T = decltype(zero);
        const MaxPoolBackward<T> problem = {s, grad_in.as<T>(),
                                            places ? static_cast<const std::uint8_t*>(memory) : nullptr,
                                            places ? nullptr : static_cast<const std::int64_t*>(memory), out.as<T>()};
        start(problem, args[7], moved(s, sizeof(T)), operation);
      });
    } catch (const BadPoolIndex& error) {
      fail(operation, "indices holds " + std::to_string(error.value) + "; expected -1 (nowhere) to " +
                          std::to_string(s.in_size() - 1) + ", the places of the input");
    }
    return out.finish();
  });
}

// What divides a window's sum: 0 for its taps.
Index divisor_of(PyObject* object, const char* operation) {
  if (object == Py_None) return 0;
  const Index divisor = as_integer(object, operation, "divisor_override");
  if (divisor == 0) fail(operation, "divisor_override is 0; expected another integer, or None");
  return divisor;
}

// avg_pool(dims, x, geometry, include_pad, divisor, out, variant)
PyObject* avg_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("avg_pool", given, 7);
    const int dims = dims_of(args[0], "avg_pool");
    const char* operation = dims == 1 ? "avg_pool1d" : "avg_pool2d";
    const ArrayArg x(args[1], operation, "x");
    const PoolGeometry geometry(args[2], operation);
    const PoolExtents in(x, dims);
    const PoolShape s = make_pool_shape(operation, dims, in.planes(), in.height, in.width, geometry);
    const Index divisor = divisor_of(args[4], operation);
    const PoolArrayShape shape(operation, dims, x.item_size(), in.lead, s.out_h, s.out_w);
    const Input x_in(args[1], operation, "x");
    Output out(args[5], x, shape.ndim, shape.size);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const AvgPool<T> problem = {s, x_in.as<T>(), out.as<T>(), as_bool(args[3]), divisor};
      start(problem, args[6], moved(s, sizeof(T)), operation);
    });
    return out.finish();
  });
}

// Throws where grad is not of the output's shape.
void require_output(const PoolShape& s, const ArrayArg& grad, const PoolExtents& extents, int dims) {
  const PoolArrayShape expected(grad.operation, dims, grad.item_size(), extents.lead, s.out_h, s.out_w);
  if (!expected.is(grad.shape(), grad.ndim()))
    grad.fail("grad is " + extents.text + "; expected " + shape_text(expected.size, expected.ndim) +
              ", the shape of the output");
}

// avg_pool_backward(dims, grad, height, width, geometry, include_pad, divisor, out, variant)
PyObject* avg_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("avg_pool_backward", given, 9);
    const int dims = dims_of(args[0], "avg_pool_backward");
    const char* operation = dims == 1 ? "avg_pool1d_backward" : "avg_pool2d_backward";
    const ArrayArg grad(args[1], operation, "grad");
    const PoolExtents out_grad(grad, dims);
    const InputSize in(args[2], args[3], operation);
    const PoolGeometry geometry(args[4], operation);
    const PoolShape s = make_pool_shape(operation, dims, out_grad.planes(), in.height, in.width, geometry);
    const Index divisor = divisor_of(args[6], operation);
    require_output(s, grad, out_grad, dims);
    const PoolArrayShape shape(operation, dims, grad.item_size(), out_grad.lead, in.height, in.width);
    const Input grad_in(args[1], operation, "grad");
    Output out(args[7], grad, shape.ndim, shape.size);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const AvgPoolBackward<T> problem = {s, grad_in.as<T>(), out.as<T>(), as_bool(args[5]), divisor};
      start(problem, args[8], moved(s, sizeof(T)), operation);
    });
    return out.finish();
  });
}

// The shape of windows that adapt: only extents.
PoolShape adaptive_shape(const char* operation, Index planes, Index height, Index width, PyObject* out_h,
                         PyObject* out_w) {
  PoolShape s = {};
  s.planes = planes;
  s.height = height;
  s.width = width;
  s.out_h = as_integer(out_h, operation, "output_size");
  s.out_w = as_integer(out_w, operation, "output_size");
  for (const Index extent : {s.out_h, s.out_w})
    if (extent < 1 || extent > PoolGeometry::kMost)
      fail(operation, "output_size is " + std::to_string(extent) + "; expected 1 to 2147483647");
  if (height < 1 || width < 1)
    fail(operation, "the input's extent is " + std::to_string(height < 1 ? height : width) + "; expected 1 or more");
  return s;
}

// adaptive_avg_pool(dims, x, out_h, out_w, out, variant)
PyObject* adaptive_avg_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_avg_pool", given, 6);
    const int dims = dims_of(args[0], "adaptive_avg_pool");
    const char* operation = dims == 1 ? "adaptive_avg_pool1d" : "adaptive_avg_pool2d";
    const ArrayArg x(args[1], operation, "x");
    const PoolExtents in(x, dims);
    const PoolShape s = adaptive_shape(operation, in.planes(), in.height, in.width, args[2], args[3]);
    const PoolArrayShape shape(operation, dims, x.item_size(), in.lead, s.out_h, s.out_w);
    const Input x_in(args[1], operation, "x");
    Output out(args[4], x, shape.ndim, shape.size);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(AdaptiveAvgPool<T>{s, x_in.as<T>(), out.as<T>()}, args[5], moved(s, sizeof(T)), operation);
    });
    return out.finish();
  });
}

// adaptive_avg_pool_backward(dims, grad, height, width, out, variant)
PyObject* adaptive_avg_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_avg_pool_backward", given, 6);
    const int dims = dims_of(args[0], "adaptive_avg_pool_backward");
    const char* operation = dims == 1 ? "adaptive_avg_pool1d_backward" : "adaptive_avg_pool2d_backward";
    const ArrayArg grad(args[1], operation, "grad");
    const PoolExtents out_grad(grad, dims);
    const InputSize in(args[2], args[3], operation);
    const auto out_h = py::int_(out_grad.height), out_w = py::int_(out_grad.width);
    const PoolShape s = adaptive_shape(operation, out_grad.planes(), in.height, in.width, out_h.ptr(), out_w.ptr());
    const PoolArrayShape shape(operation, dims, grad.item_size(), out_grad.lead, in.height, in.width);
    const Input grad_in(args[1], operation, "grad");
    Output out(args[4], grad, shape.ndim, shape.size);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(AdaptiveAvgPoolBackward<T>{s, grad_in.as<T>(), out.as<T>()}, args[5], moved(s, sizeof(T)), operation);
    });
    return out.finish();
  });
}

// adaptive_max_pool(dims, x, out_h, out_w, variant): (y, indices)
PyObject* adaptive_max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_max_pool", given, 5);
    const int dims = dims_of(args[0], "adaptive_max_pool");
    const char* operation = dims == 1 ? "adaptive_max_pool1d" : "adaptive_max_pool2d";
    const ArrayArg x(args[1], operation, "x");
    const PoolExtents in(x, dims);
    const PoolShape s = adaptive_shape(operation, in.planes(), in.height, in.width, args[2], args[3]);
    const PoolArrayShape shape(operation, dims, sizeof(std::int64_t), in.lead, s.out_h, s.out_w);
    const Input x_in(args[1], operation, "x");
    Output out(Py_None, x, shape.ndim, shape.size);
    auto indices = new_integers<std::int64_t>(shape);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(AdaptiveMaxPool<T>{s, x_in.as<T>(), out.as<T>(), indices.mutable_data()}, args[4], moved(s, sizeof(T)),
            operation);
    });
    return py::make_tuple(py::reinterpret_steal<py::object>(out.finish()), indices).release().ptr();
  });
}

// k_max_pool1d(x, k, variant): (y, indices), over the last axis
PyObject* k_max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    const char* operation = "k_max_pool1d";
    check_count(operation, given, 3);
    const ArrayArg x(args[0], operation, "x");
    Index rows = 0, cols = 0;
    rows_and_cols(x, rows, cols);
    const Index k = as_integer(args[1], operation, "k");
    if (k < 1) fail(operation, "k is " + std::to_string(k) + "; expected 1 or more");
    if (k > cols)
      fail(operation, "k is " + std::to_string(k) + " but x is " + x.shape_text() + ", of length " +
                          std::to_string(cols) + "; expected at most as many as there are");
    std::vector<py::ssize_t> shape(x.shape(), x.shape() + x.ndim());
    shape.back() = k;
    const Input x_in(args[0], operation, "x");
    Output out(Py_None, x, x.ndim(), shape.data());
    py::array_t<std::int64_t> indices(shape);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(KMaxPool<T>{rows, cols, k, x_in.as<T>(), out.as<T>(), indices.mutable_data()}, args[2],
            rows * (cols + k) * static_cast<Index>(sizeof(T)), operation);
    });
    return py::make_tuple(py::reinterpret_steal<py::object>(out.finish()), indices).release().ptr();
  });
}

// max_over_time(x, lengths, variant): (y, indices), both (N, channels)
PyObject* max_over_time_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    const char* operation = "max_over_time";
    check_count(operation, given, 3);
    const ArrayArg x(args[0], operation, "x");
    if (x.ndim() != 3) fail(operation, "x is " + x.shape_text() + "; expected (N, channels, length)");
    const Index n = x.shape()[0], channels = x.shape()[1], cols = x.shape()[2];
    if (cols < 1) fail(operation, "x is " + x.shape_text() + "; expected a length of 1 or more");
    py::object lengths;
    if (args[1] != Py_None) {
      const IntegerInput<std::int64_t> given_lengths(args[1], operation, "lengths", nullptr);
      const auto* proxy = array_proxy(given_lengths.array.ptr());
      if (proxy->nd != 1 || proxy->dimensions[0] != n)
        fail(operation, "lengths is " + shape_text(proxy->dimensions, proxy->nd) + "; expected (" + std::to_string(n) +
                            ",), one for each of x");
      // A copy: nobody can change it once it is checked.
      lengths = contiguous_copy(given_lengths.array.ptr());
      const auto* values = reinterpret_cast<const std::int64_t*>(array_proxy(lengths.ptr())->data);
      for (Index i = 0; i < n; ++i)
        if (values[i] < 1 || values[i] > cols)
          fail(operation, "lengths holds " + std::to_string(values[i]) + "; expected 1 to " + std::to_string(cols) +
                              ", the length of x");
    }
    const py::ssize_t shape[] = {n, channels};
    const Input x_in(args[0], operation, "x");
    Output out(Py_None, x, 2, shape);
    py::array_t<std::int64_t> indices(std::vector<py::ssize_t>{n, channels});
    const auto* values = lengths ? reinterpret_cast<const std::int64_t*>(array_proxy(lengths.ptr())->data) : nullptr;
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(MaxOverTime<T>{n * channels, cols, channels, x_in.as<T>(), values, out.as<T>(), indices.mutable_data()},
            args[2], n * channels * cols * static_cast<Index>(sizeof(T)), operation);
    });
    return py::make_tuple(py::reinterpret_steal<py::object>(out.finish()), indices).release().ptr();
  });
}

// stochastic_pool(x, geometry, seed, offset, variant): (y, places)
PyObject* stochastic_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    const char* operation = "stochastic_pool2d";
    check_count(operation, given, 5);
    const ArrayArg x(args[0], operation, "x");
    const PoolGeometry geometry(args[1], operation);
    const PoolExtents in(x, 2);
    const PoolShape s = make_pool_shape(operation, 2, in.planes(), in.height, in.width, geometry);
    if (s.kernel_h > kMostPlaces || s.taps() > kMostPlaces)
      fail(operation, "the window has " + std::to_string(s.kernel_h) + " x " + std::to_string(s.kernel_w) +
                          " elements; expected at most 255");
    const std::uint64_t seed = as_unsigned(args[2], operation, "seed"),
                        offset = as_unsigned(args[3], operation, "offset");
    const PoolArrayShape shape(operation, 2, x.item_size(), in.lead, s.out_h, s.out_w);
    const Input x_in(args[0], operation, "x");
    Output out(Py_None, x, shape.ndim, shape.size);
    auto places = new_integers<std::uint8_t>(shape);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(StochasticPool<T>{s, x_in.as<T>(), out.as<T>(), places.mutable_data(), seed, offset}, args[4],
            moved(s, sizeof(T)), operation);
    });
    return py::make_tuple(py::reinterpret_steal<py::object>(out.finish()), places).release().ptr();
  });
}

// stochastic_average(x, geometry, variant)
PyObject* stochastic_average_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    const char* operation = "stochastic_pool2d";
    check_count(operation, given, 3);
    const ArrayArg x(args[0], operation, "x");
    const PoolGeometry geometry(args[1], operation);
    const PoolExtents in(x, 2);
    const PoolShape s = make_pool_shape(operation, 2, in.planes(), in.height, in.width, geometry);
    const PoolArrayShape shape(operation, 2, x.item_size(), in.lead, s.out_h, s.out_w);
    const Input x_in(args[0], operation, "x");
    Output out(Py_None, x, shape.ndim, shape.size);
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(StochasticAverage<T>{s, x_in.as<T>(), out.as<T>()}, args[2], moved(s, sizeof(T)), operation);
    });
    return out.finish();
  });
}

// stochastic_average_backward(grad, x, geometry, variant)
PyObject* stochastic_average_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    const char* operation = "stochastic_pool2d_backward";
    check_count(operation, given, 4);
    const ArrayArg grad(args[0], operation, "grad"), x(args[1], operation, "x");
    grad.require_same_dtype(x);
    const PoolGeometry geometry(args[2], operation);
    const PoolExtents in(x, 2), out_grad(grad, 2);
    const PoolShape s = make_pool_shape(operation, 2, in.planes(), in.height, in.width, geometry);
    const PoolArrayShape expected(operation, 2, grad.item_size(), in.lead, s.out_h, s.out_w);
    if (!expected.is(grad.shape(), grad.ndim()))
      grad.fail("grad is " + out_grad.text + "; expected " + shape_text(expected.size, expected.ndim) +
                ", the shape of the output");
    const Input grad_in(args[0], operation, "grad"), x_in(args[1], operation, "x");
    Output out(Py_None, x, x.ndim(), x.shape());
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(StochasticAverageBackward<T>{s, grad_in.as<T>(), x_in.as<T>(), out.as<T>()}, args[3], moved(s, sizeof(T)),
            operation);
    });
    return out.finish();
  });
}

template <class Problem>
py::list ladder() {
  py::list rows;
  for (const auto& variant : pool_variants<Problem>())
    rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
  return rows;
}

PyMethodDef methods[] = {
    {"max_pool", fastcall(max_pool_call), METH_FASTCALL, "max_pool(dims, x, geometry, keep, relu, out, variant)"},
    {"max_pool_backward", fastcall(max_pool_backward_call), METH_FASTCALL,
     "max_pool_backward(dims, grad, indices, height, width, geometry, out, variant)"},
    {"avg_pool", fastcall(avg_pool_call), METH_FASTCALL,
     "avg_pool(dims, x, geometry, include_pad, divisor, out, variant)"},
    {"avg_pool_backward", fastcall(avg_pool_backward_call), METH_FASTCALL,
     "avg_pool_backward(dims, grad, height, width, geometry, include_pad, divisor, out, variant)"},
    {"adaptive_avg_pool", fastcall(adaptive_avg_pool_call), METH_FASTCALL,
     "adaptive_avg_pool(dims, x, out_h, out_w, out, variant)"},
    {"adaptive_avg_pool_backward", fastcall(adaptive_avg_pool_backward_call), METH_FASTCALL,
     "adaptive_avg_pool_backward(dims, grad, height, width, out, variant)"},
    {"adaptive_max_pool", fastcall(adaptive_max_pool_call), METH_FASTCALL,
     "adaptive_max_pool(dims, x, out_h, out_w, variant)"},
    {"k_max_pool1d", fastcall(k_max_pool_call), METH_FASTCALL, "k_max_pool1d(x, k, variant)"},
    {"max_over_time", fastcall(max_over_time_call), METH_FASTCALL, "max_over_time(x, lengths, variant)"},
    {"stochastic_pool", fastcall(stochastic_pool_call), METH_FASTCALL,
     "stochastic_pool(x, geometry, seed, offset, variant)"},
    {"stochastic_average", fastcall(stochastic_average_call), METH_FASTCALL,
     "stochastic_average(x, geometry, variant)"},
    {"stochastic_average_backward", fastcall(stochastic_average_backward_call), METH_FASTCALL,
     "stochastic_average_backward(grad, x, geometry, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_pool(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def(
      "pool_variants",
      [] {
        py::dict tables;
        tables["max_pool"] = ladder<MaxPool<float>>();
        tables["max_pool_backward"] = ladder<MaxPoolBackward<float>>();
        tables["avg_pool"] = ladder<AvgPool<float>>();
        tables["avg_pool_backward"] = ladder<AvgPoolBackward<float>>();
        tables["adaptive_avg_pool"] = ladder<AdaptiveAvgPool<float>>();
        tables["adaptive_avg_pool_backward"] = ladder<AdaptiveAvgPoolBackward<float>>();
        tables["adaptive_max_pool"] = ladder<AdaptiveMaxPool<float>>();
        tables["k_max_pool1d"] = ladder<KMaxPool<float>>();
        tables["max_over_time"] = ladder<MaxOverTime<float>>();
        tables["stochastic_pool2d"] = ladder<StochasticPool<float>>();
        tables["stochastic_average2d"] = ladder<StochasticAverage<float>>();
        tables["stochastic_average2d_backward"] = ladder<StochasticAverageBackward<float>>();
        return tables;
      },
      "Name, idea and needs of each variant of the operations, the definition first.");
}

}  // namespace dlkit
