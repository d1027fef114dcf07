#include "word2vec/write_all.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string>

namespace dlkit::word2vec {

void write_all(int file, const char* bytes, std::size_t count) {
  while (count > 0) {
    const ::ssize_t done = ::write(file, bytes, std::min<std::size_t>(count, std::size_t{1} << 30));
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) throw std::runtime_error(std::string("the result cannot be written: ") + std::strerror(errno));
    bytes += done;
    count -= static_cast<std::size_t>(done);
  }
}

}  // namespace dlkit::word2vec
