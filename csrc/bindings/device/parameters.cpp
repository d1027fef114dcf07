// What is done to lists of arrays: the optimizers' steps, and a gradient's norm, scaling and clamping. A list is of
// tuples, an array's addresses and its number of elements.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "bindings/device/layers.h"

namespace dlkit {
namespace py = pybind11;
namespace {

struct Role {
  const char* name;
  bool written, optional;
};

std::uint64_t integer(const Arguments& arguments, PyObject* object, const char* name) {
  const unsigned long long value = PyLong_AsUnsignedLongLong(object);
  if (value == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
    PyErr_Clear();
    arguments.fail(std::string(name) + " is " + std::string(py::repr(object)) + "; expected an integer, 0 or more");
  }
  return value;
}

template <class T>
std::vector<Parameter<T>> parameters_of(Arguments& arguments, const py::sequence& list,
                                        const std::vector<Role>& roles) {
  std::vector<Parameter<T>> parameters;
  parameters.reserve(list.size());
  for (const py::handle item : list) {
    const auto size = static_cast<Py_ssize_t>(roles.size()) + 1;
    if (!PyTuple_Check(item.ptr()) || PyTuple_GET_SIZE(item.ptr()) != size)
      arguments.fail("parameters has " + std::string(py::repr(item)) + "; expected tuples of " + std::to_string(size) +
                     " integers");
    const auto n = static_cast<Index>(integer(arguments, PyTuple_GET_ITEM(item.ptr(), size - 1), "n"));
    arguments.count("n", n);
    T* arrays[4] = {};
    for (std::size_t role = 0; role < roles.size(); ++role) {
      const char* const name = roles[role].name;
      const Address address = integer(arguments, PyTuple_GET_ITEM(item.ptr(), static_cast<Py_ssize_t>(role)), name);
      if (address == 0 && roles[role].optional) continue;
      arrays[role] =
          roles[role].written ? arguments.out<T>(name, address, n) : const_cast<T*>(arguments.in<T>(name, address, n));
    }
    parameters.push_back({arrays[0], arrays[1], arrays[2], arrays[3], n});
  }
  return parameters;
}

void sum_squares_call(Address stream, int dtype, const py::sequence& arrays, Address out, Address scratch) {
  Arguments a("sum_squares");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto parameters = parameters_of<T>(a, arrays, {{"array", false, false}});
    std::vector<Index> sizes;
    for (const auto& part : parameters) sizes.push_back(part.n);
    double* const total = a.out<double>("out", out, 1);
    void* const memory = a.scratch(scratch, device::sum_squares_scratch(sizes));
    a.run([&] { device::sum_squares<T>(stream_of(stream), parameters, total, memory); });
  });
}

void scale_inplace_call(Address stream, int dtype, const py::sequence& arrays, double factor, Address factor_pointer) {
  Arguments a("scale_inplace");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto parameters = parameters_of<T>(a, arrays, {{"array", true, false}});
    const double* const more = a.in_or_null<double>("factor_pointer", factor_pointer, 1);
    a.run([&] { device::scale_inplace<T>(stream_of(stream), parameters, factor, more); });
  });
}

void clip_factor_call(Address stream, Address sum_squares, double max_norm, Address out) {
  Arguments a("clip_factor");
  a.expect(max_norm >= 0, "max_norm", max_norm, "0 or more");
  const double* const sum = a.in<double>("sum_squares", sum_squares, 1);
  double* const to = a.out<double>("out", out, 1);
  a.run([&] { device::clip_factor(stream_of(stream), sum, max_norm, to); });
}

void clamp_inplace_call(Address stream, int dtype, const py::sequence& arrays, double limit) {
  Arguments a("clamp_inplace");
  a.expect(limit >= 0, "limit", limit, "0 or more");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto parameters = parameters_of<T>(a, arrays, {{"array", true, false}});
    a.run([&] { device::clamp_inplace<T>(stream_of(stream), parameters, limit); });
  });
}

bool finite_and_not_negative(double value) { return std::isfinite(value) && value >= 0; }

SgdSettings sgd_settings(const Arguments& a, double lr, double momentum, double dampening, double weight_decay,
                         bool nesterov, bool first_step) {
  a.expect(std::isfinite(lr), "lr", lr, "a finite number");
  a.expect(finite_and_not_negative(momentum), "momentum", momentum, "0 or more");
  a.expect(std::isfinite(dampening), "dampening", dampening, "a finite number");
  a.expect(finite_and_not_negative(weight_decay), "weight_decay", weight_decay, "0 or more");
  if (nesterov && (momentum == 0 || dampening != 0)) a.fail("nesterov=True needs a momentum above 0 and no dampening");
  return {lr, momentum, dampening, weight_decay, nesterov, first_step};
}

AdamSettings adam_settings(const Arguments& a, std::int64_t step, double lr, double beta1, double beta2, double eps,
                           double weight_decay, bool decoupled) {
  a.expect(step >= 1, "step", std::to_string(step), "1 or more");
  a.expect(std::isfinite(lr), "lr", lr, "a finite number");
  a.expect(beta1 >= 0 && beta1 < 1, "beta1", beta1, "0 <= beta1 < 1");
  a.expect(beta2 >= 0 && beta2 < 1, "beta2", beta2, "0 <= beta2 < 1");
  a.expect(finite_and_not_negative(eps), "eps", eps, "0 or more");
  a.expect(finite_and_not_negative(weight_decay), "weight_decay", weight_decay, "0 or more");
  return {step, lr, beta1, beta2, eps, weight_decay, decoupled};
}

// The bytes of a struct, without what padding holds.
template <class Factors>
py::bytes bytes_of(const Factors& factors) {
  char memory[sizeof(Factors)] = {};
  std::memcpy(memory, &factors, sizeof factors);
  return py::bytes(memory, sizeof memory);
}

py::bytes sgd_factors_call(int dtype, double lr, double momentum, double dampening, double weight_decay, bool nesterov,
                           bool first_step) {
  const Arguments a("sgd_factors");
  const SgdSettings settings = sgd_settings(a, lr, momentum, dampening, weight_decay, nesterov, first_step);
  py::bytes result;
  a.with_dtype(dtype, [&](auto zero) { result = bytes_of(factors_of<decltype(zero)>(settings)); });
  return result;
}

py::bytes adam_factors_call(int dtype, std::int64_t step, double lr, double beta1, double beta2, double eps,
                            double weight_decay, bool decoupled) {
  const Arguments a("adam_factors");
  const AdamSettings settings = adam_settings(a, step, lr, beta1, beta2, eps, weight_decay, decoupled);
  py::bytes result;
  a.with_dtype(dtype, [&](auto zero) { result = bytes_of(factors_of<decltype(zero)>(settings)); });
  return result;
}

void sgd_step_call(Address stream, int dtype, const py::sequence& list, double lr, double momentum, double dampening,
                   double weight_decay, bool nesterov, bool first_step, Address factors_pointer, int rung) {
  Arguments a("sgd_step");
  const Rung step = rung_of(a, rung);
  const SgdSettings settings = sgd_settings(a, lr, momentum, dampening, weight_decay, nesterov, first_step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto parameters =
        parameters_of<T>(a, list, {{"value", true, false}, {"grad", false, false}, {"velocity", true, true}});
    const auto has_velocity = [](const auto& part) { return part.n == 0 || part.first != nullptr; };
    if (momentum != 0 && !std::all_of(parameters.begin(), parameters.end(), has_velocity))
      a.fail("momentum is not 0 but a velocity is 0; expected the address of an array to keep it in");
    const auto* const on_device = a.in_or_null<SgdFactors<T>>("factors_pointer", factors_pointer, 1);
    a.run([&] { device::sgd_step<T>(stream_of(stream), parameters, factors_of<T>(settings), on_device, step); });
  });
}

void adam_step_call(Address stream, int dtype, const py::sequence& list, std::int64_t step, double lr, double beta1,
                    double beta2, double eps, double weight_decay, bool decoupled, Address factors_pointer, int rung) {
  Arguments a("adam_step");
  const Rung variant = rung_of(a, rung);
  const AdamSettings settings = adam_settings(a, step, lr, beta1, beta2, eps, weight_decay, decoupled);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto parameters = parameters_of<T>(
        a, list, {{"value", true, false}, {"grad", false, false}, {"first", true, false}, {"second", true, false}});
    const auto* const on_device = a.in_or_null<AdamFactors<T>>("factors_pointer", factors_pointer, 1);
    a.run([&] { device::adam_step<T>(stream_of(stream), parameters, factors_of<T>(settings), on_device, variant); });
  });
}

}  // namespace

void bind_device_parameters(py::module_& module) {
  using py::arg;
  module.def("sum_squares", sum_squares_call, arg("stream"), arg("dtype"), arg("arrays"), arg("out"), arg("scratch"));
  module.def(
      "sum_squares_scratch",
      [](int dtype, const py::sequence& sizes) {
        const Arguments a("sum_squares_scratch");
        a.with_dtype(dtype, [](auto) {});
        std::vector<Index> list;
        for (const py::handle size : sizes) list.push_back(a.count("n", size.cast<Index>()));
        return device::sum_squares_scratch(list);
      },
      arg("dtype"), arg("sizes"));
  module.def("scale_inplace", scale_inplace_call, arg("stream"), arg("dtype"), arg("arrays"), arg("factor"),
             arg("factor_pointer"));
  module.def("clip_factor", clip_factor_call, arg("stream"), arg("sum_squares"), arg("max_norm"), arg("out"));
  module.def("clamp_inplace", clamp_inplace_call, arg("stream"), arg("dtype"), arg("arrays"), arg("limit"));
  module.def("sgd_factors", sgd_factors_call, arg("dtype"), arg("lr"), arg("momentum"), arg("dampening"),
             arg("weight_decay"), arg("nesterov"), arg("first_step"));
  module.def("adam_factors", adam_factors_call, arg("dtype"), arg("step"), arg("lr"), arg("beta1"), arg("beta2"),
             arg("eps"), arg("weight_decay"), arg("decoupled"));
  module.def("sgd_step", sgd_step_call, arg("stream"), arg("dtype"), arg("parameters"), arg("lr"), arg("momentum"),
             arg("dampening"), arg("weight_decay"), arg("nesterov"), arg("first_step"), arg("factors_pointer"),
             arg("rung"));
  module.def("adam_step", adam_step_call, arg("stream"), arg("dtype"), arg("parameters"), arg("step"), arg("lr"),
             arg("beta1"), arg("beta2"), arg("eps"), arg("weight_decay"), arg("decoupled"), arg("factors_pointer"),
             arg("rung"));
}

}  // namespace dlkit
