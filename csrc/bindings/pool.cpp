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

// max_pool_backward(dims, grad, indices, height, width, geometry, out, variant); geometry None with int64 indices
PyObject* max_pool_backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count("max_pool_backward", given, 8);
    const int dims = dims_of(args[0], "max_pool_backward");
    const char* operation = dims == 1 ? "max_pool1d_backward" : "max_pool2d_backward";
    const ArrayArg grad(args[1], operation, "grad");
    const PoolExtents out_grad(grad, dims);
    const Index height = as_integer(args[3], operation, "height"), width = as_integer(args[4], operation, "width");
    for (const Index extent : {height, width})
      if (extent < 0 || extent > PoolGeometry::kMost)
        fail(operation, "an extent of the input is " + std::to_string(extent) + "; expected 0 to 2147483647");
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
        return tables;
      },
      "Name, idea and needs of each variant of the operations, the definition first.");
}

}  // namespace dlkit
