// Conditional random fields on device pointers.
#include <string>

#include "bindings/device/arguments.h"
#include "bindings/device/bindings.h"
#include "layers/device_crf.h"

namespace dlkit {
namespace py = pybind11;
namespace {

void check_sizes(const Arguments& a, Index rows, Index steps, Index batch, Index tags) {
  a.count("(rows, tags)", rows, tags);
  a.count("(tags, tags)", tags, tags);
  a.expect(tags >= 1 && tags <= device::kMostTags, "tags", std::to_string(tags), "1 to 4096");
  a.expect(batch >= 1 && steps >= 1 && batch <= rows && steps <= rows, "batch_sizes",
           std::to_string(steps) + " of at most " + std::to_string(batch), "at least one, of at least 1");
  a.expect(rows < (Index{1} << 31), "rows", std::to_string(rows), "less than 2^31");
}

template <class T>
device::DeviceCrf<T> model_of(Arguments& a, Index rows, Index steps, Index batch, Index tags, Address emissions,
                              Address transitions, Address start, Address end, Address first_row) {
  return {tags,
          steps,
          rows,
          batch,
          a.in<T>("emissions", emissions, rows * tags),
          a.in<T>("transitions", transitions, tags * tags),
          a.in_or_null<T>("start", start, tags),
          a.in_or_null<T>("end", end, tags),
          a.in<std::int64_t>("first_row", first_row, steps + 1)};
}

std::size_t crf_loss_scratch_call(int dtype, Index rows, Index tags, Index batch, bool gradients) {
  const Arguments a("crf_loss");
  check_sizes(a, rows, 1, batch, tags);
  std::size_t bytes = 0;
  a.with_dtype(dtype,
               [&](auto zero) { bytes = device::crf_loss_scratch<decltype(zero)>(rows, tags, batch, gradients); });
  return bytes;
}

void crf_loss_call(Address stream, int dtype, Index rows, Index steps, Index batch, Index tags, Address emissions,
                   Address transitions, Address start, Address end, Address first_row, Address path, Address losses,
                   Address weights, Address d_emissions, Address sums, Address scratch) {
  Arguments a("crf_loss");
  check_sizes(a, rows, steps, batch, tags);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto model = model_of<T>(a, rows, steps, batch, tags, emissions, transitions, start, end, first_row);
    const auto* const tags_of = a.in_or_null<std::int64_t>("tags", path, rows);
    T* const out = a.out<T>("losses", losses, batch);
    const T* const of = a.in_or_null<T>("weights", weights, batch);
    T *by_emissions = nullptr, *by_model = nullptr;
    void* memory = nullptr;
    if (of != nullptr) {
      by_emissions = a.out<T>("d_emissions", d_emissions, rows * tags);
      by_model = a.out<T>("sums", sums, tags * tags + 2 * tags);
      memory = a.scratch(scratch, device::crf_loss_scratch<T>(rows, tags, batch, true));
    }
    a.run([&] { device::crf_loss<T>(stream_of(stream), model, tags_of, out, of, by_emissions, by_model, memory); });
  });
}

void crf_decode_call(Address stream, int dtype, Index rows, Index steps, Index batch, Index tags, Address emissions,
                     Address transitions, Address start, Address end, Address first_row, Address path, Address scores,
                     Address scratch) {
  Arguments a("crf_decode");
  check_sizes(a, rows, steps, batch, tags);
  a.with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const auto model = model_of<T>(a, rows, steps, batch, tags, emissions, transitions, start, end, first_row);
    auto* const best = a.out<std::int64_t>("path", path, rows);
    T* const out = a.out<T>("scores", scores, batch);
    void* const memory = a.scratch(scratch, device::crf_decode_scratch(rows, tags));
    a.run([&] { device::crf_decode<T>(stream_of(stream), model, best, out, memory); });
  });
}

}  // namespace

void bind_device_crf(py::module_& module) {
  using py::arg;
  module.def("crf_loss", crf_loss_call, arg("stream"), arg("dtype"), arg("rows"), arg("steps"), arg("batch"),
             arg("tags"), arg("emissions"), arg("transitions"), arg("start"), arg("end"), arg("first_row"), arg("path"),
             arg("losses"), arg("weights"), arg("d_emissions"), arg("sums"), arg("scratch"),
             "Losses of a conditional random field, and with weights their gradients.");
  module.def("crf_loss_scratch", crf_loss_scratch_call, arg("dtype"), arg("rows"), arg("tags"), arg("batch"),
             arg("gradients"), "Bytes of scratch memory that crf_loss takes.");
  module.def("crf_decode", crf_decode_call, arg("stream"), arg("dtype"), arg("rows"), arg("steps"), arg("batch"),
             arg("tags"), arg("emissions"), arg("transitions"), arg("start"), arg("end"), arg("first_row"), arg("path"),
             arg("scores"), arg("scratch"), "The likeliest tags, and their scores.");
  module.def("crf_decode_scratch", device::crf_decode_scratch, arg("rows"), arg("tags"),
             "Bytes of scratch memory that crf_decode takes.");
}

}  // namespace dlkit
