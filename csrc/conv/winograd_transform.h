// The transforms of F(Size x Size, Taps x Taps) in one dimension, on registers; in two they go over columns, then rows.
//
// They evaluate polynomials at points and interpolate. With +p and -p among the points, even and odd terms serve both.
// 4 points (F(2 x 2, 3 x 3)): 0, +-1 and infinity. 6 (F(4 x 4, 3 x 3), F(2 x 2, 5 x 5)): 0, +-5/8, +-3/2 and infinity,
// whose rounding error is half of that of the usual 0, +-1, +-2 (and of 0, +-1, +-1/2). 8 (F(4 x 4, 5 x 5)): 0, +-1/2,
// +-1, +-2 and infinity, which a grid did not better. As each step is a fused multiply-add, the factors cost nothing.
//
// Source: Winograd 1980; Lavin & Gray 2016. Points: by measurement, as Barabasz et al. 2020 have it.
#pragma once

#include "core/simd.h"

namespace dlkit::DLKIT_TARGET {

// Interpolation at 0, pairs +-p and infinity, what all of them are made of.
template <int Points>
struct Pairs;

template <>
struct Pairs<4> {
  static constexpr double at[1] = {1};
};

template <>
struct Pairs<6> {
  static constexpr double at[2] = {0.625, 1.5};
};

template <>
struct Pairs<8> {
  static constexpr double at[3] = {0.5, 1, 2};
};

template <int Points>
struct Interpolation {
  static constexpr int pairs = Points / 2 - 1;
  double all[pairs + 1] = {};         // coefficients of x^2k in the product of x^2 - p^2 over the pairs
  double without[pairs][pairs] = {};  // the same, without one pair
  double power[pairs][5] = {};        // of p
  double scaled[pairs][5] = {};       // over the product of the differences to the other points
  double zero = 1;                    // 1 over that product at 0

  constexpr Interpolation() {
    product(all, -1);
    zero = 1 / all[0];
    for (int p = 0; p < pairs; ++p) {
      product(without[p], p);
      double differences = 2 * square(p);
      for (int q = 0; q < pairs; ++q)
        if (q != p) differences *= square(p) - square(q);
      for (int k = 0; k < 5; ++k) {
        power[p][k] = k == 0 ? 1 : power[p][k - 1] * Pairs<Points>::at[p];
        scaled[p][k] = power[p][k] / differences;
      }
    }
  }

 private:
  static constexpr double square(int p) { return Pairs<Points>::at[p] * Pairs<Points>::at[p]; }
  static constexpr void product(double* to, int left_out) {
    int degree = 0;
    to[0] = 1;
    for (int q = 0; q < pairs; ++q) {
      if (q == left_out) continue;
      to[++degree] = 1;
      for (int i = degree - 1; i >= 0; --i) to[i] = (i > 0 ? to[i - 1] : 0) - square(q) * to[i];
    }
  }
};

template <class T, int Size, int Taps>
struct Transform {
  using V = Vec<T>;
  static constexpr int points = Size + Taps - 1, groups = points / 2 + 1, pairs = points / 2 - 1;
  static constexpr Interpolation<points> at{};

  static DLKIT_INLINE V constant(double x) { return V::broadcast(static_cast<T>(x)); }
  static DLKIT_INLINE V times(double x, V v) { return x == 1 ? v : constant(x) * v; }
  static DLKIT_INLINE V add(double x, V v, V sum) { return x == 1 ? sum + v : V::fma(constant(x), v, sum); }

  // B': the input. The rows that one group has: row 0, rows 1 and 2, rows 3 and 4, ..., the last. d(i): element i of
  // the input. A group at a time, the two passes over a tile fit into the registers.
  template <int Group, class Load>
  static DLKIT_INLINE void input(const Load& d, V& first, V& second) {
    if constexpr (Group == 0 || Group == groups - 1) {
      constexpr int kFrom = Group == 0 ? 0 : 1;
      first = d(2 * pairs + kFrom);
#pragma GCC unroll 4
      for (int k = pairs - 1; k >= 0; --k) first = add(at.all[k], d(2 * k + kFrom), first);
    } else {
      constexpr int kPair = Group - 1;
      V even = d(2 * pairs), odd = d(2 * pairs - 1);
#pragma GCC unroll 4
      for (int k = pairs - 2; k >= 0; --k) {
        even = add(at.without[kPair][k], d(2 * k + 2), even);
        odd = add(at.without[kPair][k], d(2 * k + 1), odd);
      }
      first = add(at.power[kPair][1], odd, even);
      second = at.power[kPair][1] == 1 ? even - odd : V::fnma(constant(at.power[kPair][1]), odd, even);
    }
  }

  // B: of the gradient by the input.
  static DLKIT_INLINE void input_back(const V* m, V* d) {
    V even[pairs], odd[pairs];
#pragma GCC unroll 4
    for (int p = 0; p < pairs; ++p) {
      even[p] = m[1 + 2 * p] + m[2 + 2 * p];
      odd[p] = times(at.power[p][1], m[1 + 2 * p] - m[2 + 2 * p]);
    }
#pragma GCC unroll 4
    for (int k = 0; k <= pairs; ++k) {
      V e = times(at.all[k], m[0]), o = times(at.all[k], m[points - 1]);
#pragma GCC unroll 4
      for (int p = 0; p < pairs; ++p) {
        if (k > 0) e = add(at.without[p][k - 1], even[p], e);
        if (k < pairs) o = add(at.without[p][k], odd[p], o);
      }
      d[2 * k] = e;
      d[2 * k + 1] = o;
    }
  }

  // The polynomial of these coefficients at the points; where Scaled over the products of their differences.
  template <int Count, bool Scaled>
  static DLKIT_INLINE void evaluate(const V* g, V* u) {
    u[0] = Scaled ? constant(at.zero) * g[0] : g[0];
#pragma GCC unroll 4
    for (int p = 0; p < pairs; ++p) {
      const double* factors = Scaled ? at.scaled[p] : at.power[p];
      V even = times(factors[0], g[0]), odd = times(factors[1], g[1]);
#pragma GCC unroll 4
      for (int k = 2; k < Count; ++k)
        if (k % 2 == 0)
          even = add(factors[k], g[k], even);
        else
          odd = add(factors[k], g[k], odd);
      u[1 + 2 * p] = even + odd;
      u[2 + 2 * p] = even - odd;
    }
    u[points - 1] = g[Count - 1];
  }

  // The transpose of evaluate.
  template <int Count, bool Scaled>
  static DLKIT_INLINE void interpolate(const V* m, V* y) {
    V even[pairs], odd[pairs];
#pragma GCC unroll 4
    for (int p = 0; p < pairs; ++p) {
      even[p] = m[1 + 2 * p] + m[2 + 2 * p];
      odd[p] = m[1 + 2 * p] - m[2 + 2 * p];
    }
#pragma GCC unroll 8
    for (int k = 0; k < Count; ++k) {
      const V* side = k % 2 == 0 ? even : odd;
      V sum = times(Scaled ? at.scaled[0][k] : at.power[0][k], side[0]);
#pragma GCC unroll 4
      for (int p = 1; p < pairs; ++p) sum = add(Scaled ? at.scaled[p][k] : at.power[p][k], side[p], sum);
      if (k == 0) sum = add(Scaled ? at.zero : 1, m[0], sum);
      if (k == Count - 1) sum = sum + m[points - 1];
      y[k] = sum;
    }
  }

  static DLKIT_INLINE void weight(const V* g, V* u) { evaluate<Taps, true>(g, u); }      // G
  static DLKIT_INLINE void output(const V* m, V* y) { interpolate<Size, false>(m, y); }  // A'
  // Of a gradient by the output, for those by the weight and by the input.
  static DLKIT_INLINE void gradient(const V* g, V* u) { evaluate<Size, false>(g, u); }  // A
  static DLKIT_INLINE void taps(const V* m, V* y) { interpolate<Taps, true>(m, y); }    // G'
};

}  // namespace dlkit::DLKIT_TARGET
