// The ladder's table, and the choice between one thread, several, and slices of K.
#include <algorithm>
#include <cstring>
#include <memory>

#include "core/counters.h"
#include "core/dispatch.h"
#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {

DLKIT_DECLARE_PER_ISA(MatmulKernels<float>, matmul_float)
DLKIT_DECLARE_PER_ISA(MatmulKernels<double>, matmul_double)

template <>
const MatmulKernels<float>& matmul_kernels() {
  static const auto& table = DLKIT_SELECT(matmul_float);
  return table;
}

template <>
const MatmulKernels<double>& matmul_kernels() {
  static const auto& table = DLKIT_SELECT(matmul_double);
  return table;
}

namespace {

template <class T>
bool any(const MatmulProblem<T>&) {
  return true;
}

template <class T>
bool is_vector(const MatmulProblem<T>& p) {
  return p.c.rows == 1 || p.c.cols == 1;
}

// Strides of extents of 1 say nothing; give them the value that the fast paths ask for.
template <class T>
MatmulProblem<T> with_plain_strides(MatmulProblem<T> p) {
  const auto plain = [](auto& m) {
    if (m.cols == 1) m.col_stride = 1;
    if (m.rows == 1) m.row_stride = m.col_stride == 1 ? m.cols : 1;
  };
  plain(p.a);
  plain(p.b);
  plain(p.c);
  return p;
}

// Runs `multiply` on a problem whose C has contiguous rows: the caller's, its transpose, or one with a C of its own
// that is copied afterwards.
template <class T, class Multiply>
void with_contiguous_rows(const MatmulProblem<T>& p, const Multiply& multiply) {
  if (p.c.col_stride == 1) return multiply(p);
  MatmulProblem<T> other = p;
  if (p.c.row_stride == 1 && p.bias == nullptr) {
    other.a = p.b.transposed();
    other.b = p.a.transposed();
    other.c = p.c.transposed();
    return multiply(other);
  }
  const std::unique_ptr<T[]> result(new T[static_cast<std::size_t>(p.c.rows * p.c.cols)]);
  other.c = {result.get(), p.c.rows, p.c.cols, p.c.cols, 1};
  if (p.accumulate)
    for (Index i = 0; i < p.c.rows; ++i)
      for (Index j = 0; j < p.c.cols; ++j) other.c(i, j) = p.c(i, j);
  multiply(other);
  for (Index i = 0; i < p.c.rows; ++i)
    for (Index j = 0; j < p.c.cols; ++j) p.c(i, j) = other.c(i, j);
}

// Threads that a problem repays: one more for every few microseconds of work.
template <class T>
int useful_threads(const MatmulProblem<T>& p, int threads) {
  const double m = static_cast<double>(p.c.rows), n = static_cast<double>(p.c.cols), k = static_cast<double>(p.a.cols);
  const double lanes = static_cast<double>(matmul_kernels<T>().lanes);
  const double multiply = m * n * k / (2 * lanes);                 // cycles, two vectors a cycle
  const double stream = (m * k + k * n + m * n) * sizeof(T) / 32;  // cycles, from the second-level cache
  constexpr double kCyclesPerThread = 8000;
  return static_cast<int>(std::clamp(std::max(multiply, stream) / kCyclesPerThread, 1.0, static_cast<double>(threads)));
}

template <class T>
bool wants_ksplit(const MatmulProblem<T>& p, int threads) {
  // One row: so each thread streams rows of B from end to end instead of a piece of each.
  if (p.c.rows == 1 && p.b.col_stride == 1) return p.a.cols >= 64 * threads;
  const Index lanes = matmul_kernels<T>().lanes;
  const Index tiles = ((p.c.rows + 7) / 8) * ((p.c.cols + lanes - 1) / lanes);
  return tiles < 2 * threads && p.a.cols >= 1024 * threads;
}

template <class T>
void run_best(const MatmulProblem<T>& p, int threads) {
  with_contiguous_rows(p, [&](const MatmulProblem<T>& q) {
    const int useful = useful_threads(q, threads);
    if (useful == 1) return matmul_kernels<T>().best(q);
    if (wants_ksplit(q, useful)) return matmul_ksplit(q, useful, useful);
    matmul_threaded(q, matmul_kernels<T>().best, useful);
  });
}

template <class T, MatmulKernel<T> MatmulKernels<T>::* Kernel>
void run_alone(const MatmulProblem<T>& p, int) {
  with_contiguous_rows(p, [&](const MatmulProblem<T>& q) { (matmul_kernels<T>().*Kernel)(q); });
}

template <class T, MatmulKernel<T> MatmulKernels<T>::* Kernel>
void run_as_is(const MatmulProblem<T>& p, int) {
  (matmul_kernels<T>().*Kernel)(p);
}

template <class T>
void run_threaded(const MatmulProblem<T>& p, int threads) {
  with_contiguous_rows(p, [&](const MatmulProblem<T>& q) { matmul_threaded(q, matmul_kernels<T>().fused, threads); });
}

template <class T>
void run_ksplit(const MatmulProblem<T>& p, int threads) {
  with_contiguous_rows(p, [&](const MatmulProblem<T>& q) {
    matmul_ksplit(q, static_cast<int>(std::min<Index>(threads, q.a.cols)), threads);
  });
}

template <class T>
std::vector<MatmulVariant<T>> make_variants() {
  using K = MatmulKernels<T>;
  return {
      {"naive", "the textbook's three loops: a dot product for each element", "", any<T>, run_as_is<T, &K::naive>},
      {"loop_order", "i, k, j: the inner loop runs along rows and becomes vector code", "", any<T>,
       run_as_is<T, &K::loop_order>},
      {"blocked", "blocks of B that stay in the second-level cache", "", any<T>, run_as_is<T, &K::blocked>},
      {"register_tile", "a small block of C stays in registers", "", any<T>, run_as_is<T, &K::register_tile>},
      {"packed", "panels copied into the order of use; a micro-kernel in vector instructions", "", any<T>,
       run_alone<T, &K::packed>},
      {"fused", "B is packed by the first tile that reads it; A is read in place", "", any<T>, run_alone<T, &K::fused>},
      {"threaded", "C is cut into a block for each thread", "", any<T>, run_threaded<T>},
      {"direct", "no packing, for few rows", "", any<T>, run_alone<T, &K::direct>},
      {"swapped", "the transposed problem, for a transposed B and few rows", "", any<T>, run_alone<T, &K::swapped>},
      {"dot", "vectors along K, for few columns", "", any<T>, run_alone<T, &K::dot>},
      {"ksplit", "K is cut into a slice for each thread, for a small C and a long sum", "", any<T>, run_ksplit<T>},
      {"matvec", "one row or column: streams the matrix once", "one row or one column in the result", is_vector<T>,
       run_as_is<T, &K::matvec>},
  };
}

}  // namespace

template <class T>
const std::vector<MatmulVariant<T>>& matmul_variants() {
  // Never destroyed: at exit a thread may still be computing.
  static const auto& variants = *new std::vector<MatmulVariant<T>>(make_variants<T>());
  return variants;
}

template <class T>
const MatmulVariant<T>* find_matmul_variant(const char* name) {
  for (const auto& variant : matmul_variants<T>())
    if (std::strcmp(variant.name, name) == 0) return &variant;
  return nullptr;
}

template <class T>
void matmul(const MatmulProblem<T>& problem, const MatmulVariant<T>* variant, int threads) {
  if (problem.c.rows == 0 || problem.c.cols == 0) return;
  const MatmulProblem<T> p = with_plain_strides(problem);
  if (p.a.cols == 0) {
    if (!p.accumulate)
      for (Index i = 0; i < p.c.rows; ++i)
        for (Index j = 0; j < p.c.cols; ++j) p.c(i, j) = 0;
    return matmul_kernels<T>().finish(p);
  }
  if (variant != nullptr)
    variant->run(p, threads);
  else
    run_best(p, threads);
}

#define DLKIT_INSTANTIATE(T)                                         \
  template const std::vector<MatmulVariant<T>>& matmul_variants();   \
  template const MatmulVariant<T>* find_matmul_variant(const char*); \
  template void matmul(const MatmulProblem<T>&, const MatmulVariant<T>*, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
