#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/fastcall.h"
#include "core/counters.h"
#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

constexpr const char* kOperation = "matmul";
constexpr int kMaxDims = 64;

[[noreturn]] void fail(const std::string& text) { throw py::value_error(std::string(kOperation) + ": " + text); }

bool is_true(PyObject* object) {
  const int truth = PyObject_IsTrue(object);
  if (truth < 0) throw py::error_already_set();
  return truth == 1;
}

// A stack of matrices in an argument. Strides in elements.
struct Stack {
  char* data;
  Index rows, cols, row_stride, col_stride;
  int batch_dims;
  const py::ssize_t* batch_shape;
  const py::ssize_t* batch_strides;  // bytes

  // A vector is one row (on the left) or one column (on the right), as in numpy.matmul.
  Stack(const ArrayArg& array, bool transpose, bool vector_is_row) {
    const int nd = array.ndim();
    const py::ssize_t item = array.item_size();
    data = array.data();
    batch_shape = array.shape();
    batch_strides = array.strides();
    batch_dims = nd > 2 ? nd - 2 : 0;
    if (nd == 0) {  // the product of two vectors
      rows = cols = row_stride = col_stride = 1;
      return;
    }
    if (nd == 1) {
      const Index size = array.shape()[0], stride = array.strides()[0] / item;
      rows = vector_is_row ? 1 : size;
      cols = vector_is_row ? size : 1;
      row_stride = col_stride = stride;
      return;
    }
    rows = array.shape()[nd - 2];
    cols = array.shape()[nd - 1];
    row_stride = array.strides()[nd - 2] / item;
    col_stride = array.strides()[nd - 1] / item;
    if (transpose) {
      std::swap(rows, cols);
      std::swap(row_stride, col_stride);
    }
  }

  template <class T>
  Matrix<T> at(py::ssize_t offset) const {
    return {reinterpret_cast<T*>(data + offset), rows, cols, row_stride, col_stride};
  }
};

std::string dims_error(const ArrayArg& a, const ArrayArg& b, bool trans_a, bool trans_b, const Stack& left,
                       const Stack& right) {
  std::string text = std::string("a is ") + a.shape_text() + (trans_a ? " transposed" : "") + " but b is " +
                     b.shape_text() + (trans_b ? " transposed" : "") + ": inner dimensions " +
                     std::to_string(left.cols) + " and " + std::to_string(right.rows) + " differ";
  if (b.ndim() > 1 && right.cols == left.cols)
    text += trans_b ? " (did you mean trans_b=False?)" : " (did you mean trans_b=True?)";
  else if (a.ndim() > 1 && left.rows == right.rows)
    text += trans_a ? " (did you mean trans_a=False?)" : " (did you mean trans_a=True?)";
  return text;
}

// Where the extents overflow what an address holds, before they are multiplied with each other.
void require_addressable(const py::ssize_t* shape, int nd, const ArrayArg& like) {
  py::ssize_t bytes = like.item_size();
  for (int i = 0; i < nd; ++i)
    if (shape[i] != 0 && __builtin_mul_overflow(bytes, shape[i], &bytes))
      fail("the result is " + shape_text(shape, nd) + "; expected no more bytes than an address can count");
}

// A name as C has it, or nullptr where `object` is no text or holds a zero.
const char* name_in(PyObject* object) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_Check(object) ? PyUnicode_AsUTF8AndSize(object, &size) : nullptr;
  PyErr_Clear();
  return text != nullptr && std::strlen(text) == static_cast<std::size_t>(size) ? text : nullptr;
}

Activation activation_named(PyObject* object) {
  if (object == Py_None) return Activation::none;
  const char* text = name_in(object);
  if (text != nullptr) {
    if (std::strcmp(text, "relu") == 0) return Activation::relu;
    if (std::strcmp(text, "sigmoid") == 0) return Activation::sigmoid;
    if (std::strcmp(text, "tanh") == 0) return Activation::tanh;
  }
  fail("activation is " + std::string(py::repr(object)) + "; expected None, 'relu', 'sigmoid' or 'tanh'" +
       suggestion(object, {"relu", "sigmoid", "tanh"}));
}

template <class T>
const MatmulVariant<T>* variant_named(PyObject* object) {
  if (object == Py_None) return nullptr;
  const char* text = name_in(object);
  if (text != nullptr)
    if (const auto* variant = find_matmul_variant<T>(text)) return variant;
  std::string listing;
  std::vector<std::string> names;
  for (const auto& variant : matmul_variants<T>()) {
    listing += (names.empty() ? "" : ", ") + std::string(variant.name);
    names.emplace_back(variant.name);
  }
  fail("variant is " + std::string(py::repr(object)) + "; expected None or one of " + listing +
       suggestion(object, names));
}

// Offsets in bytes of the matrices of a broadcast stack, one after another.
class BatchCursor {
 public:
  BatchCursor(int dims, const py::ssize_t* shape) : dims_(dims), shape_(shape) {}

  // Strides of `stack` along the result's batch dimensions, 0 where it is broadcast.
  static void strides_of(const Stack& stack, int dims, py::ssize_t* to) {
    for (int i = 0; i < dims; ++i) {
      const int own = i - (dims - stack.batch_dims);
      to[i] = own < 0 || stack.batch_shape[own] == 1 ? 0 : stack.batch_strides[own];
    }
  }

  py::ssize_t offset(Index index, const py::ssize_t* strides) const {
    py::ssize_t bytes = 0;
    for (int i = dims_ - 1; i >= 0; --i) {
      bytes += index % shape_[i] * strides[i];
      index /= shape_[i];
    }
    return bytes;
  }

 private:
  int dims_;
  const py::ssize_t* shape_;
};

struct Request {
  const Stack& a;
  const Stack& b;
  const Stack& c;
  int batch_dims;
  const py::ssize_t* batch_shape;
  Index batch;
  const void* bias;
  bool accumulate;
  Activation activation;
};

template <class T>
void run(const Request& r, const MatmulVariant<T>* variant, int threads) {
  const BatchCursor cursor(r.batch_dims, r.batch_shape);
  py::ssize_t a_strides[kMaxDims], b_strides[kMaxDims], c_strides[kMaxDims];
  BatchCursor::strides_of(r.a, r.batch_dims, a_strides);
  BatchCursor::strides_of(r.b, r.batch_dims, b_strides);
  BatchCursor::strides_of(r.c, r.batch_dims, c_strides);
  const auto problem = [&](Index index) {
    MatmulProblem<T> p;
    p.a = r.a.at<const T>(cursor.offset(index, a_strides));
    p.b = r.b.at<const T>(cursor.offset(index, b_strides));
    p.c = r.c.at<T>(cursor.offset(index, c_strides));
    p.accumulate = r.accumulate;
    p.bias = static_cast<const T*>(r.bias);
    p.activation = r.activation;
    return p;
  };
  if (r.batch == 0 || r.c.rows == 0 || r.c.cols == 0) return;
  if (r.batch == 1) return matmul(problem(0), variant, threads);

  // One B for all, and rows of A and of C that go on from matrix to matrix: a single taller product.
  bool one_b = true, a_goes_on = true, c_goes_on = true;
  py::ssize_t a_next = r.a.rows * r.a.row_stride * static_cast<py::ssize_t>(sizeof(T));
  py::ssize_t c_next = r.c.rows * r.c.row_stride * static_cast<py::ssize_t>(sizeof(T));
  for (int i = r.batch_dims - 1; i >= 0; --i) {
    if (r.batch_shape[i] == 1) continue;
    one_b = b_strides[i] == 0;
    a_goes_on = a_strides[i] == a_next;
    c_goes_on = c_strides[i] == c_next;
    if (!one_b || !a_goes_on || !c_goes_on) break;  // before strides that say nothing are multiplied
    a_next *= r.batch_shape[i];
    c_next *= r.batch_shape[i];
  }
  if (one_b && a_goes_on && c_goes_on && variant == nullptr) {
    MatmulProblem<T> p = problem(0);
    p.a.rows *= r.batch;
    p.c.rows *= r.batch;
    return matmul(p, variant, threads);
  }

  const double flops =
      2.0 * static_cast<double>(r.c.rows) * static_cast<double>(r.c.cols) * static_cast<double>(r.a.cols);
  const double total = flops * static_cast<double>(r.batch);
  if (threads == 1 || total < 1e6 || (r.batch < threads && flops > 4e6)) {
    for (Index i = 0; i < r.batch; ++i) matmul(problem(i), variant, threads);
    return;
  }
  const int tasks = static_cast<int>(std::min<Index>(r.batch, threads * Index{4}));
  parallel_for(
      tasks,
      [&](int task) {
        for (Index i = r.batch * task / tasks; i < r.batch * (task + 1) / tasks; ++i) matmul(problem(i), variant, 1);
      },
      threads);
}

// matmul(a, b, out, trans_a, trans_b, bias, activation, accumulate, variant)
PyObject* matmul_fastcall(PyObject*, PyObject* const* args, Py_ssize_t count) {
  return guarded([&]() -> PyObject* {
    if (count != 9) throw py::type_error("matmul: takes 9 arguments, given " + std::to_string(count));
    const ArrayArg a(args[0], kOperation, "a"), b(args[1], kOperation, "b");
    a.require_same_dtype(b);
    if (a.ndim() == 0 || b.ndim() == 0)
      fail(std::string(a.ndim() == 0 ? "a" : "b") + " is a scalar; expected at least one dimension");
    const bool trans_a = is_true(args[3]), trans_b = is_true(args[4]), accumulate = is_true(args[7]);
    if (trans_a && a.ndim() < 2) fail("trans_a=True but a is " + a.shape_text() + "; expected at least two dimensions");
    if (trans_b && b.ndim() < 2) fail("trans_b=True but b is " + b.shape_text() + "; expected at least two dimensions");
    const Stack left(a, trans_a, true), right(b, trans_b, false);
    if (left.cols != right.rows) fail(dims_error(a, b, trans_a, trans_b, left, right));
    const Activation activation = activation_named(args[6]);

    // The result's shape.
    py::ssize_t shape[kMaxDims];
    const int batch_dims = std::max(left.batch_dims, right.batch_dims);
    Index batch = 1;
    for (int i = 0; i < batch_dims; ++i) {
      const int in_a = i - (batch_dims - left.batch_dims), in_b = i - (batch_dims - right.batch_dims);
      const py::ssize_t from_a = in_a < 0 ? 1 : left.batch_shape[in_a], from_b = in_b < 0 ? 1 : right.batch_shape[in_b];
      if (from_a != from_b && from_a != 1 && from_b != 1)
        fail("a is " + a.shape_text() + " but b is " + b.shape_text() + ": batch dimensions " + std::to_string(from_a) +
             " and " + std::to_string(from_b) + " cannot be broadcast together");
      shape[i] = from_a == 1 ? from_b : from_a;
    }
    int nd = batch_dims;
    if (a.ndim() > 1) shape[nd++] = left.rows;
    if (b.ndim() > 1) shape[nd++] = right.cols;
    require_addressable(shape, nd, a);
    for (int i = 0; i < batch_dims; ++i) batch *= shape[i];
    const bool empty = batch == 0 || left.rows == 0 || right.cols == 0;

    py::array bias_copy;
    const void* bias = nullptr;
    if (args[5] != Py_None) {
      const ArrayArg given(args[5], kOperation, "bias");
      a.require_same_dtype(given);
      if (given.ndim() != 1 || given.shape()[0] != right.cols)
        fail("bias is " + given.shape_text() + "; expected " + shape_text(&right.cols, 1) +
             ", one element per column of the result");
      bias = given.data();
      // Not for an empty result: a broadcast bias may be longer than memory.
      if (!empty && given.shape()[0] > 1 && given.strides()[0] != given.item_size()) {
        bias_copy =
            py::array::ensure(py::reinterpret_borrow<py::object>(args[5]), py::array::c_style | py::array::forcecast);
        if (!bias_copy) throw std::bad_alloc();
        bias = bias_copy.data();
      }
    }

    py::object result;
    if (args[2] == Py_None) {
      if (accumulate) fail("accumulate=True needs out, the array to add to");
      result = new_array(a.dtype, nd, shape);
    } else {
      const ArrayArg out(args[2], kOperation, "out");
      a.require_same_dtype(out);
      if (out.ndim() != nd || !std::equal(shape, shape + nd, out.shape()))
        fail("out is " + out.shape_text() + "; expected " + shape_text(shape, nd));
      out.require_writeable();
      if (may_overlap_itself(out))
        fail("out has elements that share memory; expected an array that owns each element once");
      if (share_memory(out, a)) fail("out overlaps a; expected memory of its own");
      if (share_memory(out, b)) fail("out overlaps b; expected memory of its own");
      if (args[5] != Py_None && share_memory(out, ArrayArg(args[5], kOperation, "bias")))
        fail("out overlaps bias; expected memory of its own");
      result = py::reinterpret_borrow<py::object>(args[2]);
    }
    if (accumulate && activation != Activation::none)
      fail("accumulate=True adds to out; expected activation=None with it");

    const ArrayArg c(result.ptr(), kOperation, "out");
    Stack target(c, false, b.ndim() > 1);
    // Vectors have no row or no column of their own in the result.
    target.rows = left.rows;
    target.cols = right.cols;
    target.batch_dims = batch_dims;
    const py::ssize_t item = c.item_size();
    if (a.ndim() == 1 || b.ndim() == 1) {
      const Index last = nd > 0 ? c.strides()[nd - 1] / item : 1;
      const bool has_rows = a.ndim() > 1, has_cols = b.ndim() > 1;
      target.row_stride = has_rows ? last : 1;
      target.col_stride = has_cols ? last : 1;
    }

    const Request request{left, right, target, batch_dims, shape, batch, bias, accumulate, activation};
    const int threads = num_threads();
    const auto multiply = [&](auto zero) {
      using T = decltype(zero);
      const MatmulVariant<T>* variant = variant_named<T>(args[8]);
      if (variant != nullptr) {
        MatmulProblem<T> sample;
        sample.c = {nullptr, target.rows, target.cols, 0, 0};
        if (!variant->takes(sample))
          fail(std::string("variant '") + variant->name + "' needs " + variant->needs + "; the result is " +
               shape_text(shape, nd));
      }
      const auto m = static_cast<std::uint64_t>(left.rows), n = static_cast<std::uint64_t>(right.cols),
                 k = static_cast<std::uint64_t>(left.cols), stack = static_cast<std::uint64_t>(batch);
      count_work(2 * m * n * k * stack, (m * k + k * n + m * n) * sizeof(T) * stack);
      const ReleaseGil release;
      run<T>(request, variant, threads);
    };
    if (a.dtype == Dtype::float32)
      multiply(float{});
    else
      multiply(double{});
    return result.release().ptr();
  });
}

PyMethodDef methods[] = {
    {"matmul", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(matmul_fastcall)), METH_FASTCALL,
     "matmul(a, b, out, trans_a, trans_b, bias, activation, accumulate, variant)\n\nSee dlkit.kernels.matmul."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

void bind_matmul(py::module_& module) {
  if (PyModule_AddFunctions(module.ptr(), methods) != 0) throw py::error_already_set();
  module.def(
      "matmul_variants",
      [] {
        py::list result;
        for (const auto& variant : matmul_variants<float>())
          result.append(py::make_tuple(variant.name, variant.idea, variant.needs));
        return result;
      },
      "Name, idea and needs of each variant, slowest idea first.");
}

}  // namespace dlkit
