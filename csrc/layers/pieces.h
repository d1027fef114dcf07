// How the work of this chapter is cut into pieces that threads take: at places that do not depend on their number.
#pragma once

#include <algorithm>

#include "core/thread_pool.h"
#include "core/view.h"

namespace dlkit {

// Bytes that a piece of work should touch: some microseconds' worth.
inline constexpr Index kPieceBytes = 256 << 10;

// body(begin, end) over [0, n) in pieces of about kPieceBytes; `bytes` is what one element touches, weighted up where
// an element costs arithmetic.
template <class Body>
void for_pieces(Index n, Index bytes, const Body& body) {
  const Index piece = std::max<Index>(kPieceBytes / bytes / 64 * 64, 64);
  if (n < 2 * piece || num_threads() == 1) return body(Index{0}, n);
  const Index count = n / piece;  // the last piece takes what is left over
  parallel_for(static_cast<int>(std::min<Index>(count, 1 << 20)), [&](int task) {
    const Index tasks = std::min<Index>(count, 1 << 20), each = n / tasks / 64 * 64;
    const Index begin = each * task, end = task + 1 == tasks ? n : begin + each;
    body(begin, end);
  });
}

// Rows [begin, end) of a matrix, a piece at a time.
template <class Body>
void for_rows(Index rows, Index row_bytes, const Body& body) {
  const Index piece = std::max<Index>(kPieceBytes / std::max<Index>(row_bytes, 1), 1);
  if (rows < 2 * piece || num_threads() == 1) return body(Index{0}, rows);
  const Index count = std::min<Index>(rows / piece, 1 << 20);
  parallel_for(static_cast<int>(count), [&](int task) { body(rows * task / count, rows * (task + 1) / count); });
}

}  // namespace dlkit
