#include "bindings/array_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace dlkit {
namespace {

namespace py = pybind11;

constexpr std::size_t kLine = 64, kPage = 4096, kHugePage = std::size_t{2} << 20;
constexpr std::size_t kMostBlocks = 256;

// In front of an array's first element.
struct Header {
  std::size_t capacity;  // bytes that follow
};
static_assert(sizeof(Header) <= kLine);

Header* header_of(void* data) { return reinterpret_cast<Header*>(static_cast<char*>(data) - kLine); }
void* data_of(Header* header) { return reinterpret_cast<char*>(header) + kLine; }

Header* new_block(std::size_t bytes) {
  if (bytes > std::numeric_limits<std::size_t>::max() - kLine - kHugePage) return nullptr;
  const std::size_t rounded = (bytes + kLine + kPage - 1) / kPage * kPage;
  const bool huge = rounded >= kHugePage;
  void* const memory =
      std::aligned_alloc(huge ? kHugePage : kLine, huge ? (rounded + kHugePage - 1) / kHugePage * kHugePage : rounded);
  if (memory == nullptr) return nullptr;
#ifdef __linux__
  if (huge) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  auto* const header = static_cast<Header*>(memory);
  header->capacity = rounded - kLine;
  return header;
}

class Blocks {
 public:
  Blocks() { waiting_.reserve(kMostBlocks); }

  // A kept block that is not much larger, the smallest such and of these the one that was freed last; else a new one.
  Header* take(std::size_t bytes) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto best = waiting_.end();
      for (auto it = waiting_.begin(); it != waiting_.end(); ++it)
        if (it->capacity >= bytes && it->capacity <= bytes + bytes / 4 + kPage &&
            (best == waiting_.end() || it->capacity <= best->capacity))
          best = it;
      if (best != waiting_.end()) {
        Header* const found = best->header;
        kept_ -= best->capacity;
        waiting_.erase(best);
        return found;
      }
    }
    return new_block(bytes);
  }

  void give_back(Header* header) {
    const std::size_t capacity = header->capacity;
    const std::size_t most = most_kept_memory();
    if (capacity < kLeastKept || capacity > most / 2) return std::free(header);
    const std::lock_guard<std::mutex> lock(mutex_);
    while (!waiting_.empty() && (kept_ + capacity > most || waiting_.size() >= kMostBlocks)) {
      kept_ -= waiting_.front().capacity;
      std::free(waiting_.front().header);
      waiting_.erase(waiting_.begin());
    }
    waiting_.push_back({capacity, header});
    kept_ += capacity;
  }

  std::size_t kept() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return kept_;
  }

  void release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Waiting& block : waiting_) std::free(block.header);
    waiting_.clear();
    kept_ = 0;
  }

 private:
  struct Waiting {
    std::size_t capacity;
    Header* header;
  };
  std::mutex mutex_;
  std::vector<Waiting> waiting_;  // from the one that has waited longest on
  std::size_t kept_ = 0;
};

// Never destroyed: arrays may outlive everything.
Blocks& blocks() {
  static auto& all = *new Blocks;
  return all;
}

// --- NumPy's interface, NEP 49 ---------------------------------------------------------------------------------------

void* allocate(void*, std::size_t size) {
  Header* const header = blocks().take(std::max(size, std::size_t{1}));
  return header == nullptr ? nullptr : data_of(header);
}

void* allocate_zeros(void* context, std::size_t count, std::size_t size) {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return nullptr;
  void* const data = allocate(context, bytes);
  if (data != nullptr) std::memset(data, 0, bytes);
  return data;
}

void release(void*, void* data, std::size_t) {
  if (data != nullptr) blocks().give_back(header_of(data));
}

void* reallocate(void* context, void* data, std::size_t size) {
  if (data == nullptr) return allocate(context, size);
  const std::size_t capacity = header_of(data)->capacity;
  if (size <= capacity) return data;
  void* const moved = allocate(context, size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, data, capacity);
  release(context, data, capacity);
  return moved;
}

struct Allocator {
  void* context;
  void* (*allocate)(void*, std::size_t);
  void* (*allocate_zeros)(void*, std::size_t, std::size_t);
  void* (*reallocate)(void*, void*, std::size_t);
  void (*release)(void*, void*, std::size_t);
};
struct Handler {
  char name[127];
  std::uint8_t version;
  Allocator allocator;
};

Handler handler = {"dlkit", 1, {nullptr, allocate, allocate_zeros, reallocate, release}};

struct Api {
  PyObject* (*set_handler)(PyObject*);
  PyObject* capsule;  // of `handler`

  Api() {
    constexpr int kSetHandler = 304;  // of NumPy's table, from 1.22 on
    const py::object table = py::detail::import_numpy_core_submodule("multiarray").attr("_ARRAY_API");
    void** const entries = static_cast<void**>(PyCapsule_GetPointer(table.ptr(), nullptr));
    if (entries == nullptr) throw py::error_already_set();
    set_handler = reinterpret_cast<PyObject* (*)(PyObject*)>(entries[kSetHandler]);
    capsule = PyCapsule_New(&handler, "mem_handler", nullptr);
    if (capsule == nullptr) throw py::error_already_set();
  }
};

const Api& api() {
  static const auto& found = *new Api;
  return found;
}

}  // namespace

ArrayMemory::ArrayMemory(std::size_t bytes) {
  if (bytes < kLeastKept) return;
  previous_ = api().set_handler(api().capsule);
  if (previous_ == nullptr) throw py::error_already_set();
}

ArrayMemory::~ArrayMemory() {
  if (previous_ == nullptr) return;
  // An error that is under way stays.
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyObject* const own = api().set_handler(previous_);
  if (own == nullptr) PyErr_Clear();
  Py_XDECREF(own);
  Py_DECREF(previous_);
  PyErr_Restore(type, value, trace);
}

std::size_t most_kept_memory() {
  static const std::size_t most = [] {
    constexpr std::size_t kLeast = std::size_t{128} << 20, kMost = std::size_t{512} << 20;
#ifdef _SC_PHYS_PAGES
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page > 0)
      return std::clamp(static_cast<std::size_t>(pages) / 64 * static_cast<std::size_t>(page), kLeast, kMost);
#endif
    return kLeast;
  }();
  return most;
}

std::size_t kept_memory() { return blocks().kept(); }
void release_kept_memory() { blocks().release(); }

}  // namespace dlkit
