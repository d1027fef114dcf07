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
  int directions;
  Address stream;
  int dtype;
  Precision precision;
  py::handle variant;
  RecurrentShape shape;
  Index width, rows, batch, hidden, inputs;

  // settings: (stream, dtype, precision, variant, cell, new_z, batch_sizes, rows, inputs, hidden)
  RecurrentCall(const char* name, const py::tuple& settings, std::size_t count)
      : operation(name), directions(static_cast<int>(count)) {
    if (settings.size() != 10) fail(operation, "settings has another length than 10");
    if (count < 1 || count > 2) fail(operation, "passes is of " + std::to_string(count) + "; expected one or two");
    stream = settings[0].cast<Address>();
    dtype = settings[1].cast<int>();
    const int rounding = settings[2].cast<int>();
    if (rounding < 0 || rounding > 2)
      fail(operation, "precision is " + std::to_string(rounding) + "; expected 0 (float32), 1 (tf32) or 2 (bf16)");
    precision = static_cast<Precision>(rounding);
    variant = settings[3];
    shape.cell = cell_named(py::object(settings[4]).ptr(), operation);
    shape.new_z = settings[5].cast<bool>();
    shape.reverse = false;
    rows = settings[7].cast<Index>();
    shape.batch_sizes = batch_sizes_of(py::object(settings[6]).ptr(), operation, rows);
    shape.inputs = inputs = settings[8].cast<Index>();
    shape.hidden = hidden = settings[9].cast<Index>();
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
    if (named == nullptr) return device::choose_recurrent<T>(shape, directions, precision);
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

// Calls a variant's function with all passes; with scratch at address 0 nothing is launched. Returns the bytes of
// scratch memory that are needed.
template <class Run>
std::size_t run_passes(const RecurrentCall& call, Arguments& a, Address scratch, std::size_t scratch_bytes,
                       const Run& run) {
  const std::size_t needed = run(nullptr, nullptr);
  if (scratch == 0) return needed;
  a.expect(scratch_bytes >= needed, "scratch_bytes", std::to_string(scratch_bytes), "what the first call returned");
  a.expect(scratch % 16 == 0, "scratch", std::to_string(scratch), "a multiple of 16");
  void* const memory = a.scratch(scratch, needed);
  a.run([&] { run(stream_of(call.stream), memory); });
  return needed;
}

// Of each pass: (weights, x, mask, h0, c0, y, y_stride, hn, cn, reserve). The second one goes from the end.
std::size_t forward_call(const py::tuple& settings, const py::tuple& passes, Address scratch,
                         std::size_t scratch_bytes) {
  const RecurrentCall call("recurrent", settings, passes.size());
  Arguments a(call.operation);
  const Index states = call.batch * call.hidden;
  const bool has_c = traits(call.shape.cell).has_c;
  std::size_t needed = 0;
  a.with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const device::RecurrentVariant<T>& variant = call.chosen<T>();
    RecurrentForward<T> both[2] = {};
    for (int d = 0; d < call.directions; ++d) {
      const py::tuple given = passes[static_cast<std::size_t>(d)].cast<py::tuple>();
      if (given.size() != 10) fail(call.operation, "a pass has another length than 10");
      const auto at = [&](std::size_t i) { return given[i].cast<Address>(); };
      const Index y_stride = given[6].cast<Index>();
      RecurrentForward<T>& p = both[d];
      p.shape = call.shape;
      p.shape.reverse = d == 1;
      p.weights = call.weights<T>(a, given[0].cast<py::tuple>());
      p.x = a.in<T>("x", at(1), call.rows * call.inputs);
      p.x_stride = call.inputs;
      p.mask = a.in_or_null<T>("mask", at(2), states);
      p.h0 = a.in_or_null<T>("h0", at(3), states);
      p.c0 = has_c ? a.in_or_null<T>("c0", at(4), states) : nullptr;
      a.expect(y_stride >= call.hidden, "y_stride", std::to_string(y_stride), "H or more");
      p.y = a.out<T>("y", at(5), a.strided("y", call.rows, call.hidden, y_stride));
      p.y_stride = y_stride;
      p.hn = a.out<T>("hn", at(7), states);
      p.cn = has_c ? a.out<T>("cn", at(8), states) : nullptr;
      p.reserve = a.out_or_null<T>("reserve", at(9), call.rows * call.shape.slots() * call.hidden);
      if ((p.reserve == nullptr) != (both[0].reserve == nullptr))
        fail(call.operation, "reserve is given for one direction alone; expected both or none");
    }
    needed = run_passes(call, a, scratch, scratch_bytes, [&](device::Stream stream, void* memory) {
      return variant.forward(stream, both, call.directions, call.precision, memory);
    });
  });
  return needed;
}

// Of each pass: (weights, x, mask, y, y_stride, reserve, dy, dy_stride, dhn, dcn, dx, dh0, dc0, gradients). Where both
// have dx, the second one adds to it.
std::size_t backward_call(const py::tuple& settings, const py::tuple& passes, bool accumulate, Address scratch,
                          std::size_t scratch_bytes) {
  const RecurrentCall call("recurrent_backward", settings, passes.size());
  Arguments a(call.operation);
  const Index states = call.batch * call.hidden;
  const bool has_c = traits(call.shape.cell).has_c;
  std::size_t needed = 0;
  a.with_dtype(call.dtype, [&](auto zero) {
    using T = decltype(zero);
    const device::RecurrentVariant<T>& variant = call.chosen<T>();
    RecurrentBackward<T> both[2] = {};
    for (int d = 0; d < call.directions; ++d) {
      const py::tuple given = passes[static_cast<std::size_t>(d)].cast<py::tuple>();
      if (given.size() != 14) fail(call.operation, "a pass has another length than 14");
      const auto at = [&](std::size_t i) { return given[i].cast<Address>(); };
      const py::tuple gradients = given[13].cast<py::tuple>();
      const auto by = [&](std::size_t i) { return gradients[i].cast<Address>(); };
      const Index y_stride = given[4].cast<Index>(), dy_stride = given[7].cast<Index>();
      RecurrentBackward<T>& p = both[d];
      p.shape = call.shape;
      p.shape.reverse = d == 1;
      p.weights = call.weights<T>(a, given[0].cast<py::tuple>());
      p.x = a.in<T>("x", at(1), call.rows * call.inputs);
      p.x_stride = call.inputs;
      p.mask = a.in_or_null<T>("mask", at(2), states);
      a.expect(y_stride >= call.hidden, "y_stride", std::to_string(y_stride), "H or more");
      p.y = a.in<T>("y", at(3), a.strided("y", call.rows, call.hidden, y_stride));
      p.y_stride = y_stride;
      p.reserve = a.out<T>("reserve", at(5), call.rows * call.shape.slots() * call.hidden);
      if (at(6) != 0) {
        a.expect(dy_stride >= call.hidden, "dy_stride", std::to_string(dy_stride), "H or more");
        p.dy = a.in<T>("dy", at(6), a.strided("dy", call.rows, call.hidden, dy_stride));
        p.dy_stride = dy_stride;
      }
      p.dhn = a.in_or_null<T>("dhn", at(8), states);
      p.dcn = has_c ? a.in_or_null<T>("dcn", at(9), states) : nullptr;
      p.dx = a.out_or_null<T>("dx", at(10), call.rows * call.inputs);
      p.dx_stride = call.inputs;
      p.add_to_dx = d == 1 && both[0].dx != nullptr;
      p.dh0 = a.out_or_null<T>("dh0", at(11), states);
      p.dc0 = has_c ? a.out_or_null<T>("dc0", at(12), states) : nullptr;
      p.dih = a.out_or_null<T>("dweight_ih", by(0), call.width * call.inputs);
      p.dhh = a.out_or_null<T>("dweight_hh", by(1), call.width * call.hidden);
      p.dih_bias = a.out_or_null<T>("dbias_ih", by(2), call.width);
      p.dhh_bias = a.out_or_null<T>("dbias_hh", by(3), call.width);
      p.dpeepholes = has_c ? a.out_or_null<T>("dpeepholes", by(4), 3 * call.hidden) : nullptr;
      p.accumulate = accumulate;
    }
    needed = run_passes(call, a, scratch, scratch_bytes, [&](device::Stream stream, void* memory) {
      return variant.backward(stream, both, call.directions, call.precision, memory);
    });
  });
  return needed;
}

}  // namespace

void bind_device_recurrent(py::module_& module) {
  using py::arg;
  module.def("recurrent", forward_call, arg("settings"), arg("passes"), arg("scratch"), arg("scratch_bytes"),
             "A layer in one direction or two; with scratch 0 only the bytes of scratch memory that it takes.");
  module.def("recurrent_backward", backward_call, arg("settings"), arg("passes"), arg("accumulate"), arg("scratch"),
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
      [](const py::tuple& settings, int directions) {
        const RecurrentCall call("recurrent", settings, static_cast<std::size_t>(directions));
        return std::string(call.dtype == 0
                               ? device::choose_recurrent<float>(call.shape, directions, call.precision).name
                               : device::choose_recurrent<double>(call.shape, directions, call.precision).name);
      },
      arg("settings"), arg("directions"), "Name of the variant that runs where none is named.");
}

}  // namespace dlkit
