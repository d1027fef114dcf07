// The updates of word vectors on device pointers.
#include "word2vec/word2vec.h"

#include <cmath>
#include <cstring>
#include <string>

#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "word2vec/device.h"

namespace dlkit {
namespace py = pybind11;
namespace {

enum class Step { naive, matrix };

Step step_named(const Arguments& a, const std::string& name) {
  std::string known;
  for (std::size_t i = 0; i < std::size(device::kWordVariants); ++i) {
    if (name == device::kWordVariants[i].name) return static_cast<Step>(i);
    known += std::string(i == 0 ? "" : ", ") + device::kWordVariants[i].name;
  }
  a.fail("variant is '" + name + "'; expected one of " + known);
}

void update_words_call(const std::string& operation, Address stream, int dtype, const std::string& variant, Index dim,
                       Index rows_in, Index rows_out, Address w_in, Address w_out, Index words, Index most_inputs,
                       Index most_outputs, Address inputs, Address outputs, Address labels, bool own_outputs, bool cbow,
                       bool mean, bool divide, double lr, Address loss) {
  Arguments a(operation.c_str());
  Step step = variant.empty() ? Step::matrix : step_named(a, variant);
  a.expect(dim <= device::kMostNaiveDim, "dimensions", std::to_string(dim), "at most 4096 on a device");
  a.expect(rows_in < (Index{1} << 31) && rows_out < (Index{1} << 31), "rows",
           std::to_string(std::max(rows_in, rows_out)), "less than 2^31");
  a.expect(std::isfinite(lr) && lr >= 0, "lr", lr, "0 or more");
  const Index in_count = a.count("w_in", rows_in, dim), out_count = a.count("w_out", rows_out, dim);
  const Index input_count = a.count("contexts", words, most_inputs);
  const Index output_count = a.count("outputs", words, own_outputs ? most_inputs : 1, most_outputs);
  if (input_count == 0 || output_count == 0 || dim == 0) return;
  a.expect(most_inputs < (Index{1} << 20) && most_outputs < (Index{1} << 20), "contexts or outputs",
           std::to_string(std::max(most_inputs, most_outputs)), "less than 2^20");
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const WordUpdate<T> work = {a.out<T>("w_in", w_in, in_count),
                                a.out<T>("w_out", w_out, out_count),
                                dim,
                                words,
                                most_inputs,
                                most_outputs,
                                a.in<std::int64_t>("contexts", inputs, input_count),
                                a.in<std::int64_t>("outputs", outputs, output_count),
                                a.in<std::uint8_t>("labels", labels, output_count),
                                own_outputs,
                                cbow,
                                mean,
                                divide,
                                static_cast<T>(lr),
                                loss != 0};
    double* const sum = a.out_or_null<double>("loss", loss, 1);
    if (step == Step::matrix) {
      const std::size_t needed = device::matrix_words_shared(work), there = device::shared_memory();
      if (dim > device::kMostDim || needed > there) {
        if (!variant.empty())
          a.fail(std::to_string(most_inputs) + " contexts and " + std::to_string(most_outputs) + " outputs of " +
                 std::to_string(dim) + " elements; expected at most 1024 elements, and " + std::to_string(there) +
                 " bytes of shared memory, not " + std::to_string(needed) + ", or variant='naive'");
        step = Step::naive;
      }
    }
    a.run([&] {
      if (step == Step::matrix)
        device::matrix_words(stream_of(stream), work, sum);
      else
        device::naive_words(stream_of(stream), work, sum);
    });
  });
}

}  // namespace

void bind_device_word2vec(py::module_& module) {
  using py::arg;
  module.def("update_words", update_words_call, arg("operation"), arg("stream"), arg("dtype"), arg("variant"),
             arg("dim"), arg("rows_in"), arg("rows_out"), arg("w_in"), arg("w_out"), arg("words"), arg("most_inputs"),
             arg("most_outputs"), arg("inputs"), arg("outputs"), arg("labels"), arg("own_outputs"), arg("cbow"),
             arg("mean"), arg("divide"), arg("lr"), arg("loss"),
             "A step for each word of a batch, all at one time; adds their losses to `loss`, where that is not 0.");
  module.def(
      "word2vec_variants",
      [] {
        py::list rows;
        for (const auto& variant : device::kWordVariants)
          rows.append(py::make_tuple(variant.name, variant.idea, variant.needs));
        return rows;
      },
      "(name, idea, needs) of each.");
}

}  // namespace dlkit
