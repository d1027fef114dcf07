#include "word2vec/nearest.h"

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "core/counters.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr const char* kOperation = "nearest";

template <class T>
Matrix<const T> matrix_of(const ArrayArg& array) {
  const py::ssize_t item = array.item_size();
  return {reinterpret_cast<const T*>(array.data()), array.shape()[0], array.shape()[1], array.strides()[0] / item,
          array.strides()[1] / item};
}

py::tuple nearest(const py::object& queries, const py::object& vectors, const py::object& scale, Index k,
                  const py::object& variant) {
  const ArrayArg asked(queries.ptr(), kOperation, "queries"), rows(vectors.ptr(), kOperation, "vectors");
  asked.require_same_dtype(rows);
  for (const ArrayArg* array : {&asked, &rows}) {
    if (array->ndim() != 2)
      array->fail(std::string(array->argument) + " is " + array->shape_text() + "; expected (" + array->argument +
                  ", dimensions)");
    for (int axis = 0; axis < 2; ++axis)
      if (array->strides()[axis] % array->item_size() != 0)
        array->fail(std::string(array->argument) + " has strides that are no multiples of its elements' size");
  }
  if (asked.shape()[1] != rows.shape()[1])
    asked.fail("queries is " + asked.shape_text() + " but vectors is " + rows.shape_text() +
               "; expected as many columns");
  if (k < 1 || k > rows.shape()[0])
    fail(kOperation, "k is " + std::to_string(k) + "; expected 1 to " + std::to_string(rows.shape()[0]) +
                         ", as vectors is " + rows.shape_text());
  if (!scale.is_none()) {
    const ArrayArg factors(scale.ptr(), kOperation, "scale");
    rows.require_same_dtype(factors);
    if (factors.ndim() != 1 || factors.shape()[0] != rows.shape()[0] || !is_contiguous(scale.ptr()))
      factors.fail("scale is " + factors.shape_text() + "; expected (" + std::to_string(rows.shape()[0]) +
                   ",), contiguous, as vectors is " + rows.shape_text());
  }
  const NearestVariant* const chosen = variant_named(variant.ptr(), nearest_variants(), kOperation);
  const py::ssize_t shape[2] = {asked.shape()[0], k};
  py::ssize_t elements;
  if (__builtin_mul_overflow(shape[0], shape[1], &elements) || elements > PY_SSIZE_T_MAX / 16)
    fail(kOperation, "the result is " + shape_text(shape, 2) + "; expected no more than an address can count");
  const py::array_t<std::int64_t> indices({shape[0], shape[1]});
  const py::object scores = new_array(rows.dtype, 2, shape);
  with_dtype(rows.dtype, [&](auto zero) {
    using T = decltype(zero);
    const NearestProblem<T> problem = {
        matrix_of<T>(asked),
        matrix_of<T>(rows),
        scale.is_none() ? nullptr : reinterpret_cast<const T*>(array_proxy(scale.ptr())->data),
        k,
        const_cast<std::int64_t*>(indices.data()),
        reinterpret_cast<T*>(array_proxy(scores.ptr())->data)};
    const auto n = static_cast<std::uint64_t>(asked.shape()[0]), m = static_cast<std::uint64_t>(rows.shape()[0]),
               dim = static_cast<std::uint64_t>(rows.shape()[1]);
    count_work(2 * n * m * dim, (n + m) * dim * sizeof(T));
    const py::gil_scoped_release release;
    (chosen != nullptr ? *chosen : nearest_variants().back()).run(problem, num_threads());
  });
  return py::make_tuple(indices, scores);
}

}  // namespace

void bind_nearest(py::module_& module) {
  module.def("nearest", &nearest);
  module.def("nearest_variants", [] {
    py::dict tables;
    tables[kOperation] = ladder_of(nearest_variants());
    return tables;
  });
}

}  // namespace dlkit
