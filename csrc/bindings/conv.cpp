#include "conv/conv.h"

#include <optional>
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

ConvExtents extents(const ArrayArg& array, int dims) {
  return {array.shape(), array.ndim(), dims, array.operation, array.argument};
}

template <class Problem>
const ConvVariant<Problem>* variant_for(PyObject* name, const ConvShape& shape, const char* operation) {
  const auto* found = variant_named(name, conv_variants<Problem>(), operation);
  if (found != nullptr && shape.flops() != 0 && shape.in_size() != 0 && !found->takes(shape))
    fail(operation, std::string("variant '") + found->name + "' needs " + found->needs);
  return found;
}

// `outputs` numbers, each a sum of a filter's depth.
void count(const ConvShape& s, Index outputs, Index item) {
  count_work(static_cast<std::uint64_t>(2.0 * static_cast<double>(outputs) * static_cast<double>(s.depth())),
             static_cast<std::uint64_t>(s.n * s.channels * s.in_size() + outputs + s.filters * s.depth()) *
                 static_cast<std::uint64_t>(item));
}
void count(const ConvShape& s, Index item) { count(s, s.n * s.filters * s.out_size(), item); }

// --- what the three kinds of calls are given, checked; of a max-pooling that follows only Pooled knows --------------

struct Forward {
  ArrayArg x, weight;
  ConvShape shape;

  Forward(const Operation& operation, PyObject* x_given, PyObject* weight_given, PyObject* settings)
      : x(x_given, operation.name, "x"), weight(weight_given, operation.name, "weight") {
    x.require_same_dtype(weight);
    const ConvGeometry geometry(settings, operation.name);
    const ConvExtents in = extents(x, operation.dims), kernel = extents(weight, operation.dims);
    require_conv_channels(operation.name, in, kernel, geometry.groups);
    shape = make_conv_shape(operation.name, operation.dims, in.size[0], in.size[1], in.size[2], in.size[3],
                            kernel.size[0], kernel.size[2], kernel.size[3], geometry);
  }
};

struct ByInput {
  ArrayArg grad, weight;
  ConvExtents out_grad;
  ConvShape shape;

  ByInput(const Operation& operation, PyObject* grad_given, PyObject* weight_given, PyObject* height, PyObject* width,
          PyObject* settings)
      : grad(grad_given, operation.name, "grad"), weight(weight_given, operation.name, "weight"),
        out_grad(extents(grad, operation.dims)) {
    grad.require_same_dtype(weight);
    const ConvGeometry geometry(settings, operation.name);
    const ConvExtents kernel = extents(weight, operation.dims);
    const Index h = as_extent(height, operation.name, "input_size", 0),
                w = as_extent(width, operation.name, "input_size", 0);
    shape = make_conv_shape(operation.name, operation.dims, out_grad.size[0], kernel.size[1] * geometry.groups, h, w,
                            kernel.size[0], kernel.size[2], kernel.size[3], geometry);
  }
  ConvArrayShape result(const Operation& operation) const {
    return {operation.name, "the result",   operation.dims, grad.item_size(),
            shape.n,        shape.channels, shape.height,   shape.width};
  }
};

struct ByWeight {
  ArrayArg grad, x;
  ConvExtents out_grad;
  ConvShape shape;

  ByWeight(const Operation& operation, PyObject* grad_given, PyObject* x_given, PyObject* kernel_h, PyObject* kernel_w,
           PyObject* settings)
      : grad(grad_given, operation.name, "grad"), x(x_given, operation.name, "x"),
        out_grad(extents(grad, operation.dims)) {
    grad.require_same_dtype(x);
    const ConvGeometry geometry(settings, operation.name);
    const ConvExtents in = extents(x, operation.dims);
    const Index h = as_extent(kernel_h, operation.name, "kernel_size", 1),
                w = as_extent(kernel_w, operation.name, "kernel_size", 1);
    shape = make_conv_shape(operation.name, operation.dims, in.size[0], in.size[1], in.size[2], in.size[3],
                            out_grad.size[1], h, w, geometry);
  }
};

// Where the gradients by weight and bias go.
class ParameterGradients {
 public:
  ParameterGradients(const Operation& operation, const ByWeight& call, const Input& grad, const Input& x,
                     bool with_bias, PyObject* out, PyObject* out_bias, bool accumulate)
      : with_bias_(with_bias), shape_(checked(operation, call, with_bias, out, out_bias, accumulate)),
        weight_(out, call.grad, shape_.ndim, shape_.size, accumulate),
        bias_(with_bias ? out_bias : Py_None, call.grad, 1, &call.shape.filters, accumulate, "out_bias") {
    for (const Output* one : {&weight_, &bias_}) {
      one->check_apart(grad);
      one->check_apart(x);
    }
    bias_.check_apart(weight_);
  }
  void check_apart(const Extent& input, const char* argument) const {
    weight_.check_apart(input, argument);
    bias_.check_apart(input, argument);
  }
  template <class T>
  T* weight() const {
    return weight_.as<T>();
  }
  template <class T>
  T* bias() const {
    return with_bias_ ? bias_.as<T>() : nullptr;
  }
  PyObject* finish() {
    const auto weight = py::reinterpret_steal<py::object>(weight_.finish()),
               bias = py::reinterpret_steal<py::object>(bias_.finish());
    return py::make_tuple(weight, with_bias_ ? bias : py::none()).release().ptr();
  }

 private:
  static ConvArrayShape checked(const Operation& operation, const ByWeight& call, bool with_bias, PyObject* out,
                                PyObject* out_bias, bool accumulate) {
    if (accumulate && (out == Py_None || (with_bias && out_bias == Py_None)))
      fail(operation.name, with_bias ? "accumulate=True needs out and out_bias, the arrays to add to"
                                     : "accumulate=True needs out, the array to add to");
    const ConvShape& s = call.shape;
    return {operation.name, "the result",       operation.dims, call.grad.item_size(),
            s.filters,      s.group_channels(), s.kernel_h,     s.kernel_w};
  }

  bool with_bias_;
  ConvArrayShape shape_;
  Output weight_, bias_;
};

// The window on a convolution's output, and what is given of the pooled output: its gradient and places.
struct Pooled {
  PoolShape shape;
  std::optional<IntegerInput<std::uint8_t>> places;

  Pooled(const Operation& operation, const ConvShape& s, PyObject* window, const ArrayArg& grad, PyObject* given)
      : shape(make_pool_shape(operation.name, operation.dims, s.n * s.filters, s.out_h, s.out_w,
                              PoolGeometry(window, operation.name))) {
    const py::ssize_t lead[] = {s.n, s.filters};
    require_pool_grad(shape, grad, lead, operation.dims);
    const PoolArrayShape expected(operation.name, operation.dims, grad.item_size(), lead, shape.out_h, shape.out_w);
    places.emplace(given, operation.name, "places", &expected);
    if (!takes_unpool(s, shape))
      fail(operation.name,
           "variant 'places' needs elements, one group, no dilation along the width, and images that stay in the "
           "cache");
  }
};

// --- the calls ------------------------------------------------------------------------------------------------------

// conv(dims, x, weight, bias, geometry, relu, out, variant)
PyObject* conv_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv", given, 8);
    const Operation operation(args[0], "conv1d", "conv2d");
    const Forward call(operation, args[1], args[2], args[4]);
    const ConvShape& s = call.shape;
    const ConvArrayShape shape(operation.name, "the result", operation.dims, call.x.item_size(), s.n, s.filters,
                               s.out_h, s.out_w);
    const OptionalInput bias(args[3], call.x, "bias", {s.filters});
    const Input x(call.x), weight(call.weight);
    Output out(args[6], call.x, shape.ndim, shape.size);
    out.check_apart(x);
    out.check_apart(weight);
    out.check_apart(bias);
    const bool relu = as_bool(args[5]);
    const int threads = num_threads();
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_for<ConvForward<T>>(args[7], s, operation.name);
      const ConvForward<T> problem = {s, x.as<T>(), weight.as<T>(), bias.as<T>(), out.as<T>(), relu};
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
    const Operation operation(args[0], "conv1d_max_pool", "conv2d_max_pool");
    const Forward call(operation, args[1], args[2], args[4]);
    const ConvShape& s = call.shape;
    // Its bytes in memory never exist, but count in what is addressed within a plane.
    const ConvArrayShape between(operation.name, "the convolution's output", operation.dims, call.x.item_size(), s.n,
                                 s.filters, s.out_h, s.out_w);
    const PoolShape pool = make_pool_shape(operation.name, operation.dims, s.n * s.filters, s.out_h, s.out_w,
                                           PoolGeometry(args[5], operation.name));
    const bool keep = as_bool(args[6]), relu = as_bool(args[7]);
    if (keep) require_places(pool, operation.name);
    const py::ssize_t lead[] = {s.n, s.filters};
    const PoolArrayShape shape(operation.name, operation.dims, call.x.item_size(), lead, pool.out_h, pool.out_w);
    const OptionalInput bias(args[3], call.x, "bias", {s.filters});
    const Input x(call.x), weight(call.weight);
    Output out(args[8], call.x, shape.ndim, shape.size);
    out.check_apart(x);
    out.check_apart(weight);
    out.check_apart(bias);
    const py::object places = keep ? py::object(new_integers<std::uint8_t>(shape)) : py::object(py::none());
    auto* const memory = keep ? reinterpret_cast<std::uint8_t*>(array_proxy(places.ptr())->data) : nullptr;
    const int threads = num_threads();
    with_dtype(call.x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_for<ConvForward<T>>(args[9], s, operation.name);
      const ConvMaxPool<T> problem = {s, pool, x.as<T>(), weight.as<T>(), bias.as<T>(), out.as<T>(), memory, relu};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve_and_pool(problem, variant, threads);
    });
    auto y = py::reinterpret_steal<py::object>(out.finish());
    return (keep ? py::object(py::make_tuple(y, places)) : y).release().ptr();
  });
}

// conv_backward_input(dims, grad, weight, height, width, geometry, out, variant)
PyObject* conv_backward_input_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_backward_input", given, 8);
    const Operation operation(args[0], "conv1d_backward_input", "conv2d_backward_input");
    const ByInput call(operation, args[1], args[2], args[3], args[4], args[5]);
    const ConvShape& s = call.shape;
    require_conv_grad(s, call.out_grad, operation.name, operation.dims);
    const ConvArrayShape shape = call.result(operation);
    const Input grad(call.grad), weight(call.weight);
    Output out(args[6], call.grad, shape.ndim, shape.size);
    out.check_apart(grad);
    out.check_apart(weight);
    const int threads = num_threads();
    with_dtype(call.grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_for<ConvBackwardInput<T>>(args[7], s, operation.name);
      const ConvBackwardInput<T> problem = {s, grad.as<T>(), weight.as<T>(), out.as<T>()};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve(problem, variant, threads);
    });
    return out.finish();
  });
}

// conv_max_pool_backward_input(dims, grad, places, weight, height, width, geometry, window, out)
PyObject* conv_max_pool_backward_input_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_max_pool_backward_input", given, 9);
    const Operation operation(args[0], "conv1d_max_pool_backward_input", "conv2d_max_pool_backward_input");
    const ByInput call(operation, args[1], args[3], args[4], args[5], args[6]);
    const ConvShape& s = call.shape;
    const Pooled pooled(operation, s, args[7], call.grad, args[2]);
    const ConvArrayShape shape = call.result(operation);
    const Input grad(call.grad), weight(call.weight);
    Output out(args[8], call.grad, shape.ndim, shape.size);
    out.check_apart(grad);
    out.check_apart(weight);
    out.check_apart(pooled.places->memory(), "places");
    const int threads = num_threads();
    with_dtype(call.grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const ConvMaxPoolBackwardInput<T> problem = {
          s, pooled.shape, grad.as<T>(), pooled.places->data(), weight.as<T>(), out.as<T>()};
      count(s, pooled.shape.planes * pooled.shape.out_size(), sizeof(T));
      const ReleaseGil release;
      conv_unpool<T>(problem, threads);
    });
    return out.finish();
  });
}

// conv_backward_weight(dims, grad, x, kernel_h, kernel_w, with_bias, geometry, out, out_bias, accumulate, variant)
// returns (dweight, dbias), dbias None without with_bias
PyObject* conv_backward_weight_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_backward_weight", given, 11);
    const Operation operation(args[0], "conv1d_backward_weight", "conv2d_backward_weight");
    const ByWeight call(operation, args[1], args[2], args[3], args[4], args[6]);
    const ConvShape& s = call.shape;
    require_conv_grad(s, call.out_grad, operation.name, operation.dims);
    const Input grad(call.grad), x(call.x);
    const bool accumulate = as_bool(args[9]);
    ParameterGradients out(operation, call, grad, x, as_bool(args[5]), args[7], args[8], accumulate);
    const int threads = num_threads();
    with_dtype(call.grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const auto* variant = variant_for<ConvBackwardWeight<T>>(args[10], s, operation.name);
      const ConvBackwardWeight<T> problem = {s, grad.as<T>(), x.as<T>(), out.weight<T>(), out.bias<T>(), accumulate};
      count(s, sizeof(T));
      const ReleaseGil release;
      convolve(problem, variant, threads);
    });
    return out.finish();
  });
}

// conv_max_pool_backward_weight(dims, grad, places, x, kernel_h, kernel_w, with_bias, geometry, window, out, out_bias,
// accumulate): (dweight, dbias), dbias None without with_bias
PyObject* conv_max_pool_backward_weight_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("conv_max_pool_backward_weight", given, 12);
    const Operation operation(args[0], "conv1d_max_pool_backward_weight", "conv2d_max_pool_backward_weight");
    const ByWeight call(operation, args[1], args[3], args[4], args[5], args[7]);
    const ConvShape& s = call.shape;
    const Pooled pooled(operation, s, args[8], call.grad, args[2]);
    const Input grad(call.grad), x(call.x);
    const bool accumulate = as_bool(args[11]);
    ParameterGradients out(operation, call, grad, x, as_bool(args[6]), args[9], args[10], accumulate);
    out.check_apart(pooled.places->memory(), "places");
    const int threads = num_threads();
    with_dtype(call.grad.dtype, [&](auto zero) {
      using T = decltype(zero);
      const ConvMaxPoolBackwardWeight<T> problem = {s,         pooled.shape,    grad.as<T>(),  pooled.places->data(),
                                                    x.as<T>(), out.weight<T>(), out.bias<T>(), accumulate};
      count(s, pooled.shape.planes * pooled.shape.out_size(), sizeof(T));
      const ReleaseGil release;
      conv_unpool<T>(problem, threads);
    });
    return out.finish();
  });
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
        tables["conv"] = ladder_of(conv_variants<ConvForward<float>>());
        tables["conv_backward_input"] = ladder_of(conv_variants<ConvBackwardInput<float>>());
        tables["conv_backward_weight"] = ladder_of(conv_variants<ConvBackwardWeight<float>>());
        return tables;
      },
      "Name, idea and needs of each variant of the three operations, the definition first.");
  module.def(
      "conv_max_pool_choice",
      [](int dims, const std::vector<Index>& x, const std::vector<Index>& weight, py::tuple geometry, py::tuple window,
         bool single) {
        const char* const operation = dims == 1 ? "conv1d_max_pool" : "conv2d_max_pool";
        if ((dims != 1 && dims != 2) || static_cast<int>(x.size()) != dims + 2 || weight.size() != x.size())
          fail(operation, "shapes are of another number of dimensions; expected dims + 2 extents");
        for (const auto* shape : {&x, &weight})
          for (const Index extent : *shape) require_conv_extent(operation, "an extent", extent, 0);
        const ConvGeometry g(geometry.ptr(), operation);
        const auto h = [&](const std::vector<Index>& shape) { return dims == 1 ? Index{1} : shape[2]; };
        const ConvShape s =
            make_conv_shape(operation, dims, x[0], x[1], h(x), x.back(), weight[0], h(weight), weight.back(), g);
        const PoolShape p =
            make_pool_shape(operation, dims, s.n * s.filters, s.out_h, s.out_w, PoolGeometry(window.ptr(), operation));
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
