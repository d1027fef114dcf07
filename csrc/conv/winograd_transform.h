// The three transforms of F(Size x Size, 3 x 3) in one dimension, on registers; in two they go over columns, then rows.
//
// They evaluate polynomials at points and interpolate. With +p and -p among the points, even and odd terms serve both.
// F(2): 0, +-1 and infinity. F(4): 0, +-5/8, +-3/2 and infinity, whose rounding error is half of that of the usual
// 0, +-1, +-2 (and of 0, +-1, +-1/2); as each step is a fused multiply-add, the factors cost nothing.
//
// Source: Winograd 1980; Lavin & Gray 2016. Points: by measurement, as Barabasz et al. 2020 have it.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

// input<Group>(d, first, second): the rows of the transform that one group has: row 0, rows 1 and 2, (rows 3 and 4,)
// the last. d(i): element i of the input. A group at a time, the two passes over a tile fit into the registers.
template <class T, int Size>
struct Transform;

template <class T>
struct Transform<T, 2> {
  using V = Vec<T>;
  static constexpr int points = 4, groups = 3;

  template <int Group, class Load>
  static DLKIT_INLINE void input(const Load& d, V& first, V& second) {
    if constexpr (Group == 0) {
      first = d(2) - d(0);
    } else if constexpr (Group == 1) {
      first = d(2) + d(1);
      second = d(2) - d(1);
    } else {
      first = d(3) - d(1);
    }
  }

  static DLKIT_INLINE void weight(V g0, V g1, V g2, V* u) {
    const V even = (g0 + g2) * V::broadcast(T(0.5)), odd = g1 * V::broadcast(T(0.5));
    u[0] = V::zero() - g0;
    u[1] = even + odd;
    u[2] = even - odd;
    u[3] = g2;
  }

  static DLKIT_INLINE void output(const V* m, V* y) {
    y[0] = m[0] + (m[1] + m[2]);
    y[1] = (m[1] - m[2]) + m[3];
  }
};

template <class T>
struct Transform<T, 4> {
  using V = Vec<T>;
  static constexpr int points = 6, groups = 4;
  static constexpr double a = 0.625, b = 1.5;

  static DLKIT_INLINE V constant(double x) { return V::broadcast(static_cast<T>(x)); }

  template <int Group, class Load>
  static DLKIT_INLINE void input(const Load& d, V& first, V& second) {
    const V sum = constant(a * a + b * b), product = constant(a * a * b * b);
    if constexpr (Group == 0) {
      first = V::fma(product, d(0), V::fnma(sum, d(2), d(4)));
    } else if constexpr (Group == 3) {
      first = V::fma(product, d(1), V::fnma(sum, d(3), d(5)));
    } else {
      const V point = constant(Group == 1 ? a : b), other = constant(Group == 1 ? b * b : a * a);
      const V even = V::fnma(other, d(2), d(4)), odd = V::fnma(other, d(1), d(3));
      first = V::fma(point, odd, even);
      second = V::fnma(point, odd, even);
    }
  }

  static DLKIT_INLINE void weight(V g0, V g1, V g2, V* u) {
    constexpr double at_a = 1 / (2 * a * a * (a * a - b * b)), at_b = 1 / (2 * b * b * (b * b - a * a));
    const V even_a = V::fma(constant(a * a * at_a), g2, constant(at_a) * g0), odd_a = constant(a * at_a) * g1;
    const V even_b = V::fma(constant(b * b * at_b), g2, constant(at_b) * g0), odd_b = constant(b * at_b) * g1;
    u[0] = constant(1 / (a * a * b * b)) * g0;
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g2;
  }

  static DLKIT_INLINE void output(const V* m, V* y) {
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = V::fma(constant(b), odd_b, constant(a) * odd_a);
    y[2] = V::fma(constant(b * b), even_b, constant(a * a) * even_a);
    y[3] = V::fma(constant(b * b * b), odd_b, V::fma(constant(a * a * a), odd_a, m[5]));
  }

  // F(3 x 3, 4 x 4), of the gradient to the weight: at the same points, so that the input's transform is the same.
  static DLKIT_INLINE void gradient(const V* g, V* u) {
    constexpr double at_a = 1 / (2 * a * a * (a * a - b * b)), at_b = 1 / (2 * b * b * (b * b - a * a));
    const V even_a = V::fma(constant(a * a * at_a), g[2], constant(at_a) * g[0]);
    const V odd_a = V::fma(constant(a * a * a * at_a), g[3], constant(a * at_a) * g[1]);
    const V even_b = V::fma(constant(b * b * at_b), g[2], constant(at_b) * g[0]);
    const V odd_b = V::fma(constant(b * b * b * at_b), g[3], constant(b * at_b) * g[1]);
    u[0] = constant(1 / (a * a * b * b)) * g[0];
    u[1] = even_a + odd_a;
    u[2] = even_a - odd_a;
    u[3] = even_b + odd_b;
    u[4] = even_b - odd_b;
    u[5] = g[3];
  }

  static DLKIT_INLINE void taps(const V* m, V* y) {
    const V even_a = m[1] + m[2], odd_a = m[1] - m[2], even_b = m[3] + m[4], odd_b = m[3] - m[4];
    y[0] = m[0] + (even_a + even_b);
    y[1] = V::fma(constant(b), odd_b, constant(a) * odd_a);
    y[2] = V::fma(constant(b * b), even_b, V::fma(constant(a * a), even_a, m[5]));
  }
};

}  // namespace dlkit::DLKIT_TARGET
