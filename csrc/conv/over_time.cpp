// Convolution and maximum over time as products of matrices, and gradients that go where the maxima were.
//
// Forward: with time before channels, the K C numbers that a window covers lie behind one another, and the next
// window's begin C further on. So the windows of a sentence are the rows of a matrix with overlapping rows, which is
// the array itself, and the convolution is one product with the weight: no patches are copied. Several sentences make
// one product; the windows that go across their borders are computed and left out: (K - 1) / L of the work. The maximum
// is taken while a block of the product is in the cache; the whole (N, L, F) is never there. Bound: the
// multiplications.
//
// Backward: of the L - K + 1 windows of a sentence a filter's gradient meets one alone, so that 4 N F K C operations
// are left of 4 N F K C (L - K + 1): each (sentence, filter) adds a scaled row of the weight to x's gradient and a
// scaled window of x to the weight's. Where the gradient is 0 (ReLU, dropout) nothing is added. Bound: the second-level
// cache.
#include "conv/over_time.h"

#include <algorithm>
#include <vector>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

// Rows of a product: enough for its full speed, so few that they stay in the second-level cache.
constexpr Index kRows = 512;
constexpr Index kFilterPiece = 16;

const OverTimeTables& kernels() {
  static const auto& table = DLKIT_SELECT(over_time_table);
  return table;
}

// (filters, channels, size) to (filters, size, channels), the order of a window.
template <class T>
void to_windows(const OverTimeShape& s, const T* weight, T* packed) {
  for (Index f = 0; f < s.filters; ++f, weight += s.depth(), packed += s.depth())
    for (Index j = 0; j < s.size; ++j) {
      T* to = packed + j * s.channels;
      for (Index c = 0; c < s.channels; ++c) to[c] = weight[c * s.size + j];
    }
}

Index pieces(Index count, Index piece) { return (count + piece - 1) / piece; }

template <class T>
void by_input(const OverTimeBackward<T>& p, int threads) {
  const OverTimeShape& s = p.shape;
  T* const packed = scratch<T>(Slot::columns, static_cast<std::size_t>(s.filters * s.depth()));
  to_windows(s, p.weight, packed);
  const auto add_scaled = kernels().get(T{}).add_scaled;
  parallel_for(
      static_cast<int>(s.n),
      [&](int n) {
        T* const dx = p.dx + n * s.length * s.channels;
        std::fill(dx, dx + s.length * s.channels, T(0));
        const T* const grad = p.grad + n * s.filters;
        const std::int64_t* const place = p.place + n * s.filters;
        for (Index f = 0; f < s.filters; ++f)
          if (grad[f] != 0) add_scaled(packed + f * s.depth(), grad[f], dx + place[f] * s.channels, s.depth());
      },
      threads);
}

template <class T>
void by_weight(const OverTimeBackward<T>& p, int threads) {
  const OverTimeShape& s = p.shape;
  const auto add_scaled = kernels().get(T{}).add_scaled;
  parallel_for(
      static_cast<int>(pieces(s.filters, kFilterPiece)),
      [&](int piece) {
        const Index first = piece * kFilterPiece, last = std::min(first + kFilterPiece, s.filters);
        // Of a few filters at a time, so that a sentence is read for all of them while it is cached.
        T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(kFilterPiece * s.depth()));
        std::fill(sums, sums + (last - first) * s.depth(), T(0));
        for (Index n = 0; n < s.n; ++n)
          for (Index f = first; f < last; ++f) {
            const T grad = p.grad[n * s.filters + f];
            if (grad == 0) continue;
            const T* const window = p.x + (n * s.length + p.place[n * s.filters + f]) * s.channels;
            add_scaled(window, grad, sums + (f - first) * s.depth(), s.depth());
          }
        for (Index f = first; f < last; ++f) {
          const T* from = sums + (f - first) * s.depth();
          T* const to = p.dweight + f * s.depth();
          for (Index j = 0; j < s.size; ++j)
            for (Index c = 0; c < s.channels; ++c, ++from)
              to[c * s.size + j] = p.accumulate ? to[c * s.size + j] + *from : *from;
        }
      },
      threads);
}

}  // namespace

template <class T>
void conv_max(const OverTimeForward<T>& p, int threads) {
  const OverTimeShape& s = p.shape;
  T* const packed = scratch<T>(Slot::columns, static_cast<std::size_t>(s.filters * s.depth()));
  to_windows(s, p.weight, packed);
  const auto column_max = kernels().get(T{}).column_max;
  const Index block = std::max<Index>(kRows / s.length, 1);
  const Index blocks = pieces(s.n, block);
  // One long sentence: the threads are for its product.
  const int outer = blocks >= threads ? threads : 1, inner = outer == 1 ? threads : 1;
  parallel_for(
      static_cast<int>(blocks),
      [&](int task) {
        const Index first = task * block, count = std::min(block, s.n - first);
        const Index rows = count * s.length - s.size + 1;
        T* const sums = scratch<T>(Slot::windows, static_cast<std::size_t>(rows * s.filters));
        MatmulProblem<T> product;
        product.a = {p.x + first * s.length * s.channels, rows, s.depth(), s.channels, 1};
        product.b = {packed, s.depth(), s.filters, 1, s.depth()};
        product.c = {sums, rows, s.filters, s.filters, 1};
        matmul<T>(product, nullptr, inner);
        for (Index n = 0; n < count; ++n)
          column_max(sums + n * s.length * s.filters, s.filters, s.windows(), s.filters, p.bias,
                     p.y + (first + n) * s.filters, p.place + (first + n) * s.filters);
      },
      outer);
}

template <class T>
void conv_max_backward(const OverTimeBackward<T>& p, int threads) {
  const OverTimeShape& s = p.shape;
  if (p.dx != nullptr) by_input(p, threads);
  if (p.dweight != nullptr) by_weight(p, threads);
  if (p.dbias == nullptr) return;
  if (!p.accumulate) std::fill(p.dbias, p.dbias + s.filters, T(0));
  for (Index n = 0; n < s.n; ++n)
    for (Index f = 0; f < s.filters; ++f) p.dbias[f] += p.grad[n * s.filters + f];
}

#define DLKIT_INSTANTIATE(T)                              \
  template void conv_max(const OverTimeForward<T>&, int); \
  template void conv_max_backward(const OverTimeBackward<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
