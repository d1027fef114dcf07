// No packing: for few rows, where a panel of B is used too few times to repay a copy.
//
// Panels of B are read in place, their rows fetched ahead, and all rows of C pass by a panel while it is near. Bound
// by the multipliers while B is in a cache. A larger B comes from memory, where a core gets its bandwidth only by
// asking early and for neighbouring lines: then blocks of K are shallow, so that the rows of a panel are few streams,
// and the next panel is fetched while this one is multiplied (33% of the FMA peak without, 72% with, at 20 x 1500 x
// 6000). A transposed B is still copied panel by panel, since a register needs its columns side by side.
#include "core/cpu.h"
#include "matmul/panels.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void direct(const MatmulProblem<T>& p) {
  constexpr Index kStreams = 128;
  const CacheSizes& caches = cache_sizes();
  const double bytes = static_cast<double>(p.b.rows) * static_cast<double>(p.b.cols) * sizeof(T);
  const bool in_memory = p.b.col_stride == 1 && bytes > static_cast<double>(caches.l3 > 0 ? caches.l3 / 2 : caches.l2);
  const Index depth = in_memory ? kStreams : panel_depth<T>();
  // Turning a panel reads it with nothing to hide behind: that too is better done from the cache.
  const bool fetch = in_memory || (p.b.col_stride != 1 && bytes > static_cast<double>(caches.l2));
  multiply_panels(p, {.copy_b = false, .fetch_b = fetch, .transposed_c = false, .max_depth = depth});
}

template void direct(const MatmulProblem<float>&);
template void direct(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
