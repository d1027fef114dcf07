// Memory of a device and of the host, and copies between them that run beside kernels. The SIMT machine has one memory,
// and its copies are done when they return.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <utility>

#include "core/cuda/error.h"

#if !defined(DLKIT_SIMT)
#include <cuda_runtime_api.h>
#endif

namespace dlkit {

#if defined(DLKIT_SIMT)

inline void* allocate_on_device(std::size_t bytes) {
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
inline void free_on_device(void* memory) { std::free(memory); }
inline void* allocate_pinned(std::size_t bytes) { return allocate_on_device(bytes); }
inline void free_pinned(void* memory) { std::free(memory); }
inline void copy_async(void* to, const void* from, std::size_t bytes, void*) { std::memcpy(to, from, bytes); }

class OwnStream {
 public:
  void* get() const { return nullptr; }
};
class Event {
 public:
  void record(void*) {}
  void before(void*) const {}
  void wait() const {}
};
class OnDevice {
 public:
  explicit OnDevice(int) {}
};

#else

inline void check_call(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw DeviceError(std::string(what) + ": " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) + ")");
}

inline void* allocate_on_device(std::size_t bytes) {
  void* memory = nullptr;
  check_call(cudaMalloc(&memory, bytes), "device memory");
  return memory;
}
inline void free_on_device(void* memory) { cudaFree(memory); }
inline void* allocate_pinned(std::size_t bytes) {
  void* memory = nullptr;
  check_call(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), "pinned memory");
  return memory;
}
inline void free_pinned(void* memory) { cudaFreeHost(memory); }
// Either way; asynchronous where the host's memory is pinned.
inline void copy_async(void* to, const void* from, std::size_t bytes, void* stream) {
  check_call(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)), "copy");
}

// A stream that waits for no other.
class OwnStream {
 public:
  OwnStream() { check_call(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream"); }
  ~OwnStream() { cudaStreamDestroy(stream_); }
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  void* get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

// A place in a stream's work.
class Event {
 public:
  Event() { check_call(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "event"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(void* stream) { check_call(cudaEventRecord(event_, static_cast<cudaStream_t>(stream)), "event"); }
  // What is launched on the stream from now on comes after it.
  void before(void* stream) const {
    check_call(cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), event_, 0), "event");
  }
  void wait() const { check_call(cudaEventSynchronize(event_), "event"); }

 private:
  cudaEvent_t event_ = nullptr;
};

// The calling thread's device, in a scope.
class OnDevice {
 public:
  explicit OnDevice(int device) {
    check_call(cudaGetDevice(&before_), "device");
    check_call(cudaSetDevice(device), "device");
  }
  ~OnDevice() { cudaSetDevice(before_); }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  int before_ = 0;
};

#endif

// Memory that grows; what it held is lost then.
template <void* (*kAllocate)(std::size_t), void (*kFree)(void*)>
class GrowingMemory {
 public:
  GrowingMemory() = default;
  ~GrowingMemory() { free(); }
  GrowingMemory(const GrowingMemory&) = delete;
  GrowingMemory& operator=(const GrowingMemory&) = delete;

  void* atleast(std::size_t bytes) {
    if (bytes > bytes_) {
      free();
      data_ = kAllocate(bytes);
      bytes_ = bytes;
    }
    return data_;
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void free() {
    if (data_ != nullptr) kFree(std::exchange(data_, nullptr));
    bytes_ = 0;
  }
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};
using DeviceMemory = GrowingMemory<allocate_on_device, free_on_device>;
using PinnedMemory = GrowingMemory<allocate_pinned, free_pinned>;

}  // namespace dlkit
