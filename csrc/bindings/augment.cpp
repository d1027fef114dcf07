#include "augment/augment.h"

#include <cstdint>
#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"

namespace dlkit {
namespace {

constexpr const char* kOperation = "distort";
constexpr Index kMostPixels = Index{1} << 26;
constexpr double kMostSigma = 1000;

// distort(x, matrices, numbers, seed, alpha, sigma, out, naive); numbers is a contiguous array of int64.
PyObject* distort_call(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    check_count(kOperation, count, 8);
    const Input x(args[0], kOperation, "x"), matrices(args[1], kOperation, "matrices");
    if (x.array.ndim() != 4) x.array.fail("x is " + x.array.shape_text() + "; expected (N, C, H, W)");
    const py::ssize_t* shape = x.array.shape();
    const py::ssize_t expected[] = {shape[0], 2, 3};
    if (matrices.array.ndim() != 3 || !std::equal(expected, expected + 3, matrices.array.shape()))
      x.array.fail("matrices is " + matrices.array.shape_text() + "; expected " + shape_text(expected, 3) +
                   ", one of 2 x 3 for each image");
    matrices.array.require_same_dtype(x.array);
    if (shape[2] > kMostPixels || shape[3] > kMostPixels || shape[2] * shape[3] > kMostPixels)
      x.array.fail("x is " + x.array.shape_text() + "; expected images of at most " + std::to_string(kMostPixels) +
                   " pixels");
    const auto numbers = py::reinterpret_borrow<py::array_t<std::int64_t, py::array::c_style>>(args[2]);
    if (numbers.ndim() != 1 || numbers.shape(0) != shape[0])
      fail(kOperation, "numbers is " + shape_text(numbers.shape(), static_cast<int>(numbers.ndim())) + "; expected (" +
                           std::to_string(shape[0]) + ",), one for each image");
    for (py::ssize_t i = 0; i < shape[0]; ++i)
      if (numbers.data()[i] < 0)
        fail(kOperation,
             "numbers[" + std::to_string(i) + "] is " + std::to_string(numbers.data()[i]) + "; expected 0 or more");
    const std::uint64_t seed = as_unsigned(args[3], kOperation, "seed");
    const double alpha = as_double(args[4], kOperation, "alpha"), sigma = as_double(args[5], kOperation, "sigma");
    check_setting(kOperation, "alpha", alpha, finite_and_not_negative(alpha), "a number of at least 0");
    check_setting(kOperation, "sigma", sigma, std::isfinite(sigma) && sigma > 0 && sigma <= kMostSigma,
                  "a number above 0 and of at most 1000");
    const DistortRung rung = as_bool(args[7]) ? DistortRung::naive : DistortRung::separable;
    Output out(args[6], x.array, 4, shape);
    out.check_apart(x.array, static_cast<bool>(x.copy), false);
    out.check_apart(matrices.array, static_cast<bool>(matrices.copy), false);
    with_dtype(x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const Distortion<T> work{shape[0],       shape[1], shape[2], shape[3], matrices.as<T>(),
                               numbers.data(), seed,     alpha,    sigma};
      T* to = out.as<T>();
      const ReleaseGil release;
      distort<T>(work, x.as<T>(), to, rung);
    });
    return out.finish();
  });
}

PyMethodDef methods[] = {
    {"distort", fastcall(distort_call), METH_FASTCALL, "distort(x, matrices, numbers, seed, alpha, sigma, out, naive)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_augment(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace dlkit
