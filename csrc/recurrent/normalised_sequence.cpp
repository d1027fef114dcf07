// Whole sequences with layer normalisation.
//
// As sequence.cpp, but that a gate's mean needs all of its units. So a step is not done by groups of units from their
// products straight to their states: the products of some rows with all of U go to scratch memory, which stays in the
// second-level cache (G H numbers for a sequence), and passes over whole rows make the rest of it, a few rows at a time
// so that each finds them in the first-level cache: the products normalised (normalised_cells.cpp), then the cells of
// cells.cpp, then an LSTM's c normalised, and h. W x of all steps is one product of matrices; a row of it is normalised
// in its step, where it is wanted. Backward is the mirror image: the gradients by the normalised become those by the
// products in their places, so that dU, dW and dx are products of matrices over all steps. What gains, biases and
// peepholes get adds up within each thread, and then over the threads in their order.
//
// Threads take sequences, at least one each, and meet once: when U is packed.
//
// Beside the products, forward reads and writes W x of all steps once more than without normalisation, and writes the
// normalised U h'; backward reads and writes both: 2 G H numbers for a row.
#include <algorithm>
#include <cstring>
#include <vector>

#include "core/thread_pool.h"
#include "matmul/matmul.h"
#include "recurrent/normalised.h"
#include "recurrent/sequence_parts.h"

namespace dlkit {
namespace {

// Rows that the passes over a step take turns at: denormalise takes as many at once.
constexpr Index kFewRows = 4;

// Calls body(first row, rows) for all of [row, row + count).
template <class Body>
void each_few(Index row, Index count, const Body& body) {
  for (Index r = row; r < row + count; r += kFewRows) body(r, std::min(kFewRows, row + count - r));
}

// How sequences are shared out: part i has rows [begin(i, n), end(i, n)) of a step of n rows.
class Parts {
 public:
  Parts(const RecurrentShape& s, const SequenceOptions& options, int threads)
      : count_(options.packed ? static_cast<int>(std::min<Index>(threads, s.batch())) : 1),
        borders_(sequence_borders(s, count_)) {}
  int count() const { return count_; }
  Index begin(int part, Index rows) const { return std::min(borders_[static_cast<std::size_t>(part)], rows); }
  Index end(int part, Index rows) const { return begin(part + 1, rows); }

 private:
  int count_;
  std::vector<Index> borders_;
};

// The product of some rows with columns of U that are packed, or with `columns` where they are not.
template <class T>
struct StateProduct {
  const RecurrentKernels<T>& k;
  const Groups& groups;
  const T* panels;  // null: not packed
  bool fetch;
  Matrix<const T> columns;
  int threads;

  void operator()(const T* from, Index from_stride, Index rows, T* out, Index out_stride) const {
    if (panels == nullptr) {
      MatmulProblem<T> product;
      product.a = {from, rows, columns.rows, from_stride, 1};
      product.b = columns;
      product.c = {out, rows, columns.cols, out_stride, 1};
      return matmul<T>(product, nullptr, threads);
    }
    StepProduct<T> product{};
    product.a = from;
    product.a_stride = from_stride;
    product.rows = rows;
    product.depth = groups.depth();
    product.out_stride = out_stride;
    for (Index g = 0; g < groups.end(0); ++g) {
      product.panels = panels + groups[g].panels;
      product.vectors = groups[g].vectors;
      product.out = out + groups[g].first;
      product.next = fetch ? panels + groups[g + 1 < groups.end(0) ? g + 1 : 0].panels : nullptr;
      k.multiply(product);
    }
  }
};

template <class T>
bool beyond_cache(const Groups& groups, const SequenceOptions& options) {
  return groups.size() * static_cast<Index>(sizeof(T)) > options.fetch_beyond;
}

// Rows from one to the next of products and states: whole registers, beside which no row ends at a power of two.
constexpr Index row_stride(Index columns) { return divide_up(columns, 16) * 16 + 16; }

template <class T>
class Forward {
 public:
  Forward(const RecurrentForward<T>& problem, const SequenceOptions& options, int threads)
      : p_(problem), s_(problem.shape), w_(problem.weights), options_(options), threads_(threads),
        parts_(s_, options, threads), steps_(s_), at_(s_), hidden_(s_.hidden), width_(s_.gates() * hidden_),
        reset_first_(s_.cell == Cell::gru_reset_first), keep_(p_.reserve != nullptr), shown_(w_.norm_c != nullptr),
        first_gates_(reset_first_ ? 2 : s_.gates()), first_(k_, first_gates_ * hidden_, 1, hidden_, 1),
        second_(k_, hidden_, 1, hidden_, 1), gates_stride_(keep_ ? at_.size : width_),
        state_stride_(row_stride(hidden_)), product_stride_(row_stride(width_)),
        block_rows_(options.packed ? std::min(s_.batch(), kProductRows) : s_.batch()) {}

  void run() {
    const Index batch = s_.batch(), block = keep_ ? steps_.count() : std::max<Index>(1, kBlockRows / batch);
    Index most_rows = 0;
    for (Index i = 0; i < steps_.count(); i += block) most_rows = std::max(most_rows, rows_of(i, block));
    state_ = arena_.place(batch * state_stride_);
    seen_ = arena_.place(reset_first_ ? batch * state_stride_ : 0);
    raw_ = arena_.place(p_.mask != nullptr ? batch * state_stride_ : 0);
    c_ = arena_.place(traits(s_.cell).has_c ? batch * hidden_ : 0);
    first_panels_ = arena_.place(options_.packed ? first_.size() : 0);
    second_panels_ = arena_.place(options_.packed && reset_first_ ? second_.size() : 0);
    product_ = arena_.place(block_rows_ * product_stride_ * parts_.count());
    gates_ = arena_.place(keep_ ? 0 : most_rows * gates_stride_);
    arena_.open();

    copy_rows(p_.h0, batch, hidden_, p_.mask, arena_[state_], state_stride_);
    if (p_.mask != nullptr) copy_rows<T>(p_.h0, batch, hidden_, nullptr, arena_[raw_], state_stride_);
    if (traits(s_.cell).has_c) copy_rows<T>(p_.c0, batch, hidden_, nullptr, arena_[c_], hidden_);
    if (options_.packed) parallel_for(parts_.count(), [&](int part) { pack(part); }, threads_);

    for (Index begin = 0; begin < steps_.count(); begin += block) {
      const Index end = std::min(begin + block, steps_.count());
      const Index row = std::min(steps_[begin].row, steps_[end - 1].row), rows = rows_of(begin, block);
      T* const gates = keep_ ? p_.reserve + row * gates_stride_ : arena_[gates_];
      if (options_.whole_input) input_product(row, rows, gates);
      const auto run_part = [&](int part) {
        for (Index i = begin; i < end; ++i) {
          T* const at = gates + (steps_[i].row - row) * gates_stride_;
          if (!options_.whole_input) input_product(steps_[i].row, steps_[i].rows, at);  // there is one part
          step(i, at, part);
        }
      };
      parallel_for(parts_.count(), run_part, threads_);
    }
    if (p_.hn != nullptr) write_last(s_, steps_, p_.y, p_.y_stride, p_.hn);
    if (p_.cn != nullptr) std::memcpy(p_.cn, arena_[c_], static_cast<std::size_t>(batch * hidden_) * sizeof(T));
  }

 private:
  Index rows_of(Index begin, Index count) const {
    Index rows = 0;
    for (Index i = begin; i < std::min(begin + count, steps_.count()); ++i) rows += steps_[i].rows;
    return rows;
  }

  // To where its normalised numbers go, or else to the gates.
  void input_product(Index row, Index rows, T* gates) const {
    MatmulProblem<T> product;
    product.a = {p_.x + row * p_.x_stride, rows, s_.inputs, p_.x_stride, 1};
    product.b = {w_.ih, s_.inputs, width_, 1, s_.inputs};
    product.c = {gates + (keep_ ? at_.by_input : 0), rows, width_, gates_stride_, 1};
    matmul<T>(product, nullptr, threads_);
  }

  void pack(int part) const {
    const auto all = [&](const Groups& groups, Index first_column, T* panels) {
      for (Index g = part; g < groups.end(0); g += parts_.count())
        k_.pack_gates(w_.hh + first_column * hidden_, 0, hidden_, 1, groups[g].first, groups[g].units,
                      panels + groups[g].panels);
    };
    all(first_, 0, arena_[first_panels_]);
    if (reset_first_) all(second_, 2 * hidden_, arena_[second_panels_]);
  }

  StateProduct<T> product_with(const Groups& groups, Index panels, Index first_column, Index columns) const {
    return {k_,
            groups,
            options_.packed ? arena_[panels] : nullptr,
            beyond_cache<T>(groups, options_),
            {w_.hh + first_column * hidden_, hidden_, columns, 1, hidden_},
            threads_};
  }

  void normalise_input(T* gates, Index rows) const {
    NormaliseRows<T> n{};
    n.rows = rows;
    n.gates = s_.gates();
    n.units = hidden_;
    n.from = gates + (keep_ ? at_.by_input : 0);
    n.from_stride = n.to_stride = n.kept_stride = gates_stride_;
    n.gain = w_.norm_ih;
    n.shift = w_.ih_bias;
    n.to = gates;
    if (keep_) n.normal = gates + at_.by_input, n.rstd = gates + at_.input_rstd;
    k_.normalise(n);
  }

  // The products of gates [gate, gate + count), in place.
  void normalise_state(T* gates, Index rows, Index gate, Index count, T* product) const {
    const Index first = gate * hidden_;
    NormaliseRows<T> n{};
    n.rows = rows;
    n.gates = count;
    n.units = hidden_;
    n.from = n.to = product + first;
    n.from_stride = n.to_stride = product_stride_;
    n.gain = w_.norm_hh + first;
    n.shift = w_.hh_bias == nullptr ? nullptr : w_.hh_bias + first;
    if (keep_) n.normal = gates + at_.by_state + first, n.rstd = gates + at_.state_rstd + gate;
    n.kept_stride = gates_stride_;
    k_.normalise(n);
  }

  CellForward<T> cell(Index i, T* gates, Index row, Index rows, const T* product) const {
    CellForward<T> c{};
    c.cell = s_.cell;
    c.new_z = s_.new_z;
    c.halves = shown_;
    c.rows = rows;
    c.units = c.hidden = hidden_;
    c.product = product;
    c.product_stride = product_stride_;
    c.product_gate = hidden_;
    c.gates = gates;
    c.gates_stride = gates_stride_;
    c.gate_stride = hidden_;
    c.keep = keep_;
    c.peepholes = w_.peepholes;
    const bool masked = p_.mask != nullptr;
    T* const raw = arena_[raw_] + row * state_stride_;
    c.state = arena_[state_] + row * state_stride_;
    c.h = masked ? raw : c.state;
    c.h_stride = c.state_stride = state_stride_;
    c.new_h = masked ? raw : nullptr;
    c.c = arena_[c_] + row * hidden_;
    if (masked) c.mask = p_.mask + row * hidden_;
    c.c_stride = c.mask_stride = hidden_;
    c.y = p_.y + (steps_[i].row + row) * p_.y_stride;
    c.y_stride = p_.y_stride;
    return c;
  }

  void to_state(const CellForward<T>& c, T* gates) const {
    k_.forward(c);
    if (!shown_) return;
    CellNorm<T> norm{};
    norm.gain = w_.norm_c;
    norm.shift = w_.norm_c_bias;
    if (keep_) norm.mean = gates + at_.c_mean, norm.rstd = gates + at_.c_rstd;
    norm.stride = gates_stride_;
    k_.show(c, norm);
  }

  void step(Index i, T* step_gates, int part) const {
    const Index end = parts_.end(part, steps_[i].rows);
    T* const out = arena_[product_] + part * block_rows_ * product_stride_;
    for (Index row = parts_.begin(part, steps_[i].rows); row < end; row += block_rows_) {
      const Index count = std::min(block_rows_, end - row);
      if (i == 0 && p_.h0 == nullptr)
        copy_rows<T>(nullptr, count, width_, nullptr, out, product_stride_);
      else
        product_with(first_, first_panels_, 0, first_gates_ * hidden_)(arena_[state_] + row * state_stride_,
                                                                       state_stride_, count, out, product_stride_);
      each_few(row, count, [&](Index r, Index few) {
        T *const gates = step_gates + r * gates_stride_, *const product = out + (r - row) * product_stride_;
        normalise_input(gates, few);
        normalise_state(gates, few, 0, first_gates_, product);
        CellForward<T> c = cell(i, gates, r, few, product);
        if (!reset_first_) return to_state(c, gates);
        c.state = arena_[seen_] + r * state_stride_;
        k_.reset(c);
      });
      if (!reset_first_) continue;
      product_with(second_, second_panels_, 2 * hidden_, hidden_)(arena_[seen_] + row * state_stride_, state_stride_,
                                                                  count, out + 2 * hidden_, product_stride_);
      each_few(row, count, [&](Index r, Index few) {
        T *const gates = step_gates + r * gates_stride_, *const product = out + (r - row) * product_stride_;
        normalise_state(gates, few, 2, 1, product);
        to_state(cell(i, gates, r, few, product + 2 * hidden_), gates);
      });
    }
  }

  const RecurrentForward<T>& p_;
  const RecurrentShape& s_;
  const RecurrentWeights<T>& w_;
  const SequenceOptions options_;
  const RecurrentKernels<T>& k_ = recurrent_kernels<T>();
  const int threads_;
  const Parts parts_;
  const Steps steps_;
  const NormalisedRow at_;
  const Index hidden_, width_;
  const bool reset_first_, keep_, shown_;
  const Index first_gates_;
  const Groups first_, second_;  // columns of U transposed, gate by gate; gru_reset_first: r and z, then n
  const Index gates_stride_, state_stride_, product_stride_, block_rows_;
  Arena<T> arena_;
  Index state_ = 0, seen_ = 0, raw_ = 0, c_ = 0, first_panels_ = 0, second_panels_ = 0, product_ = 0, gates_ = 0;
};

template <class T>
class Backward {
 public:
  Backward(const RecurrentBackward<T>& problem, const SequenceOptions& options, int threads)
      : p_(problem), s_(problem.shape), w_(problem.weights), options_(options), threads_(threads),
        parts_(s_, options, threads), steps_(s_), at_(s_), hidden_(s_.hidden), width_(s_.gates() * hidden_),
        reset_first_(s_.cell == Cell::gru_reset_first), shown_(w_.norm_c != nullptr),
        through_gates_(reset_first_ ? 2 : s_.gates()), through_(k_, hidden_, 1, through_gates_ * hidden_, 1),
        seen_(k_, hidden_, 1, hidden_, 1), product_stride_(row_stride(hidden_)),
        block_rows_(options.packed ? std::min(s_.batch(), kProductRows) : s_.batch()), sum_(hidden_, width_) {}

  void run() {
    const Index batch = s_.batch();
    dh_ = arena_.place(batch * hidden_);
    dc_ = arena_.place(traits(s_.cell).has_c ? batch * hidden_ : 0);
    through_panels_ = arena_.place(options_.packed ? through_.size() : 0);
    seen_panels_ = arena_.place(options_.packed && reset_first_ ? seen_.size() : 0);
    product_ = arena_.place(block_rows_ * product_stride_ * parts_.count());
    sums_ = arena_.place(sum_.size * parts_.count());
    arena_.open();
    copy_rows<T>(p_.dhn, batch, hidden_, nullptr, arena_[dh_], hidden_);
    if (traits(s_.cell).has_c) copy_rows<T>(p_.dcn, batch, hidden_, nullptr, arena_[dc_], hidden_);
    std::fill(arena_[sums_], arena_[sums_] + sum_.size * parts_.count(), T(0));
    if (options_.packed) parallel_for(parts_.count(), [&](int part) { pack(part); }, threads_);
    const auto run_part = [&](int part) {
      for (Index i = steps_.count() - 1; i >= -1; --i) step(i, part);
    };
    parallel_for(parts_.count(), run_part, threads_);
    const auto bytes = static_cast<std::size_t>(batch * hidden_) * sizeof(T);
    if (p_.dh0 != nullptr) std::memcpy(p_.dh0, arena_[dh_], bytes);
    if (p_.dc0 != nullptr) std::memcpy(p_.dc0, arena_[dc_], bytes);
    by_vectors();
    by_matrices();
  }

 private:
  // What a thread adds up, and where in its part of the sums.
  struct Sums {
    Index ih, hh, ih_bias, hh_bias, c, c_bias, peepholes, size;
    Sums(Index hidden, Index width)
        : ih(0), hh(width), ih_bias(2 * width), hh_bias(3 * width), c(4 * width), c_bias(c + hidden),
          peepholes(c_bias + hidden), size(round_up(peepholes + 3 * hidden, 16)) {}
  };

  void pack(int part) const {
    const auto all = [&](const Groups& groups, Index first_row, T* panels) {
      for (Index g = part; g < groups.end(0); g += parts_.count())
        k_.pack_units(w_.hh + first_row * hidden_, hidden_, groups.depth(), groups[g].first, groups[g].units,
                      panels + groups[g].panels);
    };
    all(through_, 0, arena_[through_panels_]);
    if (reset_first_) all(seen_, 2 * hidden_, arena_[seen_panels_]);
  }

  StateProduct<T> product_with(const Groups& groups, Index panels, Index first_row) const {
    return {k_,
            groups,
            options_.packed ? arena_[panels] : nullptr,
            beyond_cache<T>(groups, options_),
            {w_.hh + first_row * hidden_, groups.depth(), hidden_, hidden_, 1},
            threads_};
  }

  T* kept(Index i) const { return p_.reserve + steps_[i].row * at_.size; }
  Index rows(Index i) const { return i < 0 ? 0 : steps_[i].rows; }
  Index rows_after(Index i) const { return i + 1 < steps_.count() ? steps_[i + 1].rows : 0; }
  T* sums(int part) const { return arena_[sums_] + part * sum_.size; }

  CellBackward<T> cell(Index i, Index row, Index count, const T* product, Index product_rows, int part) const {
    CellBackward<T> c{};
    c.cell = s_.cell;
    c.new_z = s_.new_z;
    c.halves = shown_;
    c.rows = count;
    c.units = c.hidden = hidden_;
    c.product = product;
    c.product_stride = product_stride_;
    c.product_rows = product_rows;
    if (p_.mask != nullptr) c.mask = p_.mask + row * hidden_;
    c.mask_stride = hidden_;
    if (p_.dy != nullptr) c.dy = p_.dy + (steps_[i].row + row) * p_.dy_stride;
    c.dy_stride = p_.dy_stride;
    c.dh = arena_[dh_] + row * hidden_;
    if (traits(s_.cell).has_c) c.dc = arena_[dc_] + row * hidden_;
    c.carry_stride = hidden_;
    c.gates = kept(i) + row * at_.size;
    c.gates_stride = at_.size;
    c.gate_stride = hidden_;
    c.y = p_.y + (steps_[i].row + row) * p_.y_stride;
    c.y_stride = p_.y_stride;
    c.peepholes = w_.peepholes;
    if (p_.dpeepholes != nullptr) c.dpeepholes = sums(part) + sum_.peepholes;
    return c;
  }

  void to_gates(const CellBackward<T>& c, int part) const {
    if (shown_) {
      CellNorm<T> norm{};
      norm.gain = w_.norm_c;
      norm.shift = w_.norm_c_bias;
      norm.mean = c.gates + at_.c_mean;
      norm.rstd = c.gates + at_.c_rstd;
      norm.stride = at_.size;
      norm.dgain = sums(part) + sum_.c;
      norm.dshift = sums(part) + sum_.c_bias;
      k_.unshow(c, norm);
    }
    k_.backward(c);
  }

  // From the gradients by the gates' pre-activations, which begin at `slot`.
  DenormaliseRows<T> denormalise(T* gates, Index count, Index slot, Index gate, Index gate_count) const {
    DenormaliseRows<T> d{};
    d.rows = count;
    d.gates = gate_count;
    d.units = hidden_;
    d.gradient = gates + slot * hidden_;
    d.normal = gates + gate * hidden_;
    d.rstd = gates + gate;
    d.stride = at_.size;
    return d;
  }
  void denormalise_state(T* gates, Index count, Index gate, Index gate_count, int part) const {
    DenormaliseRows<T> d = denormalise(gates, count, gate, gate, gate_count);
    d.normal += at_.by_state;
    d.rstd += at_.state_rstd;
    d.gain = w_.norm_hh + gate * hidden_;
    d.dgain = sums(part) + sum_.hh + gate * hidden_;
    d.dshift = sums(part) + sum_.hh_bias + gate * hidden_;
    k_.denormalise(d);
  }
  // The bias gets what that of the state gets, but for n of the gru.
  void denormalise_input(T* gates, Index count, int part) const {
    const auto some = [&](Index slot, Index gate, Index gate_count, bool shift) {
      DenormaliseRows<T> d = denormalise(gates, count, slot, gate, gate_count);
      d.normal += at_.by_input;
      d.rstd += at_.input_rstd;
      d.gain = w_.norm_ih + gate * hidden_;
      d.dgain = sums(part) + sum_.ih + gate * hidden_;
      if (shift) d.dshift = sums(part) + sum_.ih_bias + gate * hidden_;
      k_.denormalise(d);
    };
    some(0, 0, joint(), false);
    if (s_.cell == Cell::gru) some(3, 2, 1, true);
  }
  Index joint() const { return s_.cell == Cell::gru ? 2 : s_.gates(); }

  void step(Index i, int part) const {
    if (i < 0 && p_.dh0 == nullptr) return;  // no gradient is wanted by h before the first step, and none goes there
    T* const out = arena_[product_] + part * block_rows_ * product_stride_;
    const Index most = std::max(rows(i), rows_after(i)), end = parts_.end(part, most);
    for (Index row = parts_.begin(part, most); row < end; row += block_rows_) {
      const Index block = std::min(block_rows_, end - row);
      const Index multiplied = std::clamp<Index>(rows_after(i) - row, 0, block);
      const Index in_step = std::clamp<Index>(rows(i) - row, 0, block);
      if (multiplied > 0)
        product_with(through_, through_panels_, 0)(kept(i + 1) + row * at_.size + at_.by_state, at_.size, multiplied,
                                                   out, product_stride_);
      each_few(row, in_step, [&](Index r, Index few) {
        const Index past = r - row;
        const CellBackward<T> c =
            cell(i, r, few, out + past * product_stride_, std::clamp<Index>(multiplied - past, 0, few), part);
        to_gates(c, part);
        if (reset_first_) return denormalise_state(c.gates, few, 1, 2, part);
        denormalise_state(c.gates, few, 0, s_.gates(), part);
        denormalise_input(c.gates, few, part);
      });
      // In the rows that step i + 1 began the gradient is that by their first state.
      for (Index r = row + in_step; r < row + multiplied; ++r)
        for (Index j = 0; j < hidden_; ++j) {
          const Index at = r * hidden_ + j;
          const T d = out[(r - row) * product_stride_ + j];
          arena_[dh_][at] += p_.mask == nullptr ? d : d * p_.mask[at];
        }
      if (!reset_first_ || in_step == 0) continue;
      product_with(seen_, seen_panels_, 2 * hidden_)(kept(i) + row * at_.size + at_.by_state + 2 * hidden_, at_.size,
                                                     in_step, out, product_stride_);
      each_few(row, in_step, [&](Index r, Index few) {
        const CellBackward<T> c = cell(i, r, few, out + (r - row) * product_stride_, few, part);
        k_.unreset(c);
        denormalise_state(c.gates, few, 0, 1, part);
        denormalise_input(c.gates, few, part);
      });
    }
  }

  // What each thread has added up.
  void by_vectors() const {
    const auto write = [&](Index from, Index count, T* target) {
      if (target == nullptr) return;
      for (Index j = 0; j < count; ++j) {
        T sum = p_.accumulate ? target[j] : T(0);
        for (int part = 0; part < parts_.count(); ++part) sum += sums(part)[from + j];
        target[j] = sum;
      }
    };
    write(sum_.ih, width_, p_.dnorm_ih);
    write(sum_.hh, width_, p_.dnorm_hh);
    write(sum_.hh_bias, width_, p_.dhh_bias);
    if (p_.dih_bias != nullptr) {
      write(sum_.hh_bias, joint() * hidden_, p_.dih_bias);
      write(sum_.ih_bias + joint() * hidden_, width_ - joint() * hidden_, p_.dih_bias + joint() * hidden_);
    }
    write(sum_.c, hidden_, p_.dnorm_c);
    write(sum_.c_bias, hidden_, p_.dnorm_c_bias);
    write(sum_.peepholes, 3 * hidden_, p_.dpeepholes);
  }

  // The gradients by W and U, which are products over all steps.
  void by_matrices() const {
    const Index all = s_.rows();
    T* const last_h = p_.reserve + (s_.slots() - 1) * hidden_;
    if (p_.mask != nullptr && p_.dhh != nullptr)
      for (Index i = 0; i < steps_.count(); ++i)
        k_.scale_rows(p_.mask, steps_[i].rows, hidden_, last_h + steps_[i].row * at_.size, at_.size);
    const auto by_weight = [&](Index from, Index count, const T* with, Index with_stride, Index cols, T* target) {
      MatmulProblem<T> product;
      product.a = {p_.reserve + from, count, all, 1, at_.size};
      product.b = {with, all, cols, with_stride, 1};
      product.c = {target, count, cols, cols, 1};
      product.accumulate = p_.accumulate;
      matmul<T>(product, nullptr, threads_);
    };
    if (p_.dhh != nullptr) {
      by_weight(at_.by_state, through_gates_ * hidden_, last_h, at_.size, hidden_, p_.dhh);
      if (reset_first_)
        by_weight(at_.by_state + 2 * hidden_, hidden_, p_.reserve + 3 * hidden_, at_.size, hidden_,
                  p_.dhh + 2 * hidden_ * hidden_);
    }
    if (p_.dih != nullptr && s_.inputs > 0) by_weight(at_.by_input, width_, p_.x, p_.x_stride, s_.inputs, p_.dih);
  }

  const RecurrentBackward<T>& p_;
  const RecurrentShape& s_;
  const RecurrentWeights<T>& w_;
  const SequenceOptions options_;
  const RecurrentKernels<T>& k_ = recurrent_kernels<T>();
  const int threads_;
  const Parts parts_;
  const Steps steps_;
  const NormalisedRow at_;
  const Index hidden_, width_;
  const bool reset_first_, shown_;
  const Index through_gates_;
  const Groups through_, seen_;  // the gradient by h' of all gates' products; gru_reset_first: of r and z, by r h' of n
  const Index product_stride_, block_rows_;
  const Sums sum_;
  Arena<T> arena_;
  Index dh_ = 0, dc_ = 0, through_panels_ = 0, seen_panels_ = 0, product_ = 0, sums_ = 0;
};

}  // namespace

template <class T>
void normalised_forward(const RecurrentForward<T>& p, const SequenceOptions& options, int threads) {
  Forward<T>(p, options, threads).run();
}

template <class T>
void normalised_backward(const RecurrentBackward<T>& p, const SequenceOptions& options, int threads) {
  Backward<T>(p, options, threads).run();
}

#define DLKIT_INSTANTIATE(T)                                                                 \
  template void normalised_forward(const RecurrentForward<T>&, const SequenceOptions&, int); \
  template void normalised_backward(const RecurrentBackward<T>&, const SequenceOptions&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
