// What the operations of pooling share: the extents of windows, and planes in parallel.
#pragma once

#include <algorithm>

#include "conv/pool.h"
#include "core/thread_pool.h"

namespace dlkit {

// The taps of a window that meet the plane along one axis, of a window whose first tap is at `first`.
struct PoolTaps {
  Index begin, end;
  PoolTaps(Index first, Index kernel, Index dilation, Index extent)
      : begin(first < 0 ? (-first + dilation - 1) / dilation : 0),
        end(std::min(kernel, first < extent ? (extent - 1 - first) / dilation + 1 : 0)) {
    begin = std::min(begin, end);
  }
};

// Where a window of means lies along one axis, and how many taps it counts there.
struct PoolSpan {
  Index begin, end;  // within the plane; begin == end where it lies outside
  Index count;

  PoolSpan(Index place, Index kernel, Index stride, Index pad, Index extent, bool include_pad) {
    const Index first = place * stride - pad, last = std::min(first + kernel, extent + pad);
    begin = std::clamp<Index>(first, 0, extent);
    end = std::clamp<Index>(last, begin, extent);
    count = include_pad ? last - first : end - begin;
  }
};

// The same for windows that adapt to the plane.
struct AdaptiveSpan {
  Index begin, end;
  AdaptiveSpan(Index place, Index out, Index extent)
      : begin(place * extent / out), end(((place + 1) * extent + out - 1) / out) {}
};

// body(begin, end): planes, in pieces that do not depend on the number of threads.
template <class Body>
void for_planes(Index planes, Index plane_bytes, int threads, const Body& body) {
  constexpr Index kPieceBytes = 256 << 10;
  const Index piece = std::max<Index>(kPieceBytes / std::max<Index>(plane_bytes, 1), 1);
  const Index pieces = std::min<Index>((planes + piece - 1) / piece, 1 << 20);
  if (pieces <= 1 || threads == 1) return body(Index{0}, planes);
  parallel_for(
      static_cast<int>(pieces), [&](int task) { body(planes * task / pieces, planes * (task + 1) / pieces); }, threads);
}

template <class T>
Index plane_bytes(const PoolShape& s) {
  return (s.in_size() + s.out_size()) * static_cast<Index>(sizeof(T));
}

}  // namespace dlkit
