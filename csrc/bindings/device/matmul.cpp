// Matrix product on device pointers: dlkit._simt and dlkit._cuda have the same functions.
#include "matmul/device.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <optional>
#include <string>

#include "core/cuda/operands.h"

namespace dlkit {

void bind_device_matmul(pybind11::module_& module);

namespace py = pybind11;

namespace {

using Integer = std::int64_t;
using Address = std::uintptr_t;

[[noreturn]] void fail(const std::string& text) { throw py::value_error("matmul: " + text); }

void require(bool holds, const char* argument, Integer given, const std::string& expected) {
  if (!holds) fail(std::string(argument) + " is " + std::to_string(given) + "; expected " + expected);
}

std::string numbers(std::initializer_list<Integer> list) {
  std::string text = "(";
  for (const Integer number : list) text += (text.size() > 1 ? ", " : "") + std::to_string(number);
  return text + ")";
}

// What types, extents and strides say.
DeviceMatmul shape_of(int dtype, int out_dtype, int precision, Integer m, Integer n, Integer k, Integer batch,
                      Integer a_row, Integer a_col, Integer b_row, Integer b_col) {
  require(0 <= dtype && dtype <= 3, "dtype", dtype, "0 (float32), 1 (float64), 2 (float16) or 3 (bfloat16)");
  require(out_dtype == dtype || (dtype >= 2 && out_dtype == 0), "out_dtype", out_dtype,
          dtype >= 2 ? std::to_string(dtype) + ", dtype, or 0 (float32)" : std::to_string(dtype) + ", dtype");
  require(0 <= precision && precision <= 2, "precision", precision, "0 (float32), 1 (tf32) or 2 (bf16)");
  require(precision == 0 || dtype == 0, "precision", precision, "0 where dtype is not float32");
  const std::pair<const char*, Integer> extents[] = {{"m", m}, {"n", n}, {"k", k}};
  for (const auto& [name, extent] : extents)
    require(0 <= extent && extent <= kMaxDeviceExtent, name, extent, "0 to " + std::to_string(kMaxDeviceExtent));
  require(batch >= 0, "batch", batch, "0 or more");
  const auto check_strides = [](const char* name, Integer row, Integer col) {
    if (row < 0 || col < 0 || (row != 1 && col != 1))
      fail(std::string(name) + " has strides " + numbers({row, col}) + "; expected one of them to be 1, none negative");
  };
  check_strides("a", a_row, a_col);
  check_strides("b", b_row, b_col);
  DeviceMatmul p = {};
  p.type = static_cast<DeviceType>(dtype);
  p.out_type = static_cast<DeviceType>(out_dtype);
  p.precision = static_cast<Precision>(precision);
  p.m = m;
  p.n = n;
  p.k = k;
  p.batch = batch;
  p.a_row = a_row;
  p.a_col = a_col;
  p.b_row = b_row;
  p.b_col = b_col;
  p.tile = -1;
  return p;
}

// Sets the tile too, where the name has one.
const DeviceMatmulVariant& variant_named(const std::optional<std::string>& name, DeviceMatmul& p) {
  if (!name) return choose_device_matmul(p);
  const DeviceMatmulVariant* variant =
      name->find('\0') == std::string::npos ? find_device_matmul_variant(name->c_str(), &p.tile) : nullptr;
  if (variant == nullptr) {
    std::string listing;
    for (const auto& row : device_matmul_variants()) listing += (listing.empty() ? "" : ", ") + std::string(row.name);
    fail("variant is '" + *name + "'; expected None or one of " + listing);
  }
  if (!variant->takes(p)) {
    constexpr const char* types[] = {"float32", "float64", "float16", "bfloat16"};
    constexpr const char* precisions[] = {"float32", "tf32", "bf16"};
    fail("variant '" + *name + "' needs " + variant->needs + "; given " + types[static_cast<int>(p.type)] +
         (p.type == DeviceType::float32 ? std::string(" with precision ") + precisions[static_cast<int>(p.precision)]
                                        : std::string()));
  }
  return *variant;
}

// Bytes from the first to behind the last element; throws where an address cannot count them.
std::size_t extent(const char* name, DeviceType type, Integer rows, Integer row_stride, Integer cols,
                   Integer col_stride, Integer batch, Integer batch_stride) {
  if (rows == 0 || cols == 0 || batch == 0) return 0;
  Integer last = 0, bytes;
  bool overflow = false;
  const std::pair<Integer, Integer> steps[] = {{rows, row_stride}, {cols, col_stride}, {batch, batch_stride}};
  for (const auto& [count, stride] : steps) {
    Integer step;
    overflow |= __builtin_mul_overflow(count - 1, stride, &step) || __builtin_add_overflow(last, step, &last);
  }
  overflow |= __builtin_add_overflow(last, 1, &last) ||
              __builtin_mul_overflow(last, static_cast<Integer>(size_of(type)), &bytes);
  if (overflow)
    fail(std::string(name) + " has extents " + numbers({batch, rows, cols}) + " and strides " +
         numbers({batch_stride, row_stride, col_stride}) + "; expected no more bytes than an address can count");
  return static_cast<std::size_t>(bytes);
}

void require_address(const char* name, Address address, std::size_t bytes, std::size_t alignment) {
  if (bytes != 0 && (address == 0 || address % alignment != 0))
    fail(std::string(name) + " is at address " + std::to_string(address) + "; expected a multiple of " +
         std::to_string(alignment) + ", not 0");
}

void multiply(Address stream, int dtype, int out_dtype, const std::optional<std::string>& variant_name, int precision,
              Integer m, Integer n, Integer k, Integer batch, Address a, Integer a_row, Integer a_col, Integer a_batch,
              Address b, Integer b_row, Integer b_col, Integer b_batch, Address c, Integer c_row, Integer c_batch,
              Address bias, int activation, bool accumulate, Address workspace, Integer workspace_bytes) {
  DeviceMatmul p = shape_of(dtype, out_dtype, precision, m, n, k, batch, a_row, a_col, b_row, b_col);
  require(a_batch >= 0, "a_batch", a_batch, "0 or more");
  require(b_batch >= 0, "b_batch", b_batch, "0 or more");
  require(c_row >= n || m <= 1, "c_row", c_row, "n or more, " + std::to_string(n));
  require(c_row >= 0, "c_row", c_row, "0 or more");
  require(0 <= activation && activation <= 3, "activation", activation, "0 (none), 1 (relu), 2 (sigmoid) or 3 (tanh)");
  require(!accumulate || activation == 0, "activation", activation, "0 with accumulate, which adds to c");
  require(workspace_bytes >= 0, "workspace_bytes", workspace_bytes, "0 or more");
  // What a variant takes may depend on how operands are aligned.
  p.a = reinterpret_cast<const void*>(a);
  p.a_batch = a_batch;
  p.b = reinterpret_cast<const void*>(b);
  p.b_batch = b_batch;
  const DeviceMatmulVariant& variant = variant_named(variant_name, p);

  const std::size_t item = size_of(p.type), out_item = size_of(p.out_type);
  const std::size_t a_bytes = extent("a", p.type, m, a_row, k, a_col, batch, a_batch);
  const std::size_t b_bytes = extent("b", p.type, k, b_row, n, b_col, batch, b_batch);
  const std::size_t c_bytes = extent("c", p.out_type, m, c_row, n, 1, batch, c_batch);
  const std::size_t bias_bytes = bias == 0 ? 0 : static_cast<std::size_t>(n) * out_item;
  // Products that share elements of C would be added up in no order.
  if (batch > 1 && c_bytes != 0 && c_batch < (m - 1) * c_row + n)
    require(false, "c_batch", c_batch, std::to_string((m - 1) * c_row + n) + " or more, the extent of one product");
  if (c_bytes == 0) return;
  require_address("a", a, a_bytes, item);
  require_address("b", b, b_bytes, item);
  require_address("c", c, c_bytes, out_item);
  require_address("bias", bias, bias_bytes, out_item);
  const std::size_t needed = device_matmul_workspace(p, variant);
  if (static_cast<std::size_t>(workspace_bytes) < needed)
    require(false, "workspace_bytes", workspace_bytes, std::to_string(needed) + " or more");
  require_address("workspace", workspace, needed, 16);

  p.c = reinterpret_cast<void*>(c);
  p.c_row = c_row;
  p.c_batch = c_batch;
  p.bias = reinterpret_cast<const void*>(bias);
  p.activation = static_cast<Activation>(activation);
  p.accumulate = accumulate;
  p.workspace = reinterpret_cast<void*>(workspace);
  p.workspace_bytes = needed;
  p.stream = reinterpret_cast<void*>(stream);

  const py::gil_scoped_release release;
  const Operands operands("matmul", {{"a", p.a, a_bytes, false},
                                     {"b", p.b, b_bytes, false},
                                     {"bias", p.bias, bias_bytes, false},
                                     {"out", p.c, c_bytes, true},
                                     {"workspace", p.workspace, needed, true}});
  device_matmul(p, variant);
}

}  // namespace

void bind_device_matmul(py::module_& module) {
  module.def("matmul", &multiply, py::arg("stream"), py::arg("dtype"), py::arg("out_dtype"), py::arg("variant"),
             py::arg("precision"), py::arg("m"), py::arg("n"), py::arg("k"), py::arg("batch"), py::arg("a"),
             py::arg("a_row"), py::arg("a_col"), py::arg("a_batch"), py::arg("b"), py::arg("b_row"), py::arg("b_col"),
             py::arg("b_batch"), py::arg("c"), py::arg("c_row"), py::arg("c_batch"), py::arg("bias"),
             py::arg("activation"), py::arg("accumulate"), py::arg("workspace"), py::arg("workspace_bytes"),
             "C = activation(A B + bias), or C += A B + bias, on device pointers; strides in elements.");
  module.def(
      "matmul_workspace",
      [](int dtype, int out_dtype, const std::optional<std::string>& name, int precision, Integer m, Integer n,
         Integer k, Integer batch, Integer a_row, Integer a_col, Integer b_row, Integer b_col) {
        DeviceMatmul p = shape_of(dtype, out_dtype, precision, m, n, k, batch, a_row, a_col, b_row, b_col);
        const DeviceMatmulVariant& variant = variant_named(name, p);
        return device_matmul_workspace(p, variant);
      },
      py::arg("dtype"), py::arg("out_dtype"), py::arg("variant"), py::arg("precision"), py::arg("m"), py::arg("n"),
      py::arg("k"), py::arg("batch"), py::arg("a_row"), py::arg("a_col"), py::arg("b_row"), py::arg("b_col"),
      "Bytes of workspace that matmul needs.");
  module.def(
      "matmul_variants",
      [] {
        py::list result;
        for (const auto& variant : device_matmul_variants())
          result.append(py::make_tuple(variant.name, variant.idea, variant.needs));
        return result;
      },
      "Name, idea and needs of each variant, slowest idea first.");
  module.def(
      "matmul_choice",
      [](int dtype, int out_dtype, int precision, Integer m, Integer n, Integer k, Integer batch, Integer a_row,
         Integer a_col, Integer b_row, Integer b_col) {
        const DeviceMatmul p = shape_of(dtype, out_dtype, precision, m, n, k, batch, a_row, a_col, b_row, b_col);
        return choose_device_matmul(p).name;
      },
      py::arg("dtype"), py::arg("out_dtype"), py::arg("precision"), py::arg("m"), py::arg("n"), py::arg("k"),
      py::arg("batch"), py::arg("a_row"), py::arg("a_col"), py::arg("b_row"), py::arg("b_col"),
      "Name of the variant that runs where none is named.");
}

}  // namespace dlkit
