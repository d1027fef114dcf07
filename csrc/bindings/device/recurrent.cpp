// Recurrent layers on device pointers: dlkit._simt and dlkit._cuda have the same functions.
#include "recurrent/device.h"

#include <pybind11/pybind11.h>

#include <string>
#include <utility>

#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "bindings/recurrent_shape.h"

namespace dlkit {
namespace {

// What both passes are given: how to go about it, and the shape.
struct RecurrentCall {
  const char* operation;
  Address stream;
  int dtype;
  Precision precision;
  py::handle variant;
  RecurrentShape shape;
  Index width, rows, batch, hidden, inputs;

  // settings: (stream, dtype, precision, variant, cell, new_z, reverse, batch_sizes, rows, inputs, hidden)
  RecurrentCall(const char* name, const py::tuple& settings) : operation(name) {
    if (settings.size() != 11) fail(operation, "settings has another length than 11");
    stream = settings[0].cast<Address>();
    dtype = settings[1].cast<int>();
    const int rounding = settings[2].cast<int>();
    if (rounding < 0 || rounding > 2)
      fail(operation, "precision is " + std::to_string(rounding) + "; expected 0 (float32), 1 (tf32) or 2 (bf16)");
    precision = static_cast<Precision>(rounding);
    variant = settings[3];
    shape.cell = cell_named(py::object(settings[4]).ptr(), operation);
    shape.new_z = settings[5].cast<bool>();
    shape.reverse = settings[6].cast<bool>();
    rows = settings[8].cast<Index>();
    shape.batch_sizes = batch_sizes_of(py::object(settings[7]).ptr(), operation, rows);
    shape.inputs = inputs = settings[9].cast<Index>();
    shape.hidden = hidden = settings[10].cast<Index>();
    batch = shape.batch();
    width = shape.gates() * hidden;
    const Arguments a(operation);
    a.expect(hidden >= 1, "hidden", std::to_string(hidden), "1 or more");
    a.count("(rows, inputs, H)", rows, inputs + 1, hidden);
    a.count("(H, H)", hidden, hidden);
    a.expect(a.count("(batch, H)", batch, hidden) <= device::kMostStepElements / 8, "the size of a state",
             std::to_string(batch * hidden), "at most 2^27 elements");
    a.expect(rows <= kMaxDeviceExtent && inputs <= kMaxDeviceExtent, "x",
             std::to_string(rows) + " x " + std::to_string(inputs), "extents below 2^31 - 1024");
  }

  template <class T>
  const device::RecurrentVariant<T>& chosen() const {
    const auto* named = variant_named(variant.ptr(), device::recurrent_variants<T>(), operation);
    if (named == nullptr) return device::choose_recurrent<T>(shape, precision);
    if (!named->takes(shape)) fail(operation, std::string("variant '") + named->name + "' needs " + named->needs);
    return *named;
  }

  template <class T>
  RecurrentWeights<T> weights(Arguments& a, const py::tuple& addresses) const {
    const auto at = [&](int i) { return addresses[static_cast<std::size_t>(i)].cast<Address>(); };
    return {a.in<T>("weight_ih", at(0), width * inputs), a.in<T>("weight_hh", at(1), width * hidden),
            a.in_or_null<T>("bias_ih", at(2), width), a.in_or_null<T>("bias_hh", at(3), width),
            a.in_or_null<T>("peepholes", at(4), 3 * hidden)};
  }
};

// With scratch at address 0 nothing is launched. Returns the bytes of scratch memory that are needed.
std::size_t forward_call(const py::tuple& settings, const py::tuple& weights, Address x, Address mask, Address h0,
                         Address c0, Address y, Index y_stride, Address hn, Address cn, Address reserve,
                         Address scratch, std::size_t scratch_bytes) {
  const RecurrentCall call("recurrent", settings);
  Arguments a(call.operation);
  const Index states = call.batch * call.hidden;
  const bool has_c = traits(call.shape.cell).has_c;
  std::size_t needed = 0;
  a.with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const device::RecurrentVariant<T>& variant = call.chosen<T>();
    RecurrentForward<T> p = {};
    p.shape = call.shape;
    p.weights = call.weights<T>(a, weights);
    p.x = a.in<T>("x", x, call.rows * call.inputs);
    p.x_stride = call.inputs;
    p.mask = a.in_or_null<T>("mask", mask, states);
    p.h0 = a.in_or_null<T>("h0", h0, states);
    p.c0 = has_c ? a.in_or_null<T>("c0", c0, states) : nullptr;
    a.expect(y_stride >= call.hidden, "y_stride", std::to_string(y_stride), "H or more");
    p.y = a.out<T>("y", y, a.strided("y", call.rows, call.hidden, y_stride));
    p.y_stride = y_stride;
    p.hn = a.out<T>("hn", hn, states);
    p.cn = has_c ? a.out<T>("cn", cn, states) : nullptr;
    p.reserve = a.out_or_null<T>("reserve", reserve, call.rows * call.shape.slots() * call.hidden);
    needed = variant.forward(nullptr, p, call.precision, nullptr);
    if (scratch == 0) return;
    a.expect(scratch_bytes >= needed, "scratch_bytes", std::to_string(scratch_bytes), "what the first call returned");
    a.expect(scratch % 16 == 0, "scratch", std::to_string(scratch), "a multiple of 16");
    void* const memory = a.scratch(scratch, needed);
    a.run([&] { variant.forward(stream_of(call.stream), p, call.precision, memory); });
  });
  return needed;
}

std::size_t backward_call(const py::tuple& settings, const py::tuple& weights, Address x, Address mask, Address y,
                          Index y_stride, Address reserve, Address dy, Index dy_stride, Address dhn, Address dcn,
                          Address dx, bool add_to_dx, Address dh0, Address dc0, const py::tuple& gradients,
                          bool accumulate, Address scratch, std::size_t scratch_bytes) {
  const RecurrentCall call("recurrent_backward", settings);
  Arguments a(call.operation);
  const Index states = call.batch * call.hidden;
  const bool has_c = traits(call.shape.cell).has_c;
  std::size_t needed = 0;
  a.with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const device::RecurrentVariant<T>& variant = call.chosen<T>();
    const auto at = [&](int i) { return gradients[static_cast<std::size_t>(i)].cast<Address>(); };
    RecurrentBackward<T> p = {};
    p.shape = call.shape;
    p.weights = call.weights<T>(a, weights);
    p.x = a.in<T>("x", x, call.rows * call.inputs);
    p.x_stride = call.inputs;
    p.mask = a.in_or_null<T>("mask", mask, states);
    a.expect(y_stride >= call.hidden, "y_stride", std::to_string(y_stride), "H or more");
    p.y = a.in<T>("y", y, a.strided("y", call.rows, call.hidden, y_stride));
    p.y_stride = y_stride;
    p.reserve = a.out<T>("reserve", reserve, call.rows * call.shape.slots() * call.hidden);
    if (dy != 0) {
      a.expect(dy_stride >= call.hidden, "dy_stride", std::to_string(dy_stride), "H or more");
      p.dy = a.in<T>("dy", dy, a.strided("dy", call.rows, call.hidden, dy_stride));
      p.dy_stride = dy_stride;
    }
    p.dhn = a.in_or_null<T>("dhn", dhn, states);
    p.dcn = has_c ? a.in_or_null<T>("dcn", dcn, states) : nullptr;
    p.dx = a.out_or_null<T>("dx", dx, call.rows * call.inputs);
    p.dx_stride = call.inputs;
    p.add_to_dx = add_to_dx;
    p.dh0 = a.out_or_null<T>("dh0", dh0, states);
    p.dc0 = has_c ? a.out_or_null<T>("dc0", dc0, states) : nullptr;
    p.dih = a.out_or_null<T>("dweight_ih", at(0), call.width * call.inputs);
    p.dhh = a.out_or_null<T>("dweight_hh", at(1), call.width * call.hidden);
    p.dih_bias = a.out_or_null<T>("dbias_ih", at(2), call.width);
    p.dhh_bias = a.out_or_null<T>("dbias_hh", at(3), call.width);
    p.dpeepholes = has_c ? a.out_or_null<T>("dpeepholes", at(4), 3 * call.hidden) : nullptr;
    p.accumulate = accumulate;
    needed = variant.backward(nullptr, p, call.precision, nullptr);
    if (scratch == 0) return;
    a.expect(scratch_bytes >= needed, "scratch_bytes", std::to_string(scratch_bytes), "what the first call returned");
    a.expect(scratch % 16 == 0, "scratch", std::to_string(scratch), "a multiple of 16");
    void* const memory = a.scratch(scratch, needed);
    a.run([&] { variant.backward(stream_of(call.stream), p, call.precision, memory); });
  });
  return needed;
}

}  // namespace

void bind_device_recurrent(py::module_& module) {
  using py::arg;
  module.def("recurrent", forward_call, arg("settings"), arg("weights"), arg("x"), arg("mask"), arg("h0"), arg("c0"),
             arg("y"), arg("y_stride"), arg("hn"), arg("cn"), arg("reserve"), arg("scratch"), arg("scratch_bytes"),
             "A layer in one direction; with scratch 0 only the bytes of scratch memory that it takes.");
  module.def("recurrent_backward", backward_call, arg("settings"), arg("weights"), arg("x"), arg("mask"), arg("y"),
             arg("y_stride"), arg("reserve"), arg("dy"), arg("dy_stride"), arg("dhn"), arg("dcn"), arg("dx"),
             arg("add_to_dx"), arg("dh0"), arg("dc0"), arg("gradients"), arg("accumulate"), arg("scratch"),
             arg("scratch_bytes"), "Its gradients; with scratch 0 only the bytes of scratch memory that it takes.");
  module.def(
      "recurrent_variants",
      [] {
        py::list result;
        for (const auto& variant : device::recurrent_variants<float>())
          result.append(py::make_tuple(variant.name, variant.idea, variant.needs));
        return result;
      },
      "Name, idea and needs of each variant, the definition first.");
  module.def(
      "recurrent_batch_sizes",
      [](const py::object& batch_sizes, Index rows, const std::string& operation) {
        py::list sizes;
        for (const Index size : batch_sizes_of(batch_sizes.ptr(), operation.c_str(), rows)) sizes.append(size);
        return sizes;
      },
      arg("batch_sizes"), arg("rows"), arg("operation"), "The sizes as integers, checked.");
  module.def(
      "recurrent_choice",
      [](const py::tuple& settings) {
        const RecurrentCall call("recurrent", settings);
        return std::string(call.dtype == 0 ? device::choose_recurrent<float>(call.shape, call.precision).name
                                           : device::choose_recurrent<double>(call.shape, call.precision).name);
      },
      arg("settings"), "Name of the variant that runs where none is named.");
}

}  // namespace dlkit
