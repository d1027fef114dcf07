#include "core/hash_key.h"

#include <chrono>
#include <exception>
#include <random>

namespace dlkit {
namespace {

std::uint64_t drawn() {
  try {
    std::random_device device;
    return static_cast<std::uint64_t>(device()) << 32 | device();
  } catch (const std::exception&) {  // the system has no source of random numbers
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count()) *
           0x9E3779B97F4A7C15u;
  }
}

}  // namespace

const std::uint64_t hash_key = drawn();

}  // namespace dlkit
