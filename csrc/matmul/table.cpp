// The ladder as this instruction set runs it.
#include "matmul/tile.h"

namespace dlkit::DLKIT_TARGET {

// clang-format off
#define DLKIT_TABLE(T)                                                                                           \
  {                                                                                                              \
    naive<T>, loop_order<T>, blocked<T>, register_tile<T>, packed<T>, fused<T>, direct<T>, swapped<T>, dot<T>,   \
        matvec<T>, best<T>, finish<T>, add<T>, TileShapes<T>::main_vectors * Vec<T>::lanes, Vec<T>::lanes        \
  }
// clang-format on

extern const MatmulKernels<float> matmul_float;
extern const MatmulKernels<double> matmul_double;
const MatmulKernels<float> matmul_float = DLKIT_TABLE(float);
const MatmulKernels<double> matmul_double = DLKIT_TABLE(double);

}  // namespace dlkit::DLKIT_TARGET
