// Tensor cores: the product of small matrices that the lanes of a warp hold in pieces (layouts: core/cuda/mma.h).
//
// Each lane says where its registers are, and computes its own four elements of the result from those of the others.
// Products are exact in float32 (in float64, so also TF32's) and are added in order of k; a GPU adds in an order of its
// own.
#include <bit>
#include <cstring>

#include "simt/machine.h"

namespace dlkit::simt {
namespace {

template <class A, class B>
void multiply(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], int depth, A element_a,
              B element_b) {
  Machine& machine = running();
  Thread& self = *machine.current;
  self.offer[0] = a;
  self.offer[1] = b;
  machine.meet(~0u, Collective::mma, depth);
  const int group = self.lane / 4, pair = self.lane % 4;
  for (int i = 0; i < 4; ++i) {
    const int row = group + i / 2 * 8, col = 2 * pair + i % 2;
    double sum = c[i].value;
    for (int k = 0; k < depth; ++k) sum += static_cast<double>(element_a(row, k)) * element_b(k, col);
    c[i].value = static_cast<float>(sum);
  }
  if (self.lane == 0) machine.counters.tensor_flops += 2u * 16 * 8 * static_cast<unsigned>(depth);
  machine.meet(~0u, Collective::mma, depth);  // before a lane changes its registers
}

const std::uint32_t* registers(int lane, int which) {
  return static_cast<const std::uint32_t*>(running().peer(lane).offer[which]);
}

// The tensor core does not look at the bits that TF32 lacks.
float tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & ~0x1FFFu); }

template <class Half>
void multiply_16bit(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  const auto part = [](std::uint32_t pair, int i) {
    return to_float(Half{static_cast<std::uint16_t>(pair >> (16 * (i % 2)))});
  };
  multiply(
      c, a, b, 16, [&](int row, int k) { return part(registers(row % 8 * 4 + k % 8 / 2, 0)[row / 8 + k / 8 * 2], k); },
      [&](int k, int col) { return part(registers(col * 4 + k % 8 / 2, 1)[k / 8], k); });
}

}  // namespace

void mma_tf32(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  multiply(
      c, a, b, 8, [](int row, int k) { return tf32(registers(row % 8 * 4 + k % 4, 0)[row / 8 + k / 4 * 2]); },
      [](int k, int col) { return tf32(registers(col * 4 + k % 4, 1)[k / 4]); });
}

void mma_half(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  multiply_16bit<half>(c, a, b);
}

void mma_bfloat16(Counted<float> (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2]) {
  multiply_16bit<bfloat16>(c, a, b);
}

void ldmatrix(std::uint32_t* r, int matrices, const void* row, bool transposed) {
  Machine& machine = running();
  Thread& self = *machine.current;
  const auto place = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  if (self.lane < 8 * matrices && (machine.launch->mode.check || machine.launch->mode.count))
    machine.access(reinterpret_cast<std::uintptr_t>(row), 16, false, false, place);
  self.offer[0] = row;
  machine.meet(~0u, Collective::ldmatrix, matrices);
  for (int i = 0; i < matrices; ++i) {
    std::uint16_t pair[2];
    for (int e = 0; e < 2; ++e) {
      const int x = self.lane / 4, y = self.lane % 4 * 2 + e;
      const int from_row = transposed ? y : x, from_col = transposed ? x : y;
      std::memcpy(&pair[e], static_cast<const char*>(machine.peer(i * 8 + from_row).offer[0]) + 2 * from_col, 2);
    }
    r[i] = pair[0] | static_cast<std::uint32_t>(pair[1]) << 16;
  }
  machine.meet(~0u, Collective::ldmatrix, matrices);
}

// --- binary16
// ---------------------------------------------------------------------------------------------------------

float to_float(half x) {
  const std::uint32_t sign = static_cast<std::uint32_t>(x.bits & 0x8000) << 16, exponent = x.bits >> 10 & 31,
                      mantissa = x.bits & 0x3FF;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | mantissa << 13);
  if (exponent == 0) {  // subnormal: mantissa * 2^-24
    const float value = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | mantissa << 13);
}

half to_half(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t magnitude = bits & 0x7FFFFFFF;
  if (magnitude > 0x7F800000) return {static_cast<std::uint16_t>(sign | 0x7E00)};
  if (magnitude >= 0x477FF000) return {static_cast<std::uint16_t>(sign | 0x7C00)};  // 65520 and more round to infinity
  if (magnitude < 0x38800000) {  // below 2^-14: the float addition rounds to multiples of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0x1p-1f;
    return {static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3F000000u))};
  }
  const std::uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000u) >> 13))};
}

}  // namespace dlkit::simt
