// The loops around the micro-kernel that fused, direct and swapped share. They differ in what they copy.
//
//   for each block of K (at most max_depth):
//     for each block of rows:                        all of them, unless A must be copied
//       for each panel of B, 3 or 2 vectors wide:    stays in the second-level cache
//         for each tile of A, 9 or 14 rows:          streams past it
//           multiply_tile
//
// Taking panels before tiles lets a block of K be a thousand deep, so that C is written once at most sizes and the
// cost of starting and ending a tile is spread over 14000 cycles.
#pragma once

#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

struct PanelOptions {
  bool copy_b;        // pack panels of B within the first tile that reads them, where there are tiles to follow
  bool fetch_b;       // bring the next panel into the second-level cache while this one is multiplied
  bool transposed_c;  // C's rows are contiguous instead of its columns, and p.bias runs along the rows
  Index max_depth;
};

// C = A B; C's columns must be contiguous, or with transposed_c its rows: then each tile is transposed on its way to
// memory. Panels of a B whose columns are not contiguous are always copied.
template <class T>
void multiply_panels(const MatmulProblem<T>& p, const PanelOptions& options);

// Depth of a block of K whose panel fills a quarter of the second-level cache.
template <class T>
Index panel_depth();

// Whether panels of B of that depth, read in place, stay in the second-level cache: they do not where the stride of B
// maps their rows to few of its sets.
template <class T>
bool stays_in_cache(const Matrix<const T>& b, Index depth);

}  // namespace dlkit::DLKIT_TARGET
