// Convolution and its gradients on device pointers: dlkit._simt and dlkit._cuda have the same functions.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <vector>

#include "bindings/conv_shape.h"
#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "conv/device.h"

namespace dlkit {
namespace {

using Shape = std::vector<py::ssize_t>;

constexpr const char* kOperations[2][3] = {{"conv1d", "conv1d_backward_input", "conv1d_backward_weight"},
                                           {"conv2d", "conv2d_backward_input", "conv2d_backward_weight"}};

// What shapes and settings say. `first` and `second` are the shapes of x and weight, grad and weight, or grad and x;
// `size` is that of x, or of the kernel, which the gradients need besides: (height, width).
struct ConvCall {
  DeviceConv problem = {};
  const char* operation;
  int dims;

  ConvCall(int which, int dimensions, int dtype, int precision, const Shape& first, const Shape& second,
           const std::pair<Index, Index>& size, const py::tuple& settings)
      : operation("conv"), dims(dimensions) {
    if (which < 0 || which > 2) fail(operation, "operation is " + std::to_string(which) + "; expected 0 to 2");
    if (dims != 1 && dims != 2) fail(operation, "dims is " + std::to_string(dims) + "; expected 1 or 2");
    operation = kOperations[dims - 1][which];
    if (dtype != 0 && dtype != 1)
      throw py::type_error(std::string(operation) + ": dtype is " + std::to_string(dtype) + "; expected 0 or 1");
    if (precision < 0 || precision > 2)
      fail(operation, "precision is " + std::to_string(precision) + "; expected 0 (float32), 1 (tf32) or 2 (bf16)");
    problem.operation = static_cast<ConvOperation>(which);
    problem.type = static_cast<DeviceType>(dtype);
    problem.precision = static_cast<Precision>(precision);
    const ConvGeometry geometry(settings.ptr(), operation);
    const auto extents = [&](const Shape& shape, const char* argument) {
      return ConvExtents(shape.data(), static_cast<int>(shape.size()), dims, operation, argument);
    };
    const auto [height, width] = size;
    if (problem.operation == ConvOperation::forward) {
      const ConvExtents x = extents(first, "x"), weight = extents(second, "weight");
      require_conv_channels(operation, x, weight, geometry.groups);
      problem.shape = make_conv_shape(operation, dims, x.size[0], x.size[1], x.size[2], x.size[3], weight.size[0],
                                      weight.size[2], weight.size[3], geometry);
    } else if (problem.operation == ConvOperation::backward_input) {
      const ConvExtents grad = extents(first, "grad"), weight = extents(second, "weight");
      require_conv_extent(operation, "an extent of the input", height, 0);
      require_conv_extent(operation, "an extent of the input", width, 0);
      problem.shape = make_conv_shape(operation, dims, grad.size[0], weight.size[1] * geometry.groups, height, width,
                                      weight.size[0], weight.size[2], weight.size[3], geometry);
      require_conv_grad(problem.shape, grad, operation, dims);
    } else {
      const ConvExtents grad = extents(first, "grad"), x = extents(second, "x");
      require_conv_extent(operation, "kernel_size", height, 1);
      require_conv_extent(operation, "kernel_size", width, 1);
      problem.shape = make_conv_shape(operation, dims, x.size[0], x.size[1], x.size[2], x.size[3], grad.size[1], height,
                                      width, geometry);
      require_conv_grad(problem.shape, grad, operation, dims);
    }
    // Throws where an address cannot count an array's bytes.
    array("x", problem.shape.n, problem.shape.channels, problem.shape.height, problem.shape.width);
    array("weight", problem.shape.filters, problem.shape.group_channels(), problem.shape.kernel_h,
          problem.shape.kernel_w);
    array("the output", problem.shape.n, problem.shape.filters, problem.shape.out_h, problem.shape.out_w);
  }

  ConvArrayShape array(const char* what, Index a, Index b, Index h, Index w) const {
    return {operation, what, dims, static_cast<Index>(size_of(problem.type)), a, b, h, w};
  }
  ConvArrayShape result() const {
    const ConvShape& s = problem.shape;
    switch (problem.operation) {
      case ConvOperation::forward: return array("the result", s.n, s.filters, s.out_h, s.out_w);
      case ConvOperation::backward_input: return array("the result", s.n, s.channels, s.height, s.width);
      default: return array("the result", s.filters, s.group_channels(), s.kernel_h, s.kernel_w);
    }
  }

  // Sets the tile too, where the name has one.
  const DeviceConvVariant& variant(const std::optional<std::string>& name) {
    if (!name) return choose_device_conv(problem);
    const DeviceConvVariant* found = find_device_conv_variant(problem.operation, *name, &problem.tile);
    if (found == nullptr) {
      std::string listing;
      for (const auto& row : device_conv_variants(problem.operation))
        listing += (listing.empty() ? "" : ", ") + std::string(row.name);
      fail(operation, "variant is '" + *name + "'; expected None or one of " + listing);
    }
    if (problem.shape.flops() != 0 && !found->takes(problem))
      fail(operation, std::string("variant '") + found->name + "' needs " + found->needs);
    return *found;
  }
};

py::tuple plan(int which, int dims, int dtype, int precision, const std::optional<std::string>& variant_name,
               const Shape& first, const Shape& second, const std::pair<Index, Index>& size,
               const py::tuple& geometry) {
  ConvCall call(which, dims, dtype, precision, first, second, size, geometry);
  const DeviceConvVariant& variant = call.variant(variant_name);
  const ConvArrayShape shape = call.result();
  py::tuple result(static_cast<std::size_t>(shape.ndim));
  for (int i = 0; i < shape.ndim; ++i) result[static_cast<std::size_t>(i)] = shape.size[i];
  return py::make_tuple(result, variant.name, device_conv_workspace(call.problem, variant));
}

void run(Address stream, int which, int dims, int dtype, int precision, const std::optional<std::string>& variant_name,
         const Shape& first_shape, const Shape& second_shape, const std::pair<Index, Index>& size,
         const py::tuple& geometry, Address first, Address second, Address bias, Address out, bool relu,
         bool accumulate, Address workspace) {
  ConvCall call(which, dims, dtype, precision, first_shape, second_shape, size, geometry);
  const DeviceConvVariant& variant = call.variant(variant_name);
  DeviceConv& p = call.problem;
  const ConvShape& s = p.shape;
  Arguments a(call.operation);
  const std::size_t needed = device_conv_workspace(p, variant);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Index x = s.n * s.channels * s.in_size(), y = s.n * s.filters * s.out_size(), weight = s.filters * s.depth();
    switch (p.operation) {
      case ConvOperation::forward:
        p.x = a.in<T>("x", first, x);
        p.weight = a.in<T>("weight", second, weight);
        p.bias = a.in_or_null<T>("bias", bias, s.filters);
        p.out = a.out<T>("out", out, y);
        break;
      case ConvOperation::backward_input:
        p.grad = a.in<T>("grad", first, y);
        p.weight = a.in<T>("weight", second, weight);
        p.out = a.out<T>("out", out, x);
        break;
      case ConvOperation::backward_weight:
        p.grad = a.in<T>("grad", first, y);
        p.x = a.in<T>("x", second, x);
        p.out = a.out<T>("out", out, weight);
        p.out_bias = a.out_or_null<T>("out_bias", bias, s.filters);
        break;
    }
  });
  if (needed != 0)
    a.expect(workspace % 16 == 0, "workspace", std::to_string(workspace), "the address of memory aligned to 16 bytes");
  p.workspace = a.scratch(workspace, needed);
  p.relu = relu;
  p.accumulate = accumulate;
  p.stream = stream_of(stream);
  a.run([&] { device_conv(p, variant); });
}

}  // namespace

void bind_device_conv(py::module_& module) {
  using py::arg;
  module.def(
      "conv_variants",
      [] {
        py::dict tables;
        for (int which = 0; which < 3; ++which) {
          py::list rows;
          for (const auto& variant : device_conv_variants(static_cast<ConvOperation>(which)))
            rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
          tables[kOperations[1][which] + 6] = rows;
        }
        return tables;
      },
      "Name, idea and needs of each variant of '', '_backward_input' and '_backward_weight', the definition first.");
  module.def("conv_plan", plan, arg("operation"), arg("dims"), arg("dtype"), arg("precision"), arg("variant"),
             arg("first_shape"), arg("second_shape"), arg("size"), arg("geometry"),
             "The shape of the result, the variant that will run and the bytes of workspace that it needs.");
  module.def("conv", run, arg("stream"), arg("operation"), arg("dims"), arg("dtype"), arg("precision"), arg("variant"),
             arg("first_shape"), arg("second_shape"), arg("size"), arg("geometry"), arg("first"), arg("second"),
             arg("bias"), arg("out"), arg("relu"), arg("accumulate"), arg("workspace"),
             "Operation 0: out = conv(first, second) + bias; 1: the gradient by the input; 2: those by weight and "
             "bias.");
}

}  // namespace dlkit
