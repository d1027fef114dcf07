// Recurrent cells over whole sequences: one layer in one direction, forward and backward through time.
//
// At each step every cell makes G pre-activations of H units each from the input and from the state before it,
//
//   a_t = W x_t + b + U h_{t-1} + b',   W: G H x I,  U: G H x H,
//
// and from those its new state h_t (and c_t). The ladder of cells, as an introductory course climbs it; s is the
// logistic function, all products of states and gates are by element:
//
//   tanh             h = tanh(a)                                        Elman 1990
//   relu             h = max(a, 0)                                      with identity initialisation: Le et al. 2015
//   additive         h = h' + tanh(a)
//   interpolate      h = f h' + (1 - f) u           f = s, u = tanh     gates f, u
//   input_gate       h = f h' + i u                                     gates i, f, u
//   lstm             c = f c' + i g, h = o tanh(c)                      gates i, f, g, o   Hochreiter & Schmidhuber
//                                                                       1997, Gers et al. 2000
//                    with peepholes: i and f see p c', o sees p c       Gers & Schmidhuber 2000
//   coupled_lstm     c = (1 - i) c' + i g                               gates i, g, o      Greff et al. 2015
//   gru              n = tanh(W x + b + r (U h' + b')), h = (1 - z) n + z h'   gates r, z, n
//   gru_reset_first  n = tanh(W x + b + U (r h') + b')                  gates r, z, n      Cho et al. 2014
//
// With layer normalisation (Ba, Kiros & Hinton 2016) W x and U h' are normalised apart, each gate over its H units:
// gains times (v - mean) / sqrt(variance + kNormEps), and then the biases. So is an LSTM's c on its way to h.
//
// Rows of x and y are the steps of a batch packed as torch.nn.utils.rnn.pack_padded_sequence packs them: step after
// step, with as many rows as sequences are that long, longest first. A batch of sequences of one length is the special
// case in which all steps have as many rows.
//
// 2 (I + H) G H floating-point operations for a row forward, twice that backward.
#pragma once

#include <vector>

#include "core/dispatch.h"
#include "core/view.h"

namespace dlkit {

enum class Cell { tanh, relu, additive, interpolate, input_gate, lstm, coupled_lstm, gru, gru_reset_first, count };

struct CellTraits {
  const char* name;
  int gates;  // G
  // What training keeps of a row: `slots` vectors of H. Those of the gates come first, of the gru one more for U h' +
  // b' of n (r h' where r resets first); then c' where the cell has one; h' is the last. Backward puts the gradients by
  // the pre-activations into the places of the gates, where the products that follow find them as one matrix. All of
  // them belong to W, too, but for n of the gru the slot after it does, since n's share by U is scaled with r.
  int slots;
  bool has_c;
};
const CellTraits& traits(Cell cell);
constexpr double kNormEps = 1e-5;  // PyTorch's default

constexpr bool is_gru(Cell cell) { return cell == Cell::gru || cell == Cell::gru_reset_first; }

struct RecurrentShape {
  Cell cell;
  bool new_z;    // the gru's z is the share of n, not of h'
  bool reverse;  // from the last step of each sequence to its first
  Index inputs, hidden;
  std::vector<Index> batch_sizes;  // rows of each step, not increasing, all at least 1
  bool normalised = false;         // the products of W and U, by the gains of RecurrentWeights

  Index steps() const { return static_cast<Index>(batch_sizes.size()); }
  Index batch() const { return batch_sizes.empty() ? 0 : batch_sizes.front(); }
  Index rows() const;
  Index gates() const { return traits(cell).gates; }
  Index slots() const { return traits(cell).slots; }
  Index kept() const;  // numbers of a row that training keeps: `slots` vectors of H, or as normalised.h says
  double flops() const {
    return 2.0 * static_cast<double>(rows()) * static_cast<double>(inputs + hidden) *
           static_cast<double>(gates() * hidden);
  }
};

// Null where not given; then biases, peepholes and states are 0, and the mask is 1.
template <class T>
struct RecurrentWeights {
  const T* ih;         // W (G H, I)
  const T* hh;         // U (G H, H)
  const T* ih_bias;    // b (G H)
  const T* hh_bias;    // b' (G H)
  const T* peepholes;  // p (3 H): of i, f and o
  // Of layer normalisation: both gains or neither. The cell state's go with them, where there is one.
  const T *norm_ih = nullptr, *norm_hh = nullptr;     // gains of W x and U h' (G H)
  const T *norm_c = nullptr, *norm_c_bias = nullptr;  // gain and shift of c (H)
};

template <class T>
struct RecurrentForward {
  RecurrentShape shape;
  RecurrentWeights<T> weights;
  const T* x;  // (rows, I)
  Index x_stride;
  const T* h0;    // (batch, H)
  const T* c0;    // (batch, H)
  const T* mask;  // (batch, H): U sees h' times this, at every step (Gal & Ghahramani 2016)
  T* y;           // h of every step (rows, H)
  Index y_stride;
  T* hn;       // (batch, H), h after each sequence's last step
  T* cn;       // (batch, H), or null
  T* reserve;  // (rows, kept) for the backward pass, or null
};

template <class T>
struct RecurrentBackward {
  RecurrentShape shape;
  RecurrentWeights<T> weights;
  const T* x;
  Index x_stride;
  const T* mask;
  const T* y;
  Index y_stride;
  const T* dy;  // null: 0
  Index dy_stride;
  const T* dhn;  // null: 0
  const T* dcn;
  T* reserve;  // as the forward pass left it; overwritten
  // Each null where not wanted.
  T* dx;  // (rows, I)
  Index dx_stride;
  bool add_to_dx;  // of the other direction
  T *dh0, *dc0;    // (batch, H)
  T *dih, *dhh, *dih_bias, *dhh_bias, *dpeepholes, *dnorm_ih, *dnorm_hh, *dnorm_c, *dnorm_c_bias;
  bool accumulate;  // add to what those by weights hold
};

// How a pass goes about it; the ladder.
template <class T>
struct RecurrentVariant {
  const char* name;
  const char* idea;
  const char* needs;  // "": each takes any shape
  void (*forward)(const RecurrentForward<T>&, int threads);
  void (*backward)(const RecurrentBackward<T>&, int threads);
};
template <class T>
const std::vector<RecurrentVariant<T>>& recurrent_variants();

// By the variant, or where it is null the fastest for the shape. No extent is 0 but `inputs`. Same bits with the same
// variant on the same number of threads. Throws std::bad_alloc.
template <class T>
void recurrent(const RecurrentForward<T>& p, const RecurrentVariant<T>* variant, int threads);
template <class T>
void recurrent_backward(const RecurrentBackward<T>& p, const RecurrentVariant<T>* variant, int threads);

// Two that do not depend on each other, as the directions of a layer do not: on two threads at the same time, one each,
// so that they need not meet once a step. Nothing that one writes may be read or written by the other, but for `dx`,
// which both may add to.
template <class T>
void recurrent_pair(const RecurrentForward<T> (&p)[2], const RecurrentVariant<T>* variant, int threads);
template <class T>
void recurrent_pair_backward(const RecurrentBackward<T> (&p)[2], const RecurrentVariant<T>* variant, int threads);

}  // namespace dlkit
