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
void require_apart(const char* operation, const std::vector<Place>& written, const std::vector<Place>& read) {
  const auto apart = [&](const Place& one, const Place& other) {
    if (one.memory.overlaps(other.memory))
      fail(operation, std::string(one.argument) + " overlaps " + other.argument + "; expected memory of its own");
  };
  for (std::size_t i = 0; i < written.size(); ++i) {
    for (const Place& other : read) apart(written[i], other);
    for (std::size_t j = 0; j < i; ++j) apart(written[i], written[j]);
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
class ForwardCall {
 public:
  static constexpr Py_ssize_t kArguments = 16;

  explicit ForwardCall(PyObject* const* args)
      : layer(args, kForward), variant(args[15]), h0_(layer.state(args[11], "h0")), c0_(layer.state(args[12], "c0")),
        y(args[13], layer.x.array, "y", layer.shape.rows(), layer.shape.hidden, true) {
    const RecurrentShape& s = layer.shape;
    if (y.data == nullptr) fail(kForward, "y is None; expected an array");
    read = layer.places();
    read.insert(read.end(), {Place(h0_), Place(c0_)});
    require_apart(kForward, {y.place}, read);
    hn_ = layer.new_state();
    cn_ = traits(s.cell).has_c ? layer.new_state() : py::object(py::none());
    reserve_ =
        as_bool(args[14]) ? new_array_of(layer.x.array.dtype, {s.rows(), s.slots(), s.hidden}) : py::object(py::none());
  }
  template <class T>
  RecurrentForward<T> problem() const {
    return {layer.shape, layer.weights<T>(), layer.x.as<T>(), layer.shape.inputs,
            h0_.as<T>(), c0_.as<T>(),        layer.mask<T>(), y.as<T>(),
            y.stride,    data_of<T>(hn_),    data_of<T>(cn_), data_of<T>(reserve_)};
  }
  py::tuple result() const {
    layer.count(1);
    return py::make_tuple(hn_, cn_, reserve_);
  }

  const Layer layer;
  PyObject* const variant;
  std::vector<Place> read;

 private:
  const OptionalInput h0_, c0_;
  py::object hn_, cn_, reserve_;

 public:
  const Rows y;
};

PyObject* forward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kForward, given, ForwardCall::kArguments);
    const ForwardCall call(args);
    const int threads = num_threads();
    with_dtype(call.layer.x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(call.variant, recurrent_variants<T>(), kForward);
      const RecurrentForward<T> problem = call.problem<T>();
      const ReleaseGil release;
      recurrent(problem, variant, threads);
    });
    return call.result().release().ptr();
  });
}

// Whether two matrices share an element: not where they are columns of one matrix, side by side.
bool share_elements(const Rows& a, const Rows& b, Index cols, Index item) {
  if (!a.place.memory.overlaps(b.place.memory)) return false;
  const Index between = std::abs(static_cast<Index>(b.data - a.data)), row = a.stride * item;
  return a.stride != b.stride || between % row < cols * item || between % row > row - cols * item;
}

bool overlap(const std::vector<Place>& some, const std::vector<Place>& others) {
  for (const Place& one : some)
    for (const Place& other : others)
      if (one.memory.overlaps(other.memory)) return true;
  return false;
}

// recurrent_pair(the arguments of recurrent, twice) returns both results. What one call writes and the other reads or
// writes makes them run one after the other.
PyObject* forward_pair_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kForward, given, 2 * ForwardCall::kArguments);
    const ForwardCall first(args), second(args + ForwardCall::kArguments);
    first.layer.x.array.require_same_dtype(second.layer.x.array);
    const bool apart = first.layer.shape.hidden == second.layer.shape.hidden &&
                       !share_elements(first.y, second.y, first.layer.shape.hidden, first.layer.x.array.item_size()) &&
                       !overlap({first.y.place}, second.read) && !overlap({second.y.place}, first.read);
    const int threads = num_threads();
    with_dtype(first.layer.x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(first.variant, recurrent_variants<T>(), kForward);
      const RecurrentForward<T> problems[2] = {first.problem<T>(), second.problem<T>()};
      const ReleaseGil release;
      if (apart) return recurrent_pair(problems, variant, threads);
      for (const auto& problem : problems) recurrent(problem, variant, threads);
    });
    return py::make_tuple(first.result(), second.result()).release().ptr();
  });
}

// recurrent_backward(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, mask,
//                    y, reserve, dy, dhn, dcn, dx, add_to_dx, with_state, dweight_ih, dweight_hh, dbias_ih, dbias_hh,
//                    dpeepholes, accumulate, variant) returns (dh0, dc0)
class BackwardCall {
 public:
  static constexpr Py_ssize_t kArguments = 26;

  explicit BackwardCall(PyObject* const* args)
      : layer(args, kBackward), variant(args[25]), width_(layer.shape.gates() * layer.shape.hidden),
        y_(rows_of(args[11], "y", layer.shape.hidden, false)),
        reserve_(args[12], layer.x.array, "reserve", {layer.shape.rows(), layer.shape.slots(), layer.shape.hidden}),
        dy_(rows_of(args[13], "dy", layer.shape.hidden, false)), dhn_(layer.state(args[14], "dhn")),
        dcn_(layer.state(args[15], "dcn")), dx_(rows_of(args[16], "dx", layer.shape.inputs, true)),
        dih_(args[19], layer.x.array, "dweight_ih", {width_, layer.shape.inputs}),
        dhh_(args[20], layer.x.array, "dweight_hh", {width_, layer.shape.hidden}),
        dih_bias_(args[21], layer.x.array, "dbias_ih", {width_}),
        dhh_bias_(args[22], layer.x.array, "dbias_hh", {width_}),
        dpeepholes_(args[23], layer.x.array, "dpeepholes", {3, layer.shape.hidden}), add_to_dx_(as_bool(args[17])),
        accumulate_(as_bool(args[24])) {
    if (y_.data == nullptr || reserve_.data == nullptr) fail(kBackward, "y or reserve is None; expected arrays");
    read = layer.places();
    read.insert(read.end(), {y_.place, dy_.place, Place(dhn_), Place(dcn_)});
    written = {reserve_.place, dih_.place, dhh_.place, dih_bias_.place, dhh_bias_.place, dpeepholes_.place};
    std::vector<Place> all = written;
    all.push_back(dx_.place);
    require_apart(kBackward, all, read);
    const bool with_state = as_bool(args[18]);
    dh0_ = with_state ? layer.new_state() : py::object(py::none());
    dc0_ = with_state && traits(layer.shape.cell).has_c ? layer.new_state() : py::object(py::none());
  }
  template <class T>
  RecurrentBackward<T> problem() const {
    RecurrentBackward<T> p{};
    p.shape = layer.shape;
    p.weights = layer.weights<T>();
    p.x = layer.x.as<T>();
    p.x_stride = layer.shape.inputs;
    p.mask = layer.mask<T>();
    p.y = y_.as<T>();
    p.y_stride = y_.stride;
    p.dy = dy_.as<T>();
    p.dy_stride = dy_.stride;
    p.dhn = dhn_.as<T>();
    p.dcn = dcn_.as<T>();
    p.reserve = reserve_.as<T>();
    p.dx = dx_.as<T>();
    p.dx_stride = dx_.stride;
    p.add_to_dx = add_to_dx_;
    p.dh0 = data_of<T>(dh0_);
    p.dc0 = data_of<T>(dc0_);
    p.dih = dih_.as<T>();
    p.dhh = dhh_.as<T>();
    p.dih_bias = dih_bias_.as<T>();
    p.dhh_bias = dhh_bias_.as<T>();
    p.dpeepholes = dpeepholes_.as<T>();
    p.accumulate = accumulate_;
    return p;
  }
  py::tuple result() const {
    layer.count(2);
    return py::make_tuple(dh0_, dc0_);
  }
  // Whether dx of the other call is no other than this one's, so that they add up, or has memory of its own.
  bool dx_fits(const BackwardCall& other) const {
    return (dx_.data == other.dx_.data && dx_.stride == other.dx_.stride &&
            layer.shape.inputs == other.layer.shape.inputs) ||
           !dx_.place.memory.overlaps(other.dx_.place.memory);
  }
  const Place& dx_place() const { return dx_.place; }

  const Layer layer;
  PyObject* const variant;
  std::vector<Place> read, written;  // dx is not among them

 private:
  Rows rows_of(PyObject* object, const char* argument, Index cols, bool to_write) const {
    return {object, layer.x.array, argument, layer.shape.rows(), cols, to_write};
  }

  const Index width_;
  const Rows y_;
  const Target reserve_;
  const Rows dy_;
  const OptionalInput dhn_, dcn_;
  const Rows dx_;
  const Target dih_, dhh_, dih_bias_, dhh_bias_, dpeepholes_;
  const bool add_to_dx_, accumulate_;
  py::object dh0_, dc0_;
};

PyObject* backward_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kBackward, given, BackwardCall::kArguments);
    const BackwardCall call(args);
    const int threads = num_threads();
    with_dtype(call.layer.x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(call.variant, recurrent_variants<T>(), kBackward);
      const RecurrentBackward<T> problem = call.problem<T>();
      const ReleaseGil release;
      recurrent_backward(problem, variant, threads);
    });
    return call.result().release().ptr();
  });
}

// recurrent_pair_backward(the arguments of recurrent_backward, twice) returns both results. As recurrent_pair; both may
// have one dx.
PyObject* backward_pair_call(PyObject*, PyObject* const* args, Py_ssize_t given) {
  return guarded([&]() -> PyObject* {
    check_count(kBackward, given, 2 * BackwardCall::kArguments);
    const BackwardCall first(args), second(args + BackwardCall::kArguments);
    first.layer.x.array.require_same_dtype(second.layer.x.array);
    const auto keeps_off = [](const BackwardCall& one, const BackwardCall& other) {
      return !overlap(one.written, other.read) && !overlap({one.dx_place()}, other.read) &&
             !overlap({one.dx_place()}, other.written);
    };
    const bool apart = keeps_off(first, second) && keeps_off(second, first) &&
                       !overlap(first.written, second.written) && first.dx_fits(second);
    const int threads = num_threads();
    with_dtype(first.layer.x.array.dtype, [&](auto zero) {
      using T = decltype(zero);
      const RecurrentVariant<T>* variant = variant_named(first.variant, recurrent_variants<T>(), kBackward);
      const RecurrentBackward<T> problems[2] = {first.problem<T>(), second.problem<T>()};
      const ReleaseGil release;
      if (apart) return recurrent_pair_backward(problems, variant, threads);
      for (const auto& problem : problems) recurrent_backward(problem, variant, threads);
    });
    return py::make_tuple(first.result(), second.result()).release().ptr();
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
    {"recurrent_pair", fastcall(forward_pair_call), METH_FASTCALL, "recurrent_pair(the arguments of recurrent, twice)"},
    {"recurrent_pair_backward", fastcall(backward_pair_call), METH_FASTCALL,
     "recurrent_pair_backward(the arguments of recurrent_backward, twice)"},
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
