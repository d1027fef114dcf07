// The ladder on a GPU as a table, and the choice among its steps.
#include <cstring>
#include <string>

#include "matmul/device_plan.h"
#include "matmul/device_steps.h"
#include "matmul/hopper.h"

namespace dlkit {
namespace {

bool any(const DeviceMatmul&) { return true; }
bool float32(const DeviceMatmul& p) { return p.type == DeviceType::float32; }
bool as_tf32(const DeviceMatmul& p) { return float32(p) && p.precision == Precision::tf32; }
bool as_16bit(const DeviceMatmul& p) { return is_16bit(p.type) || (float32(p) && p.precision == Precision::bf16); }
bool has_tiles(const DeviceMatmul& p) { return device::family_of(p) != nullptr; }

struct Row {
  DeviceMatmulVariant variant;
  const device::TileFamily* family = nullptr;  // where it has several tiles
};

const std::vector<Row>& rows() {
  static const std::vector<Row> table = {
      {{"naive", "one thread for each element of C, lanes down a column", "", any, nullptr, device::naive}},
      {{"coalesced", "lanes along a row: neighbours read neighbours", "", any, nullptr, device::coalesced}},
      {{"tiled", "tiles of A and B in shared memory, each element fetched once for 32", "", any, nullptr,
        device::tiled}},
      {{"register_tile", "8 x 8 elements of C in the registers of each thread", "", any, nullptr,
        device::register_tile}},
      {{"vectorised", "16 bytes at a time, the next panel copied while this one is used (cp.async)", "float32", float32,
        nullptr, device::vectorised}},
      {{"warp_tiled", "tiles of warps in the tile of the block, panels several steps ahead, in six shapes", "float32",
        float32, nullptr, device::warp_tiled},
       &device::warp_tile_family},
      {{"splitk", "K cut into slices, for a small C and a long sum", "float32, float16 or bfloat16", has_tiles,
        device::splitk_workspace, device::splitk}},
      {{"mma_tf32", "tensor cores, operands rounded to TF32", "float32 with precision tf32", as_tf32, nullptr,
        device::mma_tf32},
       &device::mma_tf32_family},
      {{"mma_16bit", "tensor cores, operands of 16 bits", "float16, bfloat16, or float32 with precision bf16", as_16bit,
        nullptr, device::mma_16bit},
       &device::mma_16bit_family},
      {{"hopper_tf32", "the copy engine fills a ring, wgmma empties it: tf32 (sm_90a)",
        "a Hopper GPU, float32 with precision tf32, k not 0, rows of a and columns of b contiguous and aligned to 16 "
        "bytes",
        device::takes_hopper_tf32, nullptr, device::hopper_tf32}},
      {{"hopper_16bit", "the same, operands of 16 bits (sm_90a)",
        "a Hopper GPU, float16 or bfloat16, k not 0, a and b aligned to 16 bytes, as their strides are",
        device::takes_hopper_16bit, nullptr, device::hopper_16bit}},
  };
  return table;
}

}  // namespace

const std::vector<DeviceMatmulVariant>& device_matmul_variants() {
  static const std::vector<DeviceMatmulVariant> table = [] {
    std::vector<DeviceMatmulVariant> variants;
    for (const Row& row : rows()) variants.push_back(row.variant);
    return variants;
  }();
  return table;
}

const DeviceMatmulVariant* find_device_matmul_variant(const char* name, int* tile) {
  *tile = -1;
  const char* const slash = std::strchr(name, '/');
  const std::string base = slash == nullptr ? std::string(name) : std::string(name, slash);
  const auto& variants = device_matmul_variants();
  for (std::size_t i = 0; i < variants.size(); ++i) {
    if (base != variants[i].name) continue;
    if (slash == nullptr) return &variants[i];
    const device::TileFamily* family = rows()[i].family;
    for (std::size_t t = 0; family != nullptr && t < family->tiles.size(); ++t)
      if (std::strcmp(name, family->tiles[t].name) == 0) {
        *tile = static_cast<int>(t);
        return &variants[i];
      }
  }
  return nullptr;
}

const DeviceMatmulVariant& choose_device_matmul(const DeviceMatmul& p) {
  const auto named = [](const char* name) -> const DeviceMatmulVariant& {
    int tile;
    return *find_device_matmul_variant(name, &tile);
  };
  if (device::kHopperMeasured && device::takes_hopper_tf32(p)) return named("hopper_tf32");
  if (device::kHopperMeasured && device::takes_hopper_16bit(p)) return named("hopper_16bit");
  const device::TileFamily* family = device::family_of(p);
  if (family == nullptr) return named("register_tile");
  // Slices take memory, so that they have to gain something.
  constexpr double kGain = 0.9;
  if (p.k >= 128 && device::plan_tiles(p, *family, true).cycles < kGain * device::plan_tiles(p, *family, false).cycles)
    return named("splitk");
  return named(family == &device::warp_tile_family  ? "warp_tiled"
               : family == &device::mma_tf32_family ? "mma_tf32"
                                                    : "mma_16bit");
}

std::size_t device_matmul_workspace(const DeviceMatmul& p, const DeviceMatmulVariant& variant) {
  return variant.workspace == nullptr || p.m == 0 || p.n == 0 || p.batch == 0 ? 0 : variant.workspace(p);
}

void device_matmul(const DeviceMatmul& p, const DeviceMatmulVariant& variant) {
  if (p.m == 0 || p.n == 0 || p.batch == 0) return;
  variant.run(p);
}

}  // namespace dlkit
