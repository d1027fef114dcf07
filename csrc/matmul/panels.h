// The loops around the micro-kernel, shared by packed, fused, direct and swapped, which differ in what they copy.
#pragma once

#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

enum class PanelOrder {
  tiles_outer,   // a tile of A stays in L1 while all panels of a block of B stream from L2: for many rows
  panels_outer,  // a panel of B stays near while all rows of A pass by: for few rows
};

struct PanelOptions {
  PanelOrder order;
  bool copy_b;          // copy panels of B even where their columns are contiguous
  bool copy_b_in_tile;  // ... within the first tile that reads them, instead of beforehand
  bool copy_a;          // copy tiles of A
  bool transposed_c;    // C's rows are contiguous, not its columns; p.bias runs along the rows
  Index max_depth;      // of a block of K
  Index max_cols;       // of a block of N
};

// C = A B with what `options` says. C's columns must be contiguous, or with transposed_c its rows: then each tile is
// transposed on its way to memory.
template <class T>
void multiply_panels(const MatmulProblem<T>& p, const PanelOptions& options);

// Depth of a block of K such that a tile of A and the panel of B passing by fit the first-level cache.
template <class T>
Index standard_depth();

// Columns of a block of B of that depth that fill half of the second-level cache.
template <class T>
Index standard_cols(Index depth);

}  // namespace dlkit::DLKIT_TARGET
