// The activations of one element on a GPU, and their derivatives.
//
// The C library's functions where they are exact enough (CUDA's are within 2 ulp) and short, with the infinities'
// limits put in. gelu is as in core/vector_math.h: max(x, 0) - |x| Q(|x|) with Q the tail of the normal distribution.
#pragma once

#include <cmath>

#include "core/cuda/number.h"
#include "layers/layers.h"

namespace dlkit::device {

template <class T>
__device__ __forceinline__ T least(T a, T b) {  // NaN where a is
  return b < a ? b : a;
}

template <class T>
__device__ __forceinline__ T magnitude(T x) {
  return x < T(0) ? -x : x;
}

template <class T>
__device__ __forceinline__ T quiet_nan() {
  return T(NAN);
}

template <class T>
__device__ __forceinline__ T infinity() {
  return T(INFINITY);
}

// From e = exp(-|x|), which no x can make overflow.
template <class T>
__device__ __forceinline__ T sigmoid_of(T x) {
  const T e = exp(-magnitude(x));
  return (x < T(0) ? e : T(1)) / (T(1) + e);
}

// log(1 + t) for 0 <= t <= 1: 2 atanh(t / (2 + t)), with core/vector_math.h's fit. The library's function, which has
// all other arguments to see to, takes twice as long.
__device__ __forceinline__ real<float> log1p_of_unit(real<float> t) {
  using T = real<float>;
  const T s = t / (T(2) + t), z = s * s;
  T p = T(0x1.f1aee2p-3f);
  p = fma(p, z, T(0x1.b6d6a4p-3f));
  p = fma(p, z, T(0x1.250972p-2f));
  p = fma(p, z, T(0x1.9996a8p-2f));
  p = fma(p, z, T(0x1.555558p-1f));
  return fma(s * z, p, s + s);
}
__device__ __forceinline__ real<double> log1p_of_unit(real<double> t) { return log1p(t); }

// Of the standard normal distribution at a >= 0: its tail Q(a) and the bell exp(-a^2 / 2).
template <class T>
struct NormalTail {
  T tail, bell;
};

// Q(a) = exp(-a^2 / 2) t P(t), t = 1 / (1 + 0.26 a), with core/vector_math.h's fit. What rounding a^2 takes off is put
// back to first order.
__device__ __forceinline__ NormalTail<real<float>> normal_tail(real<float> a) {
  using T = real<float>;
  const T square = a * a, rest = fma(a, a, -square);
  const T e = exp(T(-0.5f) * square), bell = fma(e * T(-0.5f), rest, e);
  const T t = T(1) / fma(a, T(0.26f), T(1));
  T p = T(0x1.ee66b8p-6f);
  p = fma(p, t, T(-0x1.35b86p-3f));
  p = fma(p, t, T(0x1.fc4ac8p-3f));
  p = fma(p, t, T(-0x1.2d66c6p-3f));
  p = fma(p, t, T(0x1.4442c8p-3f));
  p = fma(p, t, T(0x1.ab30ccp-5f));
  p = fma(p, t, T(0x1.a4d4bp-4f));
  p = fma(p, t, T(0x1.a61faep-4f));
  p = fma(p, t, T(0x1.a8fcb6p-4f));
  return {bell * t * p, bell};
}

__device__ __forceinline__ NormalTail<real<double>> normal_tail(real<double> a) {
  using T = real<double>;
  const T root = T(0.70710678118654752), root_low = T(-4.8336466567264567e-17);  // 1 / sqrt 2
  const T slope = T(0.56418958354775629);                                        // 1 / sqrt pi
  const T square = a * a, e = exp(T(-0.5) * square), bell = e - e * T(0.5) * fma(a, a, -square);
  const T t = a * root, rest = fma(a, root, -t) + a * root_low;
  return {T(0.5) * erfc(t) - rest * slope * bell, bell};
}

// Past this Q is zero, even as a denormal number.
template <class T>
__device__ __forceinline__ T normal_argument(T x) {
  return least(magnitude(x), sizeof(T) == 4 ? T(15) : T(40));
}

// Each: forward(x, alpha) and backward(grad, saved, alpha). kUnroll: the packs in flight, fewer where the arithmetic
// of one is long.

struct Relu {
  static constexpr int kUnroll = 4;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return x < T(0) ? T(0) : x;
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T) {
    return y <= T(0) ? T(0) : grad;
  }
};

struct LeakyRelu {
  static constexpr int kUnroll = 4;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T alpha) {
    return x <= T(0) ? alpha * x : x;
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T alpha) {
    return y <= T(0) ? grad * alpha : grad;
  }
};

struct Elu {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T alpha) {
    return x <= T(0) ? alpha * expm1(x) : x;
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T alpha) {
    return y <= T(0) ? grad * (y + alpha) : grad;
  }
};

struct Sigmoid {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return sigmoid_of(x);
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T) {
    return grad * (y * (T(1) - y));
  }
};

struct Tanh {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return tanh(x);
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T) {
    return grad * fma(-y, y, T(1));
  }
};

struct Softplus {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return (x < T(0) ? T(0) : x) + log1p_of_unit(exp(-magnitude(x)));
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T) {
    return -grad * expm1(-y);  // sigmoid(x) = 1 - exp(-y)
  }
};

struct Silu {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return (x < T(-1000) ? T(-1000) : x) * sigmoid_of(x);  // -inf * 0 would be a NaN; the limit is 0
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T x, T) {
    const T s = sigmoid_of(x), bounded = x < T(-1000) ? T(-1000) : least(x, T(1000));
    return grad * (s * fma(bounded, T(1) - s, T(1)));
  }
};

struct Gelu {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    const T a = normal_argument(x);
    return (x < T(0) ? T(0) : x) - a * normal_tail(a).tail;
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T x, T) {
    const T a = normal_argument(x);
    const NormalTail<T> at = normal_tail(a);
    const T below = at.tail - a * T(0.39894228040143267794) * at.bell;  // for x < 0; 1 / sqrt(2 pi)
    return grad * (x < T(0) ? below : T(1) - below);
  }
};

struct Exp {
  static constexpr int kUnroll = 2;
  template <class T>
  static __device__ __forceinline__ T forward(T x, T) {
    return exp(x);
  }
  template <class T>
  static __device__ __forceinline__ T backward(T grad, T y, T) {
    return grad * y;
  }
};

// body(function) with the one of `kind`.
template <class Body>
void with_function(ActivationKind kind, const Body& body) {
  switch (kind) {
    case ActivationKind::relu: return body(Relu{});
    case ActivationKind::leaky_relu: return body(LeakyRelu{});
    case ActivationKind::elu: return body(Elu{});
    case ActivationKind::sigmoid: return body(Sigmoid{});
    case ActivationKind::tanh: return body(Tanh{});
    case ActivationKind::softplus: return body(Softplus{});
    case ActivationKind::silu: return body(Silu{});
    case ActivationKind::gelu: return body(Gelu{});
    default: return body(Exp{});
  }
}

}  // namespace dlkit::device
