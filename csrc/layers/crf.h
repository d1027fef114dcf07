// The linear-chain conditional random field: a softmax over whole sequences of tags (Lafferty, McCallum & Pereira, ICML
// 2001), as the output layer of a tagger.
//
// A path y of a sequence of n steps has the score
//
//   s(y) = start[y_0] + sum_t e_t[y_t] + sum_{t > 0} transitions[y_{t-1}, y_t] + end[y_{n-1}],
//
// and the probability exp(s(y)) / Z, Z the sum of exp(s) over all K^n paths. The loss is log Z - s(y): log Z by the
// forward algorithm, its gradient, which is the probability of each tag and of each pair of neighbours, by forward and
// backward together (Rabiner, Proc. IEEE 77, 1989); the path of the greatest score by Viterbi's algorithm (IEEE Trans.
// Inf. Theory 13, 1967).
//
// Emissions are the rows of a packed batch (csrc/recurrent/recurrent.h): step after step, longest sequence first.
#pragma once

#include <cstdint>
#include <vector>

#include "core/dispatch.h"
#include "core/view.h"
#include "layers/layers.h"

namespace dlkit {

// The rows of a packed batch. Null where not given; then start and end are 0.
template <class T>
struct CrfModel {
  Index tags;              // K
  const T* emissions;      // (rows, K)
  const T* transitions;    // (K, K): from i to j at [i, j]
  const T *start, *end;    // K
  const Index* first_row;  // of each step
  const Index* lengths;    // of each sequence
  Index batch;
};

template <class T>
struct CrfLoss {
  CrfModel<T> model;
  const std::int64_t* path;  // (rows), each in [0, K), as the caller has checked; null: the loss is log Z alone
  T* losses;                 // (batch)
  const T* weights;          // (batch): gradients are of the sum of weights[s] losses[s]; null: no gradients
  T* d_emissions;            // (rows, K)
  T* d_transitions;          // (K, K)
  T *d_start, *d_end;        // K
};

template <class T>
struct CrfDecode {
  CrfModel<T> model;
  std::int64_t* path;  // (rows)
  T* scores;           // (batch)
};

// The same bits on any number of threads. rung: naive or automatic. Throws std::bad_alloc.
template <class T>
void crf_loss(const CrfLoss<T>& work, Rung rung);

// Of paths of one score, that with the smaller last tag, then the smaller one before it, and so on. A NaN is never the
// greatest.
template <class T>
void crf_decode(const CrfDecode<T>& work, Rung rung);

// --- Of one sequence: what the file for the instruction sets and the definitions have in common ----------------------

// What all sequences of a batch share, rows of `width` numbers, a multiple of 64 bytes: made once for each call.
template <class T>
struct CrfTables {
  Index width;
  T top;                  // greatest transition
  T *forward, *backward;  // exp(transitions - top), and its transpose; 0 past K
  T *start, *end;         // exp(start - start_top), 0 past K
  T start_top, end_top;
};

// What sequences add up; D is joined with `pairs` times exp(transitions - top) at the end.
template <class T>
struct CrfSums {
  T* pairs;          // (K, width)
  T* d_transitions;  // (K, K)
  T *d_start, *d_end;
};

template <class T>
struct CrfKernels {
  void (*tables)(const CrfModel<T>& model, CrfTables<T>& tables);
  // log Z of a sequence, and its gradients times `weight` where `sums` is not null. `memory`: crf_memory numbers.
  // False, with nothing added, where a number left the range of T: some path's share would have been lost.
  bool (*sequence)(const CrfLoss<T>& work, const CrfTables<T>& tables, Index sequence, T* memory, CrfSums<T>* sums,
                   double* log_z);
  void (*join)(const CrfTables<T>& tables, Index tags, const CrfSums<T>& sums);  // d_transitions += pairs forward
  // `memory`: (steps + 2) width numbers.
  void (*decode)(const CrfDecode<T>& work, Index sequence, T* memory);
};

template <class T>
constexpr Index crf_width(Index tags) {
  constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));
  return (tags + kLine - 1) / kLine * kLine;
}

// Of a sequence: forward and backward probabilities, exp(emissions), and two numbers a step.
constexpr Index crf_memory(Index steps, Index width) { return steps * (3 * width + 2); }

namespace naive {
// log Z of a sequence, and its gradients times its weight where `sums` is not null; in float64.
template <class T>
double crf_sequence(const CrfLoss<T>& work, Index sequence, CrfSums<T>* sums);
template <class T>
void crf_decode(const CrfDecode<T>& work, Index sequence);
}  // namespace naive

struct CrfKernelsOfBoth {
  CrfKernels<float> of_float;
  CrfKernels<double> of_double;
  const CrfKernels<float>& get(float) const { return of_float; }
  const CrfKernels<double>& get(double) const { return of_double; }
};
DLKIT_DECLARE_PER_ISA(CrfKernelsOfBoth, crf_table)

}  // namespace dlkit
