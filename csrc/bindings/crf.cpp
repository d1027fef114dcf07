#include "layers/crf.h"

#include <cstdint>
#include <optional>
#include <string>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/counters.h"

namespace dlkit {
namespace {

// Rows of the steps of a packed batch, and the length of each sequence.
struct Packing {
  std::vector<Index> first_row, lengths;

  Packing(PyObject* object, const char* operation, Index rows) {
    const auto sequence =
        py::reinterpret_steal<py::object>(PySequence_Fast(object, "batch_sizes: expected a sequence of integers"));
    if (!sequence) throw py::error_already_set();
    const Py_ssize_t steps = PySequence_Fast_GET_SIZE(sequence.ptr());
    Index total = 0, before = 0;
    for (Py_ssize_t t = 0; t < steps; ++t) {
      const Index size = as_integer(PySequence_Fast_GET_ITEM(sequence.ptr(), t), operation, "batch_sizes");
      if (size < 1 || (t > 0 && size > before))
        fail(operation,
             "batch_sizes[" + std::to_string(t) + "] is " + std::to_string(size) +
                 (size < 1 ? "; expected at least 1" : " after " + std::to_string(before) + "; expected no increase"));
      if (size > rows - total)
        fail(operation, "batch_sizes up to batch_sizes[" + std::to_string(t) + "] add up to " +
                            std::to_string(static_cast<std::uint64_t>(total) + static_cast<std::uint64_t>(size)) +
                            "; expected the rows of emissions, " + std::to_string(rows));
      if (t == 0) lengths.assign(static_cast<std::size_t>(size), 0);
      first_row.push_back(total);
      // Those that end before this step have had their lengths.
      for (Index s = size; s < before; ++s) lengths[static_cast<std::size_t>(s)] = t;
      total += size, before = size;
    }
    if (total != rows || steps == 0)
      fail(operation, "batch_sizes add up to " + std::to_string(total) + "; expected the rows of emissions, " +
                          std::to_string(rows) + ", and at least one");
    for (Index s = 0; s < before; ++s) lengths[static_cast<std::size_t>(s)] = steps;
  }
};

// What both functions are given: emissions, batch_sizes, transitions, start, end.
class Model {
 public:
  Model(PyObject* const* args, const char* operation)
      : emissions(args[0], operation, "emissions"), transitions_(args[2], operation, "transitions") {
    const ArrayArg& e = emissions.array;
    if (e.ndim() != 2 || e.shape()[1] < 1)
      e.fail("emissions is " + e.shape_text() + "; expected (rows, tags), at least one tag");
    const py::ssize_t tags = e.shape()[1];
    e.require_same_dtype(transitions_.array);
    const ArrayArg& t = transitions_.array;
    if (t.ndim() != 2 || t.shape()[0] != tags || t.shape()[1] != tags)
      t.fail("transitions is " + t.shape_text() + " but emissions is " + e.shape_text() + "; expected (" +
             std::to_string(tags) + ", " + std::to_string(tags) + ")");
    const auto border = [&](PyObject* object, const char* argument, std::optional<Input>& input) {
      if (object == Py_None) return;
      input.emplace(object, operation, argument);
      const ArrayArg& array = input->array;
      e.require_same_dtype(array);
      if (array.ndim() != 1 || array.shape()[0] != tags)
        array.fail(std::string(argument) + " is " + array.shape_text() + "; expected (" + std::to_string(tags) + ",)");
    };
    border(args[3], "start", start_);
    border(args[4], "end", end_);
    packing.emplace(args[1], operation, static_cast<Index>(e.shape()[0]));
  }

  Index rows() const { return emissions.array.shape()[0]; }
  Index tags() const { return emissions.array.shape()[1]; }
  Index batch() const { return static_cast<Index>(packing->lengths.size()); }

  template <class T>
  CrfModel<T> as() const {
    return {tags(),
            emissions.as<T>(),
            transitions_.as<T>(),
            start_ ? start_->as<T>() : nullptr,
            end_ ? end_->as<T>() : nullptr,
            packing->first_row.data(),
            packing->lengths.data(),
            batch()};
  }

  Input emissions;
  std::optional<Packing> packing;

 private:
  Input transitions_;
  std::optional<Input> start_, end_;
};

// The tags of all rows, or None.
struct Path {
  py::array_t<std::int64_t, py::array::c_style | py::array::forcecast> array;
  const std::int64_t* data = nullptr;

  Path(PyObject* object, const char* operation, Index rows, Index tags) {
    if (object == Py_None) return;
    if (!npy_api::get().PyArray_Check_(object))
      throw py::type_error(std::string(operation) + ": tags is a " +
                           std::string(py::str(py::type::handle_of(object).attr("__name__"))) +
                           "; expected an array of integers");
    const auto kind = py::reinterpret_borrow<py::dtype>(array_proxy(object)->descr).kind();
    if (kind != 'i' && kind != 'u')
      throw py::type_error(std::string(operation) + ": tags has dtype " +
                           std::string(py::str(py::handle(array_proxy(object)->descr))) + "; expected integers");
    array = decltype(array)::ensure(py::reinterpret_borrow<py::object>(object));
    if (!array) throw py::error_already_set();
    if (array.ndim() != 1 || array.shape(0) != rows)
      fail(operation, "tags is " + shape_text(array.shape(), static_cast<int>(array.ndim())) + "; expected (" +
                          std::to_string(rows) + ",), one for each row of emissions");
    data = array.data();
    for (Index i = 0; i < rows; ++i)
      if (data[i] < 0 || data[i] >= tags)
        fail(operation, "tags[" + std::to_string(i) + "] is " + std::to_string(data[i]) + "; expected 0 to " +
                            std::to_string(tags - 1));
  }
};

py::object as_object(Output& output) { return py::reinterpret_steal<py::object>(output.finish()); }

// crf_loss(emissions, batch_sizes, transitions, start, end, tags, weights, variant), weights None for no gradients;
// returns (losses, d_emissions, d_transitions, d_start, d_end)
PyObject* crf_loss_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  constexpr const char* kOperation = "crf_loss";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, given, 8);
    const Model model(args, kOperation);
    const Index rows = model.rows(), tags = model.tags();
    const Path path(args[5], kOperation, rows, tags);
    const bool with_gradient = args[6] != Py_None;
    std::optional<Input> weights;
    const py::ssize_t batch = static_cast<py::ssize_t>(model.batch()), width = static_cast<py::ssize_t>(tags);
    if (with_gradient) {
      weights.emplace(args[6], kOperation, "weights");
      model.emissions.array.require_same_dtype(weights->array);
      if (weights->array.ndim() != 1 || weights->array.shape()[0] != batch)
        weights->array.fail("weights is " + weights->array.shape_text() + "; expected (" + std::to_string(batch) +
                            ",), one for each sequence");
    }
    const Rung rung = as_rung(args[7]);
    const ArrayArg& like = model.emissions.array;
    const py::ssize_t nothing = 0, square[] = {width, width};
    Output losses(Py_None, like, 1, &batch);
    Output d_emissions(Py_None, like, with_gradient ? 2 : 1, with_gradient ? like.shape() : &nothing);
    Output d_transitions(Py_None, like, with_gradient ? 2 : 1, with_gradient ? square : &nothing);
    Output d_start(Py_None, like, 1, with_gradient ? &width : &nothing);
    Output d_end(Py_None, like, 1, with_gradient ? &width : &nothing);
    with_dtype(like.dtype, [&](auto zero) {
      using T = decltype(zero);
      CrfLoss<T> work = {model.as<T>(), path.data, losses.as<T>(), nullptr, nullptr, nullptr, nullptr, nullptr};
      if (with_gradient) {
        work.weights = weights->as<T>();
        work.d_emissions = d_emissions.as<T>(), work.d_transitions = d_transitions.as<T>();
        work.d_start = d_start.as<T>(), work.d_end = d_end.as<T>();
      }
      count_work(static_cast<std::uint64_t>(rows * tags * tags * (with_gradient ? 6 : 2)),
                 static_cast<std::uint64_t>(rows * tags * (with_gradient ? 2 : 1) + tags * tags) * sizeof(T));
      const ReleaseGil release;
      crf_loss(work, rung);
    });
    py::object found[] = {as_object(losses), as_object(d_emissions), as_object(d_transitions), as_object(d_start),
                          as_object(d_end)};
    if (!with_gradient)
      for (int i = 1; i < 5; ++i) found[i] = py::none();
    return py::make_tuple(found[0], found[1], found[2], found[3], found[4]).release().ptr();
  });
}

// crf_decode(emissions, batch_sizes, transitions, start, end, variant) returns (tags, scores)
PyObject* crf_decode_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  constexpr const char* kOperation = "crf_decode";
  return guarded([&]() -> PyObject* {
    check_count(kOperation, given, 6);
    const Model model(args, kOperation);
    const Rung rung = as_rung(args[5]);
    const py::ssize_t batch = static_cast<py::ssize_t>(model.batch());
    Output scores(Py_None, model.emissions.array, 1, &batch);
    py::array_t<std::int64_t> path(static_cast<py::ssize_t>(model.rows()));
    std::int64_t* const path_data = path.mutable_data();
    with_dtype(model.emissions.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const CrfDecode<T> work = {model.as<T>(), path_data, scores.as<T>()};
      const ReleaseGil release;
      crf_decode(work, rung);
    });
    return py::make_tuple(path, as_object(scores)).release().ptr();
  });
}

PyMethodDef methods[] = {
    {"crf_loss", fastcall(crf_loss_call), METH_FASTCALL,
     "crf_loss(emissions, batch_sizes, transitions, start, end, tags, weights, variant)"},
    {"crf_decode", fastcall(crf_decode_call), METH_FASTCALL,
     "crf_decode(emissions, batch_sizes, transitions, start, end, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_crf(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
}

}  // namespace dlkit
