// Pooling on device pointers: dlkit._simt and dlkit._cuda have the same functions.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <string>

#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "conv/device_pool.h"

namespace dlkit {
namespace py = pybind11;
namespace {

// (planes, height, width, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, out_h, out_w)
using Numbers = std::array<Index, 13>;

DevicePool pool_of(const Arguments& a, const Numbers& n, bool include_pad = true, Index divisor = 0) {
  constexpr Index kMost = (Index{1} << 30) - 1;
  constexpr const char* kNames[] = {"planes",     "height",   "width",   "kernel_h", "kernel_w",
                                    "stride_h",   "stride_w", "padding", "padding",  "dilation_h",
                                    "dilation_w", "out_h",    "out_w"};
  constexpr Index kLeast[] = {0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0};
  for (std::size_t i = 0; i < n.size(); ++i)
    a.expect(n[i] >= kLeast[i] && (i == 0 || n[i] <= kMost), kNames[i], std::to_string(n[i]),
             kLeast[i] == 0 ? "0 to 1073741823" : "1 to 1073741823");
  // All places that windows reach, in an int.
  for (int axis = 0; axis < 2; ++axis) {
    const auto at = [&](int i) { return n[static_cast<std::size_t>(i + axis)]; };
    Index reach = 0, last = 0;
    const bool ok = !__builtin_mul_overflow(at(3) - 1, at(9), &reach) &&
                    !__builtin_mul_overflow(at(11), at(5), &last) && reach <= kMost && last <= kMost &&
                    reach + last + at(1) + at(7) <= kMost;
    a.expect(ok, "window", std::to_string(at(3)), "one that stays below 1073741823 elements of an axis");
  }
  a.expect(divisor >= 0, "divisor", std::to_string(divisor), "0 or more");
  DevicePool p = {n[0], n[1], n[2],  n[3],  n[4],  n[5],        n[6],   n[7],
                  n[8], n[9], n[10], n[11], n[12], include_pad, divisor};
  a.count("(planes, height, width)", p.planes, p.height, p.width);
  a.count("(planes, out_h, out_w)", p.planes, p.out_h, p.out_w);
  return p;
}

PoolStep step_of(const Arguments& a, int step) {
  a.expect(step >= 0 && step <= static_cast<int>(PoolStep::automatic), "step", std::to_string(step), "0 to 2");
  return static_cast<PoolStep>(step);
}

void max_pool_call(Address stream, int dtype, const Numbers& numbers, Address x, Address y, Address places,
                   Address indices, bool relu, int step) {
  Arguments a("max_pool2d");
  const DevicePool p = pool_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.expect(places == 0 || p.kernel_h * p.kernel_w <= 255, "kernel_h * kernel_w",
           std::to_string(p.kernel_h * p.kernel_w), "at most 255 with places of one byte");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, p.in_elements());
    T* const to = a.out<T>("out", y, p.out_elements());
    auto* const tap = a.out_or_null<std::uint8_t>("places", places, p.out_elements());
    auto* const index = a.out_or_null<std::int64_t>("indices", indices, p.out_elements());
    a.run([&] { device::max_pool<T>(stream_of(stream), p, from, to, tap, index, relu, how); });
  });
}

void max_pool_backward_call(Address stream, int dtype, const Numbers& numbers, Address grad, Address places,
                            Address indices, Address dx, bool any_window, int step) {
  Arguments a("max_pool2d_backward");
  const DevicePool p = pool_of(a, numbers);
  const PoolStep how = step_of(a, step);
  if (p.out_elements() > 0)
    a.expect((places == 0) != (indices == 0) && (!any_window || indices != 0), "places", std::to_string(places),
             "one of places and indices, the latter with any_window");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("grad", grad, p.out_elements());
    T* const to = a.out<T>("out", dx, p.in_elements());
    const auto* const tap = a.in_or_null<std::uint8_t>("places", places, p.out_elements());
    const auto* const index = a.in_or_null<std::int64_t>("indices", indices, p.out_elements());
    a.run([&] {
      if (any_window)
        device::max_unpool<T>(stream_of(stream), p, from, index, to);
      else
        device::max_pool_backward<T>(stream_of(stream), p, from, tap, index, to, how);
    });
  });
}

void avg_pool_call(Address stream, int dtype, const Numbers& numbers, bool include_pad, Index divisor, Address x,
                   Address y, bool backward, int step) {
  Arguments a(backward ? "avg_pool2d_backward" : "avg_pool2d");
  const DevicePool p = pool_of(a, numbers, include_pad, divisor);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>(backward ? "grad" : "x", x, backward ? p.out_elements() : p.in_elements());
    T* const to = a.out<T>("out", y, backward ? p.in_elements() : p.out_elements());
    a.run([&] {
      if (backward)
        device::avg_pool_backward<T>(stream_of(stream), p, from, to, how);
      else
        device::avg_pool<T>(stream_of(stream), p, from, to, how);
    });
  });
}

}  // namespace

void bind_device_pool(py::module_& module) {
  using py::arg;
  module.def(
      "pool_variants",
      [] {
        py::list rows;
        for (const auto& variant : kDevicePoolVariants)
          rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
        return rows;
      },
      "Name, idea and needs of each step of pooling, the definition first; the same for all of its operations.");
  module.def(
      "takes_packs",
      [](int dtype, const Numbers& numbers, Index divisor) {
        const Arguments a("takes_packs");
        return takes_packs(pool_of(a, numbers, true, divisor), dtype == 1 ? 8 : 4);
      },
      arg("dtype"), arg("numbers"), arg("divisor"), "Whether extents allow the step 'packs'.");
  module.def("max_pool", max_pool_call, arg("stream"), arg("dtype"), arg("numbers"), arg("x"), arg("y"), arg("places"),
             arg("indices"), arg("relu"), arg("step"));
  module.def("max_pool_backward", max_pool_backward_call, arg("stream"), arg("dtype"), arg("numbers"), arg("grad"),
             arg("places"), arg("indices"), arg("dx"), arg("any_window"), arg("step"));
  module.def("avg_pool", avg_pool_call, arg("stream"), arg("dtype"), arg("numbers"), arg("include_pad"), arg("divisor"),
             arg("x"), arg("y"), arg("backward"), arg("step"),
             "Means of windows, or of their gradient `x` that by the plane.");
}

}  // namespace dlkit
