// Packed panels: copy blocks of A and B into the order in which the register tile reads them, then run a
// micro-kernel that is written in vector instructions (tile.h).
//
// A panel of B (K-block x 48 floats with AVX-512) becomes one stream, a tile of A another; no cache set or TLB entry
// is fought for, whatever the strides of the operands. The copies cost one read and one write of each element of B,
// and of A once per block of columns, against 2 M and 2 N operations on it: 3% at 512 cubed, less beyond.
// Bound by the multipliers. Source: Goto & van de Geijn 2008.
#include "matmul/panels.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void packed(const MatmulProblem<T>& p) {
  PanelOptions options;
  options.order = PanelOrder::tiles_outer;
  options.copy_b = true;
  options.copy_b_in_tile = false;
  options.copy_a = true;
  options.transposed_c = false;
  options.max_depth = standard_depth<T>();
  options.max_cols = standard_cols<T>(options.max_depth);
  multiply_panels(p, options);
}

template void packed(const MatmulProblem<float>&);
template void packed(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
