// Packing fused with multiplication: what packed.cpp copies beforehand is copied on the way, or not at all.
//
// The first tile of each panel of B loads its rows into registers anyway: it stores them to the packed panel as it
// goes, for the tiles that follow, which fetch the next panel meanwhile. Stores have a port of their own, so that the
// copy takes a fifth of one tile's time instead of a pass over B. A is read in place, where its stride allows: the rows
// of a tile are a few streams. Bound by the multipliers.
#include "matmul/panels.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void fused(const MatmulProblem<T>& p) {
  // A transposed A that is read in place shares cache lines between neighbouring tiles: fewer rows of it must be held
  // for that.
  const Index depth = p.a.col_stride == 1 || !TileShapes<T>::covers_pages ? panel_depth<T>() : panel_depth<T>() / 2;
  multiply_panels(p, {.copy_b = true, .fetch_b = true, .transposed_c = false, .max_depth = depth});
}

template void fused(const MatmulProblem<float>&);
template void fused(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
