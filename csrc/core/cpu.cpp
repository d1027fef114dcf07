#include "core/cpu.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif
#ifdef __APPLE__
#include <sys/sysctl.h>
#endif

namespace dlkit {
namespace {

std::vector<Isa> detect_isas() {
  std::vector<Isa> found{Isa::baseline};
#if defined(DLKIT_HAVE_X86_ISAS)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                    __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
  if (avx2) found.push_back(Isa::avx2);
  if (avx512) found.push_back(Isa::avx512);
#if defined(DLKIT_ONLY_ISA)
  constexpr Isa kOnly = Isa::DLKIT_ONLY_ISA;
  if (std::find(found.begin(), found.end(), kOnly) == found.end())
    throw std::runtime_error("this build is for " + std::string(name(kOnly)) + " alone, which this processor lacks");
  found = {kOnly};
#endif
#elif defined(__aarch64__)
  found = {Isa::neon};
#endif
  return found;
}

std::string join(const std::vector<Isa>& isas) {
  std::string text;
  for (const Isa isa : isas) text += (text.empty() ? "" : ", ") + std::string(name(isa));
  return text;
}

Isa choose_isa() {
  const auto& isas = available_isas();
  const char* wanted = std::getenv("DLKIT_ISA");
  if (wanted == nullptr || *wanted == '\0') return isas.back();
  for (const Isa isa : isas)
    if (wanted == std::string(name(isa))) return isa;
  throw std::invalid_argument("DLKIT_ISA is '" + std::string(wanted) + "'; this machine has: " + join(isas));
}

#ifdef __linux__
// sysfs where it is there: sysconf answers 0 on some processors and in some containers.
std::size_t sysfs_cache(const char* level, const char* type) {
  for (int index = 0; index < 8; ++index) {
    const std::string base = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index) + "/";
    std::string found_level, found_type, size;
    if (!(std::ifstream(base + "level") >> found_level)) break;
    std::ifstream(base + "type") >> found_type;
    std::ifstream(base + "size") >> size;
    if (found_level != level || found_type != type || size.empty()) continue;
    std::size_t bytes = std::strtoull(size.c_str(), nullptr, 10);
    if (size.back() == 'K') bytes <<= 10;
    if (size.back() == 'M') bytes <<= 20;
    return bytes;
  }
  return 0;
}
#endif

#ifdef __APPLE__
std::size_t sysctl_size(const char* key) {
  std::size_t value = 0, length = sizeof value;
  return sysctlbyname(key, &value, &length, nullptr, 0) == 0 ? value : 0;
}
#endif

CacheSizes detect_caches() {
  CacheSizes sizes{0, 0, 0};
#ifdef __linux__
  sizes = {sysfs_cache("1", "Data"), sysfs_cache("2", "Unified"), sysfs_cache("3", "Unified")};
#endif
#ifdef __APPLE__
  sizes = {sysctl_size("hw.perflevel0.l1dcachesize"), sysctl_size("hw.perflevel0.l2cachesize"), 0};
#endif
  if (sizes.l1d == 0) sizes.l1d = 32 << 10;
  if (sizes.l2 == 0) sizes.l2 = 512 << 10;
  return sizes;
}

std::string detect_model() {
#ifdef __linux__
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
#endif
#ifdef __APPLE__
  char text[128] = {};
  std::size_t length = sizeof text - 1;
  if (sysctlbyname("machdep.cpu.brand_string", text, &length, nullptr, 0) == 0) return text;
#endif
  return "unknown processor";
}

}  // namespace

const char* name(Isa isa) {
  switch (isa) {
    case Isa::avx2: return "avx2";
    case Isa::avx512: return "avx512";
    case Isa::neon: return "neon";
    default: return "baseline";
  }
}

const std::vector<Isa>& available_isas() {
  static const std::vector<Isa> isas = detect_isas();
  return isas;
}

Isa active_isa() {
  static const Isa isa = choose_isa();
  return isa;
}

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes = detect_caches();
  return sizes;
}

const std::string& cpu_model() {
  static const std::string model = detect_model();
  return model;
}

int usable_cpus() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned count = std::thread::hardware_concurrency();
  return count == 0 ? 1 : static_cast<int>(count);
}

}  // namespace dlkit
