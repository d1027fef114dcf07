// Whole sequences: what does not depend on the step before is taken out of the loop over steps.
//
//   cell      each step: a product for W x, a product for U h', the cell by element
//   sequence  W x of all steps is one product of matrices, with rows enough for its full speed; so are all gradients by
//             weights and inputs. The products of U are left in the loop, and pack U anew each time.
//   packed    U is packed once for the sequence (step_product.cpp). A group of units at a time: the products of all its
//             gates go into the first-level cache, where the cell finds them. Threads take sequences, which have
//             nothing to do with each other, where U fits in the second-level cache of each and there are enough of
//             them; each then makes W x of its own, lest gates travel from one core's cache to another's. Else they
//             take units, each the same ones in every step, so that its part of U stays in its own cache; then they
//             meet once a step.
//
// Of a step's 2 B H G H operations on G H^2 weights there are 2 B for each weight: bound by the multipliers where U
// comes from a cache and B is some 10, by the cache at B = 1. The gates of all steps are written once and read once.
// Appleyard, Kocisky & Blunsom 2016, "Optimizing Performance of Recurrent Neural Networks on GPUs".
#include "recurrent/sequence.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "core/thread_pool.h"
#include "matmul/matmul.h"
#include "recurrent/normalised.h"
#include "recurrent/sequence_parts.h"

namespace dlkit {
namespace {

// How the threads of a team share the work of every step.
struct Shares {
  int threads;               // at most
  bool sequences;            // each thread takes rows [begin[i], begin[i + 1]) of every step, else a part of the units
  std::vector<Index> begin;  // empty where they take units
  int unit_parts() const { return sequences ? 1 : threads; }
};

// Sequences that repay a thread: with fewer U is read too often for what is done with it.
constexpr Index kLeastSequences = 8;

// `panels` is the number of bytes of U, packed.
inline Shares share(const RecurrentShape& s, Index lanes, Index panels, const SequenceOptions& options, int threads,
                    bool may_take_sequences) {
  if (!options.packed) return {1, false, {}};
  if (may_take_sequences && threads > 1 && s.batch() >= kLeastSequences * threads &&
      panels <= options.fetch_beyond / 2 * 3)
    return {threads, true, sequence_borders(s, threads)};
  return {static_cast<int>(std::min<Index>(threads, divide_up(s.hidden, lanes))), false, {}};
}

template <class T>
class Forward {
 public:
  Forward(const RecurrentForward<T>& problem, const SequenceOptions& options, int threads)
      : p_(problem), s_(problem.shape), options_(options), threads_(threads),
        shares_(share(s_, k_.lanes, s_.gates() * s_.hidden * s_.hidden * static_cast<Index>(sizeof(T)), options,
                      threads, true)),
        parts_(shares_.threads), steps_(s_), hidden_(s_.hidden), reset_first_(s_.cell == Cell::gru_reset_first),
        own_input_(takes_own_input()), input_(k_, own_input_ ? s_.gates() * hidden_ : 0, 1, s_.inputs, 1),
        first_(k_, hidden_, reset_first_ ? 2 : static_cast<int>(s_.gates()), hidden_, shares_.unit_parts()),
        second_(k_, hidden_, 1, hidden_, shares_.unit_parts()),
        state_stride_(round_up(hidden_, 16) + 16),  // not a power of two
        gates_stride_((p_.reserve != nullptr ? s_.slots() : s_.gates()) * hidden_) {}

  void run() {
    const Index batch = s_.batch(), width = s_.gates() * hidden_;
    const Index block = block_steps();
    Index most_rows = 0;
    for (Index i = 0; i < steps_.count(); i += block) most_rows = std::max(most_rows, rows_of(i, block));
    bias_ = arena_.place(width);
    for (Index& state : states_) state = arena_.place(batch * state_stride_);
    seen_ = arena_.place(reset_first_ ? batch * state_stride_ : 0);
    raw_ = arena_.place(p_.mask != nullptr ? batch * state_stride_ : 0);
    c_ = arena_.place(traits(s_.cell).has_c ? batch * hidden_ : 0);
    input_panels_ = arena_.place(input_.size());
    first_panels_ = arena_.place(options_.packed ? first_.size() : 0);
    second_panels_ = arena_.place(options_.packed && reset_first_ ? second_.size() : 0);
    const Index product_rows = options_.packed ? std::min(batch, kProductRows) : batch;
    product_size_ = product_rows * (options_.packed ? std::max(first_.widest(), second_.widest()) : width);
    product_ = arena_.place(product_size_ * parts_);
    gates_ = arena_.place(p_.reserve != nullptr ? 0 : most_rows * gates_stride_);
    arena_.open();

    const T* const bias = make_bias();
    for (const Index state : states_) copy_rows(p_.h0, batch, hidden_, p_.mask, arena_[state], state_stride_);
    if (p_.mask != nullptr) copy_rows<T>(p_.h0, batch, hidden_, nullptr, arena_[raw_], state_stride_);
    if (traits(s_.cell).has_c) copy_rows<T>(p_.c0, batch, hidden_, nullptr, arena_[c_], hidden_);

    for (Index begin = 0; begin < steps_.count(); begin += block) {
      const Index end = std::min(begin + block, steps_.count());
      const Index row = std::min(steps_[begin].row, steps_[end - 1].row), rows = rows_of(begin, block);
      T* const gates = p_.reserve != nullptr ? p_.reserve + row * gates_stride_ : arena_[gates_];
      if (options_.whole_input && !own_input_) input_product(row, rows, gates, bias, threads_);
      if (options_.packed) {
        parallel_team(parts_, [&](int rank, int size) noexcept {
          if (begin == 0) {
            pack(rank, size);
            if (shares_.sequences) barrier_.wait(size);
          }
          const auto meet = [&] {
            if (!shares_.sequences) barrier_.wait(size);
          };
          if (own_input_)
            for (int part = rank; part < parts_; part += size) own_input_product(part, begin, end, row, gates, bias);
          for (Index i = begin; i < end; ++i) {
            const auto& step = steps_[i];
            T* const at = gates + (step.row - row) * gates_stride_;
            if (reset_first_) {
              for (int part = rank; part < parts_; part += size) reset_part(i, at, part);
              meet();
            }
            for (int part = rank; part < parts_; part += size) step_part(i, at, part);
            meet();
          }
        });
      } else {
        for (Index i = begin; i < end; ++i) {
          const auto& step = steps_[i];
          T* const at = gates + (step.row - row) * gates_stride_;
          if (!options_.whole_input) input_product(step.row, step.rows, at, bias, threads_);
          step_whole(i, at);
        }
      }
    }
    if (p_.hn != nullptr) write_last(s_, steps_, p_.y, p_.y_stride, p_.hn);
    if (p_.cn != nullptr) std::memcpy(p_.cn, arena_[c_], static_cast<std::size_t>(batch * hidden_) * sizeof(T));
  }

 private:
  // Steps whose W x are made together.
  Index block_steps() const {
    return p_.reserve != nullptr ? steps_.count() : std::max<Index>(1, kBlockRows / s_.batch());
  }
  Index rows_of(Index begin, Index count) const {
    Index rows = 0;
    for (Index i = begin; i < std::min(begin + count, steps_.count()); ++i) rows += steps_[i].rows;
    return rows;
  }

  // b + b', but for n of the gru, whose b' is within the product with r.
  const T* make_bias() {
    const RecurrentWeights<T>& w = p_.weights;
    if (w.ih_bias == nullptr && w.hh_bias == nullptr) return nullptr;
    T* const bias = arena_[bias_];
    const Index shared = (s_.cell == Cell::gru ? 2 : s_.gates()) * hidden_;
    for (Index j = 0; j < s_.gates() * hidden_; ++j)
      bias[j] =
          (w.ih_bias != nullptr ? w.ih_bias[j] : T(0)) + (w.hh_bias != nullptr && j < shared ? w.hh_bias[j] : T(0));
    return bias;
  }

  void input_product(Index row, Index rows, T* gates, const T* bias, int threads) const {
    const Index width = s_.gates() * hidden_;
    MatmulProblem<T> product;
    product.a = {p_.x + row * p_.x_stride, rows, s_.inputs, p_.x_stride, 1};
    product.b = {p_.weights.ih, s_.inputs, width, 1, s_.inputs};
    product.c = {gates, rows, width, gates_stride_, 1};
    product.bias = bias;
    matmul<T>(product, nullptr, threads);
  }

  // Whether each thread makes W x of its own sequences: not where W is too large to stay near beside U.
  bool takes_own_input() const {
    const Index bytes = s_.gates() * hidden_ * s_.inputs * static_cast<Index>(sizeof(T));
    return shares_.sequences && options_.whole_input && s_.inputs > 0 && bytes <= options_.fetch_beyond / 2 * 3;
  }

  // W x of a part's sequences in steps [begin, end), whose first row is first_row.
  void own_input_product(int part, Index begin, Index end, Index first_row, T* gates, const T* bias) const {
    for (Index g = 0; g < input_.end(0); ++g) {
      const Group& group = input_[g];
      StepProduct<T> product{};
      product.a_stride = p_.x_stride;
      product.depth = s_.inputs;
      product.panels = arena_[input_panels_] + group.panels;
      product.vectors = group.vectors;
      product.out_stride = gates_stride_;
      product.last_columns = static_cast<int>(group.units - (group.vectors - 1) * k_.lanes);
      if (bias != nullptr) product.bias = bias + group.first;
      for (Index i = begin; i < end; ++i) {
        const auto& step = steps_[i];
        const Index row = begin_row(part, step.rows);
        product.rows = end_row(part, step.rows) - row;
        if (product.rows == 0) continue;
        product.a = p_.x + (step.row + row) * p_.x_stride;
        product.out = gates + (step.row + row - first_row) * gates_stride_ + group.first;
        k_.multiply(product);
      }
    }
  }

  void pack(int rank, int size) const {
    for (int part = rank; part < parts_; part += size) {
      // `units` rows of the weights for each gate.
      const auto all = [&](const Groups& groups, const T* weights, Index units, T* panels) {
        for (Index g = first_group(groups, part); g < groups.end(unit_part(part)); g += group_step())
          k_.pack_gates(weights, units, groups.depth(), groups.gates(), groups[g].first, groups[g].units,
                        panels + groups[g].panels);
      };
      if (own_input_) all(input_, p_.weights.ih, s_.gates() * hidden_, arena_[input_panels_]);
      all(first_, p_.weights.hh, hidden_, arena_[first_panels_]);
      if (reset_first_) all(second_, p_.weights.hh + 2 * hidden_ * hidden_, hidden_, arena_[second_panels_]);
    }
  }

  // Whose units a part of the work has: all, where it has sequences of its own. Then parts take turns to pack groups.
  int unit_part(int part) const { return shares_.sequences ? 0 : part; }
  Index first_group(const Groups& groups, int part) const { return shares_.sequences ? part : groups.begin(part); }
  Index group_step() const { return shares_.sequences ? parts_ : 1; }
  // The rows of `rows` that a part has.
  Index begin_row(int part, Index rows) const {
    return shares_.sequences ? std::min(shares_.begin[static_cast<std::size_t>(part)], rows) : 0;
  }
  Index end_row(int part, Index rows) const {
    return shares_.sequences ? std::min(shares_.begin[static_cast<std::size_t>(part) + 1], rows) : rows;
  }

  bool from_zero(Index i) const { return i == 0 && p_.h0 == nullptr; }
  const T* state(Index i) const { return arena_[states_[i % 2]]; }

  // The cell of a group of units in rows [row, row + rows) of step i.
  CellForward<T> cell(Index i, T* gates, Index row, Index rows, Index first, Index units) const {
    CellForward<T> c{};
    c.cell = s_.cell;
    c.new_z = s_.new_z;
    c.rows = rows;
    c.units = units;
    c.gates = gates + row * gates_stride_ + first;
    c.gates_stride = gates_stride_;
    c.gate_stride = hidden_;
    c.keep = p_.reserve != nullptr;
    if (s_.cell == Cell::gru && p_.weights.hh_bias != nullptr) c.hh_bias = p_.weights.hh_bias + 2 * hidden_ + first;
    if (p_.weights.peepholes != nullptr) c.peepholes = p_.weights.peepholes + first;
    c.hidden = hidden_;
    const bool masked = p_.mask != nullptr;
    T* const raw = arena_[raw_] + row * state_stride_ + first;
    c.h = masked ? raw : state(i) + row * state_stride_ + first;
    c.h_stride = state_stride_;
    c.new_h = masked ? raw : nullptr;
    c.c = arena_[c_] + row * hidden_ + first;
    c.c_stride = hidden_;
    if (masked) c.mask = p_.mask + row * hidden_ + first;
    c.mask_stride = hidden_;
    c.state = arena_[states_[(i + 1) % 2]] + row * state_stride_ + first;
    c.state_stride = state_stride_;
    c.y = p_.y + (steps_[i].row + row) * p_.y_stride + first;
    c.y_stride = p_.y_stride;
    return c;
  }

  // Calls body(group, row, rows, product) for the groups of a part, with the product of the rows of `from`.
  template <class Body>
  void each_product(const Groups& groups, const T* panels, int part, Index rows, const T* from, T* gates,
                    const Body& body) const {
    T* const out = arena_[product_] + part * product_size_;
    const Index first_row = begin_row(part, rows), end = end_row(part, rows), last = groups.end(unit_part(part));
    for (Index g = groups.begin(unit_part(part)); g < last; ++g) {
      const Group& group = groups[g];
      for (Index row = first_row; row < end; row += kProductRows) {
        const Index count = std::min(kProductRows, end - row);
        StepProduct<T> product{};
        product.a = from + row * state_stride_;
        product.a_stride = state_stride_;
        product.rows = count;
        product.depth = hidden_;
        product.panels = panels + group.panels;
        product.vectors = group.vectors;
        product.out = out;
        product.out_stride = group.vectors * k_.lanes;
        if (p_.reserve != nullptr)  // inference makes W x of few rows at a time: they are near
          product.kept = {gates + row * gates_stride_ + group.first, gates_stride_, hidden_, group.units,
                          static_cast<int>(s_.slots())};
        if (groups.size() * static_cast<Index>(sizeof(T)) > options_.fetch_beyond * shares_.unit_parts() &&
            row == first_row)
          product.next = panels + groups[g + 1 < last ? g + 1 : groups.begin(unit_part(part))].panels;
        k_.multiply(product);
        body(group, row, count, out);
      }
    }
  }

  // Of a step whose product with U is left out: groups without one.
  template <class Body>
  void each_group(const Groups& groups, int part, const Body& body) const {
    for (Index g = groups.begin(unit_part(part)); g < groups.end(unit_part(part)); ++g) body(groups[g]);
  }

  void step_part(Index i, T* gates, int part) const {
    const Index rows = steps_[i].rows, row = begin_row(part, rows), own = end_row(part, rows) - row;
    if (from_zero(i))
      return each_group(first_, part,
                        [&](const Group& group) { k_.forward(cell(i, gates, row, own, group.first, group.units)); });
    const Groups& groups = reset_first_ ? second_ : first_;
    each_product(groups, arena_[reset_first_ ? second_panels_ : first_panels_], part, rows,
                 reset_first_ ? arena_[seen_] : state(i), gates,
                 [&](const Group& group, Index row, Index count, const T* out) {
                   CellForward<T> c = cell(i, gates, row, count, group.first, group.units);
                   c.product = out;
                   c.product_stride = group.vectors * k_.lanes;
                   c.product_gate = group.units;
                   k_.forward(c);
                 });
  }

  void reset_part(Index i, T* gates, int part) const {
    const Index rows = steps_[i].rows, begin = begin_row(part, rows), own = end_row(part, rows) - begin;
    const auto to_seen = [&](CellForward<T> c, Index row, Index first) {
      c.state = arena_[seen_] + row * state_stride_ + first;
      k_.reset(c);
    };
    if (from_zero(i))
      return each_group(first_, part, [&](const Group& group) {
        to_seen(cell(i, gates, begin, own, group.first, group.units), begin, group.first);
      });
    each_product(first_, arena_[first_panels_], part, rows, state(i), gates,
                 [&](const Group& group, Index row, Index count, const T* out) {
                   CellForward<T> c = cell(i, gates, row, count, group.first, group.units);
                   c.product = out;
                   c.product_stride = group.vectors * k_.lanes;
                   c.product_gate = group.units;
                   to_seen(c, row, group.first);
                 });
  }

  // A step by products of whole matrices.
  void step_whole(Index i, T* gates) const {
    const Index rows = steps_[i].rows, width = s_.gates() * hidden_;
    T* const out = arena_[product_];
    const auto multiply = [&](const T* from, Index first_column, Index columns) {
      MatmulProblem<T> product;
      product.a = {from, rows, hidden_, state_stride_, 1};
      product.b = {p_.weights.hh + first_column * hidden_, hidden_, columns, 1, hidden_};
      product.c = {out + first_column, rows, columns, width, 1};
      matmul<T>(product, nullptr, threads_);
    };
    CellForward<T> c = cell(i, gates, 0, rows, 0, hidden_);
    c.product_stride = width;
    c.product_gate = hidden_;
    if (reset_first_) {
      if (!from_zero(i)) multiply(state(i), 0, 2 * hidden_);
      CellForward<T> reset = c;
      reset.product = from_zero(i) ? nullptr : out;
      reset.state = arena_[seen_];
      k_.reset(reset);
      multiply(arena_[seen_], 2 * hidden_, hidden_);
      c.product = out + 2 * hidden_;
    } else if (!from_zero(i)) {
      multiply(state(i), 0, width);
      c.product = out;
    }
    k_.forward(c);
  }

  const RecurrentForward<T>& p_;
  const RecurrentShape& s_;
  const SequenceOptions options_;
  const RecurrentKernels<T>& k_ = recurrent_kernels<T>();
  const int threads_;
  const Shares shares_;
  const int parts_;
  const Steps steps_;
  const Index hidden_;
  const bool reset_first_, own_input_;
  const Groups input_, first_, second_;  // gru_reset_first: r and z, then n
  const Index state_stride_, gates_stride_;
  Arena<T> arena_;
  Index bias_ = 0, states_[2] = {}, seen_ = 0, raw_ = 0, c_ = 0, input_panels_ = 0, first_panels_ = 0;
  Index second_panels_ = 0, product_ = 0, product_size_ = 0, gates_ = 0;
  mutable Barrier barrier_;
};

template <class T>
class Backward {
 public:
  Backward(const RecurrentBackward<T>& problem, const SequenceOptions& options, int threads)
      : p_(problem), s_(problem.shape), options_(options), threads_(threads),
        shares_(share(s_, k_.lanes, s_.gates() * s_.hidden * s_.hidden * static_cast<Index>(sizeof(T)), options,
                      threads, problem.dpeepholes == nullptr)),  // to which the rows of a unit add up
        parts_(shares_.threads), steps_(s_), hidden_(s_.hidden), reset_first_(s_.cell == Cell::gru_reset_first),
        through_(k_, hidden_, 1, (reset_first_ ? 2 : s_.gates()) * hidden_, shares_.unit_parts()),
        seen_(k_, hidden_, 1, hidden_, shares_.unit_parts()), gates_stride_(s_.slots() * hidden_) {}

  void run() {
    const Index batch = s_.batch();
    dh_ = arena_.place(batch * hidden_);
    dc_ = arena_.place(traits(s_.cell).has_c ? batch * hidden_ : 0);
    through_panels_ = arena_.place(options_.packed ? through_.size() : 0);
    seen_panels_ = arena_.place(options_.packed && reset_first_ ? seen_.size() : 0);
    product_size_ = (options_.packed ? std::min(batch, kProductRows) * through_.widest() : batch * hidden_);
    product_ = arena_.place(product_size_ * parts_);
    arena_.open();
    copy_rows<T>(p_.dhn, batch, hidden_, nullptr, arena_[dh_], hidden_);
    if (traits(s_.cell).has_c) copy_rows<T>(p_.dcn, batch, hidden_, nullptr, arena_[dc_], hidden_);
    if (p_.dpeepholes != nullptr && !p_.accumulate) std::fill(p_.dpeepholes, p_.dpeepholes + 3 * hidden_, T(0));

    if (options_.packed) {
      parallel_team(parts_, [&](int rank, int size) noexcept {
        pack(rank, size);
        if (shares_.sequences) barrier_.wait(size);
        const auto meet = [&] {
          if (!shares_.sequences) barrier_.wait(size);
        };
        for (Index i = steps_.count() - 1; i >= -1; --i) {
          for (int part = rank; part < parts_; part += size) step_part(i, part);
          meet();
          if (reset_first_ && i >= 0) {
            for (int part = rank; part < parts_; part += size) unreset_part(i, part);
            meet();
          }
        }
      });
    } else {
      for (Index i = steps_.count() - 1; i >= -1; --i) step_whole(i);
    }
    if (p_.dh0 != nullptr) std::memcpy(p_.dh0, arena_[dh_], static_cast<std::size_t>(batch * hidden_) * sizeof(T));
    if (p_.dc0 != nullptr) std::memcpy(p_.dc0, arena_[dc_], static_cast<std::size_t>(batch * hidden_) * sizeof(T));
    by_weights();
  }

 private:
  void pack(int rank, int size) const {
    for (int part = rank; part < parts_; part += size) {
      const auto all = [&](const Groups& groups, const T* hh, T* panels) {
        const Index begin = shares_.sequences ? part : groups.begin(part), step = shares_.sequences ? parts_ : 1;
        for (Index g = begin; g < groups.end(unit_part(part)); g += step)
          k_.pack_units(hh, hidden_, groups.depth(), groups[g].first, groups[g].units, panels + groups[g].panels);
      };
      all(through_, p_.weights.hh, arena_[through_panels_]);
      if (reset_first_) all(seen_, p_.weights.hh + 2 * hidden_ * hidden_, arena_[seen_panels_]);
    }
  }

  // As those of Forward.
  int unit_part(int part) const { return shares_.sequences ? 0 : part; }
  Index begin_row(int part, Index rows) const {
    return shares_.sequences ? std::min(shares_.begin[static_cast<std::size_t>(part)], rows) : 0;
  }
  Index end_row(int part, Index rows) const {
    return shares_.sequences ? std::min(shares_.begin[static_cast<std::size_t>(part) + 1], rows) : rows;
  }

  // What was kept of a step's rows; once its cells are done, the gradients by its pre-activations.
  T* gates(Index i) const { return p_.reserve + steps_[i].row * gates_stride_; }
  Index rows(Index i) const { return i < 0 ? 0 : steps_[i].rows; }
  Index rows_after(Index i) const { return i + 1 < steps_.count() ? steps_[i + 1].rows : 0; }
  // No gradient is wanted by h before the first step, and none goes there.
  bool needless(Index i) const { return i < 0 && p_.dh0 == nullptr; }

  CellBackward<T> cell(Index i, Index row, Index count, Index first, Index units) const {
    CellBackward<T> c{};
    c.cell = s_.cell;
    c.new_z = s_.new_z;
    c.rows = count;
    c.units = units;
    if (p_.mask != nullptr) c.mask = p_.mask + row * hidden_ + first;
    c.mask_stride = hidden_;
    if (p_.dy != nullptr) c.dy = p_.dy + (steps_[i].row + row) * p_.dy_stride + first;
    c.dy_stride = p_.dy_stride;
    c.dh = arena_[dh_] + row * hidden_ + first;
    if (traits(s_.cell).has_c) c.dc = arena_[dc_] + row * hidden_ + first;
    c.carry_stride = hidden_;
    c.gates = gates(i) + row * gates_stride_ + first;
    c.gates_stride = gates_stride_;
    c.gate_stride = hidden_;
    c.y = p_.y + (steps_[i].row + row) * p_.y_stride + first;
    c.y_stride = p_.y_stride;
    if (p_.weights.peepholes != nullptr) c.peepholes = p_.weights.peepholes + first;
    if (p_.dpeepholes != nullptr) c.dpeepholes = p_.dpeepholes + first;
    c.hidden = hidden_;
    return c;
  }

  // Rows [row, row + count) of a group, with the gradient that came through U from the step after in `product`: the
  // cells of step i in its rows; in the others, which step i + 1 began, the gradient is that by their first state.
  void cells(Index i, Index row, Index count, Index first, Index units, const T* product, Index product_stride) const {
    const Index in_step = std::clamp<Index>(rows(i) - row, 0, count);
    if (in_step > 0) {
      CellBackward<T> c = cell(i, row, in_step, first, units);
      c.product = product;
      c.product_stride = product_stride;
      c.product_rows = std::clamp<Index>(rows_after(i) - row, 0, in_step);
      k_.backward(c);
    }
    for (Index r = row + in_step; r < std::min(row + count, rows_after(i)); ++r)
      for (Index j = 0; j < units; ++j) {
        const Index at = r * hidden_ + first + j;
        const T d = product[(r - row) * product_stride + j];
        arena_[dh_][at] += p_.mask == nullptr ? d : d * p_.mask[at];
      }
  }

  void multiply(const Groups& groups, const T* panels, Index g, int part, const T* from, Index count, T* kept,
                T* out) const {
    StepProduct<T> product{};
    product.a = from;
    product.a_stride = gates_stride_;
    product.rows = count;
    product.depth = groups.depth();
    product.panels = panels + groups[g].panels;
    product.vectors = groups[g].vectors;
    product.out = out;
    product.out_stride = groups[g].vectors * k_.lanes;
    if (kept != nullptr)
      product.kept = {kept + groups[g].first, gates_stride_, hidden_, groups[g].units, static_cast<int>(s_.slots())};
    if (groups.size() * static_cast<Index>(sizeof(T)) > options_.fetch_beyond * shares_.unit_parts())
      product.next =
          panels + groups[g + 1 < groups.end(unit_part(part)) ? g + 1 : groups.begin(unit_part(part))].panels;
    k_.multiply(product);
  }

  void step_part(Index i, int part) const {
    if (needless(i)) return;
    T* const out = arena_[product_] + part * product_size_;
    const Index most = std::max(rows(i), rows_after(i)), with_product = rows_after(i), count = end_row(part, most);
    for (Index g = through_.begin(unit_part(part)); g < through_.end(unit_part(part)); ++g)
      for (Index row = begin_row(part, most); row < count; row += kProductRows) {
        const Index block = std::min(kProductRows, count - row),
                    multiplied = std::clamp<Index>(with_product - row, 0, block);
        if (multiplied > 0)
          multiply(through_, arena_[through_panels_], g, part, gates(i + 1) + row * gates_stride_, multiplied,
                   i >= 0 ? gates(i) + row * gates_stride_ : nullptr, out);
        cells(i, row, block, through_[g].first, through_[g].units, out, through_[g].vectors * k_.lanes);
      }
  }

  void unreset_part(Index i, int part) const {
    T* const out = arena_[product_] + part * product_size_;
    const Index count = end_row(part, rows(i));
    for (Index g = seen_.begin(unit_part(part)); g < seen_.end(unit_part(part)); ++g)
      for (Index row = begin_row(part, rows(i)); row < count; row += kProductRows) {
        const Index block = std::min(kProductRows, count - row);
        multiply(seen_, arena_[seen_panels_], g, part, gates(i) + row * gates_stride_ + 2 * hidden_, block, nullptr,
                 out);
        CellBackward<T> c = cell(i, row, block, seen_[g].first, seen_[g].units);
        c.product = out;
        c.product_stride = seen_[g].vectors * k_.lanes;
        c.product_rows = block;
        k_.unreset(c);
      }
  }

  void step_whole(Index i) const {
    if (needless(i)) return;
    T* const out = arena_[product_];
    const auto multiply_whole = [&](const T* from, Index count, Index first_row, Index depth) {
      MatmulProblem<T> product;
      product.a = {from, count, depth, gates_stride_, 1};
      product.b = {p_.weights.hh + first_row * hidden_, depth, hidden_, hidden_, 1};
      product.c = {out, count, hidden_, hidden_, 1};
      matmul<T>(product, nullptr, threads_);
    };
    if (rows_after(i) > 0) multiply_whole(gates(i + 1), rows_after(i), 0, (reset_first_ ? 2 : s_.gates()) * hidden_);
    cells(i, 0, std::max(rows(i), rows_after(i)), 0, hidden_, out, hidden_);
    if (!reset_first_ || i < 0) return;
    multiply_whole(gates(i) + 2 * hidden_, rows(i), 2 * hidden_, hidden_);
    CellBackward<T> c = cell(i, 0, rows(i), 0, hidden_);
    c.product = out;
    c.product_stride = hidden_;
    c.product_rows = rows(i);
    k_.unreset(c);
  }

  // The gradients by weights, which are products over all steps.
  void by_weights() const {
    const Index all = s_.rows(), last = s_.slots() - 1;
    if (p_.mask != nullptr && p_.dhh != nullptr)
      for (Index i = 0; i < steps_.count(); ++i)
        k_.scale_rows(p_.mask, steps_[i].rows, hidden_, gates(i) + last * hidden_, gates_stride_);
    // target (+)= gradients of gates [gate, gate + count) transposed, times `with`
    const auto by_weight = [&](Index slot, Index count, const T* with, Index with_stride, Index cols, T* target) {
      MatmulProblem<T> product;
      product.a = {p_.reserve + slot * hidden_, count * hidden_, all, 1, gates_stride_};
      product.b = {with, all, cols, with_stride, 1};
      product.c = {target, count * hidden_, cols, cols, 1};
      product.accumulate = p_.accumulate;
      matmul<T>(product, nullptr, threads_);
    };
    const auto by_bias = [&](Index slot, Index count, T* target) {
      k_.column_sums(p_.reserve + slot * hidden_, gates_stride_, all, count * hidden_, p_.accumulate, target);
    };
    // Which slots hold the gates' gradients by W x: of the gru's n it is the one after.
    const bool split = s_.cell == Cell::gru;
    const Index joint = split ? 2 : s_.gates();
    if (p_.dhh != nullptr) {
      const T* const h = p_.reserve + last * hidden_;
      by_weight(0, reset_first_ ? 2 : s_.gates(), h, gates_stride_, hidden_, p_.dhh);
      if (reset_first_)
        by_weight(2, 1, p_.reserve + 3 * hidden_, gates_stride_, hidden_, p_.dhh + 2 * hidden_ * hidden_);
    }
    if (p_.dhh_bias != nullptr) by_bias(0, s_.gates(), p_.dhh_bias);
    if (p_.dih != nullptr && s_.inputs > 0) {
      by_weight(0, joint, p_.x, p_.x_stride, s_.inputs, p_.dih);
      if (split) by_weight(3, 1, p_.x, p_.x_stride, s_.inputs, p_.dih + 2 * hidden_ * s_.inputs);
    }
    if (p_.dih_bias != nullptr) {
      if (p_.dhh_bias != nullptr && !p_.accumulate)  // the same sums
        std::memcpy(p_.dih_bias, p_.dhh_bias, static_cast<std::size_t>(joint * hidden_) * sizeof(T));
      else
        by_bias(0, joint, p_.dih_bias);
      if (split) by_bias(3, 1, p_.dih_bias + 2 * hidden_);
    }
  }

  const RecurrentBackward<T>& p_;
  const RecurrentShape& s_;
  const SequenceOptions options_;
  const RecurrentKernels<T>& k_ = recurrent_kernels<T>();
  const int threads_;
  const Shares shares_;
  const int parts_;
  const Steps steps_;
  const Index hidden_;
  const bool reset_first_;
  const Groups through_, seen_;  // the gradient by h' of all gates' products; gru_reset_first: of r and z, by r h' of n
  const Index gates_stride_;
  Arena<T> arena_;
  Index dh_ = 0, dc_ = 0, through_panels_ = 0, seen_panels_ = 0, product_ = 0, product_size_ = 0;
  mutable Barrier barrier_;
};

}  // namespace

template <class T>
void sequence_forward(const RecurrentForward<T>& p, const SequenceOptions& options, int threads) {
  if (p.shape.normalised) return normalised_forward(p, options, threads);
  Forward<T>(p, options, threads).run();
}

template <class T>
void sequence_backward(const RecurrentBackward<T>& p, const SequenceOptions& options, int threads) {
  if (p.shape.normalised)
    normalised_backward(p, options, threads);
  else
    Backward<T>(p, options, threads).run();
  input_gradient(p, threads);
}

template <class T>
void input_gradient(const RecurrentBackward<T>& p, int threads) {
  const RecurrentShape& s = p.shape;
  if (p.dx == nullptr || s.inputs == 0) return;
  const Index all = s.rows(), stride = s.kept();
  const auto add_gates = [&](Index from, Index count, Index first_row, bool add) {
    MatmulProblem<T> product;
    product.a = {p.reserve + from, all, count * s.hidden, stride, 1};
    product.b = {p.weights.ih + first_row * s.inputs, count * s.hidden, s.inputs, s.inputs, 1};
    product.c = {p.dx, all, s.inputs, p.dx_stride, 1};
    product.accumulate = add;
    matmul<T>(product, nullptr, threads);
  };
  if (s.normalised) return add_gates(NormalisedRow(s).by_input, s.gates(), 0, p.add_to_dx);
  const bool split = s.cell == Cell::gru;  // whose n has its gradient by W x in the slot after
  add_gates(0, split ? 2 : s.gates(), 0, p.add_to_dx);
  if (split) add_gates(3 * s.hidden, 1, 2 * s.hidden, true);
}

#define DLKIT_INSTANTIATE(T)                                                                 \
  template void sequence_forward(const RecurrentForward<T>&, const SequenceOptions&, int);   \
  template void sequence_backward(const RecurrentBackward<T>&, const SequenceOptions&, int); \
  template void input_gradient(const RecurrentBackward<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
