// The arguments of convolutions, of the CPU and of devices: from what Python passes to a ConvShape, checked.
#pragma once

#include <string>

#include "bindings/arguments.h"
#include "conv/conv.h"

namespace dlkit {

// How Python hands over stride, padding, dilation and groups: a tuple
// (stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w, groups); in one dimension the h's are 1, 1, 0.
struct ConvGeometry {
  Index stride_h, stride_w, top, bottom, left, right, dilation_h, dilation_w, groups;

  ConvGeometry(PyObject* tuple, const char* operation) {
    if (!PyTuple_Check(tuple) || PyTuple_GET_SIZE(tuple) != 9)
      throw py::type_error(std::string(operation) + ": geometry is " + std::string(py::repr(tuple)) +
                           "; expected nine integers");
    const auto at = [&](int i, const char* argument, Index least) {
      return as_extent(PyTuple_GET_ITEM(tuple, i), operation, argument, least);
    };
    stride_h = at(0, "stride", 1);
    stride_w = at(1, "stride", 1);
    top = at(2, "padding", 0);
    bottom = at(3, "padding", 0);
    left = at(4, "padding", 0);
    right = at(5, "padding", 0);
    dilation_h = at(6, "dilation", 1);
    dilation_w = at(7, "dilation", 1);
    groups = at(8, "groups", 1);
  }
};

inline const char* conv_dims_text(int dims, bool weight) {
  if (weight)
    return dims == 1 ? "(filters, channels / groups, kernel)" : "(filters, channels / groups, kernel_h, kernel_w)";
  return dims == 1 ? "(N, channels, length)" : "(N, channels, height, width)";
}

// What an array argument is: its extents, those of one dimension with a height of 1. `shape` outlives it.
struct ConvExtents {
  Index size[4];
  const py::ssize_t* shape;
  int ndim;

  ConvExtents(const py::ssize_t* given_shape, int given_ndim, int dims, const char* operation, const char* argument)
      : shape(given_shape), ndim(given_ndim) {
    if (ndim != dims + 2)
      fail(operation, std::string(argument) + " is " + text() + "; expected " +
                          conv_dims_text(dims, std::string(argument) == "weight"));
    size[0] = shape[0];
    size[1] = shape[1];
    size[2] = dims == 1 ? 1 : shape[2];
    size[3] = shape[dims + 1];
    for (const Index extent : size)
      if (extent > kMostExtent)
        fail(operation, std::string(argument) + " is " + text() + "; expected extents of at most 2147483647");
  }
  std::string text() const { return shape_text(shape, ndim); }
};

// Of an output along one axis: how often the kernel fits. Throws where it does not.
inline Index conv_out_extent(const char* operation, const char* axis, Index extent, Index before, Index after,
                             Index kernel, Index stride, Index dilation) {
  const Index reach = dilation * (kernel - 1) + 1, padded = extent + before + after;
  if (kernel < 1)
    fail(operation, std::string("kernel ") + axis + " is " + std::to_string(kernel) + "; expected 1 or more");
  if (reach > padded)
    fail(operation, std::string("the kernel's ") + axis + " is " + std::to_string(reach) +
                        (dilation > 1 ? " (dilated)" : "") + " but the " + (before + after > 0 ? "padded " : "") +
                        "input's is " + std::to_string(padded) + "; expected a kernel that fits in");
  return (padded - reach) / stride + 1;
}

// channels: of x. Throws where anything does not fit.
inline ConvShape make_conv_shape(const char* operation, int dims, Index n, Index channels, Index height, Index width,
                                 Index filters, Index kernel_h, Index kernel_w, const ConvGeometry& g) {
  if (channels % g.groups != 0)
    fail(operation, "x has " + std::to_string(channels) + " channels and groups is " + std::to_string(g.groups) +
                        "; expected groups that divide the channels");
  if (filters % g.groups != 0)
    fail(operation, "weight has " + std::to_string(filters) + " filters and groups is " + std::to_string(g.groups) +
                        "; expected groups that divide the filters");
  ConvShape s;
  s.n = n;
  s.channels = channels;
  s.height = height;
  s.width = width;
  s.filters = filters;
  s.kernel_h = kernel_h;
  s.kernel_w = kernel_w;
  s.stride_h = g.stride_h;
  s.stride_w = g.stride_w;
  s.dilation_h = g.dilation_h;
  s.dilation_w = g.dilation_w;
  s.pad_top = g.top;
  s.pad_left = g.left;
  s.groups = g.groups;
  s.out_h = conv_out_extent(operation, "height", height, g.top, g.bottom, kernel_h, g.stride_h, g.dilation_h);
  s.out_w = conv_out_extent(operation, dims == 1 ? "length" : "width", width, g.left, g.right, kernel_w, g.stride_w,
                            g.dilation_w);
  return s;
}

// The shape of an array of four extents, in as many dimensions as the call has.
struct ConvArrayShape {
  py::ssize_t size[4];
  int ndim;

  ConvArrayShape(const char* operation, const char* what, int dims, Index item, Index a, Index b, Index h, Index w)
      : size{a, b, dims == 1 ? w : h, w}, ndim(dims + 2) {
    Index bytes = item;
    for (int i = 0; i < ndim; ++i)
      if (size[i] != 0 && __builtin_mul_overflow(bytes, size[i], &bytes))
        fail(operation, std::string(what) + " is " + shape_text(size, ndim) +
                            "; expected no more bytes than an address can count");
  }
  bool is(const py::ssize_t* shape, int nd) const { return nd == ndim && std::equal(size, size + ndim, shape); }
};

// The weight's channels against those of x.
inline void require_conv_channels(const char* operation, const ConvExtents& x, const ConvExtents& weight,
                                  Index groups) {
  if (weight.size[1] * groups != x.size[1])
    fail(operation, std::string("x is ") + x.text() + " but weight is " + weight.text() + ": " +
                        std::to_string(x.size[1]) + " channels in " + std::to_string(groups) +
                        (groups == 1 ? " group" : " groups") + " need a weight of " +
                        (x.size[1] % groups == 0 ? std::to_string(x.size[1] / groups) : std::string("a fraction of")) +
                        " channels, not " + std::to_string(weight.size[1]));
}

// An extent that a gradient is given as a number.
inline void require_conv_extent(const char* operation, const char* argument, Index extent, Index least) {
  if (extent < least || extent > kMostExtent)
    fail(operation, std::string(argument) + " is " + std::to_string(extent) + "; expected " + std::to_string(least) +
                        " to 2147483647");
}

// The gradient against the output that the rest implies.
inline void require_conv_grad(const ConvShape& s, const ConvExtents& grad, const char* operation, int dims) {
  const Index expected[] = {s.n, s.filters, s.out_h, s.out_w};
  if (!std::equal(expected, expected + 4, grad.size)) {
    const ConvArrayShape shape(operation, "grad", dims, 1, s.n, s.filters, s.out_h, s.out_w);
    fail(operation,
         "grad is " + grad.text() + "; expected " + shape_text(shape.size, shape.ndim) + ", the shape of the output");
  }
}

}  // namespace dlkit
