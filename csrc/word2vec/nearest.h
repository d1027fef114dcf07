// The nearest of many vectors: for each query q the k rows w with the largest scale(w) q . w, the largest first.
//
// With scale = 1 / |w| and queries of length 1 the scores are cosines. Of equal scores the earlier row comes first. A
// score that is NaN or minus infinity is no candidate; where fewer than k rows are left the rest has index -1 and score
// minus infinity.
//
// 2 queries rows dim floating-point operations on (queries + rows) dim numbers: for one query bound by memory, for many
// by multiplications, as the matrix product is.
#pragma once

#include <vector>

#include "core/dispatch.h"
#include "core/view.h"

namespace dlkit {

template <class T>
struct NearestProblem {
  Matrix<const T> queries;  // (queries, dim), any strides
  Matrix<const T> rows;     // (rows, dim), any strides
  const T* scale;           // of each row, or null
  Index k;                  // 1 to rows
  std::int64_t* indices;    // (queries, k)
  T* scores;                // (queries, k)
};

struct NearestVariant {
  const char* name;
  const char* idea;
  const char* needs;
  void (*single_precision)(const NearestProblem<float>&, int threads);
  void (*double_precision)(const NearestProblem<double>&, int threads);

  void run(const NearestProblem<float>& p, int threads) const { single_precision(p, threads); }
  void run(const NearestProblem<double>& p, int threads) const { double_precision(p, threads); }
};

// The ladder; the last is the default. All throw std::bad_alloc.
const std::vector<NearestVariant>& nearest_variants();

template <class T>
struct Candidate {
  T score;
  std::int64_t index;
};

template <class T>
struct Better {
  bool operator()(const Candidate<T>& a, const Candidate<T>& b) const {
    return a.score > b.score || (a.score == b.score && a.index < b.index);
  }
};

namespace naive {

template <class T>
void nearest(const NearestProblem<T>& p, int threads);

}  // namespace naive

// How many scores are looked at together, at most: as much room as a scan needs to go on.
constexpr Index kMostScanned = 128;

// What of n scores, times their scales where there are any, exceeds the threshold goes behind the `count` candidates
// that there are; `first` is the index of the first score. Begins at `from`, and returns where it stopped: at n, or
// where there is no room for all of the next step (nearest_scan.cpp).
template <class T>
struct ScanKernels {
  Index (*scan)(const T* scores, const T* scale, Index from, Index n, T threshold, std::int64_t first,
                Candidate<T>* candidates, Index& count, Index room);
};

struct ScanTables {
  ScanKernels<float> single_precision;
  ScanKernels<double> double_precision;

  const ScanKernels<float>& get(float) const { return single_precision; }
  const ScanKernels<double>& get(double) const { return double_precision; }
};

DLKIT_DECLARE_PER_ISA(ScanTables, scan_table)

}  // namespace dlkit
