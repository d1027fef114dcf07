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
  DevicePool p = {n[0], n[1], n[2],  n[3],  n[4],  n[5],        n[6],   n[7],
                  n[8], n[9], n[10], n[11], n[12], include_pad, divisor};
  a.count("(planes, height, width)", p.planes, p.height, p.width);
  a.count("(planes, out_h, out_w)", p.planes, p.out_h, p.out_w);
  return p;
}

PoolStep step_of(const Arguments& a, int step) {
  a.expect(step >= 0 && step <= static_cast<int>(PoolStep::automatic), "step", std::to_string(step), "0 to 3");
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

// The largest of a number of 64 bits that kernels hold in an int.
constexpr Index kMostExtentOfDevice = (Index{1} << 30) - 1;
constexpr const char* kOneToMost = "1 to 1073741823";

void stochastic_pool_call(Address stream, int dtype, const Numbers& numbers, Address x, Address y, Address places,
                          std::uint64_t seed, std::uint64_t offset, Address offset_pointer, int step) {
  Arguments a("stochastic_pool2d");
  const DevicePool p = pool_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.expect(p.kernel_h * p.kernel_w <= 255, "kernel_h * kernel_w", std::to_string(p.kernel_h * p.kernel_w),
           "at most 255");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, p.in_elements());
    T* const to = a.out<T>("out", y, p.out_elements());
    auto* const tap = a.out<std::uint8_t>("places", places, p.out_elements());
    const auto* const more = a.in_or_null<std::uint64_t>("offset_pointer", offset_pointer, 1);
    a.run([&] { device::stochastic_pool<T>(stream_of(stream), p, from, to, tap, seed, offset, more, how); });
  });
}

void stochastic_average_call(Address stream, int dtype, const Numbers& numbers, Address x, Address y, int step) {
  Arguments a("stochastic_average2d");
  const DevicePool p = pool_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, p.in_elements());
    T* const to = a.out<T>("out", y, p.out_elements());
    a.run([&] { device::stochastic_average<T>(stream_of(stream), p, from, to, how); });
  });
}

void stochastic_average_backward_call(Address stream, int dtype, const Numbers& numbers, Address grad, Address x,
                                      Address dx, Address scratch, int step) {
  Arguments a("stochastic_average2d_backward");
  const DevicePool p = pool_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const given = a.in<T>("grad", grad, p.out_elements());
    const T* const from = a.in<T>("x", x, p.in_elements());
    T* const to = a.out<T>("out", dx, p.in_elements());
    T* const work = static_cast<T*>(a.scratch(scratch, static_cast<std::size_t>(2 * p.out_elements()) * sizeof(T)));
    a.run([&] { device::stochastic_average_backward<T>(stream_of(stream), p, given, from, to, work, how); });
  });
}

// (planes, height, width, out_h, out_w)
using AdaptiveNumbers = std::array<Index, 5>;

DeviceAdaptivePool adaptive_of(const Arguments& a, const AdaptiveNumbers& n) {
  constexpr const char* kNames[] = {"planes", "height", "width", "out_h", "out_w"};
  for (std::size_t i = 1; i < n.size(); ++i)
    a.expect(n[i] >= 1 && n[i] <= kMostExtentOfDevice, kNames[i], std::to_string(n[i]), kOneToMost);
  const DeviceAdaptivePool p = {n[0], n[1], n[2], n[3], n[4]};
  a.count("(planes, height, width)", p.planes, p.height, p.width);
  a.count("(planes, out_h, out_w)", p.planes, p.out_h, p.out_w);
  return p;
}

void adaptive_avg_pool_call(Address stream, int dtype, const AdaptiveNumbers& numbers, Address x, Address y,
                            bool backward, int step) {
  Arguments a(backward ? "adaptive_avg_pool2d_backward" : "adaptive_avg_pool2d");
  const DeviceAdaptivePool p = adaptive_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>(backward ? "grad" : "x", x, backward ? p.out_elements() : p.in_elements());
    T* const to = a.out<T>("out", y, backward ? p.in_elements() : p.out_elements());
    a.run([&] {
      if (backward)
        device::adaptive_avg_pool_backward<T>(stream_of(stream), p, from, to, how);
      else
        device::adaptive_avg_pool<T>(stream_of(stream), p, from, to, how);
    });
  });
}

void adaptive_max_pool_call(Address stream, int dtype, const AdaptiveNumbers& numbers, Address x, Address y,
                            Address indices, int step) {
  Arguments a("adaptive_max_pool2d");
  const DeviceAdaptivePool p = adaptive_of(a, numbers);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, p.in_elements());
    T* const to = a.out<T>("out", y, p.out_elements());
    auto* const index = a.out<std::int64_t>("indices", indices, p.out_elements());
    a.run([&] { device::adaptive_max_pool<T>(stream_of(stream), p, from, to, index, how); });
  });
}

void k_max_pool_call(Address stream, int dtype, Index rows, Index cols, Index k, Address x, Address y, Address indices,
                     int step) {
  Arguments a("k_max_pool1d");
  a.expect(cols >= 1 && cols <= kMostExtentOfDevice, "cols", std::to_string(cols), kOneToMost);
  a.expect(k >= 1 && k <= cols, "k", std::to_string(k), "1 to as many as there are columns");
  const Index taken = a.count("(rows, cols)", rows, cols);
  const PoolStep how = step_of(a, step);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, taken);
    T* const to = a.out<T>("out", y, rows * k);
    auto* const index = a.out<std::int64_t>("indices", indices, rows * k);
    a.run([&] { device::k_max_pool<T>(stream_of(stream), {rows, cols, 1}, k, from, to, index, how); });
  });
}

void max_over_time_call(Address stream, int dtype, Index count, Index channels, Index cols, Address x, Address lengths,
                        Address y, Address indices, int step) {
  Arguments a("max_over_time");
  a.expect(cols >= 1 && cols <= kMostExtentOfDevice, "cols", std::to_string(cols), kOneToMost);
  const Index elements = a.count("(count, channels, cols)", count, channels, cols);
  const PoolStep how = step_of(a, step);
  const Index rows = count * channels;
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, elements);
    const auto* const length = a.in_or_null<std::int64_t>("lengths", lengths, count);
    T* const to = a.out<T>("out", y, rows);
    auto* const index = a.out<std::int64_t>("indices", indices, rows);
    a.run([&] { device::max_over_time<T>(stream_of(stream), {rows, cols, channels}, from, length, to, index, how); });
  });
}

DeviceMaxout maxout_of(const Arguments& a, Index outer, Index pieces, Index inner) {
  a.expect(pieces >= 1 && pieces <= kMostExtentOfDevice, "pieces", std::to_string(pieces), kOneToMost);
  a.expect(inner >= 0 && inner <= kMostExtentOfDevice, "inner", std::to_string(inner), "0 to 1073741823");
  a.count("(outer, pieces, inner)", outer, pieces, inner);
  return {outer, pieces, inner};
}

void maxout_call(Address stream, int dtype, Index outer, Index pieces, Index inner, Address x, Address y,
                 Address places, Address indices, int step) {
  Arguments a("maxout");
  const DeviceMaxout m = maxout_of(a, outer, pieces, inner);
  const PoolStep how = step_of(a, step);
  a.expect(places == 0 || pieces <= 255, "pieces", std::to_string(pieces), "at most 255 with places of one byte");
  const Index results = outer * inner;
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, results * pieces);
    T* const to = a.out<T>("out", y, results);
    auto* const place = a.out_or_null<std::uint8_t>("places", places, results);
    auto* const index = a.out_or_null<std::int64_t>("indices", indices, results);
    a.run([&] { device::maxout<T>(stream_of(stream), m, from, to, place, index, how); });
  });
}

void maxout_backward_call(Address stream, int dtype, Index outer, Index pieces, Index inner, Address grad,
                          Address places, Address indices, Address dx, int step) {
  Arguments a("maxout_backward");
  const DeviceMaxout m = maxout_of(a, outer, pieces, inner);
  const PoolStep how = step_of(a, step);
  const Index results = outer * inner;
  if (results > 0)
    a.expect((places == 0) != (indices == 0), "places", std::to_string(places), "one of places and indices");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("grad", grad, results);
    const auto* const place = a.in_or_null<std::uint8_t>("places", places, results);
    const auto* const index = a.in_or_null<std::int64_t>("indices", indices, results);
    T* const to = a.out<T>("out", dx, results * pieces);
    a.run([&] { device::maxout_backward<T>(stream_of(stream), m, from, place, index, to, how); });
  });
}

template <std::size_t Count>
py::list ladder(const DevicePoolVariant (&variants)[Count]) {
  py::list rows;
  for (const auto& variant : variants)
    rows.append(py::make_tuple(variant.name, variant.idea, variant.needs, static_cast<int>(variant.step)));
  return rows;
}

}  // namespace

void bind_device_pool(py::module_& module) {
  using py::arg;
  module.def(
      "pool_variants",
      [] {
        py::dict tables;
        for (const char* operation : {"max_pool2d", "max_pool2d_backward", "avg_pool2d", "avg_pool2d_backward",
                                      "stochastic_pool2d", "stochastic_average2d", "stochastic_average2d_backward"})
          tables[operation] = ladder(kDevicePoolVariants);
        for (const char* operation : {"adaptive_avg_pool2d", "adaptive_max_pool2d", "k_max_pool1d", "max_over_time"})
          tables[operation] = ladder(kDeviceReducingVariants);
        tables["adaptive_avg_pool2d_backward"] = ladder(kDeviceFillingVariants);
        for (const char* operation : {"maxout", "maxout_backward"}) tables[operation] = ladder(kDeviceMaxoutVariants);
        return tables;
      },
      "Of each operation: name, idea, needs and number of its steps, the definition first.");
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
  module.def("stochastic_pool", stochastic_pool_call, arg("stream"), arg("dtype"), arg("numbers"), arg("x"), arg("y"),
             arg("places"), arg("seed"), arg("offset"), arg("offset_pointer"), arg("step"),
             "`offset_pointer`: 0, or where a number lies that is added to the offset.");
  module.def("stochastic_average", stochastic_average_call, arg("stream"), arg("dtype"), arg("numbers"), arg("x"),
             arg("y"), arg("step"));
  module.def("stochastic_average_backward", stochastic_average_backward_call, arg("stream"), arg("dtype"),
             arg("numbers"), arg("grad"), arg("x"), arg("dx"), arg("scratch"), arg("step"),
             "`scratch`: two elements for each of grad.");
  module.def("adaptive_avg_pool", adaptive_avg_pool_call, arg("stream"), arg("dtype"), arg("numbers"), arg("x"),
             arg("y"), arg("backward"), arg("step"));
  module.def("adaptive_max_pool", adaptive_max_pool_call, arg("stream"), arg("dtype"), arg("numbers"), arg("x"),
             arg("y"), arg("indices"), arg("step"));
  module.def("k_max_pool", k_max_pool_call, arg("stream"), arg("dtype"), arg("rows"), arg("cols"), arg("k"), arg("x"),
             arg("y"), arg("indices"), arg("step"));
  module.def("max_over_time", max_over_time_call, arg("stream"), arg("dtype"), arg("count"), arg("channels"),
             arg("cols"), arg("x"), arg("lengths"), arg("y"), arg("indices"), arg("step"));
  module.def("maxout", maxout_call, arg("stream"), arg("dtype"), arg("outer"), arg("pieces"), arg("inner"), arg("x"),
             arg("y"), arg("places"), arg("indices"), arg("step"));
  module.def("maxout_backward", maxout_backward_call, arg("stream"), arg("dtype"), arg("outer"), arg("pieces"),
             arg("inner"), arg("grad"), arg("places"), arg("indices"), arg("dx"), arg("step"));
}

}  // namespace dlkit
