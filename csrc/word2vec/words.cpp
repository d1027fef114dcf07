// A batch of words, one after the other: finds the rows of each, and for CBOW sums up the inputs and returns the step.
#include <algorithm>

#include "core/scratch.h"
#include "word2vec/word2vec.h"

namespace dlkit {
namespace {

template <class T>
class Words {
 public:
  Words(const WordUpdate<T>& p, const PairVariant& variant) : p_(p), variant_(variant) {
    const std::size_t inputs = static_cast<std::size_t>(p.most_inputs),
                      outputs = static_cast<std::size_t>(p.most_outputs);
    x_ = scratch<T*>(Slot::columns, inputs + outputs);
    w_ = x_ + inputs;
    const Index most = variant.scratch(p.most_inputs, p.most_outputs, p.dim);
    labels_ = scratch<T>(Slot::windows, outputs + static_cast<std::size_t>(2 * p.dim + most));
    input_ = labels_ + outputs;
    step_ = input_ + p.dim;
    scratch_ = step_ + p.dim;
  }

  double update(Index word) const {
    Index inputs = 0;
    const std::int64_t* const rows = p_.inputs + word * p_.most_inputs;
    double loss = 0;
    for (Index i = 0; i < p_.most_inputs; ++i) {
      if (rows[i] < 0) continue;
      T** const x = x_ + inputs++;
      *x = p_.w_in + rows[i] * p_.dim;
      if (p_.own_outputs) loss += pairs(x, x, 1, word * p_.most_inputs + i);
    }
    if (p_.own_outputs || inputs == 0) return loss;
    return p_.cbow ? sum(inputs, word) : pairs(x_, x_, inputs, word);
  }

 private:
  double pairs(const T* const* x, T* const* dx, Index m, Index row) const {
    Index n = 0;
    for (Index j = row * p_.most_outputs; j < (row + 1) * p_.most_outputs; ++j) {
      if (p_.outputs[j] < 0) continue;
      labels_[n] = static_cast<T>(p_.labels[j]);
      w_[n++] = p_.w_out + p_.outputs[j] * p_.dim;
    }
    if (n == 0) return 0;
    const bool distinct = all_differ(dx, m) && all_differ(w_, n);
    return variant_.run(PairUpdate<T>{x, dx, m, w_, labels_, n, p_.dim, p_.lr, scratch_, p_.with_loss, distinct});
  }

  double sum(Index inputs, Index word) const {
    const BagKernels<T>& kernels = DLKIT_SELECT(bag_table).get(T());
    const T part = 1 / static_cast<T>(inputs);
    kernels.sum(x_, inputs, p_.dim, p_.mean ? part : T(1), input_);
    std::fill(step_, step_ + p_.dim, T(0));
    const double loss = pairs(&input_, &step_, 1, word);
    kernels.add(step_, p_.divide ? part : T(1), x_, inputs, p_.dim);
    return loss;
  }

  const WordUpdate<T>& p_;
  const PairVariant& variant_;
  T** x_;
  T** w_;
  T* labels_;
  T* input_;  // of CBOW, and its step
  T* step_;
  T* scratch_;
};

Index one_vector(Index, Index, Index dim) { return dim; }

double registers_float(const PairUpdate<float>& p) { return DLKIT_SELECT(pair_registers).single_precision(p); }
double registers_double(const PairUpdate<double>& p) { return DLKIT_SELECT(pair_registers).double_precision(p); }
double matrix_float(const PairUpdate<float>& p) { return DLKIT_SELECT(pair_matrix).single_precision(p); }
double matrix_double(const PairUpdate<double>& p) { return DLKIT_SELECT(pair_matrix).double_precision(p); }

}  // namespace

const std::vector<PairVariant>& pair_variants() {
  static const std::vector<PairVariant> table = {
      {"naive", "pair by pair, three loops over two vectors: the original program's order", "", one_vector,
       naive::update_pairs<float>, naive::update_pairs<double>},
      {"exp_table", "the same, its sigmoid from a table of 1,000 values", "", one_vector, update_pairs_by_table<float>,
       update_pairs_by_table<double>},
      {"registers", "pair by pair with vectors, the input and its step in registers", "", one_vector, registers_float,
       registers_double},
      {"matrix", "all pairs of a word that have their outputs in common: three small matrix products", "",
       [](Index m, Index n, Index) { return matrix_scratch(m, n); }, matrix_float, matrix_double},
  };
  return table;
}

template <class T>
double update_words(const WordUpdate<T>& p, const PairVariant& variant) {
  const Words<T> words(p, variant);
  double loss = 0;
  for (Index word = 0; word < p.words; ++word) loss += words.update(word);
  return loss;
}

template double update_words(const WordUpdate<float>&, const PairVariant&);
template double update_words(const WordUpdate<double>&, const PairVariant&);

}  // namespace dlkit
