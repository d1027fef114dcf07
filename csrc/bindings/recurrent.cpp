#include "recurrent/recurrent.h"

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "bindings/recurrent_shape.h"
#include "core/counters.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr const char* kForward = "recurrent";
constexpr const char* kBackward = "recurrent_backward";

// Where an argument is in memory: nowhere where it is None, or a copy of it is read.
struct Place {
  Extent memory = {nullptr, nullptr};
  const char* argument = "";

  Place(const Extent& extent, const char* name) : memory(extent), argument(name) {}
  explicit Place(const Input& input) : argument(input.array.argument) {
    if (!input.copy) memory = extent(input.array);
  }
  explicit Place(const OptionalInput& input) {
    if (input.get() != nullptr) *this = Place(*input.get());
  }
};

// Throws where an array that is written shares memory with another one.
void require_apart(const char* operation, std::initializer_list<Place> written, const std::vector<Place>& read) {
  const auto apart = [&](const Place& one, const Place& other) {
    if (one.memory.overlaps(other.memory))
      fail(operation, std::string(one.argument) + " overlaps " + other.argument + "; expected memory of its own");
  };
  for (const Place* one = written.begin(); one != written.end(); ++one) {
    for (const Place& other : read) apart(*one, other);
    for (const Place* other = written.begin(); other != one; ++other) apart(*one, *other);
  }
}

// A matrix whose rows may lie apart, read or written in place, or None.
struct Rows {
  char* data = nullptr;
  Index stride = 0;  // elements
  Place place;

  Rows(PyObject* object, const ArrayArg& like, const char* argument, Index rows, Index cols, bool written)
      : place({nullptr, nullptr}, argument) {
    if (object == Py_None) return;
    const ArrayArg array(object, like.operation, argument);
    like.require_same_dtype(array);
    require_shape(array, {rows, cols});
    if (written) array.require_writeable();
    const py::ssize_t item = array.item_size();
    const py::ssize_t between = rows > 1 ? array.strides()[0] : cols * item;
    if ((cols > 1 && array.strides()[1] != item) || between % item != 0 || (rows > 1 && between < cols * item))
      array.fail(std::string(argument) + " has strides that are not those of rows; expected a C-contiguous array or " +
                 "some of the columns of one");
    data = array.data();
    stride = between / item;
    place.memory = extent(array);
  }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

// A contiguous array to write, or None.
struct Target {
  char* data = nullptr;
  Place place;

  Target(PyObject* object, const ArrayArg& like, const char* argument, std::initializer_list<py::ssize_t> expected)
      : place({nullptr, nullptr}, argument) {
    if (object == Py_None) return;
    const ArrayArg array(object, like.operation, argument);
    like.require_same_dtype(array);
    require_shape(array, expected);
    array.require_writeable();
    if (!is_contiguous(object)) array.fail(std::string(argument) + " is not contiguous; expected a C-contiguous array");
    data = array.data();
    place.memory = extent(array);
  }
  template <class T>
  T* as() const {
    return reinterpret_cast<T*>(data);
  }
};

// What both passes are given of a layer: cell, new_z, reverse, batch_sizes, x, W, U, b, b', p, mask.
class Layer {
 public:
  Layer(PyObject* const* args, const char* operation)
      : x(args[4], operation, "x"), cell_(cell_named(args[0], operation)), hh_(args[6], operation, "weight_hh") {
    const Index gates = traits(cell_).gates;
    if (x.array.ndim() != 2) x.array.fail("x is " + x.array.shape_text() + "; expected (rows, inputs)");
    if (hh_.array.ndim() != 2 || hh_.array.shape()[1] < 1 || hh_.array.shape()[0] != gates * hh_.array.shape()[1])
      hh_.array.fail("weight_hh is " + hh_.array.shape_text() + "; expected (" + std::to_string(gates) +
                     " H, H) with H at least 1");
    x.array.require_same_dtype(hh_.array);
    shape = {cell_,
             as_bool(args[1]),
             as_bool(args[2]),
             x.array.shape()[1],
             hh_.array.shape()[1],
             batch_sizes_of(args[3], operation, x.array.shape()[0])};
    const Index width = gates * shape.hidden;
    if (args[5] == Py_None) fail(operation, "weight_ih is None; expected an array");
    ih_.emplace(OptionalInput(args[5], x.array, "weight_ih", {width, shape.inputs}));
    ih_bias_.emplace(OptionalInput(args[7], x.array, "bias_ih", {width}));
    hh_bias_.emplace(OptionalInput(args[8], x.array, "bias_hh", {width}));
    peepholes_.emplace(OptionalInput(args[9], x.array, "peepholes", {3, shape.hidden}));
    mask_.emplace(state(args[10], "mask"));
    if (args[9] != Py_None && !traits(cell_).has_c)
      fail(operation, std::string("peepholes are given but the cell is ") + traits(cell_).name + "; expected an LSTM");
  }
  // A state of each sequence, or None.
  OptionalInput state(PyObject* object, const char* argument) const {
    return {object, x.array, argument, {shape.batch(), shape.hidden}};
  }
  py::object new_state() const;
  std::vector<Place> places() const {
    return {Place(x), Place(*ih_), Place(hh_), Place(*ih_bias_), Place(*hh_bias_), Place(*peepholes_), Place(*mask_)};
  }
  template <class T>
  RecurrentWeights<T> weights() const {
    return {ih_->as<T>(), hh_.as<T>(), ih_bias_->as<T>(), hh_bias_->as<T>(), peepholes_->as<T>()};
  }
  template <class T>
  const T* mask() const {
    return mask_->as<T>();
  }
  void count(int passes) const {
    const double item = x.array.item_size(), rows = static_cast<double>(shape.rows());
    const auto width = static_cast<double>(shape.gates() * shape.hidden);
    count_work(static_cast<std::uint64_t>(passes * shape.flops()),
               static_cast<std::uint64_t>(passes * item *
                                          (rows * static_cast<double>(shape.inputs + shape.hidden) +
                                           width * static_cast<double>(shape.inputs + shape.hidden))));
  }

  Input x;
  RecurrentShape shape;

 private:
  Cell cell_;
  Input hh_;
  std::optional<OptionalInput> ih_, ih_bias_, hh_bias_, peepholes_, mask_;
};

py::object new_array_of(Dtype dtype, std::initializer_list<py::ssize_t> shape) {
  return new_array(dtype, static_cast<int>(shape.size()), shape.begin());
}

py::object Layer::new_state() const { return new_array_of(x.array.dtype, {shape.batch(), shape.hidden}); }

template <class T>
T* data_of(const py::object& array) {
  return array.is_none() ? nullptr : reinterpret_cast<T*>(array_proxy(array.ptr())->data);
}

// recurrent(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, mask,
//           h0, c0, y, keep, variant) returns (hn, cn, reserve)
PyObject* forward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kForward, given, 16);
    const Layer layer(args, kForward);
    const RecurrentShape& s = layer.shape;
    const ArrayArg& x = layer.x.array;
    const OptionalInput h0 = layer.state(args[11], "h0"), c0 = layer.state(args[12], "c0");
    const Rows y(args[13], x, "y", s.rows(), s.hidden, true);
    if (y.data == nullptr) fail(kForward, "y is None; expected an array");
    const bool has_c = traits(s.cell).has_c;
    std::vector<Place> read = layer.places();
    read.insert(read.end(), {Place(h0), Place(c0)});
    require_apart(kForward, {y.place}, read);
    const py::object hn = layer.new_state(), cn = has_c ? layer.new_state() : py::object(py::none());
    const py::object reserve =
        as_bool(args[14]) ? new_array_of(x.dtype, {s.rows(), s.slots(), s.hidden}) : py::object(py::none());
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(args[15], recurrent_variants<T>(), kForward);
      const RecurrentForward<T> problem = {s,          layer.weights<T>(), layer.x.as<T>(), s.inputs,
                                           h0.as<T>(), c0.as<T>(),         layer.mask<T>(), y.as<T>(),
                                           y.stride,   data_of<T>(hn),     data_of<T>(cn),  data_of<T>(reserve)};
      const ReleaseGil release;
      recurrent(problem, variant, threads);
    });
    layer.count(1);
    return py::make_tuple(hn, cn, reserve).release().ptr();
  });
}

// recurrent_backward(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, mask,
//                    y, reserve, dy, dhn, dcn, dx, add_to_dx, with_state, dweight_ih, dweight_hh, dbias_ih, dbias_hh,
//                    dpeepholes, accumulate, variant) returns (dh0, dc0)
PyObject* backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kBackward, given, 26);
    const Layer layer(args, kBackward);
    const RecurrentShape& s = layer.shape;
    const ArrayArg& x = layer.x.array;
    const Rows y(args[11], x, "y", s.rows(), s.hidden, false);
    const Target reserve(args[12], x, "reserve", {s.rows(), s.slots(), s.hidden});
    if (y.data == nullptr || reserve.data == nullptr) fail(kBackward, "y or reserve is None; expected arrays");
    const Rows dy(args[13], x, "dy", s.rows(), s.hidden, false);
    const OptionalInput dhn = layer.state(args[14], "dhn"), dcn = layer.state(args[15], "dcn");
    const Rows dx(args[16], x, "dx", s.rows(), s.inputs, true);
    const bool with_state = as_bool(args[18]), has_c = traits(s.cell).has_c;
    const Index width = s.gates() * s.hidden;
    const Target dih(args[19], x, "dweight_ih", {width, s.inputs}), dhh(args[20], x, "dweight_hh", {width, s.hidden}),
        dih_bias(args[21], x, "dbias_ih", {width}), dhh_bias(args[22], x, "dbias_hh", {width}),
        dpeepholes(args[23], x, "dpeepholes", {3, s.hidden});
    std::vector<Place> read = layer.places();
    read.insert(read.end(), {y.place, dy.place, Place(dhn), Place(dcn)});
    require_apart(kBackward,
                  {reserve.place, dx.place, dih.place, dhh.place, dih_bias.place, dhh_bias.place, dpeepholes.place},
                  read);
    const py::object dh0 = with_state ? layer.new_state() : py::object(py::none());
    const py::object dc0 = with_state && has_c ? layer.new_state() : py::object(py::none());
    const int threads = num_threads();
    with_dtype(x.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(args[25], recurrent_variants<T>(), kBackward);
      RecurrentBackward<T> problem{};
      problem.shape = s;
      problem.weights = layer.weights<T>();
      problem.x = layer.x.as<T>();
      problem.x_stride = s.inputs;
      problem.mask = layer.mask<T>();
      problem.y = y.as<T>();
      problem.y_stride = y.stride;
      problem.dy = dy.as<T>();
      problem.dy_stride = dy.stride;
      problem.dhn = dhn.as<T>();
      problem.dcn = dcn.as<T>();
      problem.reserve = reserve.as<T>();
      problem.dx = dx.as<T>();
      problem.dx_stride = dx.stride;
      problem.add_to_dx = as_bool(args[17]);
      problem.dh0 = data_of<T>(dh0);
      problem.dc0 = data_of<T>(dc0);
      problem.dih = dih.as<T>();
      problem.dhh = dhh.as<T>();
      problem.dih_bias = dih_bias.as<T>();
      problem.dhh_bias = dhh_bias.as<T>();
      problem.dpeepholes = dpeepholes.as<T>();
      problem.accumulate = as_bool(args[24]);
      const ReleaseGil release;
      recurrent_backward(problem, variant, threads);
    });
    layer.count(2);
    return py::make_tuple(dh0, dc0).release().ptr();
  });
}

PyMethodDef methods[] = {
    {"recurrent", fastcall(forward_call), METH_FASTCALL,
     "recurrent(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, mask, h0, c0, "
     "y, keep, variant)"},
    {"recurrent_backward", fastcall(backward_call), METH_FASTCALL,
     "recurrent_backward(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, "
     "mask, "
     "y, reserve, dy, dhn, dcn, dx, add_to_dx, with_state, dweight_ih, dweight_hh, dbias_ih, dbias_hh, dpeepholes, "
     "accumulate, variant)"},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_recurrent(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def("recurrent_variants", [] { return ladder_of(recurrent_variants<float>()); });
  module.def("recurrent_cells", [] {
    std::vector<std::tuple<std::string, int, int, bool>> cells;
    for (int i = 0; i < static_cast<int>(Cell::count); ++i) {
      const CellTraits& cell = traits(static_cast<Cell>(i));
      cells.emplace_back(cell.name, cell.gates, cell.slots, cell.has_c);
    }
    return cells;
  });
}

}  // namespace dlkit
