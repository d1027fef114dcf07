#include "recurrent/recurrent.h"

#include <algorithm>
#include <array>
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

  Target(PyObject* object, const ArrayArg& like, const char* argument, const std::vector<py::ssize_t>& expected)
      : place({nullptr, nullptr}, argument) {
    if (object == Py_None) return;
    const ArrayArg array(object, like.operation, argument);
    like.require_same_dtype(array);
    if (array.ndim() != static_cast<int>(expected.size()) ||
        !std::equal(expected.begin(), expected.end(), array.shape()))
      array.fail(std::string(argument) + " is " + array.shape_text() + "; expected " +
                 shape_text(expected.data(), static_cast<int>(expected.size())));
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

// What both passes are given of a layer: cell, new_z, reverse, batch_sizes, x, W, U, b, b', p, the gains of W x and
// U h', gain and shift of c, mask.
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
    norm_ih_.emplace(OptionalInput(args[10], x.array, "norm_ih", {width}));
    norm_hh_.emplace(OptionalInput(args[11], x.array, "norm_hh", {width}));
    norm_c_.emplace(OptionalInput(args[12], x.array, "norm_c", {shape.hidden}));
    norm_c_bias_.emplace(OptionalInput(args[13], x.array, "norm_c_bias", {shape.hidden}));
    mask_.emplace(state(args[14], "mask"));
    if (args[9] != Py_None && !traits(cell_).has_c)
      fail(operation, std::string("peepholes are given but the cell is ") + traits(cell_).name + "; expected an LSTM");
    check_norms(operation);
    shape.normalised = norm_ih_->get() != nullptr;
  }
  // A state of each sequence, or None.
  OptionalInput state(PyObject* object, const char* argument) const {
    return {object, x.array, argument, {shape.batch(), shape.hidden}};
  }
  py::object new_state() const;
  // Where the gains of W x and U h' and gain and shift of c are, or null.
  std::array<const void*, 4> norms() const {
    return {norm_ih_->as<void>(), norm_hh_->as<void>(), norm_c_->as<void>(), norm_c_bias_->as<void>()};
  }
  // What a row of the reserve is: slots of H, or with layer normalisation some numbers.
  std::vector<py::ssize_t> reserve_shape() const {
    if (shape.normalised) return {shape.rows(), shape.kept()};
    return {shape.rows(), shape.slots(), shape.hidden};
  }
  std::vector<Place> places() const {
    return {Place(x),         Place(*ih_),          Place(hh_),       Place(*ih_bias_),
            Place(*hh_bias_), Place(*peepholes_),   Place(*norm_ih_), Place(*norm_hh_),
            Place(*norm_c_),  Place(*norm_c_bias_), Place(*mask_)};
  }
  template <class T>
  RecurrentWeights<T> weights() const {
    return {ih_->as<T>(),      hh_.as<T>(),       ih_bias_->as<T>(), hh_bias_->as<T>(),    peepholes_->as<T>(),
            norm_ih_->as<T>(), norm_hh_->as<T>(), norm_c_->as<T>(),  norm_c_bias_->as<T>()};
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
  // Which of the norms there are.
  void check_norms(const char* operation) const {
    const auto needs = [&](const std::optional<OptionalInput>& one, const std::optional<OptionalInput>& other,
                           const char* names) {
      if (one->get() != nullptr && other->get() == nullptr) fail(operation, names);
    };
    needs(norm_ih_, norm_hh_, "norm_ih is given but norm_hh is None; expected both or neither");
    needs(norm_hh_, norm_ih_, "norm_hh is given but norm_ih is None; expected both or neither");
    needs(norm_c_, norm_ih_, "norm_c is given but norm_ih is None; expected norm_ih and norm_hh with it");
    needs(norm_c_bias_, norm_c_, "norm_c_bias is given but norm_c is None; expected norm_c with it");
    if (norm_c_->get() != nullptr && !traits(cell_).has_c)
      fail(operation, std::string("norm_c is given but the cell is ") + traits(cell_).name + "; expected an LSTM");
  }

  Cell cell_;
  Input hh_;
  std::optional<OptionalInput> ih_, ih_bias_, hh_bias_, peepholes_, norm_ih_, norm_hh_, norm_c_, norm_c_bias_, mask_;
};

py::object new_array_of(Dtype dtype, const std::vector<py::ssize_t>& shape) {
  return new_array(dtype, static_cast<int>(shape.size()), shape.data());
}

py::object Layer::new_state() const { return new_array_of(x.array.dtype, {shape.batch(), shape.hidden}); }

template <class T>
T* data_of(const py::object& array) {
  return array.is_none() ? nullptr : reinterpret_cast<T*>(array_proxy(array.ptr())->data);
}

// recurrent(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, norm_ih, norm_hh,
//           norm_c, norm_c_bias, mask, h0, c0, y, keep, variant) returns (hn, cn, reserve)
class ForwardCall {
 public:
  static constexpr Py_ssize_t kArguments = 20;

  explicit ForwardCall(PyObject* const* args)
      : layer(args, kForward), variant(args[19]), h0_(layer.state(args[15], "h0")), c0_(layer.state(args[16], "c0")),
        y(args[17], layer.x.array, "y", layer.shape.rows(), layer.shape.hidden, true) {
    const RecurrentShape& s = layer.shape;
    if (y.data == nullptr) fail(kForward, "y is None; expected an array");
    read = layer.places();
    read.insert(read.end(), {Place(h0_), Place(c0_)});
    require_apart(kForward, {y.place}, read);
    hn_ = layer.new_state();
    cn_ = traits(s.cell).has_c ? layer.new_state() : py::object(py::none());
    reserve_ = as_bool(args[18]) ? new_array_of(layer.x.array.dtype, layer.reserve_shape()) : py::object(py::none());
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

// recurrent_backward(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, norm_ih,
//                    norm_hh, norm_c, norm_c_bias, mask, y, reserve, dy, dhn, dcn, dx, add_to_dx, with_state,
//                    dweight_ih, dweight_hh, dbias_ih, dbias_hh, dpeepholes, dnorm_ih, dnorm_hh, dnorm_c,
//                    dnorm_c_bias, accumulate, variant) returns (dh0, dc0)
class BackwardCall {
 public:
  static constexpr Py_ssize_t kArguments = 34;

  explicit BackwardCall(PyObject* const* args)
      : layer(args, kBackward), variant(args[33]), width_(layer.shape.gates() * layer.shape.hidden),
        y_(rows_of(args[15], "y", layer.shape.hidden, false)),
        reserve_(args[16], layer.x.array, "reserve", layer.reserve_shape()),
        dy_(rows_of(args[17], "dy", layer.shape.hidden, false)), dhn_(layer.state(args[18], "dhn")),
        dcn_(layer.state(args[19], "dcn")), dx_(rows_of(args[20], "dx", layer.shape.inputs, true)),
        dih_(args[23], layer.x.array, "dweight_ih", {width_, layer.shape.inputs}),
        dhh_(args[24], layer.x.array, "dweight_hh", {width_, layer.shape.hidden}),
        dih_bias_(args[25], layer.x.array, "dbias_ih", {width_}),
        dhh_bias_(args[26], layer.x.array, "dbias_hh", {width_}),
        dpeepholes_(args[27], layer.x.array, "dpeepholes", {3, layer.shape.hidden}),
        dnorm_ih_(args[28], layer.x.array, "dnorm_ih", {width_}),
        dnorm_hh_(args[29], layer.x.array, "dnorm_hh", {width_}),
        dnorm_c_(args[30], layer.x.array, "dnorm_c", {layer.shape.hidden}),
        dnorm_c_bias_(args[31], layer.x.array, "dnorm_c_bias", {layer.shape.hidden}), add_to_dx_(as_bool(args[21])),
        accumulate_(as_bool(args[32])) {
    if (y_.data == nullptr || reserve_.data == nullptr) fail(kBackward, "y or reserve is None; expected arrays");
    read = layer.places();
    read.insert(read.end(), {y_.place, dy_.place, Place(dhn_), Place(dcn_)});
    written = {reserve_.place,    dih_.place,      dhh_.place,      dih_bias_.place, dhh_bias_.place,
               dpeepholes_.place, dnorm_ih_.place, dnorm_hh_.place, dnorm_c_.place,  dnorm_c_bias_.place};
    std::vector<Place> all = written;
    all.push_back(dx_.place);
    require_apart(kBackward, all, read);
    const auto needs = [&](const Target& target, const void* norm) {
      if (target.data != nullptr && norm == nullptr)
        fail(kBackward, std::string(target.place.argument) + " is given but " + (target.place.argument + 1) +
                            " is None; expected None");
    };
    needs(dnorm_ih_, layer.norms()[0]);
    needs(dnorm_hh_, layer.norms()[1]);
    needs(dnorm_c_, layer.norms()[2]);
    needs(dnorm_c_bias_, layer.norms()[3]);
    const bool with_state = as_bool(args[22]);
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
    p.dnorm_ih = dnorm_ih_.as<T>();
    p.dnorm_hh = dnorm_hh_.as<T>();
    p.dnorm_c = dnorm_c_.as<T>();
    p.dnorm_c_bias = dnorm_c_bias_.as<T>();
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
  const Target dih_, dhh_, dih_bias_, dhh_bias_, dpeepholes_, dnorm_ih_, dnorm_hh_, dnorm_c_, dnorm_c_bias_;
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
     "recurrent(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, norm_ih, "
     "norm_hh, norm_c, norm_c_bias, mask, h0, c0, y, keep, variant)"},
    {"recurrent_backward", fastcall(backward_call), METH_FASTCALL,
     "recurrent_backward(cell, new_z, reverse, batch_sizes, x, weight_ih, weight_hh, bias_ih, bias_hh, peepholes, "
     "norm_ih, norm_hh, norm_c, norm_c_bias, mask, y, reserve, dy, dhn, dcn, dx, add_to_dx, with_state, dweight_ih, "
     "dweight_hh, dbias_ih, dbias_hh, dpeepholes, dnorm_ih, dnorm_hh, dnorm_c, dnorm_c_bias, accumulate, variant)"},
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
