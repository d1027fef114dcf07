#include "conv/pool.h"

#include <optional>
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

// Runs a problem whose arguments are checked; `bytes` is what it reads and writes.
template <class Problem>
void start(const Problem& problem, PyObject* variant_name, Index bytes, const char* operation) {
  const auto* variant = variant_named(variant_name, pool_variants<Problem>(), operation);
  if (variant != nullptr && !variant->takes(problem))
    fail(operation, std::string("variant '") + variant->name + "' needs " + variant->needs);
  const int threads = num_threads();
  count_work(0, static_cast<std::uint64_t>(bytes));
  const ReleaseGil release;
  pool(problem, variant, threads);
}

Index moved(const PoolShape& s, Index item) { return s.planes * (s.in_size() + s.out_size()) * item; }

// x, and the windows that step over it.
struct Stepped {
  ArrayArg x;
  PoolExtents in;
  PoolShape shape;

  Stepped(const Operation& operation, PyObject* given, PyObject* window)
      : x(given, operation.name, "x"), in(x, operation.dims),
        shape(make_pool_shape(operation.name, operation.dims, in.planes(), in.height, in.width,
                              PoolGeometry(window, operation.name))) {}
  PoolArrayShape result(const Operation& operation, Index item) const {
    return {operation.name, operation.dims, item, in.lead, shape.out_h, shape.out_w};
  }
};

// A gradient by an output, and the extents of the input whose gradient is asked for.
struct Gradient {
  ArrayArg grad;
  PoolExtents out;
  Index height, width;

  Gradient(const Operation& operation, PyObject* given, PyObject* h, PyObject* w)
      : grad(given, operation.name, "grad"), out(grad, operation.dims),
        height(as_extent(h, operation.name, "input_size", 0)), width(as_extent(w, operation.name, "input_size", 0)) {}
  PoolArrayShape result(const Operation& operation) const {
    return {operation.name, operation.dims, grad.item_size(), out.lead, height, width};
  }
};

// The result of a problem that reads one array and writes one; make(from, to) is the problem.
template <class Make>
PyObject* one_to_one(const ArrayArg& from, const PoolShape& s, const PoolArrayShape& shape, PyObject* given_out,
                     PyObject* variant, const Make& make) {
  const Input in(from);
  Output out(given_out, from, shape.ndim, shape.size);
  out.check_apart(in);
  with_dtype(from.dtype, [&](auto zero) {
    using T = decltype(zero);
    start(make(in.as<T>(), out.as<T>()), variant, moved(s, sizeof(T)), from.operation);
  });
  return out.finish();
}

// max_pool(dims, x, geometry, keep, relu, out, variant): y, or (y, places) or (y, indices)
PyObject* max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("max_pool", given, 7);
    const Operation operation(args[0], "max_pool1d", "max_pool2d");
    const Stepped call(operation, args[1], args[2]);
    const PoolShape& s = call.shape;
    const std::int64_t kept_as = as_integer(args[3], operation.name, "return_indices");
    if (kept_as < 0 || kept_as > static_cast<int>(Keep::places))
      fail(operation.name, "return_indices is " + std::to_string(kept_as) + "; expected 0, 1 or 2");
    const auto keep = static_cast<Keep>(kept_as);
    if (keep == Keep::places) require_places(s, operation.name);
    const bool relu = as_bool(args[4]);
    const PoolArrayShape shape = call.result(operation, sizeof(std::int64_t));
    const Input x(call.x);
    Output out(args[5], call.x, shape.ndim, shape.size);
    out.check_apart(x);
    const py::object kept = keep == Keep::places    ? py::object(new_integers<std::uint8_t>(shape))
                            : keep == Keep::indices ? py::object(new_integers<std::int64_t>(shape))
                                                    : py::object(py::none());
    void* const memory = keep == Keep::nothing ? nullptr : array_proxy(kept.ptr())->data;
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const MaxPool<T> problem = {s,
                                  x.as<T>(),
                                  out.as<T>(),
                                  keep == Keep::places ? static_cast<std::uint8_t*>(memory) : nullptr,
                                  keep == Keep::indices ? static_cast<std::int64_t*>(memory) : nullptr,
                                  relu};
      start(problem, args[6], moved(s, sizeof(T)), operation.name);
    });
    auto y = py::reinterpret_steal<py::object>(out.finish());
    return (keep == Keep::nothing ? y : py::object(py::make_tuple(y, kept))).release().ptr();
  });
}

// max_pool_backward(dims, grad, indices, height, width, geometry, out, variant); geometry None with int64 indices
PyObject* max_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("max_pool_backward", given, 8);
    const Operation operation(args[0], "max_pool1d_backward", "max_pool2d_backward");
    const Gradient call(operation, args[1], args[3], args[4]);
    const PoolExtents& out_grad = call.out;
    const bool by_places = py::isinstance<py::array_t<std::uint8_t>>(args[2]);
    PoolShape s = {};
    if (by_places) {
      if (args[5] == Py_None)
        fail(operation.name, "indices are uint8 places within the window and kernel_size is None; expected the window");
      s = make_pool_shape(operation.name, operation.dims, out_grad.planes(), call.height, call.width,
                          PoolGeometry(args[5], operation.name));
      require_places(s, operation.name);
      require_pool_grad(s, call.grad, out_grad.lead, operation.dims);
    } else {
      s.planes = out_grad.planes();
      s.height = call.height;
      s.width = call.width;
      s.out_h = out_grad.height;
      s.out_w = out_grad.width;
    }
    const PoolArrayShape kept(operation.name, operation.dims, call.grad.item_size(), out_grad.lead, s.out_h, s.out_w);
    std::optional<IntegerInput<std::uint8_t>> places;
    std::optional<IntegerInput<std::int64_t>> indices;
    if (by_places)
      places.emplace(args[2], operation.name, "indices", &kept);
    else
      indices.emplace(args[2], operation.name, "indices", &kept);
    const PoolArrayShape shape = call.result(operation);
    const Input grad(call.grad);
    Output out(args[6], call.grad, shape.ndim, shape.size);
    out.check_apart(grad);
    out.check_apart(by_places ? places->memory() : indices->memory(), "indices");
    try {
      with_dtype(call.grad.dtype, [&](auto zero) {
        using T = decltype(zero);
        const MaxPoolBackward<T> problem = {s, grad.as<T>(), by_places ? places->data() : nullptr,
                                            by_places ? nullptr : indices->data(), out.as<T>()};
        start(problem, args[7], moved(s, sizeof(T)), operation.name);
      });
    } catch (const BadPoolIndex& error) {
      fail(operation.name, "indices holds " + std::to_string(error.value) + "; expected -1 (nowhere) to " +
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
    const Operation operation(args[0], "avg_pool1d", "avg_pool2d");
    const Stepped call(operation, args[1], args[2]);
    const PoolShape& s = call.shape;
    const bool include_pad = as_bool(args[3]);
    const Index divisor = divisor_of(args[4], operation.name);
    return one_to_one(call.x, s, call.result(operation, call.x.item_size()), args[5], args[6],
                      [&]<class T>(const T* x, T* y) { return AvgPool<T>{s, x, y, include_pad, divisor}; });
  });
}

// avg_pool_backward(dims, grad, height, width, geometry, include_pad, divisor, out, variant)
PyObject* avg_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("avg_pool_backward", given, 9);
    const Operation operation(args[0], "avg_pool1d_backward", "avg_pool2d_backward");
    const Gradient call(operation, args[1], args[2], args[3]);
    const PoolShape s = make_pool_shape(operation.name, operation.dims, call.out.planes(), call.height, call.width,
                                        PoolGeometry(args[4], operation.name));
    require_pool_grad(s, call.grad, call.out.lead, operation.dims);
    const bool include_pad = as_bool(args[5]);
    const Index divisor = divisor_of(args[6], operation.name);
    return one_to_one(call.grad, s, call.result(operation), args[7], args[8], [&]<class T>(const T* grad, T* dx) {
      return AvgPoolBackward<T>{s, grad, dx, include_pad, divisor};
    });
  });
}

// The shape of windows that adapt: only extents.
PoolShape adaptive_shape(const char* operation, Index planes, Index height, Index width, Index out_h, Index out_w) {
  PoolShape s = {};
  s.planes = planes;
  s.height = height;
  s.width = width;
  s.out_h = out_h;
  s.out_w = out_w;
  for (const Index extent : {out_h, out_w})
    if (extent < 1 || extent > kMostExtent)
      fail(operation, "output_size is " + std::to_string(extent) + "; expected 1 to 2147483647");
  if (height < 1 || width < 1)
    fail(operation, "the input's extent is " + std::to_string(height < 1 ? height : width) + "; expected 1 or more");
  return s;
}

// x, and the extents of an output that its windows adapt to.
struct Adapted {
  ArrayArg x;
  PoolExtents in;
  PoolShape shape;

  Adapted(const Operation& operation, PyObject* given, PyObject* out_h, PyObject* out_w)
      : x(given, operation.name, "x"), in(x, operation.dims),
        shape(adaptive_shape(operation.name, in.planes(), in.height, in.width,
                             as_integer(out_h, operation.name, "output_size"),
                             as_integer(out_w, operation.name, "output_size"))) {}
  PoolArrayShape result(const Operation& operation, Index item) const {
    return {operation.name, operation.dims, item, in.lead, shape.out_h, shape.out_w};
  }
};

// adaptive_avg_pool(dims, x, out_h, out_w, out, variant)
PyObject* adaptive_avg_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_avg_pool", given, 6);
    const Operation operation(args[0], "adaptive_avg_pool1d", "adaptive_avg_pool2d");
    const Adapted call(operation, args[1], args[2], args[3]);
    return one_to_one(call.x, call.shape, call.result(operation, call.x.item_size()), args[4], args[5],
                      [&]<class T>(const T* x, T* y) { return AdaptiveAvgPool<T>{call.shape, x, y}; });
  });
}

// adaptive_avg_pool_backward(dims, grad, height, width, out, variant)
PyObject* adaptive_avg_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_avg_pool_backward", given, 6);
    const Operation operation(args[0], "adaptive_avg_pool1d_backward", "adaptive_avg_pool2d_backward");
    const Gradient call(operation, args[1], args[2], args[3]);
    const PoolShape s =
        adaptive_shape(operation.name, call.out.planes(), call.height, call.width, call.out.height, call.out.width);
    return one_to_one(call.grad, s, call.result(operation), args[4], args[5],
                      [&]<class T>(const T* grad, T* dx) { return AdaptiveAvgPoolBackward<T>{s, grad, dx}; });
  });
}

// adaptive_max_pool(dims, x, out_h, out_w, variant): (y, indices)
PyObject* adaptive_max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("adaptive_max_pool", given, 5);
    const Operation operation(args[0], "adaptive_max_pool1d", "adaptive_max_pool2d");
    const Adapted call(operation, args[1], args[2], args[3]);
    const PoolArrayShape shape = call.result(operation, sizeof(std::int64_t));
    const Input x(call.x);
    Output out(Py_None, call.x, shape.ndim, shape.size);
    auto indices = new_integers<std::int64_t>(shape);
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(AdaptiveMaxPool<T>{call.shape, x.as<T>(), out.as<T>(), indices.mutable_data()}, args[4],
            moved(call.shape, sizeof(T)), operation.name);
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
    const Input x_in(x);
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
    const Input x_in(x);
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
    constexpr Operation kOperation("stochastic_pool2d");
    check_count(kOperation.name, given, 5);
    const Stepped call(kOperation, args[0], args[1]);
    require_places(call.shape, kOperation.name);
    const std::uint64_t seed = as_unsigned(args[2], kOperation.name, "seed"),
                        offset = as_unsigned(args[3], kOperation.name, "offset");
    const PoolArrayShape shape = call.result(kOperation, call.x.item_size());
    const Input x(call.x);
    Output out(Py_None, call.x, shape.ndim, shape.size);
    auto places = new_integers<std::uint8_t>(shape);
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(StochasticPool<T>{call.shape, x.as<T>(), out.as<T>(), places.mutable_data(), seed, offset}, args[4],
            moved(call.shape, sizeof(T)), kOperation.name);
    });
    return py::make_tuple(py::reinterpret_steal<py::object>(out.finish()), places).release().ptr();
  });
}

// stochastic_average(x, geometry, variant)
PyObject* stochastic_average_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    constexpr Operation kOperation("stochastic_pool2d");
    check_count(kOperation.name, given, 3);
    const Stepped call(kOperation, args[0], args[1]);
    return one_to_one(call.x, call.shape, call.result(kOperation, call.x.item_size()), Py_None, args[2],
                      [&]<class T>(const T* x, T* y) { return StochasticAverage<T>{call.shape, x, y}; });
  });
}

// stochastic_average_backward(grad, x, geometry, variant)
PyObject* stochastic_average_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    constexpr Operation kOperation("stochastic_pool2d_backward");
    check_count(kOperation.name, given, 4);
    const ArrayArg grad_given(args[0], kOperation.name, "grad");
    const Stepped call(kOperation, args[1], args[2]);
    grad_given.require_same_dtype(call.x);
    require_pool_grad(call.shape, grad_given, call.in.lead, kOperation.dims);
    const Input grad(grad_given), x(call.x);
    Output out(Py_None, call.x, call.x.ndim(), call.x.shape());
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      start(StochasticAverageBackward<T>{call.shape, grad.as<T>(), x.as<T>(), out.as<T>()}, args[3],
            moved(call.shape, sizeof(T)), kOperation.name);
    });
    return out.finish();
  });
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
        tables["max_pool"] = ladder_of(pool_variants<MaxPool<float>>());
        tables["max_pool_backward"] = ladder_of(pool_variants<MaxPoolBackward<float>>());
        tables["avg_pool"] = ladder_of(pool_variants<AvgPool<float>>());
        tables["avg_pool_backward"] = ladder_of(pool_variants<AvgPoolBackward<float>>());
        tables["adaptive_avg_pool"] = ladder_of(pool_variants<AdaptiveAvgPool<float>>());
        tables["adaptive_avg_pool_backward"] = ladder_of(pool_variants<AdaptiveAvgPoolBackward<float>>());
        tables["adaptive_max_pool"] = ladder_of(pool_variants<AdaptiveMaxPool<float>>());
        tables["k_max_pool1d"] = ladder_of(pool_variants<KMaxPool<float>>());
        tables["max_over_time"] = ladder_of(pool_variants<MaxOverTime<float>>());
        tables["stochastic_pool2d"] = ladder_of(pool_variants<StochasticPool<float>>());
        tables["stochastic_average2d"] = ladder_of(pool_variants<StochasticAverage<float>>());
        tables["stochastic_average2d_backward"] = ladder_of(pool_variants<StochasticAverageBackward<float>>());
        return tables;
      },
      "Name, idea and needs of each variant of the operations, the definition first.");
}

}  // namespace dlkit
