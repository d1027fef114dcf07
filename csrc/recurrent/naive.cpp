// The definition: each step, each sequence, each unit, as recurrent.h writes the cells, with layer normalisation or
// without. Backward, the chain rule from the last step to the first, one number at a time (Werbos 1990,
// "Backpropagation through time").
#include <algorithm>
#include <cmath>
#include <vector>

#include "recurrent/normalised.h"

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

// (x - mean) / sqrt(variance + eps) of n numbers.
template <class T>
void normalise(const T* x, Index n, T* normal, T* mean, T* rstd) {
  T sum = 0, squares = 0;
  for (Index j = 0; j < n; ++j) sum += x[j];
  *mean = sum / static_cast<T>(n);
  for (Index j = 0; j < n; ++j) squares += (x[j] - *mean) * (x[j] - *mean);
  *rstd = 1 / std::sqrt(squares / static_cast<T>(n) + T(kNormEps));
  for (Index j = 0; j < n; ++j) normal[j] = (x[j] - *mean) * *rstd;
}

// The gradient by x from that by the normalised numbers, in place.
template <class T>
void denormalise(T* d, const T* normal, Index n, T rstd) {
  T sum = 0, product = 0;
  for (Index j = 0; j < n; ++j) {
    sum += d[j];
    product += d[j] * normal[j];
  }
  for (Index j = 0; j < n; ++j)
    d[j] = rstd * (d[j] - sum / static_cast<T>(n) - normal[j] * product / static_cast<T>(n));
}

// What W x or U h' of gates [gate, gate + count) becomes before the cell: normalised where there is a gain, and the
// bias added. `normal` and `rstd` are where that is kept, or null.
template <class T>
void finish_products(T* values, Index gate, Index count, Index hidden, const T* gain, const T* bias, T* normal,
                     T* rstd) {
  std::vector<T> own(static_cast<std::size_t>(hidden));
  for (Index g = gate; g < gate + count; ++g) {
    T* const v = values + g * hidden;
    if (gain != nullptr) {
      T mean, factor;
      T* const n = normal == nullptr ? own.data() : normal + g * hidden;
      normalise(v, hidden, n, &mean, &factor);
      if (rstd != nullptr) rstd[g] = factor;
      for (Index j = 0; j < hidden; ++j) v[j] = n[j] * gain[g * hidden + j];
    }
    for (Index j = 0; bias != nullptr && j < hidden; ++j) v[j] += bias[g * hidden + j];
  }
}

// Back from the gradients by those, in place, to the ones by the products; those by gain and bias are added to.
template <class T>
void unfinish_products(T* d, Index gate, Index count, Index hidden, const T* gain, const T* normal, const T* rstd,
                       T* dgain, T* dbias) {
  for (Index g = gate; g < gate + count; ++g) {
    for (Index j = g * hidden; j < (g + 1) * hidden; ++j) {
      if (dbias != nullptr) dbias[j] += d[j];
      if (gain == nullptr) continue;
      if (dgain != nullptr) dgain[j] += d[j] * normal[j];
      d[j] *= gain[j];
    }
    if (gain != nullptr) denormalise(d + g * hidden, normal + g * hidden, hidden, rstd[g]);
  }
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
  std::vector<T> by_input(static_cast<std::size_t>(gates * hidden)), by_state(by_input);
  const NormalisedRow norms(s);
  for (std::size_t i = 0; i < size; ++i) {
    h[i] = p.h0 != nullptr ? p.h0[i] : T(0);
    c[i] = p.c0 != nullptr ? p.c0[i] : T(0);
  }
  for (Index i = 0; i < s.steps(); ++i) {
    const Index t = s.reverse ? s.steps() - 1 - i : i;
    for (Index b = 0; b < s.batch_sizes[static_cast<std::size_t>(t)]; ++b) {
      const Index row = offsets[static_cast<std::size_t>(t)] + b;
      const T* const x = p.x + row * p.x_stride;
      T* const kept = p.reserve != nullptr ? p.reserve + row * s.kept() : nullptr;
      const auto norm_at = [&](Index place) { return s.normalised && kept != nullptr ? kept + place : nullptr; };
      const auto seen = [&](Index k) {  // what U sees of h'
        return h[static_cast<std::size_t>(b * hidden + k)] * (p.mask != nullptr ? p.mask[b * hidden + k] : T(1));
      };
      const auto from_state = [&](Index gate, Index count, const T* reset) {
        for (Index column = gate * hidden; column < (gate + count) * hidden; ++column) {
          T sum = 0;
          for (Index k = 0; k < hidden; ++k)
            sum += w.hh[column * hidden + k] * seen(k) * (reset != nullptr ? reset[k] : T(1));
          by_state[static_cast<std::size_t>(column)] = sum;
        }
        finish_products(by_state.data(), gate, count, hidden, w.norm_hh, w.hh_bias, norm_at(norms.by_state),
                        norm_at(norms.state_rstd));
      };
      for (Index column = 0; column < gates * hidden; ++column) {
        T sum = 0;
        for (Index k = 0; k < s.inputs; ++k) sum += w.ih[column * s.inputs + k] * x[k];
        by_input[static_cast<std::size_t>(column)] = sum;
      }
      finish_products(by_input.data(), 0, gates, hidden, w.norm_ih, w.ih_bias, norm_at(norms.by_input),
                      norm_at(norms.input_rstd));
      const bool reset_first = s.cell == Cell::gru_reset_first;
      from_state(0, reset_first ? 2 : gates, nullptr);
      if (reset_first) {
        for (std::size_t j = 0; j < r.size(); ++j) r[j] = logistic(by_input[j] + by_state[j]);
        from_state(2, 1, r.data());
      }
      for (Index j = 0; j < hidden; ++j) {
        const auto at = static_cast<std::size_t>(b * hidden + j);
        T x_gate[4], u_gate[4];
        for (Index g = 0; g < gates; ++g) {
          x_gate[g] = by_input[static_cast<std::size_t>(g * hidden + j)];
          u_gate[g] = by_state[static_cast<std::size_t>(g * hidden + j)];
        }
        const Unit<T> unit = forward_unit(s.cell, s.new_z, x_gate, u_gate, h[at], c[at],
                                          w.peepholes == nullptr ? nullptr : w.peepholes + j, hidden);
        if (kept != nullptr) {
          for (Index g = 0; g < gates; ++g) kept[g * hidden + j] = unit.gate[g];
          if (s.cell == Cell::gru) kept[3 * hidden + j] = unit.extra;
          if (reset_first) kept[3 * hidden + j] = unit.gate[0] * seen(j);
          if (traits(s.cell).has_c) kept[(slots - 2) * hidden + j] = c[at];
          kept[(slots - 1) * hidden + j] = h[at];
        }
        next_h[at] = unit.h;
        c[at] = unit.c;
        if (w.norm_c != nullptr) next_h[at] = unit.gate[gates - 1];  // o; c is normalised below
      }
      if (w.norm_c != nullptr) {
        T mean, rstd;
        normalise(c.data() + b * hidden, hidden, r.data(), &mean, &rstd);
        for (Index j = 0; j < hidden; ++j)
          next_h[static_cast<std::size_t>(b * hidden + j)] *= std::tanh(
              r[static_cast<std::size_t>(j)] * w.norm_c[j] + (w.norm_c_bias != nullptr ? w.norm_c_bias[j] : T(0)));
        if (kept != nullptr) kept[norms.c_mean] = mean, kept[norms.c_rstd] = rstd;
      }
      for (Index j = 0; j < hidden; ++j) {
        const auto at = static_cast<std::size_t>(b * hidden + j);
        h[at] = p.y[row * p.y_stride + j] = next_h[at];
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
  std::vector<T> shown(into_h), normal(into_h), by_c(into_h);  // of LSTMs: tanh of c as h sees it; the gradient by c
  std::vector<T> by_input(static_cast<std::size_t>(gates * hidden)), by_state(by_input);  // by the products
  const NormalisedRow norms(s);
  const auto by_sigmoid = [](T by, T value) { return by * value * (1 - value); };
  const auto by_tanh = [](T by, T value) { return by * (1 - value * value); };
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
  clear(p.dnorm_ih, gates * hidden);
  clear(p.dnorm_hh, gates * hidden);
  clear(p.dnorm_c, hidden);
  clear(p.dnorm_c_bias, hidden);
  for (Index i = s.steps() - 1; i >= 0; --i) {
    const Index t = s.reverse ? s.steps() - 1 - i : i;
    for (Index b = 0; b < s.batch_sizes[static_cast<std::size_t>(t)]; ++b) {
      const Index row = offsets[static_cast<std::size_t>(t)] + b;
      T* const kept = p.reserve + row * s.kept();
      const auto mask = [&](Index k) { return p.mask != nullptr ? p.mask[b * hidden + k] : T(1); };
      const auto by_h = [&](Index j) {
        return dh[static_cast<std::size_t>(b * hidden + j)] + (p.dy != nullptr ? p.dy[row * p.dy_stride + j] : T(0));
      };
      const auto new_c = [&](Index j) {
        const bool coupled = s.cell == Cell::coupled_lstm;
        const T in = kept[j], f = coupled ? 1 - in : kept[hidden + j], u = kept[(coupled ? 1 : 2) * hidden + j];
        return f * kept[(slots - 2) * hidden + j] + in * u;
      };
      for (Index j = 0; traits(s.cell).has_c && j < hidden; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const bool norm = w.norm_c != nullptr;
        normal[at] = norm ? (new_c(j) - kept[norms.c_mean]) * kept[norms.c_rstd] : T(0);
        const T bias = w.norm_c_bias != nullptr ? w.norm_c_bias[j] : T(0);
        shown[at] = std::tanh(norm ? normal[at] * w.norm_c[j] + bias : new_c(j));
        by_c[at] = by_tanh(by_h(j) * kept[(gates - 1) * hidden + j], shown[at]);
        if (p.dnorm_c != nullptr) p.dnorm_c[j] += by_c[at] * normal[at];
        if (p.dnorm_c_bias != nullptr) p.dnorm_c_bias[j] += by_c[at];
        if (norm) by_c[at] *= w.norm_c[j];
      }
      if (w.norm_c != nullptr) denormalise(by_c.data(), normal.data(), hidden, kept[norms.c_rstd]);
      for (Index j = 0; j < hidden; ++j) {
        T* const k = kept + j;
        const auto at = static_cast<std::size_t>(b * hidden + j);
        const T d = by_h(j), h = p.y[row * p.y_stride + j];
        const T old = k[(slots - 1) * hidden];
        T on = 0;
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
            const T c_old = k[(slots - 2) * hidden], c = new_c(j);
            const auto peephole = [&](int gate) {
              return w.peepholes == nullptr ? T(0) : w.peepholes[gate * hidden + j];
            };
            const T d_out = by_sigmoid(d * shown[static_cast<std::size_t>(j)], out);
            const T d_c = dc[at] + by_c[static_cast<std::size_t>(j)] + d_out * peephole(2);
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
      const auto norm_at = [&](Index place) { return s.normalised ? kept + place : nullptr; };
      const auto to_products = [&](Index gate, Index count) {
        std::copy(kept + gate * hidden, kept + (gate + count) * hidden, by_state.data() + gate * hidden);
        unfinish_products(by_state.data(), gate, count, hidden, w.norm_hh, norm_at(norms.by_state),
                          norm_at(norms.state_rstd), p.dnorm_hh, p.dhh_bias);
      };
      to_products(reset_first ? 1 : 0, reset_first ? 2 : gates);
      if (reset_first) {  // n saw r h'
        for (Index j = 0; j < hidden; ++j) {
          T d = 0;
          for (Index k = 0; k < hidden; ++k)
            d += by_state[static_cast<std::size_t>(2 * hidden + k)] * w.hh[(2 * hidden + k) * hidden + j];
          const T r = kept[j], old = kept[(slots - 1) * hidden + j];
          into_h[static_cast<std::size_t>(j)] += d * r * mask(j);
          kept[j] = d * old * mask(j) * r * (1 - r);
        }
        to_products(0, 1);
      }
      for (Index k = 0; k < gates * hidden; ++k)
        by_input[static_cast<std::size_t>(k)] = kept[gru && k >= 2 * hidden ? k + hidden : k];
      unfinish_products(by_input.data(), 0, gates, hidden, w.norm_ih, norm_at(norms.by_input),
                        norm_at(norms.input_rstd), p.dnorm_ih, p.dih_bias);
      // Through W and U.
      const Index through = reset_first ? 2 * hidden : gates * hidden;
      for (Index j = 0; j < hidden; ++j) {
        T d = 0;
        for (Index k = 0; k < through; ++k) d += by_state[static_cast<std::size_t>(k)] * w.hh[k * hidden + j];
        dh[static_cast<std::size_t>(b * hidden + j)] = into_h[static_cast<std::size_t>(j)] + d * mask(j);
        seen[static_cast<std::size_t>(j)] = kept[(slots - 1) * hidden + j] * mask(j);
      }
      const T* const x = p.x + row * p.x_stride;
      for (Index k = 0; k < gates * hidden; ++k) {
        const auto at = static_cast<std::size_t>(k);
        if (p.dih != nullptr)
          for (Index m = 0; m < inputs; ++m) p.dih[k * inputs + m] += by_input[at] * x[m];
        if (p.dhh != nullptr)
          for (Index m = 0; m < hidden; ++m)
            p.dhh[k * hidden + m] +=
                by_state[at] *
                (reset_first && k >= 2 * hidden ? kept[3 * hidden + m] : seen[static_cast<std::size_t>(m)]);
      }
      if (p.dx != nullptr)
        for (Index m = 0; m < inputs; ++m) {
          T d = p.add_to_dx ? p.dx[row * p.dx_stride + m] : T(0);
          for (Index k = 0; k < gates * hidden; ++k) d += by_input[static_cast<std::size_t>(k)] * w.ih[k * inputs + m];
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
