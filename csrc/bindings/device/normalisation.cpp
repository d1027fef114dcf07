// Embedding, layer norm and batch norm.
#include <cmath>
#include <string>

#include "bindings/device/layers.h"

namespace dlkit {
namespace py = pybind11;
namespace {

void check_eps(const Arguments& a, double eps) { a.expect(std::isfinite(eps) && eps >= 0, "eps", eps, "0 or more"); }

// scratch(zero) of a dtype.
template <class Scratch>
std::size_t bytes_of_dtype(const Arguments& a, int dtype, const Scratch& scratch) {
  std::size_t bytes = 0;
  a.with_dtype(dtype, [&](auto zero) { bytes = scratch(zero); });
  return bytes;
}

void embedding_call(Address stream, int dtype, Address weight, Index rows, Index cols, Address indices, Index n,
                    Address out, int rung) {
  Arguments a("embedding");
  const Rung step = rung_of(a, rung);
  const Index weights = a.count("(rows, cols)", rows, cols), results = a.count("(n, cols)", n, cols);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("weight", weight, weights);
    const auto* const which = a.in<std::int64_t>("indices", indices, n);
    T* const to = a.out<T>("out", out, results);
    a.run([&] { device::embedding<T>(stream_of(stream), from, rows, cols, which, n, to, step); });
  });
}

void embedding_backward_call(Address stream, int dtype, Address grad, Address indices, Index n, Index rows, Index cols,
                             Index padding_idx, Address out, Address scratch, int rung) {
  Arguments a("embedding_backward");
  const Rung step = rung_of(a, rung);
  const Index weights = a.count("(rows, cols)", rows, cols), grads = a.count("(n, cols)", n, cols);
  a.expect(n < (Index{1} << 31), "n", std::to_string(n), "less than 2^31");
  a.expect(rows < (Index{1} << 31), "rows", std::to_string(rows), "less than 2^31");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("grad", grad, grads);
    const auto* const which = a.in<std::int64_t>("indices", indices, n);
    T* const to = a.out<T>("out", out, weights);
    void* const memory = a.scratch(scratch, device::embedding_backward_scratch(n, rows));
    a.run([&] {
      device::embedding_backward<T>(stream_of(stream), from, which, n, rows, cols, padding_idx, to, memory, step);
    });
  });
}

void layer_norm_call(Address stream, int dtype, Address x, Address weight, Address bias, Address out, Address mean,
                     Address rstd, Index rows, Index cols, double eps, int rung) {
  Arguments a("layer_norm");
  const Rung step = rung_of(a, rung);
  check_eps(a, eps);
  const Index n = a.count("(rows, cols)", rows, cols);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, n);
    const T *const w = a.in_or_null<T>("weight", weight, cols), *const b = a.in_or_null<T>("bias", bias, cols);
    T *const to = a.out<T>("out", out, n), *const m = a.out<T>("mean", mean, rows),
             *const r = a.out<T>("rstd", rstd, rows);
    a.run([&] { device::layer_norm<T>(stream_of(stream), from, w, b, to, m, r, rows, cols, eps, step); });
  });
}

void layer_norm_backward_call(Address stream, int dtype, Address grad, Address x, Address weight, Address mean,
                              Address rstd, Address dx, Address dweight, Address dbias, Address scratch, Index rows,
                              Index cols, int rung) {
  Arguments a("layer_norm_backward");
  const Rung step = rung_of(a, rung);
  const Index n = a.count("(rows, cols)", rows, cols);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *const g = a.in<T>("grad", grad, n), *const from = a.in<T>("x", x, n);
    const T* const w = a.in_or_null<T>("weight", weight, cols);
    const T *const m = a.in<T>("mean", mean, rows), *const r = a.in<T>("rstd", rstd, rows);
    T* const to = a.out<T>("dx", dx, n);
    T *const dw = a.out_or_null<T>("dweight", dweight, cols), *const db = a.out_or_null<T>("dbias", dbias, cols);
    void* const memory = a.scratch(scratch, device::layer_norm_backward_scratch<T>(rows, cols));
    a.run([&] {
      device::layer_norm_backward<T>(stream_of(stream), g, from, w, m, r, to, dw, db, memory, rows, cols, step);
    });
  });
}

void batch_norm_call(Address stream, int dtype, Address x, Address weight, Address bias, Address out, Address mean,
                     Address rstd, Index n, Index channels, Index inner, double eps, Address scratch, int rung) {
  Arguments a("batch_norm");
  const Rung step = rung_of(a, rung);
  check_eps(a, eps);
  const Index count = a.count("(n, channels, inner)", n, channels, inner);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, count);
    const T *const w = a.in_or_null<T>("weight", weight, channels), *const b = a.in_or_null<T>("bias", bias, channels);
    T* const to = a.out<T>("out", out, count);
    T *const m = a.out<T>("mean", mean, channels), *const r = a.out<T>("rstd", rstd, channels);
    void* const memory = a.scratch(scratch, device::batch_norm_scratch<T>(n, channels, inner));
    a.run(
        [&] { device::batch_norm<T>(stream_of(stream), from, w, b, to, m, r, n, channels, inner, eps, memory, step); });
  });
}

void batch_norm_apply_call(Address stream, int dtype, Address x, Address weight, Address bias, Address mean,
                           Address var, Address out, Index n, Index channels, Index inner, double eps) {
  Arguments a("batch_norm_apply");
  check_eps(a, eps);
  const Index count = a.count("(n, channels, inner)", n, channels, inner);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* const from = a.in<T>("x", x, count);
    const T *const w = a.in_or_null<T>("weight", weight, channels), *const b = a.in_or_null<T>("bias", bias, channels);
    const T *const m = a.in<T>("mean", mean, channels), *const v = a.in<T>("var", var, channels);
    T* const to = a.out<T>("out", out, count);
    a.run([&] { device::batch_norm_apply<T>(stream_of(stream), from, w, b, m, v, to, n, channels, inner, eps); });
  });
}

void batch_norm_backward_call(Address stream, int dtype, Address grad, Address x, Address weight, Address mean,
                              Address rstd, Address dx, Address dweight, Address dbias, Index n, Index channels,
                              Index inner, Address scratch, int rung) {
  Arguments a("batch_norm_backward");
  const Rung step = rung_of(a, rung);
  const Index count = a.count("(n, channels, inner)", n, channels, inner);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const T *const g = a.in<T>("grad", grad, count), *const from = a.in<T>("x", x, count);
    const T* const w = a.in_or_null<T>("weight", weight, channels);
    const T *const m = a.in<T>("mean", mean, channels), *const r = a.in<T>("rstd", rstd, channels);
    T* const to = a.out<T>("dx", dx, count);
    T *const dw = a.out_or_null<T>("dweight", dweight, channels), *const db =
                                                                      a.out_or_null<T>("dbias", dbias, channels);
    void* const memory = a.scratch(scratch, device::batch_norm_scratch<T>(n, channels, inner));
    a.run([&] {
      device::batch_norm_backward<T>(stream_of(stream), g, from, w, m, r, to, dw, db, n, channels, inner, memory, step);
    });
  });
}

}  // namespace

void bind_device_normalisation(py::module_& module) {
  using py::arg;
  module.def("embedding", embedding_call, arg("stream"), arg("dtype"), arg("weight"), arg("rows"), arg("cols"),
             arg("indices"), arg("n"), arg("out"), arg("rung"));
  module.def("embedding_backward", embedding_backward_call, arg("stream"), arg("dtype"), arg("grad"), arg("indices"),
             arg("n"), arg("rows"), arg("cols"), arg("padding_idx"), arg("out"), arg("scratch"), arg("rung"));
  module.def(
      "embedding_backward_scratch",
      [](int dtype, Index n, Index rows, Index cols) {
        const Arguments a("embedding_backward_scratch");
        a.count("(rows, cols)", rows, cols);
        a.count("(n, cols)", n, cols);
        return bytes_of_dtype(a, dtype, [&](auto) { return device::embedding_backward_scratch(n, rows); });
      },
      arg("dtype"), arg("n"), arg("rows"), arg("cols"));
  module.def("layer_norm", layer_norm_call, arg("stream"), arg("dtype"), arg("x"), arg("weight"), arg("bias"),
             arg("out"), arg("mean"), arg("rstd"), arg("rows"), arg("cols"), arg("eps"), arg("rung"));
  module.def("layer_norm_backward", layer_norm_backward_call, arg("stream"), arg("dtype"), arg("grad"), arg("x"),
             arg("weight"), arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"), arg("scratch"),
             arg("rows"), arg("cols"), arg("rung"));
  module.def(
      "layer_norm_backward_scratch",
      [](int dtype, Index rows, Index cols) {
        const Arguments a("layer_norm_backward_scratch");
        a.count("(rows, cols)", rows, cols);
        return bytes_of_dtype(
            a, dtype, [&](auto zero) { return device::layer_norm_backward_scratch<decltype(zero)>(rows, cols); });
      },
      arg("dtype"), arg("rows"), arg("cols"));
  module.def("batch_norm", batch_norm_call, arg("stream"), arg("dtype"), arg("x"), arg("weight"), arg("bias"),
             arg("out"), arg("mean"), arg("rstd"), arg("n"), arg("channels"), arg("inner"), arg("eps"), arg("scratch"),
             arg("rung"));
  module.def("batch_norm_apply", batch_norm_apply_call, arg("stream"), arg("dtype"), arg("x"), arg("weight"),
             arg("bias"), arg("mean"), arg("var"), arg("out"), arg("n"), arg("channels"), arg("inner"), arg("eps"));
  module.def("batch_norm_backward", batch_norm_backward_call, arg("stream"), arg("dtype"), arg("grad"), arg("x"),
             arg("weight"), arg("mean"), arg("rstd"), arg("dx"), arg("dweight"), arg("dbias"), arg("n"),
             arg("channels"), arg("inner"), arg("scratch"), arg("rung"));
  module.def(
      "batch_norm_scratch",
      [](int dtype, Index n, Index channels, Index inner) {
        const Arguments a("batch_norm_scratch");
        a.count("(n, channels, inner)", n, channels, inner);
        return bytes_of_dtype(
            a, dtype, [&](auto zero) { return device::batch_norm_scratch<decltype(zero)>(n, channels, inner); });
      },
      arg("dtype"), arg("n"), arg("channels"), arg("inner"));
}

}  // namespace dlkit
