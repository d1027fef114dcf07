// The definition: each step, each sequence, each unit, as recurrent.h writes the cells. Backward, the chain rule from
// the last step to the first, one number at a time (Werbos 1990, "Backpropagation through time").
#include <algorithm>
#include <cmath>
#include <vector>

#include "recurrent/sequence.h"

namespace dlkit::naive {
namespace {

template <class T>
T logistic(T x) {
  return T(1) / (T(1) + std::exp(-x));
}

// Where the rows of each step begin, in the order of time.
std::vector<Index> row_offsets(const RecurrentShape& s) {
  std::vector<Index> offsets;
  Index row = 0;
  for (const Index rows : s.batch_sizes) {
    offsets.push_back(row);
    row += rows;
  }
  return offsets;
}

// One unit's gates: what the cell makes of its pre-activations. `x` and `u` are W x + b and U h' + b' of each gate.
template <class T>
struct Unit {
  T gate[4] = {};
  T extra = 0;  // of the gru: U h' + b' of n, or r h'
  T h = 0, c = 0;
};

template <class T>
Unit<T> forward_unit(Cell cell, bool new_z, const T* x, const T* u, T h, T c, const T* peephole, Index hidden) {
  Unit<T> r;
  T a[4];
  for (int g = 0; g < traits(cell).gates; ++g) a[g] = x[g] + u[g];
  switch (cell) {
    case Cell::tanh: r.h = std::tanh(a[0]); break;
    case Cell::relu: r.h = std::isnan(a[0]) ? a[0] : std::max(a[0], T(0)); break;
    case Cell::additive:
      r.gate[0] = std::tanh(a[0]);
      r.h = h + r.gate[0];
      break;
    case Cell::interpolate:
      r.gate[0] = logistic(a[0]);
      r.gate[1] = std::tanh(a[1]);
      r.h = r.gate[0] * h + (1 - r.gate[0]) * r.gate[1];
      break;
    case Cell::input_gate:
      r.gate[0] = logistic(a[0]);
      r.gate[1] = logistic(a[1]);
      r.gate[2] = std::tanh(a[2]);
      r.h = r.gate[1] * h + r.gate[0] * r.gate[2];
      break;
    case Cell::gru:
    case Cell::gru_reset_first: {
      const T z = logistic(a[1]);
      r.gate[0] = logistic(a[0]);
      r.gate[1] = new_z ? 1 - z : z;
      r.extra = cell == Cell::gru ? u[2] : r.gate[0] * h;
      r.gate[2] = std::tanh(cell == Cell::gru ? x[2] + r.gate[0] * u[2] : a[2]);
      r.h = (1 - r.gate[1]) * r.gate[2] + r.gate[1] * h;
      break;
    }
    case Cell::lstm:
    case Cell::coupled_lstm: {
      const bool coupled = cell == Cell::coupled_lstm;
      const int g = coupled ? 1 : 2, o = g + 1;
      const auto seen = [&](int gate, T what) { return peephole == nullptr ? T(0) : peephole[gate * hidden] * what; };
      r.gate[0] = logistic(a[0] + seen(0, c));
      const T f = coupled ? 1 - r.gate[0] : logistic(a[1] + seen(1, c));
      if (!coupled) r.gate[1] = f;
      r.gate[g] = std::tanh(a[g]);
      r.c = f * c + r.gate[0] * r.gate[g];
      r.gate[o] = logistic(a[o] + seen(2, r.c));
      r.h = r.gate[o] * std::tanh(r.c);
      break;
    }
    case Cell::count: break;
  }
  return r;
}

}  // namespace

template <class T>
void recurrent_forward(const RecurrentForward<T>& p) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, gates = s.gates(), slots = s.slots(), batch = s.batch();
  const auto offsets = row_offsets(s);
  const auto size = static_cast<std::size_t>(batch * hidden);
  std::vector<T> h(size), c(size), next_h(size), r(static_cast<std::size_t>(hidden));
  for (std::size_t i = 0; i < size; ++i) {
    h[i] = p.h0 != nullptr ? p.h0[i] : T(0);
    c[i] = p.c0 != nullptr ? p.c0[i] : T(0);
  }
  for (Index i = 0; i < s.steps(); ++i) {
    const Index t = s.reverse ? s.steps() - 1 - i : i;
    for (Index b = 0; b < s.batch_sizes[static_cast<std::size_t>(t)]; ++b) {
      const Index row = offsets[static_cast<std::size_t>(t)] + b;
      const T* const x = p.x + row * p.x_stride;
      const auto seen = [&](Index k) {  // what U sees of h'
        return h[static_cast<std::size_t>(b * hidden + k)] * (p.mask != nullptr ? p.mask[b * hidden + k] : T(1));
      };
      const auto from_input = [&](Index column) {
        T sum = w.ih_bias != nullptr ? w.ih_bias[column] : T(0);
        for (Index k = 0; k < s.inputs; ++k) sum += w.ih[column * s.inputs + k] * x[k];
        return sum;
      };
      const auto from_state = [&](Index column, const T* reset) {
        T sum = w.hh_bias != nullptr ? w.hh_bias[column] : T(0);
        for (Index k = 0; k < hidden; ++k)
          sum += w.hh[column * hidden + k] * seen(k) * (reset != nullptr ? reset[k] : T(1));
        return sum;
      };
      const bool reset_first = s.cell == Cell::gru_reset_first;
      if (reset_first)
        for (Index j = 0; j < hidden; ++j)
          r[static_cast<std::size_t>(j)] = logistic(from_input(j) + from_state(j, nullptr));
      for (Index j = 0; j < hidden; ++j) {
        const auto at = static_cast<std::size_t>(b * hidden + j);
        T by_input[4], by_state[4];
        for (Index g = 0; g < gates; ++g) {
          by_input[g] = from_input(g * hidden + j);
          by_state[g] = from_state(g * hidden + j, reset_first && g == 2 ? r.data() : nullptr);
        }
        const Unit<T> unit = forward_unit(s.cell, s.new_z, by_input, by_state, h[at], c[at],
                                          w.peepholes == nullptr ? nullptr : w.peepholes + j, hidden);
        if (p.reserve != nullptr) {
          T* const kept = p.reserve + row * slots * hidden + j;
          for (Index g = 0; g < gates; ++g) kept[g * hidden] = unit.gate[g];
          if (s.cell == Cell::gru) kept[3 * hidden] = unit.extra;
          if (reset_first) kept[3 * hidden] = unit.gate[0] * seen(j);
          if (traits(s.cell).has_c) kept[(slots - 2) * hidden] = c[at];
          kept[(slots - 1) * hidden] = h[at];
        }
        next_h[at] = unit.h;
        c[at] = unit.c;
        p.y[row * p.y_stride + j] = unit.h;
      }
      for (Index j = 0; j < hidden; ++j) {
        const auto at = static_cast<std::size_t>(b * hidden + j);
        h[at] = next_h[at];
      }
    }
  }
  for (Index i = 0; i < batch * hidden; ++i) {
    if (p.hn != nullptr) p.hn[i] = h[static_cast<std::size_t>(i)];
    if (p.cn != nullptr) p.cn[i] = c[static_cast<std::size_t>(i)];
  }
}

template <class T>
void recurrent_backward(const RecurrentBackward<T>& p) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, gates = s.gates(), slots = s.slots(), batch = s.batch(), inputs = s.inputs;
  const bool gru = s.cell == Cell::gru, reset_first = s.cell == Cell::gru_reset_first;
  const auto offsets = row_offsets(s);
  const auto size = static_cast<std::size_t>(batch * hidden);
  std::vector<T> dh(size), dc(size), into_h(static_cast<std::size_t>(hidden)), seen(into_h);
  for (std::size_t i = 0; i < size; ++i) {
    dh[i] = p.dhn != nullptr ? p.dhn[i] : T(0);
    dc[i] = p.dcn != nullptr ? p.dcn[i] : T(0);
  }
  const auto clear = [&](T* target, Index count) {
    if (target != nullptr && !p.accumulate) std::fill(target, target + count, T(0));
  };
  clear(p.dih, gates * hidden * inputs);
  clear(p.dhh, gates * hidden * hidden);
  clear(p.dih_bias, gates * hidden);
  clear(p.dhh_bias, gates * hidden);
  clear(p.dpeepholes, 3 * hidden);
  for (Index i = s.steps() - 1; i >= 0; --i) {
    const Index t = s.reverse ? s.steps() - 1 - i : i;
    for (Index b = 0; b < s.batch_sizes[static_cast<std::size_t>(t)]; ++b) {
      const Index row = offsets[static_cast<std::size_t>(t)] + b;
      T* const kept = p.reserve + row * slots * hidden;
      const auto mask = [&](Index k) { return p.mask != nullptr ? p.mask[b * hidden + k] : T(1); };
      for (Index j = 0; j < hidden; ++j) {
        T* const k = kept + j;
        const auto at = static_cast<std::size_t>(b * hidden + j);
        const T d = dh[at] + (p.dy != nullptr ? p.dy[row * p.dy_stride + j] : T(0)), h = p.y[row * p.y_stride + j];
        const T old = k[(slots - 1) * hidden];
        T on = 0;
        const auto by_sigmoid = [](T by, T value) { return by * value * (1 - value); };
        const auto by_tanh = [](T by, T value) { return by * (1 - value * value); };
        switch (s.cell) {
          case Cell::tanh: k[0] = by_tanh(d, h); break;
          case Cell::relu: k[0] = h > 0 ? d : T(0); break;
          case Cell::additive:
            k[0] = by_tanh(d, k[0]);
            on = d;
            break;
          case Cell::interpolate: {
            const T f = k[0], u = k[hidden];
            k[0] = by_sigmoid(d * (old - u), f);
            k[hidden] = by_tanh(d * (1 - f), u);
            on = d * f;
            break;
          }
          case Cell::input_gate: {
            const T in = k[0], f = k[hidden], u = k[2 * hidden];
            k[0] = by_sigmoid(d * u, in);
            k[hidden] = by_sigmoid(d * old, f);
            k[2 * hidden] = by_tanh(d * in, u);
            on = d * f;
            break;
          }
          case Cell::gru:
          case Cell::gru_reset_first: {
            const T r = k[0], z = k[hidden], n = k[2 * hidden], extra = k[3 * hidden];
            const T dz = by_sigmoid(d * (old - n), z), dn = by_tanh(d * (1 - z), n);
            k[hidden] = s.new_z ? -dz : dz;
            if (gru) k[0] = by_sigmoid(dn * extra, r);
            k[2 * hidden] = gru ? dn * r : dn;
            if (gru) k[3 * hidden] = dn;
            on = d * z;
            break;
          }
          case Cell::lstm:
          case Cell::coupled_lstm: {
            const bool coupled = s.cell == Cell::coupled_lstm;
            const int g = coupled ? 1 : 2, o = g + 1;
            const T in = k[0], f = coupled ? 1 - in : k[hidden], u = k[g * hidden], out = k[o * hidden];
            const T c_old = k[(slots - 2) * hidden], c = f * c_old + in * u;
            const auto peephole = [&](int gate) {
              return w.peepholes == nullptr ? T(0) : w.peepholes[gate * hidden + j];
            };
            const T d_out = by_sigmoid(d * std::tanh(c), out);
            const T d_c = dc[at] + by_tanh(d * out, std::tanh(c)) + d_out * peephole(2);
            const T d_in = by_sigmoid(d_c * (coupled ? u - c_old : u), in), d_f = by_sigmoid(d_c * c_old, f);
            dc[at] = d_c * f + d_in * peephole(0) + (coupled ? T(0) : d_f * peephole(1));
            if (p.dpeepholes != nullptr) {
              p.dpeepholes[j] += d_in * c_old;
              if (!coupled) p.dpeepholes[hidden + j] += d_f * c_old;
              p.dpeepholes[2 * hidden + j] += d_out * c;
            }
            k[0] = d_in;
            if (!coupled) k[hidden] = d_f;
            k[g * hidden] = by_tanh(d_c * in, u);
            k[o * hidden] = d_out;
            break;
          }
          case Cell::count: break;
        }
        into_h[static_cast<std::size_t>(j)] = on;
      }
      if (reset_first)  // n saw r h'
        for (Index j = 0; j < hidden; ++j) {
          T d = 0;
          for (Index k = 0; k < hidden; ++k) d += kept[2 * hidden + k] * w.hh[(2 * hidden + k) * hidden + j];
          const T r = kept[j], old = kept[(slots - 1) * hidden + j];
          into_h[static_cast<std::size_t>(j)] += d * r * mask(j);
          kept[j] = d * old * mask(j) * r * (1 - r);
        }
      // Through W and U.
      const Index by_state = reset_first ? 2 * hidden : gates * hidden;
      for (Index j = 0; j < hidden; ++j) {
        T d = 0;
        for (Index k = 0; k < by_state; ++k) d += kept[k] * w.hh[k * hidden + j];
        dh[static_cast<std::size_t>(b * hidden + j)] = into_h[static_cast<std::size_t>(j)] + d * mask(j);
        seen[static_cast<std::size_t>(j)] = kept[(slots - 1) * hidden + j] * mask(j);
      }
      const auto by_input = [&](Index k) { return gru && k >= 2 * hidden ? kept[k + hidden] : kept[k]; };
      const T* const x = p.x + row * p.x_stride;
      for (Index k = 0; k < gates * hidden; ++k) {
        const T d = by_input(k);
        if (p.dih_bias != nullptr) p.dih_bias[k] += d;
        if (p.dhh_bias != nullptr) p.dhh_bias[k] += kept[k];
        if (p.dih != nullptr)
          for (Index m = 0; m < inputs; ++m) p.dih[k * inputs + m] += d * x[m];
        if (p.dhh != nullptr)
          for (Index m = 0; m < hidden; ++m)
            p.dhh[k * hidden + m] +=
                kept[k] * (reset_first && k >= 2 * hidden ? kept[3 * hidden + m] : seen[static_cast<std::size_t>(m)]);
      }
      if (p.dx != nullptr)
        for (Index m = 0; m < inputs; ++m) {
          T d = p.add_to_dx ? p.dx[row * p.dx_stride + m] : T(0);
          for (Index k = 0; k < gates * hidden; ++k) d += by_input(k) * w.ih[k * inputs + m];
          p.dx[row * p.dx_stride + m] = d;
        }
    }
  }
  for (Index i = 0; i < batch * hidden; ++i) {
    if (p.dh0 != nullptr) p.dh0[i] = dh[static_cast<std::size_t>(i)];
    if (p.dc0 != nullptr) p.dc0[i] = dc[static_cast<std::size_t>(i)];
  }
}

#define DLKIT_INSTANTIATE(T)                                   \
  template void recurrent_forward(const RecurrentForward<T>&); \
  template void recurrent_backward(const RecurrentBackward<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit::naive
