#include "core/scratch.h"

#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace dlkit {
namespace {

constexpr std::size_t kAlignment = 4096;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

struct Buffer {
  void* data = nullptr;
  std::size_t capacity = 0;
  ~Buffer() { std::free(data); }

  void* reserve(std::size_t bytes) {
    if (bytes <= capacity) return data;
    std::free(data);
    data = nullptr;
    capacity = 0;
    // A panel of a megabyte spans 256 small pages, more than a first-level TLB holds: ask for a large one.
    const std::size_t alignment = bytes >= kHugePage / 4 ? kHugePage : kAlignment;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    data = std::aligned_alloc(alignment, rounded);
    if (data == nullptr) throw std::bad_alloc();
#ifdef __linux__
    if (alignment == kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
#endif
    capacity = rounded;
    return data;
  }
};

thread_local Buffer buffers[static_cast<int>(Slot::count)];

}  // namespace

void* scratch_bytes(Slot slot, std::size_t bytes) { return buffers[static_cast<int>(slot)].reserve(bytes); }

}  // namespace dlkit
