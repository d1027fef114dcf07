// Activations, softmax and cross-entropy, dropout, sums over a batch.
#include "bindings/device/layers.h"

#include <string>

#include "layers/device_variants.h"

namespace dlkit {
namespace py = pybind11;
namespace {

ActivationKind kind_of(const Arguments& arguments, int kind) {
  arguments.expect(kind >= 0 && kind < kActivations, "kind", std::to_string(kind), "0 to 8");
  static_assert(kActivations == 9);
  return static_cast<ActivationKind>(kind);
}

void activation_call(Address stream, int dtype, int kind, Address x, Address y, Index n, double alpha, int rung) {
  Arguments a("activation");
  const ActivationKind function = kind_of(a, kind);
  const Rung step = rung_of(a, rung);
  a.count("n", n);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, n);
    T* const to = a.out<T>("y", y, n);
    a.run([&] { device::activation<T>(stream_of(stream), function, from, to, n, alpha, step); });
  });
}

void activation_backward_call(Address stream, int dtype, int kind, Address grad, Address saved, Address out, Index n,
                              double alpha, int rung) {
  Arguments a("activation_backward");
  const ActivationKind function = kind_of(a, kind);
  const Rung step = rung_of(a, rung);
  a.count("n", n);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *const g = a.in<T>("grad", grad, n), *const s = a.in<T>("saved", saved, n);
    T* const to = a.out<T>("out", out, n);
    a.run([&] { device::activation_backward<T>(stream_of(stream), function, g, s, to, n, alpha, step); });
  });
}

void softmax_call(Address stream, int dtype, Address x, Index row_stride, Address out, Index rows, Index cols,
                  bool logarithm, int rung) {
  Arguments a(logarithm ? "log_softmax" : "softmax");
  const Rung step = rung_of(a, rung);
  const Index n = a.count("(rows, cols)", rows, cols), extent = a.strided("(rows, cols)", rows, cols, row_stride);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, extent);
    T* const to = a.out<T>("out", out, n);
    a.run([&] { device::softmax<T>(stream_of(stream), from, row_stride, to, rows, cols, logarithm, step); });
  });
}

void softmax_backward_call(Address stream, int dtype, Address grad, Address y, Address out, Index rows, Index cols,
                           bool logarithm, int rung) {
  Arguments a(logarithm ? "log_softmax_backward" : "softmax_backward");
  const Rung step = rung_of(a, rung);
  const Index n = a.count("(rows, cols)", rows, cols);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *const g = a.in<T>("grad", grad, n), *const of = a.in<T>("y", y, n);
    T* const to = a.out<T>("out", out, n);
    a.run([&] { device::softmax_backward<T>(stream_of(stream), g, of, to, rows, cols, logarithm, step); });
  });
}

void cross_entropy_call(Address stream, int dtype, Address logits, Index row_stride, Address labels, Index rows,
                        Index cols, double label_smoothing, std::int64_t ignore_index, double grad_scale, int reduction,
                        Address losses, Address result, Address grad, Address scratch, int rung) {
  Arguments a("cross_entropy");
  const Rung step = rung_of(a, rung);
  a.expect(label_smoothing >= 0 && label_smoothing <= 1, "label_smoothing", label_smoothing, "0 to 1");
  a.expect(reduction >= 0 && reduction <= 2, "reduction", std::to_string(reduction), "0 to 2");
  const auto reduce = static_cast<device::Reduction>(reduction);
  const Index n = a.count("(rows, cols)", rows, cols), extent = a.strided("(rows, cols)", rows, cols, row_stride);
  a.expect(cols > 0 || rows == 0, "cols", "0", "1 or more");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    CrossEntropy<T> work;
    work.logits = a.in<T>("logits", logits, extent);
    work.row_stride = row_stride;
    work.labels = a.in<std::int64_t>("labels", labels, rows);
    work.rows = rows;
    work.cols = cols;
    work.label_smoothing = static_cast<T>(label_smoothing);
    work.ignore_index = ignore_index;
    work.grad_scale = static_cast<T>(grad_scale);
    work.losses = a.out<T>("losses", losses, rows);
    work.grad = a.out_or_null<T>("grad", grad, n);
    T* const total = reduce == device::Reduction::none ? nullptr : a.out<T>("result", result, 1);
    void* const memory =
        reduce == device::Reduction::none ? nullptr : a.scratch(scratch, device::cross_entropy_scratch(rows));
    a.run([&] { device::cross_entropy<T>(stream_of(stream), work, reduce, total, memory, step); });
  });
}

void dropout_call(Address stream, int dtype, Address x, Address y, Index n, double p, std::uint64_t seed,
                  std::uint64_t offset, Address offset_pointer, int rung) {
  Arguments a("dropout");
  const Rung step = rung_of(a, rung);
  a.count("n", n);
  a.expect(p >= 0 && p <= 1, "p", p, "0 to 1");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, n);
    T* const to = a.out<T>("y", y, n);
    const auto* const more = a.in_or_null<std::uint64_t>("offset_pointer", offset_pointer, 1);
    a.run([&] { device::dropout<T>(stream_of(stream), from, to, n, p, seed, offset, more, step); });
  });
}

std::size_t column_sum_scratch_call(int dtype, Index rows, Index cols) {
  Arguments a("column_sum_scratch");
  a.count("(rows, cols)", rows, cols);
  std::size_t bytes = 0;
  a.with_dtype(dtype, [&](auto zero) { bytes = device::column_sum_scratch<decltype(zero)>(rows, cols); });
  return bytes;
}

void column_sum_call(Address stream, int dtype, Address x, Index row_stride, Index rows, Index cols, Address out,
                     bool accumulate, Address scratch, int rung) {
  Arguments a("column_sum");
  const Rung step = rung_of(a, rung);
  const Index extent = a.strided("(rows, cols)", rows, cols, row_stride);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, extent);
    T* const to = a.out<T>("out", out, cols);
    void* const memory = a.scratch(scratch, device::column_sum_scratch<T>(rows, cols));
    a.run(
        [&] { device::column_sum<T>(stream_of(stream), from, row_stride, rows, cols, to, accumulate, memory, step); });
  });
}

}  // namespace

void bind_device_layers(py::module_& module) {
  using py::arg;
  module.def(
      "layer_variants",
      [] {
        py::list result;
        for (const auto& variant : device::kLayerVariants)
          result.append(py::make_tuple(variant.operation, variant.name, variant.idea, variant.needs));
        return result;
      },
      "Operation, name, idea and needs of each variant, the definition first.");
  module.def("activation", activation_call, arg("stream"), arg("dtype"), arg("kind"), arg("x"), arg("y"), arg("n"),
             arg("alpha"), arg("rung"));
  module.def("activation_backward", activation_backward_call, arg("stream"), arg("dtype"), arg("kind"), arg("grad"),
             arg("saved"), arg("out"), arg("n"), arg("alpha"), arg("rung"));
  module.def("softmax", softmax_call, arg("stream"), arg("dtype"), arg("x"), arg("row_stride"), arg("out"), arg("rows"),
             arg("cols"), arg("logarithm"), arg("rung"));
  module.def("softmax_backward", softmax_backward_call, arg("stream"), arg("dtype"), arg("grad"), arg("y"), arg("out"),
             arg("rows"), arg("cols"), arg("logarithm"), arg("rung"));
  module.def("cross_entropy", cross_entropy_call, arg("stream"), arg("dtype"), arg("logits"), arg("row_stride"),
             arg("labels"), arg("rows"), arg("cols"), arg("label_smoothing"), arg("ignore_index"), arg("grad_scale"),
             arg("reduction"), arg("losses"), arg("result"), arg("grad"), arg("scratch"), arg("rung"));
  module.def(
      "cross_entropy_scratch",
      [](int dtype, Index rows) {
        const Arguments a("cross_entropy_scratch");
        a.count("rows", rows);
        a.with_dtype(dtype, [](auto) {});
        return device::cross_entropy_scratch(rows);
      },
      arg("dtype"), arg("rows"), "Bytes of scratch memory; 'none' of the reductions needs none.");
  module.def("dropout", dropout_call, arg("stream"), arg("dtype"), arg("x"), arg("y"), arg("n"), arg("p"), arg("seed"),
             arg("offset"), arg("offset_pointer"), arg("rung"));
  module.def("column_sum", column_sum_call, arg("stream"), arg("dtype"), arg("x"), arg("row_stride"), arg("rows"),
             arg("cols"), arg("out"), arg("accumulate"), arg("scratch"), arg("rung"));
  module.def("column_sum_scratch", column_sum_scratch_call, arg("dtype"), arg("rows"), arg("cols"));
  bind_device_parameters(module);
  bind_device_normalisation(module);
}

}  // namespace dlkit
