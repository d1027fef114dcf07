// The cells by element: gates from pre-activations, the new state, and the gradients of both.
//
// All of a unit's gates are in registers at once. A vector of LSTM units costs three logistic functions and two
// hyperbolic tangents: 66 cycles with 256 bits on Zen 3, some 50 of which are the functions', against 2 H cycles of its
// products, 20% at H = 128, 5% at H = 650. Gradients are those of the definitions in recurrent.h, by hand; d... is the
// gradient by ...
#include "recurrent/cells.h"
#include "core/vector_math.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// What the next row has of `slots` gates at these units is fetched while this row is computed. What a row keeps lies
// some KiB from the row before, in pieces of a group's units: too short for the processor to see a stream in them.
template <class T>
DLKIT_INLINE void fetch_row(const T* gates, Index gate_stride, int slots) {
#pragma GCC unroll 8
  for (int slot = 0; slot < slots; ++slot) __builtin_prefetch(gates + slot * gate_stride, 1);
}

// So many registers of units go through a cell in lockstep: a whole group (kernels.h), where the cell's chain of
// functions is longer than what the processor overlaps of it with the next. An LSTM's vector took 84 cycles one by one.
template <class T, Cell kCell>
constexpr int kLockstep = Vec<T>::lanes >= 8 && sizeof(T) == 4 && (kCell == Cell::lstm || kCell == Cell::gru) ? 3 : 1;

// What one vector of units has at one step.
template <class V, class T>
struct Place {
  const CellForward<T>& p;
  T* gates;
  const T* product;

  DLKIT_INLINE Place(const CellForward<T>& problem, Index row, Index j)
      : p(problem), gates(problem.gates + row * problem.gates_stride + j),
        product(problem.product == nullptr ? nullptr : problem.product + row * problem.product_stride + j) {}

  // W x + b + U h' + b'
  template <class... M>
  DLKIT_INLINE V pre(int gate, M... mask) const {
    const V from_x = V::load(gates + gate * p.gate_stride, mask...);
    return product == nullptr ? from_x : from_x + V::load(product + gate * p.product_gate, mask...);
  }
  template <class... M>
  DLKIT_INLINE V recurrent(int gate, M... mask) const {
    return product == nullptr ? V::zero() : V::load(product + gate * p.product_gate, mask...);
  }
  template <class... M>
  DLKIT_INLINE void keep(int slot, V value, M... mask) const {
    value.store(gates + slot * p.gate_stride, mask...);
  }
};

// new_z turns the share of h' into that of n.
template <class V>
DLKIT_INLINE V share_of_h(V z, bool new_z) {
  return new_z ? V::broadcast(1) - z : z;
}

template <Cell kCell, class V, class T, class... M>
DLKIT_INLINE void forward_vector(const CellForward<T>& p, Index row, Index j, M... mask) {
  const Place<V, T> at(p, row, j);
  fetch_row(at.gates + p.gates_stride, p.gate_stride, p.keep ? kSlots<kCell> : kSlots<kCell> - (is_gru(kCell) ? 2 : 1));
  const V old = V::load(p.h + row * p.h_stride + j, mask...);
  V h;
  if constexpr (kCell == Cell::tanh) {
    h = tanh<T>(at.pre(0, mask...));
  } else if constexpr (kCell == Cell::relu) {
    h = V::max(V::zero(), at.pre(0, mask...));
  } else if constexpr (kCell == Cell::additive) {
    const V u = tanh<T>(at.pre(0, mask...));
    if (p.keep) at.keep(0, u, mask...);
    h = old + u;
  } else if constexpr (kCell == Cell::interpolate) {
    const V f = sigmoid<T>(at.pre(0, mask...)), u = tanh<T>(at.pre(1, mask...));
    if (p.keep) at.keep(0, f, mask...), at.keep(1, u, mask...);
    h = V::fma(f, old - u, u);
  } else if constexpr (kCell == Cell::input_gate) {
    const V i = sigmoid<T>(at.pre(0, mask...)), f = sigmoid<T>(at.pre(1, mask...)), u = tanh<T>(at.pre(2, mask...));
    if (p.keep) at.keep(0, i, mask...), at.keep(1, f, mask...), at.keep(2, u, mask...);
    h = V::fma(f, old, i * u);
  } else if constexpr (kCell == Cell::gru) {
    const V r = sigmoid<T>(at.pre(0, mask...)), z = share_of_h(sigmoid<T>(at.pre(1, mask...)), p.new_z);
    V u = at.recurrent(2, mask...);
    if (p.hh_bias != nullptr) u = u + V::load(p.hh_bias + j, mask...);
    const V n = tanh<T>(V::fma(r, u, V::load(at.gates + 2 * p.gate_stride, mask...)));
    if (p.keep) at.keep(0, r, mask...), at.keep(1, z, mask...), at.keep(2, n, mask...), at.keep(3, u, mask...);
    h = V::fma(z, old - n, n);
  } else if constexpr (kCell == Cell::gru_reset_first) {  // r and z are there: see reset
    const V z = V::load(at.gates + p.gate_stride, mask...);
    const V n = tanh<T>(V::load(at.gates + 2 * p.gate_stride, mask...) + at.recurrent(0, mask...));
    if (p.keep) at.keep(2, n, mask...);
    h = V::fma(z, old - n, n);
  } else {
    using Slots = LstmSlots<kCell>;
    constexpr bool kCoupled = Slots::kCoupled;
    constexpr int kG = Slots::kG, kO = Slots::kO, kC = Slots::kC;
    T* const place = p.c + row * p.c_stride + j;
    const V c_old = V::load(place, mask...);
    V a_i = at.pre(0, mask...), a_f = kCoupled ? V::zero() : at.pre(1, mask...);
    if (p.peepholes != nullptr) {
      a_i = V::fma(V::load(p.peepholes + j, mask...), c_old, a_i);
      if constexpr (!kCoupled) a_f = V::fma(V::load(p.peepholes + p.hidden + j, mask...), c_old, a_f);
    }
    const V i = sigmoid<T>(a_i), g = tanh<T>(at.pre(kG, mask...));
    const V f = kCoupled ? V::broadcast(1) - i : sigmoid<T>(a_f);
    const V c = V::fma(f, c_old, i * g);
    V a_o = at.pre(kO, mask...);
    if (p.peepholes != nullptr) a_o = V::fma(V::load(p.peepholes + 2 * p.hidden + j, mask...), c, a_o);
    const V o = sigmoid<T>(a_o);
    if (p.keep) {
      at.keep(0, i, mask...), at.keep(kG, g, mask...), at.keep(kO, o, mask...), at.keep(kC, c_old, mask...);
      if constexpr (!kCoupled) at.keep(1, f, mask...);
    }
    c.store(place, mask...);
    if (p.halves) {
      at.keep(kO, o, mask...);
      if (p.keep) at.keep(kSlots<kCell> - 1, old, mask...);
      return;
    }
    h = o * tanh<T>(c);
  }
  if (p.keep) at.keep(kSlots<kCell> - 1, old, mask...);
  put_h(p, row, j, h, mask...);
}

template <class T, Cell kCell, class... M>
DLKIT_INLINE void backward_vector(const CellBackward<T>& p, Index row, Index j, M... mask) {
  using V = Vec<T>;
  const V one = V::broadcast(1);
  T* const gates = p.gates + row * p.gates_stride + j;
  T* const carry = p.dh + row * p.carry_stride + j;
  const auto kept = [&](int slot)
                        __attribute__((always_inline)) { return V::load(gates + slot * p.gate_stride, mask...); };
  const auto put = [&](int slot, V value)
                       __attribute__((always_inline)) { value.store(gates + slot * p.gate_stride, mask...); };

  fetch_row(gates + p.gates_stride, p.gate_stride, kSlots<kCell>);
  const V dh = is_lstm(kCell) && p.halves ? V::zero() : gradient_by_h(p, row, j, mask...);
  V on = V::zero();  // past U
  if constexpr (kCell == Cell::tanh) {
    put(0, by_tanh(dh, V::load(p.y + row * p.y_stride + j, mask...)));
  } else if constexpr (kCell == Cell::relu) {
    const V h = V::load(p.y + row * p.y_stride + j, mask...);
    put(0, V::select(V::less(V::zero(), h), dh, V::zero()));
  } else if constexpr (kCell == Cell::additive) {
    put(0, by_tanh(dh, kept(0)));
    on = dh;
  } else if constexpr (kCell == Cell::interpolate) {
    const V f = kept(0), u = kept(1), old = kept(2);
    put(0, by_sigmoid(dh * (old - u), f));
    put(1, by_tanh(dh * (one - f), u));
    on = dh * f;
  } else if constexpr (kCell == Cell::input_gate) {
    const V i = kept(0), f = kept(1), u = kept(2), old = kept(3);
    put(0, by_sigmoid(dh * u, i));
    put(1, by_sigmoid(dh * old, f));
    put(2, by_tanh(dh * i, u));
    on = dh * f;
  } else if constexpr (is_gru(kCell)) {
    const V z = kept(1), n = kept(2), old = kept(4);
    const V dz = by_sigmoid(dh * (old - n), z), dn = by_tanh(dh * (one - z), n);
    put(1, p.new_z ? V::zero() - dz : dz);
    if constexpr (kCell == Cell::gru) {
      const V r = kept(0), u = kept(3);
      put(0, by_sigmoid(dn * u, r));
      put(2, dn * r);
      put(3, dn);
    } else {
      put(2, dn);  // r follows in unreset
    }
    on = dh * z;
  } else {
    using Slots = LstmSlots<kCell>;
    constexpr bool kCoupled = Slots::kCoupled;
    constexpr int kG = Slots::kG, kO = Slots::kO, kC = Slots::kC;
    const V i = kept(0), f = kCoupled ? one - i : kept(1), g = kept(kG), o = kept(kO), c_old = kept(kC);
    const V c = V::fma(f, c_old, i * g);
    V d_o = o, dc = V::load(p.dc + row * p.carry_stride + j, mask...);
    if (!p.halves) {
      const V t = tanh<T>(c);
      d_o = by_sigmoid(dh * t, o);
      dc = dc + by_tanh(dh * o, t);
    }
    if (p.peepholes != nullptr) dc = V::fma(d_o, V::load(p.peepholes + 2 * p.hidden + j, mask...), dc);
    const V di = by_sigmoid(kCoupled ? dc * (g - c_old) : dc * g, i), df = by_sigmoid(dc * c_old, f);
    V dc_old = dc * f;
    if (p.peepholes != nullptr) {
      dc_old = V::fma(di, V::load(p.peepholes + j, mask...), dc_old);
      if constexpr (!kCoupled) dc_old = V::fma(df, V::load(p.peepholes + p.hidden + j, mask...), dc_old);
    }
    if (p.dpeepholes != nullptr) {
      const auto add = [&](int gate, V d, V by) __attribute__((always_inline)) {
        T* const to = p.dpeepholes + gate * p.hidden + j;
        V::fma(d, by, V::load(to, mask...)).store(to, mask...);
      };
      add(0, di, c_old);
      if constexpr (!kCoupled) add(1, df, c_old);
      add(2, d_o, c);
    }
    put(0, di);
    if constexpr (!kCoupled) put(1, df);
    put(kG, by_tanh(dc * i, g));
    put(kO, d_o);
    dc_old.store(p.dc + row * p.carry_stride + j, mask...);
  }
  on.store(carry, mask...);
}

template <class T, Cell kCell>
__attribute__((noinline)) void forward_block(const CellForward<T>& p) {
  each_pack<T, kLockstep<T, kCell>>(p.rows, p.units,
                                    [&]<class V>(Index row, Index j, auto... mask) __attribute__((always_inline)) {
                                      forward_vector<kCell, V>(p, row, j, mask...);
                                    });
}

template <class T, Cell kCell>
__attribute__((noinline)) void backward_block(const CellBackward<T>& p) {
  each_vector<T>(p.rows, p.units, [&](Index row, Index j, auto... mask) __attribute__((always_inline)) {
    backward_vector<T, kCell>(p, row, j, mask...);
  });
}

}  // namespace

template <class T>
void cell_forward(const CellForward<T>& p) {
  switch (p.cell) {
    case Cell::tanh: return forward_block<T, Cell::tanh>(p);
    case Cell::relu: return forward_block<T, Cell::relu>(p);
    case Cell::additive: return forward_block<T, Cell::additive>(p);
    case Cell::interpolate: return forward_block<T, Cell::interpolate>(p);
    case Cell::input_gate: return forward_block<T, Cell::input_gate>(p);
    case Cell::lstm: return forward_block<T, Cell::lstm>(p);
    case Cell::coupled_lstm: return forward_block<T, Cell::coupled_lstm>(p);
    case Cell::gru: return forward_block<T, Cell::gru>(p);
    case Cell::gru_reset_first: return forward_block<T, Cell::gru_reset_first>(p);
    case Cell::count: return;
  }
}

template <class T>
void cell_backward(const CellBackward<T>& p) {
  switch (p.cell) {
    case Cell::tanh: return backward_block<T, Cell::tanh>(p);
    case Cell::relu: return backward_block<T, Cell::relu>(p);
    case Cell::additive: return backward_block<T, Cell::additive>(p);
    case Cell::interpolate: return backward_block<T, Cell::interpolate>(p);
    case Cell::input_gate: return backward_block<T, Cell::input_gate>(p);
    case Cell::lstm: return backward_block<T, Cell::lstm>(p);
    case Cell::coupled_lstm: return backward_block<T, Cell::coupled_lstm>(p);
    case Cell::gru: return backward_block<T, Cell::gru>(p);
    case Cell::gru_reset_first: return backward_block<T, Cell::gru_reset_first>(p);
    case Cell::count: return;
  }
}

// r and z from their products, and r h' as what n's product reads, in `state`. `mask` is that of h'.
template <class T>
void gru_reset(const CellForward<T>& p) {
  using V = Vec<T>;
  each_vector<T>(p.rows, p.units, [&](Index row, Index j, auto... mask) __attribute__((always_inline)) {
    const Place<V, T> at(p, row, j);
    const V r = sigmoid<T>(at.pre(0, mask...)), z = share_of_h(sigmoid<T>(at.pre(1, mask...)), p.new_z);
    at.keep(0, r, mask...);
    at.keep(1, z, mask...);
    V seen = V::load(p.h + row * p.h_stride + j, mask...);
    if (p.mask != nullptr) seen = seen * V::load(p.mask + row * p.mask_stride + j, mask...);
    seen = seen * r;
    if (p.keep) at.keep(3, seen, mask...);
    seen.store(p.state + row * p.state_stride + j, mask...);
  });
}

// `product` is the gradient by r h' of all rows: what it gives to r, and past r to h'.
template <class T>
void gru_unreset(const CellBackward<T>& p) {
  using V = Vec<T>;
  each_vector<T>(p.rows, p.units, [&](Index row, Index j, auto... mask) __attribute__((always_inline)) {
    T* const gates = p.gates + row * p.gates_stride + j;
    T* const carry = p.dh + row * p.carry_stride + j;
    const V r = V::load(gates, mask...), old = V::load(gates + 4 * p.gate_stride, mask...);
    V d = V::load(p.product + row * p.product_stride + j, mask...);
    if (p.mask != nullptr) d = d * V::load(p.mask + row * p.mask_stride + j, mask...);
    (d * old * r * (V::broadcast(1) - r)).store(gates, mask...);
    V::fma(d, r, V::load(carry, mask...)).store(carry, mask...);
  });
}

template <class T>
void column_sums(const T* from, Index stride, Index rows, Index cols, bool accumulate, T* to) {
  using V = Vec<T>;
  constexpr int kColumns = 4;  // vectors side by side, whose sums hide each other's latency
  const auto sums = [&](Index j, auto... mask) __attribute__((always_inline)) {
    V sum = accumulate ? V::load(to + j, mask...) : V::zero();
    for (Index row = 0; row < rows; ++row) sum = sum + V::load(from + row * stride + j, mask...);
    sum.store(to + j, mask...);
  };
  Index j = 0;
  for (; j + kColumns * V::lanes <= cols; j += kColumns * V::lanes) {
    V sum[kColumns];
#pragma GCC unroll 4
    for (int i = 0; i < kColumns; ++i) sum[i] = accumulate ? V::load(to + j + i * V::lanes) : V::zero();
    for (Index row = 0; row < rows; ++row)
#pragma GCC unroll 4
      for (int i = 0; i < kColumns; ++i) sum[i] = sum[i] + V::load(from + row * stride + j + i * V::lanes);
#pragma GCC unroll 4
    for (int i = 0; i < kColumns; ++i) sum[i].store(to + j + i * V::lanes);
  }
  for (; j + V::lanes <= cols; j += V::lanes) sums(j);
  if (j < cols) sums(j, V::first(cols - j));
}

template <class T>
void scale_rows(const T* mask, Index rows, Index cols, T* target, Index stride) {
  using V = Vec<T>;
  each_vector<T>(rows, cols, [&](Index row, Index j, auto... m) __attribute__((always_inline)) {
    T* const at = target + row * stride + j;
    (V::load(at, m...) * V::load(mask + row * cols + j, m...)).store(at, m...);
  });
}

#define DLKIT_INSTANTIATE(T)                                          \
  template void cell_forward(const CellForward<T>&);                  \
  template void cell_backward(const CellBackward<T>&);                \
  template void gru_reset(const CellForward<T>&);                     \
  template void gru_unreset(const CellBackward<T>&);                  \
  template void column_sums(const T*, Index, Index, Index, bool, T*); \
  template void scale_rows(const T*, Index, Index, T*, Index);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::DLKIT_TARGET
