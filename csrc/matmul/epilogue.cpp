// What follows the product: bias, activation, and the sum of partial products.
#include "matmul/ladder.h"

#include "core/vector_math.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, class Function>
DLKIT_INLINE void map_row(T* c, Index count, const T* bias, const Function& function) {
  using V = Vec<T>;
  const auto part = [&](Index j, auto... mask) __attribute__((always_inline)) {
    V x = V::load(c + j, mask...);
    if (bias != nullptr) x = x + V::load(bias + j, mask...);
    function(x).store(c + j, mask...);
  };
  Index j = 0;
  for (; j + V::lanes <= count; j += V::lanes) part(j);
  if (j < count) part(j, V::first(count - j));
}

}  // namespace

template <class T>
void finish_row(T* c, Index count, const T* bias, Activation activation) {
  using V = Vec<T>;
  switch (activation) {
    case Activation::relu: return map_row(c, count, bias, [](V x) { return V::max(V::zero(), x); });
    case Activation::sigmoid: return map_row(c, count, bias, [](V x) { return sigmoid<T>(x); });
    case Activation::tanh: return map_row(c, count, bias, [](V x) { return tanh<T>(x); });
    default:
      if (bias != nullptr) map_row(c, count, bias, [](V x) { return x; });
  }
}

template <class T>
void finish(const MatmulProblem<T>& p) {
  const Activation activation = p.accumulate ? Activation::none : p.activation;
  if (p.bias == nullptr && activation == Activation::none) return;
  if (p.c.col_stride == 1) {
    for (Index i = 0; i < p.c.rows; ++i) finish_row(&p.c(i, 0), p.c.cols, p.bias, activation);
    return;
  }
  for (Index i = 0; i < p.c.rows; ++i)
    for (Index j = 0; j < p.c.cols; ++j) {
      T x = p.c(i, j);
      finish_row(&x, 1, p.bias == nullptr ? nullptr : p.bias + j, activation);
      p.c(i, j) = x;
    }
}

template <class T>
void add(const Matrix<T>& target, const Matrix<const T>& addend, const MatmulProblem<T>& problem) {
  using V = Vec<T>;
  for (Index i = 0; i < target.rows; ++i) {
    T* to = &target(i, 0);
    const T* from = &addend(i, 0);
    const auto part = [&](Index j, auto... mask) __attribute__((always_inline)) {
      (V::load(to + j, mask...) + V::load(from + j, mask...)).store(to + j, mask...);
    };
    Index j = 0;
    for (; j + V::lanes <= target.cols; j += V::lanes) part(j);
    if (j < target.cols) part(j, V::first(target.cols - j));
    finish_row(to, target.cols, problem.bias, problem.activation);
  }
}

#define DLKIT_INSTANTIATE(T)                                 \
  template void finish_row(T*, Index, const T*, Activation); \
  template void finish(const MatmulProblem<T>&);             \
  template void add(const Matrix<T>&, const Matrix<const T>&, const MatmulProblem<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::DLKIT_TARGET
