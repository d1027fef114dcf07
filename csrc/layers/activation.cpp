// Activations on vectors. One pass: read x, a chain of arithmetic in registers, write y.
//
// Bytes: 2 elements moved per element forward (x, y), 3 backward (grad, saved, out). FLOPs per element: relu 1,
// sigmoid and tanh about 20, gelu about 35. Bound: relu is a copy; the others are bound by the number of vector
// instructions while the data is in the second-level cache, about 9 cycles per register for sigmoid and tanh, and for
// much larger arrays by memory. The `estimate` variants of those two do without the division instruction
// (core/simd_avx512.h): that pays on processors which divide 16 floats in 16 cycles or so, and costs on Zen 5.
#include "core/simd.h"
#include "core/vector_math.h"
#include "layers/each_register.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T, class Function>
DLKIT_INLINE void map(const T* x, T* y, Index n, Function f) {
  using V = Vec<T>;
  each_register(y, n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    f(V::load(x + i, mask...)).store(y + i, mask...);
  });
}

template <class T, class Function>
DLKIT_INLINE void map2(const T* grad, const T* saved, T* out, Index n, Function f) {
  using V = Vec<T>;
  each_register(out, n, [&](Index i, auto... mask) __attribute__((always_inline)) {
    f(V::load(grad + i, mask...), V::load(saved + i, mask...)).store(out + i, mask...);
  });
}

// Each activation: forward(x) and backward(grad, saved).

template <class T>
struct Relu {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return V::max(V::zero(), x); }
  DLKIT_INLINE V backward(V grad, V y) const { return V::select(V::less_equal(y, V::zero()), V::zero(), grad); }
};

template <class T>
struct LeakyRelu {
  using V = Vec<T>;
  V alpha;
  DLKIT_INLINE V forward(V x) const { return V::select(V::less_equal(x, V::zero()), x * alpha, x); }
  DLKIT_INLINE V backward(V grad, V y) const { return V::select(V::less_equal(y, V::zero()), grad * alpha, grad); }
};

template <class T>
struct Elu {
  using V = Vec<T>;
  V alpha;
  DLKIT_INLINE V forward(V x) const {
    return V::select(V::less(V::zero(), x), x, alpha * expm1_of_negative<T>(V::min(V::zero(), x)));
  }
  DLKIT_INLINE V backward(V grad, V y) const {
    return V::select(V::less_equal(y, V::zero()), grad * (y + alpha), grad);
  }
};

template <class T, bool kEstimate = false>
struct Sigmoid {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return sigmoid<T, kEstimate>(x); }
  DLKIT_INLINE V backward(V grad, V y) const { return grad * (y * (V::broadcast(1) - y)); }
};

template <class T, bool kEstimate = false>
struct Tanh {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return tanh<T, kEstimate>(x); }
  DLKIT_INLINE V backward(V grad, V y) const { return grad * V::fnma(y, y, V::broadcast(1)); }
};

template <class T>
struct Softplus {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return softplus<T>(x); }
  // sigmoid(x) = 1 - exp(-y)
  DLKIT_INLINE V backward(V grad, V y) const { return V::zero() - grad * expm1_of_negative<T>(V::zero() - y); }
};

template <class T>
struct Silu {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const {
    // -inf * 0 would be a NaN; the limit is 0.
    return V::max(V::broadcast(T(-1000)), x) * sigmoid<T>(x);
  }
  DLKIT_INLINE V backward(V grad, V x) const {
    const V s = sigmoid<T>(x), bounded = V::min(V::broadcast(T(1000)), V::max(V::broadcast(T(-1000)), x));
    return grad * (s * V::fma(bounded, V::broadcast(1) - s, V::broadcast(1)));
  }
};

template <class T>
struct Gelu {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return gelu<T>(x); }
  DLKIT_INLINE V backward(V grad, V x) const { return grad * gelu_derivative<T>(x); }
};

template <class T>
struct Exp {
  using V = Vec<T>;
  DLKIT_INLINE V forward(V x) const { return exp<T>(x); }
  DLKIT_INLINE V backward(V grad, V y) const { return grad * y; }
};

template <class T, class F>
void forward(const T* x, T* y, Index n, T) {
  map(x, y, n, [](Vec<T> v) __attribute__((always_inline)) { return F{}.forward(v); });
}

template <class T, class F>
void backward(const T* grad, const T* saved, T* out, Index n, T) {
  map2(grad, saved, out, n, [](Vec<T> g, Vec<T> s) __attribute__((always_inline)) { return F{}.backward(g, s); });
}

template <class T, class F>
void forward_alpha(const T* x, T* y, Index n, T alpha) {
  const F f{Vec<T>::broadcast(alpha)};
  map(x, y, n, [&](Vec<T> v) __attribute__((always_inline)) { return f.forward(v); });
}

template <class T, class F>
void backward_alpha(const T* grad, const T* saved, T* out, Index n, T alpha) {
  const F f{Vec<T>::broadcast(alpha)};
  map2(grad, saved, out, n, [&](Vec<T> g, Vec<T> s) __attribute__((always_inline)) { return f.backward(g, s); });
}

template <class T>
constexpr ActivationKernels<T> kKernels = {
    {forward<T, Relu<T>>, forward_alpha<T, LeakyRelu<T>>, forward_alpha<T, Elu<T>>, forward<T, Sigmoid<T>>,
     forward<T, Tanh<T>>, forward<T, Softplus<T>>, forward<T, Silu<T>>, forward<T, Gelu<T>>, forward<T, Exp<T>>},
    {backward<T, Relu<T>>, backward_alpha<T, LeakyRelu<T>>, backward_alpha<T, Elu<T>>, backward<T, Sigmoid<T>>,
     backward<T, Tanh<T>>, backward<T, Softplus<T>>, backward<T, Silu<T>>, backward<T, Gelu<T>>, backward<T, Exp<T>>},
    forward<T, Sigmoid<T, true>>,
    forward<T, Tanh<T, true>>,
};

}  // namespace

extern const Both<ActivationKernels> activation_table;
const Both<ActivationKernels> activation_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
