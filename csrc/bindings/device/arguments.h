// What arrives from Python: addresses on a device, as integers, and sizes. Each is checked as far as it can be without
// asking the device, and what a kernel may touch is noted for the SIMT machine.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/cuda/operands.h"
#include "core/view.h"

namespace dlkit {

using Address = std::uintptr_t;

inline void* stream_of(Address stream) { return reinterpret_cast<void*>(stream); }

class Arguments {
 public:
  explicit Arguments(const char* operation) : operation_(operation) {}

  [[noreturn]] void fail(const std::string& text) const {
    throw pybind11::value_error(std::string(operation_) + ": " + text);
  }
  void expect(bool ok, const char* name, const std::string& given, const char* expected) const {
    if (!ok) fail(std::string(name) + " is " + given + "; expected " + expected);
  }
  void expect(bool ok, const char* name, double given, const char* expected) const {
    expect(ok, name, std::string(pybind11::repr(pybind11::float_(given))), expected);
  }

  // Sizes whose product is a number of elements.
  template <class... Sizes>
  Index count(const char* names, Sizes... sizes) const {
    constexpr Index kMost = Index{1} << 56;
    Index product = 1;
    bool ok = ((sizes >= 0) && ...);
    ok = ok && ((!__builtin_mul_overflow(product, static_cast<Index>(sizes), &product)) && ...) && product <= kMost;
    if (!ok) {
      std::string given;
      ((given += (given.empty() ? "(" : ", ") + std::to_string(sizes)), ...);
      expect(false, names, given + ")", "0 or more, and a product below 2^56");
    }
    return product;
  }

  // The last of `rows` rows of `cols` elements may end before row_stride does.
  Index strided(const char* names, Index rows, Index cols, Index row_stride) const {
    count(names, rows, cols);
    expect(row_stride >= 0, "row_stride", std::to_string(row_stride), "0 or more");
    count("(rows, row_stride)", rows, row_stride);
    return rows == 0 || cols == 0 ? 0 : (rows - 1) * row_stride + cols;
  }

  template <class T>
  const T* in(const char* name, Address address, Index count) {
    return add<T>(name, address, count, false);
  }
  template <class T>
  T* out(const char* name, Address address, Index count) {
    return add<T>(name, address, count, true);
  }
  // null where the address is 0
  template <class T>
  const T* in_or_null(const char* name, Address address, Index count) {
    return address == 0 ? nullptr : in<T>(name, address, count);
  }
  template <class T>
  T* out_or_null(const char* name, Address address, Index count) {
    return address == 0 ? nullptr : out<T>(name, address, count);
  }
  void* scratch(Address address, std::size_t bytes) {
    expect(address % 8 == 0, "scratch", std::to_string(address), "a multiple of 8");
    return out<char>("scratch", address, static_cast<Index>(bytes));
  }

  // body(), without the interpreter's lock.
  template <class Body>
  void run(const Body& body) {
    const Operands scope(operation_, std::move(operands_));
    const pybind11::gil_scoped_release release;
    body();
  }

  // body(T()) of the element type.
  template <class Body>
  void with_dtype(int dtype, const Body& body) const {
    if (dtype == 0) return body(float{});
    if (dtype == 1) return body(double{});
    throw pybind11::type_error(std::string(operation_) + ": dtype is " +
                               (dtype == 2   ? "float16"
                                : dtype == 3 ? "bfloat16"
                                             : std::to_string(dtype)) +
                               "; expected float32 or float64 (0 or 1)");
  }

 private:
  template <class T>
  T* add(const char* name, Address address, Index count, bool writable) {
    if (count > 0 && (address == 0 || address % alignof(T) != 0))
      fail(std::string(name) + " is at address " + std::to_string(address) + "; expected a multiple of " +
           std::to_string(alignof(T)) + " and not 0");
#if defined(DLKIT_SIMT)
    operands_.push_back(
        {name, reinterpret_cast<const void*>(address), static_cast<std::size_t>(count) * sizeof(T), writable});
#else
    (void)writable;
#endif
    return reinterpret_cast<T*>(address);
  }

  const char* operation_;
  std::vector<Operand> operands_;
};

}  // namespace dlkit
