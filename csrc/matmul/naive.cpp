// The definition: three loops, one dot product for each element of C.
//
// 2 M N K operations, and as many loads: B is walked down a column, so that every element comes from another cache
// line. Bound by the latency of the addition, one every 3 or 4 cycles, and, once B leaves the caches, by memory.
// This is the reference of the tests.
#include "matmul/ladder.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
T activate(T x, Activation activation) {
  switch (activation) {
    case Activation::relu: return x < 0 ? T(0) : x;
    case Activation::sigmoid: return T(1 / (1 + __builtin_exp(-x)));
    case Activation::tanh: return T(__builtin_tanh(x));
    default: return x;
  }
}

}  // namespace

template <class T>
void naive(const MatmulProblem<T>& p) {
  for (Index i = 0; i < p.c.rows; ++i)
    for (Index j = 0; j < p.c.cols; ++j) {
      T sum = 0;
      for (Index k = 0; k < p.a.cols; ++k) sum += p.a(i, k) * p.b(k, j);
      if (p.bias != nullptr) sum += p.bias[j];
      p.c(i, j) = p.accumulate ? p.c(i, j) + sum : activate(sum, p.activation);
    }
}

template void naive(const MatmulProblem<float>&);
template void naive(const MatmulProblem<double>&);

}  // namespace dlkit::DLKIT_TARGET
