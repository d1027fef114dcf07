// Layer normalisation within a step: of each gate's products over its H units, and of an LSTM's c on its way to h.
//
// A mean needs all units, so these are passes over whole rows before and after the cells of cells.cpp, which take what
// the gates get from input and state as ever. A row is G H numbers, some KiB: its sums, its squares and the pass that
// writes it find it in the first-level cache. For a vector of a gate forward takes 3 loads of it, 5 operations and 2
// stores; backward 4 loads, 9 operations and a store, and reads and writes the sums of gains and shifts once for four
// rows. What training keeps is some MiB, read from the third-level cache and written there: that bounds it, at some 30
// cycles for a vector forward and 20 backward on Zen 4, beside the 4 H of its products. All stages of a row's gates
// side by side, which hides that the sums wait for each other, were no faster.
//
// Ba, Kiros & Hinton 2016, "Layer Normalization".
#include "core/vector_math.h"
#include "layers/moments.h"
#include "recurrent/cells.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// What turns a row into its normalised one: (x - shift) by + offset.
template <class T>
struct Normal {
  using V = Vec<T>;
  T mean, rstd;
  V shift, by, offset;

  DLKIT_INLINE Normal(const T* x, Index units) {
    const Sums<T> sums = moments(x, 1, units, 0);
    mean = sums.shift + sums.rest;
    rstd = T(1) / square_root(sums.squares / static_cast<T>(units) + T(kNormEps));
    shift = V::broadcast(sums.shift);
    by = V::broadcast(rstd);
    offset = V::broadcast(-sums.rest * rstd);
  }
  DLKIT_INLINE V of(V x) const { return V::fma(x - shift, by, offset); }
};

template <class T, class... M>
DLKIT_INLINE Vec<T> scaled(Vec<T> normal, const T* gain, const T* shift, Index j, M... mask) {
  using V = Vec<T>;
  const V factor = V::load(gain + j, mask...);
  return shift == nullptr ? normal * factor : V::fma(normal, factor, V::load(shift + j, mask...));
}

template <class T, Cell kCell>
DLKIT_INLINE void show_rows(const CellForward<T>& p, const CellNorm<T>& norm) {
  using V = Vec<T>;
  for (Index row = 0; row < p.rows; ++row) {
    const T* const c = p.c + row * p.c_stride;
    const T* const o = p.gates + row * p.gates_stride + LstmSlots<kCell>::kO * p.gate_stride;
    const Normal<T> normal(c, p.units);
    if (norm.rstd != nullptr) {
      norm.mean[row * norm.stride] = normal.mean;
      norm.rstd[row * norm.stride] = normal.rstd;
    }
    each_vector<T>(1, p.units, [&](Index, Index j, auto... mask) __attribute__((always_inline)) {
      const V shown = scaled<T>(normal.of(V::load(c + j, mask...)), norm.gain, norm.shift, j, mask...);
      put_h<T>(p, row, j, V::load(o + j, mask...) * tanh<T>(shown), mask...);
    });
  }
}

// Leaves the gradient by o's pre-activation in its place, and adds that by c to what is carried along.
template <class T, Cell kCell>
DLKIT_INLINE void unshow_rows(const CellBackward<T>& p, const CellNorm<T>& norm) {
  using V = Vec<T>;
  using Slots = LstmSlots<kCell>;
  const V one = V::broadcast(1);
  for (Index row = 0; row < p.rows; ++row) {
    T* const gates = p.gates + row * p.gates_stride;
    T* const dh = p.dh + row * p.carry_stride;
    T* const dc = p.dc + row * p.carry_stride;
    const V mean = V::broadcast(norm.mean[row * norm.stride]), rstd = V::broadcast(norm.rstd[row * norm.stride]);
    const auto normal = [&](Index j, auto... mask) __attribute__((always_inline)) {
      const auto kept = [&](int slot) __attribute__((always_inline)) {
        return V::load(gates + slot * p.gate_stride + j, mask...);
      };
      const V i = kept(0), f = Slots::kCoupled ? one - i : kept(1);
      return (V::fma(f, kept(Slots::kC), i * kept(Slots::kG)) - mean) * rstd;
    };
    V sum = V::zero(), product = V::zero();
    each_vector<T>(1, p.units, [&](Index, Index j, auto... mask) __attribute__((always_inline)) {
      const V n = normal(j, mask...), t = tanh<T>(scaled<T>(n, norm.gain, norm.shift, j, mask...));
      // The row's first reader: what it finds lies in a far cache.
#pragma GCC unroll 8
      for (int slot = 0; slot <= Slots::kC; ++slot)
        __builtin_prefetch(gates + p.gates_stride + slot * p.gate_stride + j, 1);
      T* const place = gates + Slots::kO * p.gate_stride + j;
      const V o = V::load(place, mask...), d = gradient_by_h(p, row, j, mask...);
      by_sigmoid(d * t, o).store(place, mask...);
      const V shown = by_tanh(d * o, t);
      V::fma(shown, n, V::load(norm.dgain + j, mask...)).store(norm.dgain + j, mask...);
      (shown + V::load(norm.dshift + j, mask...)).store(norm.dshift + j, mask...);
      const V dn = shown * V::load(norm.gain + j, mask...);  // 0 outside the mask
      sum = sum + dn;
      product = V::fma(dn, n, product);
      dn.store(dh + j, mask...);  // which the other half has no use for
    });
    const T count = static_cast<T>(p.units);
    const V level = V::broadcast(sum.sum() / count), slope = V::broadcast(product.sum() / count);
    each_vector<T>(1, p.units, [&](Index, Index j, auto... mask) __attribute__((always_inline)) {
      const V d = V::fnma(normal(j, mask...), slope, V::load(dh + j, mask...) - level);
      V::fma(d, rstd, V::load(dc + j, mask...)).store(dc + j, mask...);
    });
  }
}

// kRows rows at once, so that the sums of gains and shifts are read and written once for all of them.
template <class T, int kRows>
DLKIT_INLINE void denormalise_gate(const DenormaliseRows<T>& p, Index row, Index gate) {
  using V = Vec<T>;
  const T* const gain = p.gain + gate * p.units;
  T* const dgain = p.dgain + gate * p.units;
  T* const dshift = p.dshift == nullptr ? nullptr : p.dshift + gate * p.units;
  const T* gradient[kRows];
  T* normal[kRows];
  V level[kRows], slope[kRows], rstd[kRows];
  const T count = static_cast<T>(p.units);
#pragma GCC unroll 4
  for (int r = 0; r < kRows; ++r) {
    gradient[r] = p.gradient + (row + r) * p.stride + gate * p.units;
    normal[r] = p.normal + (row + r) * p.stride + gate * p.units;
    V sum[kUnroll], product[kUnroll];
#pragma GCC unroll 4
    for (int j = 0; j < kUnroll; ++j) sum[j] = product[j] = V::zero();
    in_chains<T>(p.units, [&](int j, Index i, auto... mask) __attribute__((always_inline)) {
      const V d = V::load(gradient[r] + i, mask...) * V::load(gain + i, mask...);  // 0 outside the mask
      sum[j] = sum[j] + d;
      product[j] = V::fma(d, V::load(normal[r] + i, mask...), product[j]);
    });
    level[r] = V::broadcast(total<T>(sum) / count);
    slope[r] = V::broadcast(total<T>(product) / count);
    rstd[r] = V::broadcast(p.rstd[(row + r) * p.stride + gate]);
  }
  each_vector<T>(1, p.units, [&](Index, Index i, auto... mask) __attribute__((always_inline)) {
    const V factor = V::load(gain + i, mask...);
    V by_gain = V::zero(), by_shift = V::zero();
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const V d = V::load(gradient[r] + i, mask...), n = V::load(normal[r] + i, mask...);
      by_gain = V::fma(d, n, by_gain);
      by_shift = by_shift + d;
      // d * factor rounded as in the sum, so that a gate of one unit gets 0.
      (V::fnma(n, slope[r], d * factor - level[r]) * rstd[r]).store(normal[r] + i, mask...);
    }
    (V::load(dgain + i, mask...) + by_gain).store(dgain + i, mask...);
    if (dshift != nullptr) (V::load(dshift + i, mask...) + by_shift).store(dshift + i, mask...);
  });
}

}  // namespace

template <class T>
void show_cells(const CellForward<T>& p, const CellNorm<T>& norm) {
  if (p.cell == Cell::lstm) return show_rows<T, Cell::lstm>(p, norm);
  show_rows<T, Cell::coupled_lstm>(p, norm);
}

template <class T>
void unshow_cells(const CellBackward<T>& p, const CellNorm<T>& norm) {
  if (p.cell == Cell::lstm) return unshow_rows<T, Cell::lstm>(p, norm);
  unshow_rows<T, Cell::coupled_lstm>(p, norm);
}

template <class T>
void normalise_rows(const NormaliseRows<T>& p) {
  using V = Vec<T>;
  for (Index row = 0; row < p.rows; ++row)
    for (Index gate = 0; gate < p.gates; ++gate) {
      const Index first = gate * p.units;
      const T* const from = p.from + row * p.from_stride + first;
      T* const to = p.to + row * p.to_stride + first;
      T* const kept = p.normal == nullptr ? nullptr : p.normal + row * p.kept_stride + first;
      const T *const gain = p.gain + first, *const shift = p.shift == nullptr ? nullptr : p.shift + first;
      const Normal<T> normal(from, p.units);
      if (p.rstd != nullptr) p.rstd[row * p.kept_stride + gate] = normal.rstd;
      each_vector<T>(1, p.units, [&](Index, Index j, auto... mask) __attribute__((always_inline)) {
        const V n = normal.of(V::load(from + j, mask...));
        if (kept != nullptr) n.store(kept + j, mask...);
        scaled<T>(n, gain, shift, j, mask...).store(to + j, mask...);
      });
    }
}

template <class T>
void denormalise_rows(const DenormaliseRows<T>& p) {
  constexpr int kRows = Vec<T>::registers >= 32 ? 4 : 2;
  Index row = 0;
  for (; row + kRows <= p.rows; row += kRows)
    for (Index gate = 0; gate < p.gates; ++gate) denormalise_gate<T, kRows>(p, row, gate);
  for (; row < p.rows; ++row)
    for (Index gate = 0; gate < p.gates; ++gate) denormalise_gate<T, 1>(p, row, gate);
}

#define DLKIT_INSTANTIATE(T)                                              \
  template void show_cells(const CellForward<T>&, const CellNorm<T>&);    \
  template void unshow_cells(const CellBackward<T>&, const CellNorm<T>&); \
  template void normalise_rows(const NormaliseRows<T>&);                  \
  template void denormalise_rows(const DenormaliseRows<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::DLKIT_TARGET
