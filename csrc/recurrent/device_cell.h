// One unit of one sequence in one step: the cells of recurrent.h as functions of its pre-activations, and their
// gradients. What kernels with other ways to the products have in common.
#pragma once

#include "core/cuda/memory.h"
#include "core/cuda/number.h"
#include "layers/functions.h"
#include "recurrent/device_steps.h"

namespace dlkit::device {

// As traits(cell), for code that knows the cell when it is compiled.
template <Cell kCell>
struct CellFacts {
  static constexpr bool kLstm = kCell == Cell::lstm || kCell == Cell::coupled_lstm;
  static constexpr bool kGru = is_gru(kCell);
  static constexpr int kGates = kCell == Cell::lstm                          ? 4
                                : kLstm || kGru || kCell == Cell::input_gate ? 3
                                : kCell == Cell::interpolate                 ? 2
                                                                             : 1;
  static constexpr int kSlots = kGates + (kLstm || kGru ? 2 : 1);
};

// body.operator()<cell>()
template <class Body>
void with_cell(Cell cell, const Body& body) {
  switch (cell) {
    case Cell::tanh: return body.template operator()<Cell::tanh>();
    case Cell::relu: return body.template operator()<Cell::relu>();
    case Cell::additive: return body.template operator()<Cell::additive>();
    case Cell::interpolate: return body.template operator()<Cell::interpolate>();
    case Cell::input_gate: return body.template operator()<Cell::input_gate>();
    case Cell::lstm: return body.template operator()<Cell::lstm>();
    case Cell::coupled_lstm: return body.template operator()<Cell::coupled_lstm>();
    case Cell::gru: return body.template operator()<Cell::gru>();
    default: return body.template operator()<Cell::gru_reset_first>();
  }
}

template <class T>
struct Unit {
  T gate[4];
  T extra;  // of the gru: U h' + b' of n
  T h, c;
};

// x and u: W x + b and U h' + b' of each gate. Of gru_reset_first x holds r and z themselves.
template <Cell kCell, class T>
__device__ __forceinline__ Unit<T> unit_forward(const T (&x)[4], const T (&u)[4], T h, T c, const T (&peephole)[3],
                                                bool new_z) {
  Unit<T> r;
  r.extra = r.c = T(0);
  const T one(1);
  if constexpr (kCell == Cell::tanh) {
    r.h = r.gate[0] = tanh(x[0] + u[0]);
  } else if constexpr (kCell == Cell::relu) {
    r.h = r.gate[0] = Relu::forward(x[0] + u[0], T(0));
  } else if constexpr (kCell == Cell::additive) {
    r.gate[0] = tanh(x[0] + u[0]);
    r.h = h + r.gate[0];
  } else if constexpr (kCell == Cell::interpolate) {
    r.gate[0] = sigmoid_of(x[0] + u[0]);
    r.gate[1] = tanh(x[1] + u[1]);
    r.h = fma(r.gate[0], h, (one - r.gate[0]) * r.gate[1]);
  } else if constexpr (kCell == Cell::input_gate) {
    r.gate[0] = sigmoid_of(x[0] + u[0]);
    r.gate[1] = sigmoid_of(x[1] + u[1]);
    r.gate[2] = tanh(x[2] + u[2]);
    r.h = fma(r.gate[1], h, r.gate[0] * r.gate[2]);
  } else if constexpr (CellFacts<kCell>::kGru) {
    if constexpr (kCell == Cell::gru) {
      const T z = sigmoid_of(x[1] + u[1]);
      r.gate[0] = sigmoid_of(x[0] + u[0]);
      r.gate[1] = new_z ? one - z : z;
      r.extra = u[2];
      r.gate[2] = tanh(fma(r.gate[0], u[2], x[2]));
    } else {
      r.gate[0] = x[0];
      r.gate[1] = x[1];
      r.gate[2] = tanh(x[2] + u[2]);
    }
    r.h = fma(one - r.gate[1], r.gate[2], r.gate[1] * h);
  } else {
    constexpr bool kCoupled = kCell == Cell::coupled_lstm;
    constexpr int g = kCoupled ? 1 : 2, o = g + 1;
    r.gate[0] = sigmoid_of(fma(peephole[0], c, x[0] + u[0]));
    T f;
    if constexpr (kCoupled)
      f = one - r.gate[0];
    else
      r.gate[1] = f = sigmoid_of(fma(peephole[1], c, x[1] + u[1]));
    r.gate[g] = tanh(x[g] + u[g]);
    r.c = fma(f, c, r.gate[0] * r.gate[g]);
    r.gate[o] = sigmoid_of(fma(peephole[2], r.c, x[o] + u[o]));
    r.h = r.gate[o] * tanh(r.c);
  }
  return r;
}

template <class T>
struct UnitGradient {
  T gate[4];  // by the pre-activations that U made
  T extra;    // of the gru: by that of n that W made
  T h, c;     // by h', but for what goes through U; by c'
  T peephole[3];
};

template <class T>
__device__ __forceinline__ T by_sigmoid(T d, T value) {
  return d * value * (T(1) - value);
}
template <class T>
__device__ __forceinline__ T by_tanh(T d, T value) {
  return d * fma(-value, value, T(1));
}

// d and dc: by h and c. gate, extra, old (h') and old_c as kept; y is h. Of gru_reset_first gate[0] is left alone.
template <Cell kCell, class T>
__device__ __forceinline__ UnitGradient<T> unit_backward(T d, T dc, const T (&gate)[4], T extra, T old, T old_c, T y,
                                                         const T (&peephole)[3], bool new_z) {
  UnitGradient<T> r;
  const T one(1);
  r.extra = r.h = r.c = T(0);
  if constexpr (kCell == Cell::tanh) {
    r.gate[0] = by_tanh(d, y);
  } else if constexpr (kCell == Cell::relu) {
    r.gate[0] = y > T(0) ? d : T(0);
  } else if constexpr (kCell == Cell::additive) {
    r.gate[0] = by_tanh(d, gate[0]);
    r.h = d;
  } else if constexpr (kCell == Cell::interpolate) {
    r.gate[0] = by_sigmoid(d * (old - gate[1]), gate[0]);
    r.gate[1] = by_tanh(d * (one - gate[0]), gate[1]);
    r.h = d * gate[0];
  } else if constexpr (kCell == Cell::input_gate) {
    r.gate[0] = by_sigmoid(d * gate[2], gate[0]);
    r.gate[1] = by_sigmoid(d * old, gate[1]);
    r.gate[2] = by_tanh(d * gate[0], gate[2]);
    r.h = d * gate[1];
  } else if constexpr (CellFacts<kCell>::kGru) {
    const T dz = by_sigmoid(d * (old - gate[2]), gate[1]), dn = by_tanh(d * (one - gate[1]), gate[2]);
    r.gate[1] = new_z ? -dz : dz;
    if constexpr (kCell == Cell::gru) {
      r.gate[0] = by_sigmoid(dn * extra, gate[0]);
      r.gate[2] = dn * gate[0];
      r.extra = dn;
    } else {
      r.gate[0] = gate[0];
      r.gate[2] = dn;
    }
    r.h = d * gate[1];
  } else {
    constexpr bool kCoupled = kCell == Cell::coupled_lstm;
    constexpr int g = kCoupled ? 1 : 2, o = g + 1;
    const T in = gate[0], u = gate[g], out = gate[o], f = kCoupled ? one - in : gate[1];
    const T c = fma(f, old_c, in * u), shown = tanh(c);
    const T d_out = by_sigmoid(d * shown, out);
    const T d_c = fma(d_out, peephole[2], dc + by_tanh(d * out, shown));
    const T d_in = by_sigmoid(d_c * (kCoupled ? u - old_c : u), in);
    r.c = fma(d_in, peephole[0], d_c * f);
    r.peephole[0] = d_in * old_c;
    r.peephole[1] = T(0);
    r.peephole[2] = d_out * c;
    r.gate[0] = d_in;
    if constexpr (!kCoupled) {
      r.gate[1] = by_sigmoid(d_c * old_c, f);
      r.c = fma(r.gate[1], peephole[1], r.c);
      r.peephole[1] = r.gate[1] * old_c;
    }
    r.gate[g] = by_tanh(d_c * in, u);
    r.gate[o] = d_out;
  }
  return r;
}

template <class T>
__device__ __forceinline__ void load_peepholes(const T* peepholes, int hidden, int j, T (&out)[3]) {
#pragma unroll
  for (int k = 0; k < 3; ++k) out[k] = peepholes == nullptr ? T(0) : peepholes[k * static_cast<Index>(hidden) + j];
}

// A unit's step in memory: x from the gates, u from the caller.
template <Cell kCell, class T>
__device__ __forceinline__ void step_unit(const CellStep<T>& p, int row, int j, const T (&u)[4]) {
  using Facts = CellFacts<kCell>;
  const Index hidden = p.hidden, at = row * hidden + j;
  T* const kept = p.gates + row * p.gates_stride + j;
  T x[4], peephole[3] = {T(0), T(0), T(0)};
#pragma unroll
  for (int g = 0; g < Facts::kGates; ++g) x[g] = kept[g * hidden];
  const T h = p.h[at];
  T c(0);
  if constexpr (Facts::kLstm) {
    c = p.c[at];
    load_peepholes(p.peepholes, p.hidden, j, peephole);
  }
  const Unit<T> unit = unit_forward<kCell>(x, u, h, c, peephole, p.new_z);
  if (p.keep) {
#pragma unroll
    for (int g = 0; g < Facts::kGates; ++g) kept[g * hidden] = unit.gate[g];
    if constexpr (kCell == Cell::gru) kept[3 * hidden] = unit.extra;
    if constexpr (Facts::kLstm) kept[(Facts::kSlots - 2) * hidden] = c;
    kept[(Facts::kSlots - 1) * hidden] = h;
  }
  p.h[at] = unit.h;
  if constexpr (Facts::kLstm) p.c[at] = unit.c;
  if (p.seen != nullptr) p.seen[row * p.seen_stride + j] = p.mask == nullptr ? unit.h : unit.h * p.mask[at];
  p.y[row * p.y_stride + j] = unit.h;
}

// r and z of gru_reset_first from what U made of them; returns r h' as U sees it.
template <class T>
__device__ __forceinline__ T reset_unit(const CellStep<T>& p, int row, int j, T of_r, T of_z) {
  const Index hidden = p.hidden, at = row * hidden + j;
  T* const gates = p.gates + row * p.gates_stride + j;
  const T r = sigmoid_of(gates[0] + of_r), z = sigmoid_of(gates[hidden] + of_z);
  gates[0] = r;
  gates[hidden] = p.new_z ? T(1) - z : z;
  return r * (p.mask == nullptr ? p.h[at] : p.h[at] * p.mask[at]);
}

// The gradient by r's pre-activation, from d, that by r h'; dh gets its share.
template <class T>
__device__ __forceinline__ T reset_unit_back(const CellStepBack<T>& p, int row, int j, T d) {
  constexpr int kSlots = CellFacts<Cell::gru_reset_first>::kSlots;
  const Index hidden = p.hidden, at = row * hidden + j;
  T* const kept = p.kept + row * p.kept_stride + j;
  const T r = kept[0], seen = kept[(kSlots - 1) * hidden];  // h' times the mask
  p.dh[at] += p.mask == nullptr ? d * r : d * r * p.mask[at];
  return kept[0] = by_sigmoid(d * seen, r);
}

// The same backward. `through`: the unit's share of what came through U, before the mask.
template <Cell kCell, class T>
__device__ __forceinline__ void step_unit_back(const CellStepBack<T>& p, int row, int j, T through) {
  using Facts = CellFacts<kCell>;
  const Index hidden = p.hidden, at = row * hidden + j;
  T* const kept = p.kept + row * p.kept_stride + j;
  T gate[4], peephole[3] = {T(0), T(0), T(0)};
#pragma unroll
  for (int g = 0; g < Facts::kGates; ++g) gate[g] = kept[g * hidden];
  const T old = kept[(Facts::kSlots - 1) * hidden];
  const T extra = kCell == Cell::gru ? kept[3 * hidden] : T(0);
  T old_c(0), dc(0);
  if constexpr (Facts::kLstm) {
    old_c = kept[(Facts::kSlots - 2) * hidden];
    dc = p.dc[at];
    load_peepholes(p.peepholes, p.hidden, j, peephole);
  }
  const T y = kCell == Cell::tanh || kCell == Cell::relu ? p.y[row * p.y_stride + j] : T(0);
  const T mask = p.mask == nullptr ? T(1) : p.mask[at];
  T d = fma(through, mask, p.dh[at]);
  if (p.dy != nullptr) d += p.dy[row * p.dy_stride + j];
  const UnitGradient<T> by = unit_backward<kCell>(d, dc, gate, extra, old, old_c, y, peephole, p.new_z);
#pragma unroll
  for (int g = 0; g < Facts::kGates; ++g) {
    kept[g * hidden] = by.gate[g];
    if (p.exchange != nullptr) p.exchange[row * p.exchange_stride + g * p.exchange_gate + j] = by.gate[g];
  }
  if constexpr (kCell == Cell::gru) kept[3 * hidden] = by.extra;
  if (p.mask != nullptr) kept[(Facts::kSlots - 1) * hidden] = old * mask;  // as U saw it
  p.dh[at] = by.h;
  if constexpr (Facts::kLstm) {
    p.dc[at] = by.c;
    if (p.dpeepholes != nullptr)
#pragma unroll
      for (int k = 0; k < 3; ++k) p.dpeepholes[(3 * static_cast<Index>(row) + k) * hidden + j] += by.peephole[k];
  }
}

}  // namespace dlkit::device
