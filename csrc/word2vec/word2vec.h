// Word vectors: what one word of a text changes in them, by negative sampling or hierarchical softmax.
//
// An input vector x predicts for each of n rows w of an output matrix whether it is one of the right ones (its label
// is 1) or not (0). With y = sigmoid(x . w) the loss is -log y or -log(1 - y), and a step of gradient descent
//
//   g = lr (label - y),   x += sum over w of g w,   w += g x
//
// Skip-gram: each word of the context is an input. CBOW: one input, their sum or mean. Negative sampling: the outputs
// are the word itself (1) and words drawn at random (0). Hierarchical softmax: the inner nodes on the word's path in a
// Huffman tree, 1 where it turns left. As in the original program, the context predicts the word in the middle.
//
// With CBOW the gradient is the input's step for each word of a sum, and an m-th of it for each of a mean. The original
// program, and gensim, give each word of a mean all of it (Irsoy, Benton & Stratos 2021: corrected CBOW performs as
// well as skip-gram).
//
// 6 m n dim floating-point operations for m inputs, and (m + n) dim numbers that are read twice and written once.
//
// Source: Mikolov, Chen, Corrado & Dean 2013 (efficient estimation); Mikolov, Sutskever, Chen, Corrado & Dean 2013
// (distributed representations); Goldberg & Levy 2014 (word2vec explained) for the derivation.
#pragma once

#include <vector>

#include "core/dispatch.h"
#include "core/view.h"

namespace dlkit {

// Asks for so many cache lines of a row. Into the second-level cache: the first would have to keep a word's 100 to 200
// lines while others are computed.
template <class T>
inline __attribute__((always_inline)) void fetch_lines(const T* row, Index lines) {
  for (Index line = 0; line < lines; ++line) __builtin_prefetch(reinterpret_cast<const char*>(row) + 64 * line, 1, 2);
}

// Rows that a later word will need, of which a kernel may fetch some while it is at work; `done` says how many.
template <class T>
struct Ahead {
  const T* const* rows;
  Index count;
  Index done = 0;
};

template <class T>
struct PairUpdate {
  const T* const* x;  // m inputs
  T* const* dx;       // what their steps are added to: the inputs themselves, or memory of its own
  Index m;
  T* const* w;      // n rows of the output matrix
  const T* labels;  // n, each 0 or 1
  Index n, dim;
  T lr;
  T* scratch;  // as much as the variant asks for
  bool with_loss;
  bool distinct;  // neither the steps' rows nor the outputs' stand there twice; false where that is not known
  // What a pair counts is the product of its rows' weights; null: 1.
  const T* input_weights = nullptr;
  const T* output_weights = nullptr;
  Ahead<T>* ahead = nullptr;  // null: none
};

template <class T>
bool all_differ(T* const* rows, Index count) {
  for (Index i = 1; i < count; ++i)
    for (Index j = 0; j < i; ++j)
      if (rows[i] == rows[j]) return false;
  return true;
}

struct PairVariant {
  const char* name;
  const char* idea;
  const char* needs;
  // Elements of scratch memory for so many inputs and outputs.
  Index (*scratch)(Index m, Index n, Index dim);
  // The loss before the steps, or 0 where it is not asked for.
  double (*single_precision)(const PairUpdate<float>&);
  double (*double_precision)(const PairUpdate<double>&);

  double run(const PairUpdate<float>& p) const { return single_precision(p); }
  double run(const PairUpdate<double>& p) const { return double_precision(p); }
};

// The ladder; the last is the default.
const std::vector<PairVariant>& pair_variants();

// A batch of words, one after the other.
template <class T>
struct WordUpdate {
  T* w_in;
  T* w_out;
  Index dim;
  Index words, most_inputs, most_outputs;
  const std::int64_t* inputs;   // (words, most_inputs): rows of w_in; -1: none
  const std::int64_t* outputs;  // (words, most_outputs), or one such row for each input: rows of w_out; -1: none
  const std::uint8_t* labels;   // alike
  bool own_outputs;             // each input has outputs of its own
  bool cbow;                    // the inputs' sum is the one input
  bool mean;                    // or their mean
  bool divide;                  // each gets its part of that input's step, not all of it
  T lr;
  bool with_loss;
};

// The sum of the losses. Throws std::bad_alloc.
template <class T>
double update_words(const WordUpdate<T>& p, const PairVariant& variant);

namespace naive {

template <class T>
double update_pairs(const PairUpdate<T>& p);

}  // namespace naive

template <class T>
double update_pairs_by_table(const PairUpdate<T>& p);

// The vector kernels (registers.cpp, matrix.cpp).
struct PairKernels {
  double (*single_precision)(const PairUpdate<float>&);
  double (*double_precision)(const PairUpdate<double>&);
};

DLKIT_DECLARE_PER_ISA(PairKernels, pair_registers)
DLKIT_DECLARE_PER_ISA(PairKernels, pair_matrix)

// Sums of rows and their return (bag.cpp).
template <class T>
struct BagKernels {
  // sum = factor times the sum of the m rows
  void (*sum)(const T* const* rows, Index m, Index dim, T factor, T* sum);
  // each row += factor step
  void (*add)(const T* step, T factor, T* const* rows, Index m, Index dim);
};

struct BagTables {
  BagKernels<float> single_precision;
  BagKernels<double> double_precision;
  // own - before is added to shared; all three are then that sum. Multiples of kMostLanes.
  void (*merge)(float* own, float* before, float* shared, Index count);

  const BagKernels<float>& get(float) const { return single_precision; }
  const BagKernels<double>& get(double) const { return double_precision; }
};

DLKIT_DECLARE_PER_ISA(BagTables, bag_table)

// Elements of a register of any instruction set, at most.
constexpr Index kMostLanes = 16;

// Of matrix.cpp: the products of all pairs, and a vector of the step of each input and output.
constexpr Index matrix_scratch(Index m, Index n) { return m * n + 2 * kMostLanes + kMostLanes * (m + n); }

}  // namespace dlkit
