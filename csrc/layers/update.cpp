// Optimizer steps on vectors: everything that happens to a parameter in one pass over it.
//
// Bytes per float32 parameter: SGD reads 8, writes 4; with momentum 12 and 8; Adam and Adadelta read 16 (value,
// gradient and both means), write 12. Done as separate array operations, Adam is a dozen passes and three times the
// traffic or more. FLOPs: Adam about 14, a square root and a division among them. Bound: bandwidth of the cache level
// that the 16 bytes per parameter fit in. The `estimate` variant forms root and quotient from 14-bit estimates and
// Newton steps (core/simd_avx512.h), for processors on which those two instructions take longer than the memory does.
// Denormal numbers count as zeros: the averages of a weight that no longer gets a gradient end among them.
#include "core/simd.h"
#include "layers/each_register.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, bool kMomentum>
struct SgdStep {
  using V = Vec<T>;
  V lr, momentum, rest, decay;
  bool nesterov, first_step;

  explicit DLKIT_INLINE SgdStep(const SgdFactors<T>& f)
      : lr(V::broadcast(f.lr)), momentum(V::broadcast(f.momentum)), rest(V::broadcast(f.rest)),
        decay(V::broadcast(f.weight_decay)), nesterov(f.nesterov), first_step(f.first_step) {}

  DLKIT_INLINE void operator()(V& value, V grad, V& velocity) const {
    V step = V::fma(decay, value, grad);
    if (kMomentum) {
      velocity = first_step ? step : V::fma(momentum, velocity, rest * step);
      step = nesterov ? V::fma(momentum, velocity, step) : velocity;
    }
    value = V::fnma(lr, step, value);
  }
};

template <class T, bool kMomentum>
DLKIT_INLINE void sgd_loop(const Parameter<T>& part, const SgdFactors<T>& factors) {
  using V = Vec<T>;
  const FlushDenormals flush;
  const SgdStep<T, kMomentum> step(factors);
  T* const value = part.value;
  T* const velocity = part.first;
  const T* const grad = part.grad;
  each_register(value, part.n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    V p = V::load(value + i, mask...), v = kMomentum ? V::load(velocity + i, mask...) : V::zero();
    step(p, V::load(grad + i, mask...), v);
    p.store(value + i, mask...);
    if (kMomentum) v.store(velocity + i, mask...);
  });
}

template <class T>
void sgd(const Parameter<T>& part, const SgdFactors<T>& factors) {
  if (factors.momentum != 0)
    sgd_loop<T, true>(part, factors);
  else
    sgd_loop<T, false>(part, factors);
}

template <class T, bool kEstimate>
struct AdamStep {
  using V = Vec<T>;
  V rest1, beta2, rest2, step_size, root_scale, eps, l2, keep;

  explicit DLKIT_INLINE AdamStep(const AdamFactors<T>& f)
      : rest1(V::broadcast(f.rest1)), beta2(V::broadcast(f.beta2)), rest2(V::broadcast(f.rest2)),
        step_size(V::broadcast(f.step_size)), root_scale(V::broadcast(f.root_scale)), eps(V::broadcast(f.eps)),
        l2(V::broadcast(f.l2)), keep(V::broadcast(f.keep)) {}

  DLKIT_INLINE void operator()(V& value, V grad, V& first, V& second) const {
    grad = V::fma(l2, value, grad);
    first = V::fma(rest1, grad - first, first);
    second = V::fma(rest2 * grad, grad, beta2 * second);
    const V root = kEstimate ? V::fast_sqrt(second) : V::sqrt(second);
    const V below = V::fma(root, root_scale, eps);
    const V ratio = kEstimate ? first * V::reciprocal(below) : first / below;
    value = V::fnma(step_size, ratio, keep * value);
  }
};

template <class T, bool kEstimate>
void adam(const Parameter<T>& part, const AdamFactors<T>& factors) {
  using V = Vec<T>;
  const FlushDenormals flush;
  const AdamStep<T, kEstimate> step(factors);
  T* const value = part.value;
  T* const first = part.first;
  T* const second = part.second;
  const T* const grad = part.grad;
  each_register(value, part.n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    V p = V::load(value + i, mask...), m = V::load(first + i, mask...), v = V::load(second + i, mask...);
    step(p, V::load(grad + i, mask...), m, v);
    p.store(value + i, mask...);
    m.store(first + i, mask...);
    v.store(second + i, mask...);
  });
}

template <class T>
void adadelta(const Parameter<T>& part, const AdadeltaFactors<T>& factors) {
  using V = Vec<T>;
  const FlushDenormals flush;
  const V lr = V::broadcast(factors.lr), rho = V::broadcast(factors.rho), rest = V::broadcast(factors.rest),
          eps = V::broadcast(factors.eps), decay = V::broadcast(factors.weight_decay);
  T* const value = part.value;
  T* const squares = part.first;
  T* const changes = part.second;
  const T* const grad = part.grad;
  each_register(value, part.n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    const V p = V::load(value + i, mask...), g = V::fma(decay, p, V::load(grad + i, mask...));
    const V square = V::fma(rest * g, g, rho * V::load(squares + i, mask...));
    const V change = V::load(changes + i, mask...);
    // One root of the quotient instead of two and a division of roots.
    const V step = V::sqrt((change + eps) / (square + eps)) * g;
    V::fnma(lr, step, p).store(value + i, mask...);
    square.store(squares + i, mask...);
    V::fma(rest * step, step, rho * change).store(changes + i, mask...);
  });
}

template <class T>
void scale(T* x, Index n, T factor) {
  using V = Vec<T>;
  const V by = V::broadcast(factor);
  each_register(x, n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    (V::load(x + i, mask...) * by).store(x + i, mask...);
  });
}

template <class T>
void clamp(T* x, Index n, T limit) {
  using V = Vec<T>;
  const V most = V::broadcast(limit), least = V::broadcast(-limit);
  each_register(x, n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    V::max(least, V::min(most, V::load(x + i, mask...))).store(x + i, mask...);
  });
}

template <class T>
constexpr UpdateKernels<T> kKernels = {sgd<T>, adam<T, false>, adam<T, true>, scale<T>, clamp<T>, adadelta<T>};

}  // namespace

extern const Both<UpdateKernels> update_table;
const Both<UpdateKernels> update_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
