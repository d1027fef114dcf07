// What the hashes of words begin with: drawn for each process, so that no text can be written whose words share a place
// in a table. With a known hash a megabyte of such words took 16 seconds to count instead of 0.5, and the time grows
// with the square (Crosby & Wallach, "Denial of service via algorithmic complexity attacks", USENIX Security 2003).
// Nothing that is returned depends on the order of a table's places.
#pragma once

#include <cstdint>

namespace dlkit { extern const std::uint64_t hash_key; }  // namespace dlkit
