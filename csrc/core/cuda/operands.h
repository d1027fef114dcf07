// Which memory the kernels that are launched in a scope may touch. The SIMT machine checks each access against it; a
// GPU does not look, so that there this is nothing.
#pragma once

#include <cstddef>
#include <vector>

namespace dlkit {

struct Operand {
  const char* name;  // as the caller of the operation knows it
  const void* data;
  std::size_t bytes;
  bool writable;
};

#if defined(DLKIT_SIMT)

class Operands {
 public:
  // `operation` is named in faults. Operands of no bytes or no address are left out.
  Operands(const char* operation, std::vector<Operand> operands);
  ~Operands();
  Operands(const Operands&) = delete;
  Operands& operator=(const Operands&) = delete;

  const char* operation;
  std::vector<Operand> sorted;  // by address

 private:
  Operands* outer_;
};

#else

struct Operands {
  Operands(const char*, const std::vector<Operand>&) {}
};

#endif

}  // namespace dlkit
