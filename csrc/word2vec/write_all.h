// All of some bytes into an open file.
#pragma once

#include <cstddef>

namespace dlkit::word2vec {

// Throws std::runtime_error where they cannot be written.
void write_all(int file, const char* bytes, std::size_t count);

}  // namespace dlkit::word2vec
