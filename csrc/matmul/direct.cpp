// No packing: for few rows, where a panel of B is used too few times to repay a copy.
//
// Panels of B are read in place, their rows fetched ahead, and all rows of C pass by a panel while it is near.
// Bound by the multipliers while B is in the second-level cache, by the bandwidth of the next one beyond. A transposed
// B is still copied panel by panel, since a register needs its columns side by side.
#include "matmul/panels.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void direct(const MatmulProblem<T>& p) {
  PanelOptions options;
  options.order = PanelOrder::panels_outer;
  options.copy_b = false;
  options.copy_b_in_tile = false;
  options.copy_a = false;
  options.transposed_c = false;
  options.max_depth = 2 * standard_depth<T>();
  options.max_cols = Index{1} << 40;
  multiply_panels(p, options);
}

template void direct(const MatmulProblem<float>&);
template void direct(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
