// The arguments of pooling: from what Python passes to a PoolShape, checked.
#pragma once

#include <string>

#include "bindings/arguments.h"
#include "conv/pool.h"

namespace dlkit {

// How Python hands over a window: a tuple (kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h,
// dilation_w, ceil); in one dimension the h's are 1, 1, 0 and 1.
struct PoolGeometry {
  Index kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w;
  bool ceil;

  PoolGeometry(PyObject* tuple, const char* operation) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 9)
      throw py::type_error(std::string(operation) + ": geometry is " + std::string(py::repr(tuple)) +
                           "; expected nine integers");
    const auto at = [&](int i, const char* argument, Index least) {
      return as_extent(PyTuple_GET_ITEM(tuple, i), operation, argument, least);
    };
    kernel_h = at(0, "kernel_size", 1);
    kernel_w = at(1, "kernel_size", 1);
    stride_h = at(2, "stride", 1);
    stride_w = at(3, "stride", 1);
    pad_h = at(4, "padding", 0);
    pad_w = at(5, "padding", 0);
    dilation_h = at(6, "dilation", 1);
    dilation_w = at(7, "dilation", 1);
    ceil = as_bool(PyTuple_GET_ITEM(tuple, 8));
    check_padding(operation, pad_h, kernel_h, dilation_h);
    check_padding(operation, pad_w, kernel_w, dilation_w);
  }

 private:
  // More would make windows of padding alone.
  static void check_padding(const char* operation, Index pad, Index kernel, Index dilation) {
    const Index reach = dilation * (kernel - 1) + 1;
    if (pad > reach / 2)
      fail(operation, "padding is " + std::to_string(pad) + " and the window's extent " + std::to_string(reach) +
                          "; expected padding of at most half of it");
  }
};

// What an array argument is: its extents as planes (of all leading dimensions together) of a height and a width.
struct PoolExtents {
  py::ssize_t lead[2];
  Index height, width;

  PoolExtents(const ArrayArg& array, int dims) {
    if (array.ndim() != dims + 2)
      array.fail(std::string(array.argument) + " is " + array.shape_text() + "; expected " +
                 (dims == 1 ? "(N, channels, length)" : "(N, channels, height, width)"));
    lead[0] = array.shape()[0];
    lead[1] = array.shape()[1];
    height = dims == 1 ? 1 : array.shape()[2];
    width = array.shape()[dims + 1];
    for (const Index extent : {height, width})
      if (extent > kMostExtent)
        array.fail(std::string(array.argument) + " is " + array.shape_text() +
                   "; expected extents of at most 2147483647");
  }
  Index planes() const { return lead[0] * lead[1]; }
};

// How often a window fits. With `ceil` one that begins in the plane or in the padding before it may go past the end.
inline Index pool_out_extent(const char* operation, const char* axis, Index extent, Index pad, Index kernel,
                             Index stride, Index dilation, bool ceil) {
  const Index reach = dilation * (kernel - 1) + 1, padded = extent + 2 * pad;
  if (extent < 1)
    fail(operation, std::string("the input's ") + axis + " is " + std::to_string(extent) + "; expected 1 or more");
  const Index room = padded - reach + (ceil ? stride - 1 : 0);
  if (room < 0)
    fail(operation, std::string("the window's ") + axis + " is " + std::to_string(reach) +
                        (dilation > 1 ? " (dilated)" : "") + " but the " + (pad > 0 ? "padded " : "") + "input's is " +
                        std::to_string(padded) + "; expected a window that fits in");
  Index out = room / stride + 1;
  if (ceil && (out - 1) * stride >= extent + pad) --out;
  return out;
}

// Planes: of x, whose extents are `height` and `width`.
inline PoolShape make_pool_shape(const char* operation, int dims, Index planes, Index height, Index width,
                                 const PoolGeometry& g) {
  PoolShape s;
  s.planes = planes;
  s.height = height;
  s.width = width;
  s.kernel_h = g.kernel_h;
  s.kernel_w = g.kernel_w;
  s.stride_h = g.stride_h;
  s.stride_w = g.stride_w;
  s.dilation_h = g.dilation_h;
  s.dilation_w = g.dilation_w;
  s.pad_h = g.pad_h;
  s.pad_w = g.pad_w;
  s.out_h = pool_out_extent(operation, "height", height, g.pad_h, g.kernel_h, g.stride_h, g.dilation_h, g.ceil);
  s.out_w = pool_out_extent(operation, dims == 1 ? "length" : "width", width, g.pad_w, g.kernel_w, g.stride_w,
                            g.dilation_w, g.ceil);
  return s;
}

// The shape of an array of planes, in as many dimensions as the call has.
struct PoolArrayShape {
  py::ssize_t size[4];
  int ndim;

  PoolArrayShape(const char* operation, int dims, Index item, const py::ssize_t* lead, Index height, Index width)
      : size{lead[0], lead[1], dims == 1 ? width : height, width}, ndim(dims + 2) {
    Index bytes = item;
    for (int i = 0; i < ndim; ++i)
      if (size[i] != 0 && __builtin_mul_overflow(bytes, size[i], &bytes))
        fail(operation,
             "the result is " + shape_text(size, ndim) + "; expected no more bytes than an address can count");
  }
  bool is(const py::ssize_t* shape, int nd) const { return nd == ndim && std::equal(size, size + ndim, shape); }
  std::size_t elements() const {
    std::size_t count = 1;
    for (int i = 0; i < ndim; ++i) count *= static_cast<std::size_t>(size[i]);
    return count;
  }
};

// Throws where the places of a window's elements are more than a byte can number.
inline void require_places(const PoolShape& s, const char* operation) {
  if (s.kernel_h > kMostPlaces || s.taps() > kMostPlaces)
    fail(operation, "the window has " + std::to_string(s.kernel_h) + " x " + std::to_string(s.kernel_w) +
                        " elements; expected at most 255 for places of one byte");
}

// Throws where grad is not of the output's shape, for planes that are arranged as `lead` says.
inline void require_pool_grad(const PoolShape& s, const ArrayArg& grad, const py::ssize_t* lead, int dims) {
  const PoolArrayShape expected(grad.operation, dims, grad.item_size(), lead, s.out_h, s.out_w);
  if (!expected.is(grad.shape(), grad.ndim()))
    grad.fail("grad is " + grad.shape_text() + "; expected " + shape_text(expected.size, expected.ndim) +
              ", the shape of the output");
}

// An array of integers to read, contiguous.
template <class Integer>
struct IntegerInput {
  py::object array;

  // Throws where `object` is no array of that type and shape; shape null: any.
  IntegerInput(PyObject* object, const char* operation, const char* argument, const PoolArrayShape* shape) {
    constexpr const char* kType = sizeof(Integer) == 1 ? "uint8" : "int64";
    if (!py::isinstance<py::array>(object))
      throw py::type_error(std::string(operation) + ": " + argument + " is a " +
                           std::string(py::str(py::type::handle_of(object).attr("__name__"))) +
                           "; expected a NumPy array of " + kType);
    if (!py::isinstance<py::array_t<Integer>>(object))
      throw py::type_error(std::string(operation) + ": " + argument + " has dtype " +
                           std::string(py::str(py::handle(object).attr("dtype"))) + "; expected " + kType);
    const auto* proxy = array_proxy(object);
    if (shape != nullptr && !shape->is(proxy->dimensions, proxy->nd))
      fail(operation, std::string(argument) + " is " + shape_text(proxy->dimensions, proxy->nd) + "; expected " +
                          shape_text(shape->size, shape->ndim));
    constexpr int kGood = npy_api::NPY_ARRAY_C_CONTIGUOUS_ | npy_api::NPY_ARRAY_ALIGNED_;
    array = (proxy->flags & kGood) == kGood ? py::reinterpret_borrow<py::object>(object) : contiguous_copy(object);
  }

  const Integer* data() const { return reinterpret_cast<const Integer*>(array_proxy(array.ptr())->data); }
  Extent memory() const {
    const char* const begin = array_proxy(array.ptr())->data;
    return {begin, begin + element_count(array.ptr()) * static_cast<Index>(sizeof(Integer))};
  }
};

template <class Integer>
py::array_t<Integer> new_integers(const PoolArrayShape& shape) {
  const ArrayMemory memory(shape.elements() * sizeof(Integer));
  return py::array_t<Integer>(std::vector<py::ssize_t>(shape.size, shape.size + shape.ndim));
}

}  // namespace dlkit
