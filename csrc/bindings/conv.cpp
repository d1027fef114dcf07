#include "conv/conv.h"

#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/conv_shape.h"
#include "bindings/fastcall.h"
#include "bindings/pool_shape.h"
#include "conv/conv_pool.h"
#include "conv/conv_pool_grads.h"
#include "core/counters.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

// 1 or 2, as Python's wrappers pass it.
int dims_of(PyObject* object, const char* operation) {
  const std::int64_t dims = as_integer(object, operation, "dims");
  if (dims != 1 && dims != 2) fail(operation, "dims is " + std::to_string(dims) + "; expected 1 or 2");
  return static_cast<int>(dims);
}

ConvExtents extents(const ArrayArg& array, int dims) {
  return {array.shape(), array.ndim(), dims, array.operation, array.argument};
}

template <class Problem>
const ConvVariant<Problem>* variant_named(PyObject* object, const ConvShape& shape, const char* operation) {
  if (object == Py_None) return nullptr;
  std::vector<std::string> names;
  std::string listing;
  for (const auto& variant : conv_variants<Problem>()) {
    listing += (names.empty() ? "" : ", ") + std::string(variant.name);
    names.emplace_back(variant.name);
  }
  Py_ssize_t size = 0;
  const char* text = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : nullptr;
  PyErr_Clear();
  const auto* found = text == nullptr ? nullptr : find_conv_variant<Problem>({text, static_cast<std::size_t>(size)});
  if (found == nullptr)
    fail(operation, "variant is " + std::string(py::repr(object)) + "; expected None or one of " + listing +
                        suggestion(object, names));
  if (shape.flops() != 0 && !found->takes(shape))
    fail(operation, std::string("variant '") + found->name + "' needs " + found->needs);
  return found;
}

void count(const ConvShape& s, std::size_t item) {
  count_work(
      static_cast<std::uint64_t>(s.flops()),
      static_cast<std::uint64_t>(s.n * (s.channels * s.in_size() + s.filters * s.out_size()) + s.filters * s.depth()) *
          item);
}

// A vector of one element for each filter, or null for None.
struct Bias {
  py::object copy;
  const void* data = nullptr;

  Bias(PyObject* object, const ArrayArg& like, Index filters) {
    if (object == Py_None) return;
    const ArrayArg given(object, like.operation, "bias");
    like.require_same_dtype(given);
    if (given.ndim() != 1 || given.shape()[0] != filters)
      given.fail("bias is " + given.shape_text() + "; expected (" + std::to_string(filters) +
                 ",), one element per filter");
    if (!is_contiguous(object)) copy = contiguous_copy(object);
    data = copy ? array_proxy(copy.ptr())->data : given.data();
  }
};

// conv(dims, x, weight, bias, geometry, relu, out, variant)
PyObject* conv_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv", given, 8);
    const int dims = dims_of(args[0], "conv");
    const char* operation = dims == 1 ? "conv1d" : "conv2d";
    const ArrayArg x(args[1], operation, "x"), weight(args[2], operation, "weight");
    x.require_same_dtype(weight);
    const ConvGeometry geometry(args[4], operation);
    const ConvExtents in = extents(x, dims), kernel = extents(weight, dims);
    require_conv_channels(operation, in, kernel, geometry.groups);
    const ConvShape s = make_conv_shape(operation, dims, in.size[0], in.size[1], in.size[2], in.size[3], kernel.size[0],
                                        kernel.size[2], kernel.size[3], geometry);
    const ConvArrayShape shape(operation, "the result", dims, x.item_size(), s.n, s.filters, s.out_h, s.out_w);
    const Bias bias(args[3], x, s.filters);
    with_dtype(x.dtype, [&](auto zero) {
      variant_named<ConvForward<decltype(zero)>>(args[7], s, operation);  // before any work
    });
    const Input x_in(args[1], operation, "x"), weight_in(args[2], operation, "weight");
    Output out(args[6], x, shape.ndim, shape.size);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    out.check_apart(weight, static_cast<bool>(weight_in.copy), false);
    if (args[3] != Py_None) out.check_apart(ArrayArg(args[3], operation, "bias"), static_cast<bool>(bias.copy), false);
    const bool relu = as_bool(args[5]);
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_named<ConvForward<T>>(args[7], s, operation);
      const ConvForward<T> problem = {s,           x_in.as<T>(), weight_in.as<T>(), static_cast<const T*>(bias.data),
                                      out.as<T>(), relu};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve(problem, variant, threads);
    });
    return out.finish();
  });
}

// conv_max_pool(dims, x, weight, bias, geometry, window, keep, relu, out, variant): y, or with keep (y, places)
PyObject* conv_max_pool_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_max_pool", given, 10);
    const int dims = dims_of(args[0], "conv_max_pool");
    const char* operation = dims == 1 ? "conv1d_max_pool" : "conv2d_max_pool";
    const ArrayArg x(args[1], operation, "x"), weight(args[2], operation, "weight");
    x.require_same_dtype(weight);
    const ConvGeometry geometry(args[4], operation);
    const PoolGeometry window(args[5], operation);
    const ConvExtents in = extents(x, dims), kernel = extents(weight, dims);
    require_conv_channels(operation, in, kernel, geometry.groups);
    const ConvShape s = make_conv_shape(operation, dims, in.size[0], in.size[1], in.size[2], in.size[3], kernel.size[0],
                                        kernel.size[2], kernel.size[3], geometry);
    // Its bytes in memory never exist, but count in what is addressed within a plane.
    const ConvArrayShape between(operation, "the convolution's output", dims, x.item_size(), s.n, s.filters, s.out_h,
                                 s.out_w);
    const PoolShape pool = make_pool_shape(operation, dims, s.n * s.filters, s.out_h, s.out_w, window);
    const bool keep = as_bool(args[6]), relu = as_bool(args[7]);
    if (keep && (pool.kernel_h > kMostPlaces || pool.taps() > kMostPlaces))
      fail(operation, "the window has " + std::to_string(pool.kernel_h) + " x " + std::to_string(pool.kernel_w) +
                          " elements; expected at most 255 for places of one byte");
    const py::ssize_t lead[] = {s.n, s.filters};
    const PoolArrayShape shape(operation, dims, x.item_size(), lead, pool.out_h, pool.out_w);
    const Bias bias(args[3], x, s.filters);
    with_dtype(x.dtype,
               [&](auto zero) { variant_named<ConvForward<decltype(zero)>>(args[9], s, operation); });  // before work
    const Input x_in(args[1], operation, "x"), weight_in(args[2], operation, "weight");
    Output out(args[8], x, shape.ndim, shape.size);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    out.check_apart(weight, static_cast<bool>(weight_in.copy), false);
    if (args[3] != Py_None) out.check_apart(ArrayArg(args[3], operation, "bias"), static_cast<bool>(bias.copy), false);
    py::object places = keep ? py::object(new_integers<std::uint8_t>(shape)) : py::object(py::none());
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_named<ConvForward<T>>(args[9], s, operation);
      const ConvMaxPool<T> problem = {s,
                                      pool,
                                      x_in.as<T>(),
                                      weight_in.as<T>(),
                                      static_cast<const T*>(bias.data),
                                      out.as<T>(),
                                      keep ? reinterpret_cast<std::uint8_t*>(array_proxy(places.ptr())->data) : nullptr,
                                      relu};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve_and_pool(problem, variant, threads);
    });
    py::object y = py::reinterpret_steal<py::object>(out.finish());
    if (!keep) return y.release().ptr();
    return py::make_tuple(y, places).release().ptr();
  });
}

constexpr const char* kUnpoolNeeds =
    "elements, one group, no dilation along the width, and images that stay in the cache";

// The window on a convolution's output, and what is given of the pooled output: its gradient and places.
struct Pooled {
  PoolShape shape;
  py::object places;

  Pooled(const char* operation, int dims, const ConvShape& s, const PoolGeometry& window, const ArrayArg& grad,
         PyObject* places_given)
      : shape(make_pool_shape(operation, dims, s.n * s.filters, s.out_h, s.out_w, window)) {
    const py::ssize_t lead[] = {s.n, s.filters};
    const PoolArrayShape expected(operation, dims, grad.item_size(), lead, shape.out_h, shape.out_w);
    if (!expected.is(grad.shape(), grad.ndim()))
      grad.fail("grad is " + grad.shape_text() + "; expected " + shape_text(expected.size, expected.ndim) +
                ", the shape of the output");
    places = IntegerInput<std::uint8_t>(places_given, operation, "places", &expected).array;
    if (!takes_unpool(s, shape)) fail(operation, std::string("variant 'places' needs ") + kUnpoolNeeds);
  }
  const std::uint8_t* data() const { return reinterpret_cast<const std::uint8_t*>(array_proxy(places.ptr())->data); }
};

// conv_max_pool_backward_input(dims, grad, places, weight, height, width, geometry, window, out)
PyObject* conv_max_pool_backward_input_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_max_pool_backward_input", given, 9);
    const int dims = dims_of(args[0], "conv_max_pool_backward_input");
    const char* operation = dims == 1 ? "conv1d_max_pool_backward_input" : "conv2d_max_pool_backward_input";
    const ArrayArg grad(args[1], operation, "grad"), weight(args[3], operation, "weight");
    grad.require_same_dtype(weight);
    const ConvGeometry geometry(args[6], operation);
    const PoolGeometry window(args[7], operation);
    const ConvExtents out_grad = extents(grad, dims), kernel = extents(weight, dims);
    const Index height = as_integer(args[4], operation, "height"), width = as_integer(args[5], operation, "width");
    for (const Index extent : {height, width}) require_conv_extent(operation, "an extent of the input", extent, 0);
    const ConvShape s = make_conv_shape(operation, dims, out_grad.size[0], kernel.size[1] * geometry.groups, height,
                                        width, kernel.size[0], kernel.size[2], kernel.size[3], geometry);
    const Pooled pooled(operation, dims, s, window, grad, args[2]);
    const ConvArrayShape shape(operation, "the result", dims, grad.item_size(), s.n, s.channels, s.height, s.width);
    const Input grad_in(args[1], operation, "grad"), weight_in(args[3], operation, "weight");
    Output out(args[8], grad, shape.ndim, shape.size);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    out.check_apart(weight, static_cast<bool>(weight_in.copy), false);
    const int threads = num_threads();
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const ReleaseGil release;
      conv_unpool<T>(
          ConvMaxPoolBackwardInput<T>{s, pooled.shape, grad_in.as<T>(), pooled.data(), weight_in.as<T>(), out.as<T>()},
          threads);
    });
    return out.finish();
  });
}

// conv_max_pool_backward_weight(dims, grad, places, x, kernel_h, kernel_w, with_bias, geometry, window, out, out_bias,
// accumulate): (dweight, dbias), dbias None without with_bias
PyObject* conv_max_pool_backward_weight_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_max_pool_backward_weight", given, 12);
    const int dims = dims_of(args[0], "conv_max_pool_backward_weight");
    const char* operation = dims == 1 ? "conv1d_max_pool_backward_weight" : "conv2d_max_pool_backward_weight";
    const ArrayArg grad(args[1], operation, "grad"), x(args[3], operation, "x");
    grad.require_same_dtype(x);
    const ConvGeometry geometry(args[7], operation);
    const PoolGeometry window(args[8], operation);
    const ConvExtents out_grad = extents(grad, dims), in = extents(x, dims);
    const Index kernel_h = as_integer(args[4], operation, "kernel_size"),
                kernel_w = as_integer(args[5], operation, "kernel_size");
    for (const Index extent : {kernel_h, kernel_w}) require_conv_extent(operation, "kernel_size", extent, 1);
    const bool with_bias = as_bool(args[6]), accumulate = as_bool(args[11]);
    const ConvShape s = make_conv_shape(operation, dims, in.size[0], in.size[1], in.size[2], in.size[3],
                                        out_grad.size[1], kernel_h, kernel_w, geometry);
    const Pooled pooled(operation, dims, s, window, grad, args[2]);
    if (accumulate && (args[9] == Py_None || (with_bias && args[10] == Py_None)))
      fail(operation, with_bias ? "accumulate=True needs out and out_bias, the arrays to add to"
                                : "accumulate=True needs out, the array to add to");
    const ConvArrayShape shape(operation, "the result", dims, grad.item_size(), s.filters, s.group_channels(),
                               s.kernel_h, s.kernel_w);
    const Input grad_in(args[1], operation, "grad"), x_in(args[3], operation, "x");
    Output out(args[9], grad, shape.ndim, shape.size, accumulate);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    const py::ssize_t filters = s.filters;
    Output out_bias(with_bias ? args[10] : Py_None, grad, 1, &filters, accumulate);
    if (with_bias) {
      out_bias.check_apart(grad, static_cast<bool>(grad_in.copy), false);
      out_bias.check_apart(x, static_cast<bool>(x_in.copy), false);
    }
    const int threads = num_threads();
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      T* const bias = with_bias ? out_bias.as<T>() : nullptr;
      const ReleaseGil release;
      conv_unpool<T>(ConvMaxPoolBackwardWeight<T>{s, pooled.shape, grad_in.as<T>(), pooled.data(), x_in.as<T>(),
                                                  out.as<T>(), bias, accumulate},
                     threads);
    });
    py::object weight_result = py::reinterpret_steal<py::object>(out.finish());
    py::object bias_result = py::reinterpret_steal<py::object>(out_bias.finish());
    return py::make_tuple(weight_result, with_bias ? bias_result : py::none()).release().ptr();
  });
}

// conv_backward_input(dims, grad, weight, height, width, geometry, out, variant)
PyObject* conv_backward_input_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_backward_input", given, 8);
    const int dims = dims_of(args[0], "conv_backward_input");
    const char* operation = dims == 1 ? "conv1d_backward_input" : "conv2d_backward_input";
    const ArrayArg grad(args[1], operation, "grad"), weight(args[2], operation, "weight");
    grad.require_same_dtype(weight);
    const ConvGeometry geometry(args[5], operation);
    const ConvExtents out_grad = extents(grad, dims), kernel = extents(weight, dims);
    const Index height = as_integer(args[3], operation, "height"), width = as_integer(args[4], operation, "width");
    for (const Index extent : {height, width}) require_conv_extent(operation, "an extent of the input", extent, 0);
    const ConvShape s = make_conv_shape(operation, dims, out_grad.size[0], kernel.size[1] * geometry.groups, height,
                                        width, kernel.size[0], kernel.size[2], kernel.size[3], geometry);
    require_conv_grad(s, out_grad, operation, dims);
    const ConvArrayShape shape(operation, "the result", dims, grad.item_size(), s.n, s.channels, s.height, s.width);
    with_dtype(grad.dtype, [&](auto zero) { variant_named<ConvBackwardInput<decltype(zero)>>(args[7], s, operation); });
    const Input grad_in(args[1], operation, "grad"), weight_in(args[2], operation, "weight");
    Output out(args[6], grad, shape.ndim, shape.size);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    out.check_apart(weight, static_cast<bool>(weight_in.copy), false);
    const int threads = num_threads();
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_named<ConvBackwardInput<T>>(args[7], s, operation);
      const ConvBackwardInput<T> problem = {s, grad_in.as<T>(), weight_in.as<T>(), out.as<T>()};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve(problem, variant, threads);
    });
    return out.finish();
  });
}

// conv_backward_weight(dims, grad, x, kernel_h, kernel_w, with_bias, geometry, out, out_bias, accumulate, variant)
// returns (dweight, dbias), dbias None without with_bias
PyObject* conv_backward_weight_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_backward_weight", given, 11);
    const int dims = dims_of(args[0], "conv_backward_weight");
    const char* operation = dims == 1 ? "conv1d_backward_weight" : "conv2d_backward_weight";
    const ArrayArg grad(args[1], operation, "grad"), x(args[2], operation, "x");
    grad.require_same_dtype(x);
    const ConvGeometry geometry(args[6], operation);
    const ConvExtents out_grad = extents(grad, dims), in = extents(x, dims);
    const Index kernel_h = as_integer(args[3], operation, "kernel_size"),
                kernel_w = as_integer(args[4], operation, "kernel_size");
    for (const Index extent : {kernel_h, kernel_w}) require_conv_extent(operation, "kernel_size", extent, 1);
    const bool with_bias = as_bool(args[5]), accumulate = as_bool(args[9]);
    const ConvShape s = make_conv_shape(operation, dims, in.size[0], in.size[1], in.size[2], in.size[3],
                                        out_grad.size[1], kernel_h, kernel_w, geometry);
    require_conv_grad(s, out_grad, operation, dims);
    if (accumulate && (args[7] == Py_None || (with_bias && args[8] == Py_None)))
      fail(operation, with_bias ? "accumulate=True needs out and out_bias, the arrays to add to"
                                : "accumulate=True needs out, the array to add to");
    const ConvArrayShape shape(operation, "the result", dims, grad.item_size(), s.filters, s.group_channels(),
                               s.kernel_h, s.kernel_w);
    with_dtype(grad.dtype,
               [&](auto zero) { variant_named<ConvBackwardWeight<decltype(zero)>>(args[10], s, operation); });
    const Input grad_in(args[1], operation, "grad"), x_in(args[2], operation, "x");
    Output out(args[7], grad, shape.ndim, shape.size, accumulate);
    out.check_apart(grad, static_cast<bool>(grad_in.copy), false);
    out.check_apart(x, static_cast<bool>(x_in.copy), false);
    const py::ssize_t filters = s.filters;
    Output out_bias(with_bias ? args[8] : Py_None, grad, 1, &filters, accumulate);
    if (with_bias) {
      out_bias.check_apart(grad, static_cast<bool>(grad_in.copy), false);
      out_bias.check_apart(x, static_cast<bool>(x_in.copy), false);
    }
    const int threads = num_threads();
    with_dtype(grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_named<ConvBackwardWeight<T>>(args[10], s, operation);
      const ConvBackwardWeight<T> problem = {
          s, grad_in.as<T>(), x_in.as<T>(), out.as<T>(), with_bias ? out_bias.as<T>() : nullptr, accumulate};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve(problem, variant, threads);
    });
    py::object weight_result = py::reinterpret_steal<py::object>(out.finish());
    py::object bias_result = py::reinterpret_steal<py::object>(out_bias.finish());
    return py::make_tuple(weight_result, with_bias ? bias_result : py::none()).release().ptr();
  });
}

template <class Problem>
py::list ladder() {
  py::list rows;
  for (const auto& variant : conv_variants<Problem>())
    rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
  return rows;
}

// conv_choice(operation, shape): name of the variant that the shape gets, and its scratch bytes.
template <class Problem>
py::tuple choice(const ConvShape& shape) {
  const auto& variant = choose_conv<Problem>(shape);
  return py::make_tuple(variant.name, variant.scratch(shape));
}

PyMethodDef methods[] = {
    {"conv", fastcall(conv_call), METH_FASTCALL, "conv(dims, x, weight, bias, geometry, relu, out, variant)"},
    {"conv_max_pool", fastcall(conv_max_pool_call), METH_FASTCALL,
     "conv_max_pool(dims, x, weight, bias, geometry, window, keep, relu, out, variant)"},
    {"conv_max_pool_backward_input", fastcall(conv_max_pool_backward_input_call), METH_FASTCALL,
     "conv_max_pool_backward_input(dims, grad, places, weight, height, width, geometry, window, out)"},
    {"conv_max_pool_backward_weight", fastcall(conv_max_pool_backward_weight_call), METH_FASTCALL,
     "conv_max_pool_backward_weight(dims, grad, places, x, kernel_h, kernel_w, with_bias, geometry, window, out, "
     "out_bias, accumulate)"},
    {"conv_backward_input", fastcall(conv_backward_input_call), METH_FASTCALL,
     "conv_backward_input(dims, grad, weight, height, width, geometry, out, variant)"},
    {"conv_backward_weight", fastcall(conv_backward_weight_call), METH_FASTCALL,
     "conv_backward_weight(dims, grad, x, kernel_h, kernel_w, with_bias, geometry, out, out_bias, accumulate, "
     "variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_conv(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def(
      "conv_variants",
      [] {
        py::dict tables;
        tables["conv"] = ladder<ConvForward<float>>();
        tables["conv_backward_input"] = ladder<ConvBackwardInput<float>>();
        tables["conv_backward_weight"] = ladder<ConvBackwardWeight<float>>();
        return tables;
      },
      "Name, idea and needs of each variant of the three operations, the definition first.");
  module.def(
      "conv_max_pool_choice",
      [](int dims, const std::vector<Index>& x, const std::vector<Index>& weight, py::tuple geometry, py::tuple window,
         bool single) {
        constexpr const char* kOperation = "conv_max_pool_choice";
        if ((dims != 1 && dims != 2) || static_cast<int>(x.size()) != dims + 2 || weight.size() != x.size())
          fail(kOperation, "shapes are of another number of dimensions; expected dims + 2 extents");
        const ConvGeometry g(geometry.ptr(), kOperation);
        const auto h = [&](const std::vector<Index>& shape) { return dims == 1 ? Index{1} : shape[2]; };
        const ConvShape s =
            make_conv_shape(kOperation, dims, x[0], x[1], h(x), x.back(), weight[0], h(weight), weight.back(), g);
        const PoolShape p = make_pool_shape(kOperation, dims, s.n * s.filters, s.out_h, s.out_w,
                                            PoolGeometry(window.ptr(), kOperation));
        return single ? py::make_tuple(unpool_pays_by_input<float>(s, p), unpool_pays_by_weight<float>(s, p))
                      : py::make_tuple(unpool_pays_by_input<double>(s, p), unpool_pays_by_weight<double>(s, p));
      },
      "Whether the gradients of conv_max_pool by input and weight are faster from places than from a full gradient.");
  module.def(
      "conv_choice",
      [](const std::string& operation, int dims, Index n, Index channels, Index height, Index width, Index filters,
         Index kernel_h, Index kernel_w, py::tuple geometry) {
        const ConvShape s = make_conv_shape("conv_choice", dims, n, channels, height, width, filters, kernel_h,
                                            kernel_w, ConvGeometry(geometry.ptr(), "conv_choice"));
        if (operation == "conv") return choice<ConvForward<float>>(s);
        if (operation == "conv_backward_input") return choice<ConvBackwardInput<float>>(s);
        if (operation == "conv_backward_weight") return choice<ConvBackwardWeight<float>>(s);
        throw py::value_error("conv_choice: operation is '" + operation +
                              "'; expected conv, conv_backward_input or conv_backward_weight");
      },
      "Name and scratch bytes of the variant that a float32 shape gets by default.");
}

}  // namespace dlkit
