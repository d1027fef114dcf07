// Packing fused with multiplication: what packed.cpp copies beforehand is copied on the way, or not at all.
//
// The first tile of each panel of B loads its rows into registers anyway: it stores them to the packed panel as it
// goes, for the tiles that follow. Stores have a port of their own, so that the copy takes a fifth of one tile's time
// instead of a pass over B. A whose rows are contiguous is read in place: 9 or 14 streams that the first-level cache
// holds. Only a transposed A is copied, where its stride would cost cache sets. Bound by the multipliers.
#include "matmul/panels.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void fused(const MatmulProblem<T>& p) {
  PanelOptions options;
  options.order = PanelOrder::tiles_outer;
  options.copy_b = true;
  options.copy_b_in_tile = true;
  options.copy_a = p.a.col_stride != 1 && p.a.cols > 128 && p.c.cols > 128;
  options.transposed_c = false;
  options.max_depth = standard_depth<T>();
  options.max_cols = standard_cols<T>(options.max_depth);
  multiply_panels(p, options);
}

template void fused(const MatmulProblem<float>&);
template void fused(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
