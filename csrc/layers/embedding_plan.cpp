// Embeddings on threads. Forward: pieces of the output. Backward a thread owns elements of the gradient, strips of
// columns first and then some of the rows, and goes through all indices in order: so no two add to one element, and an
// element is the same sum in the same order whoever owns it. (Atomic additions, or a copy for each thread, would give
// other bits from run to run, or cost the table once for each thread.)
#include <algorithm>

#include "layers/kernels.h"
#include "layers/naive.h"
#include "layers/pieces.h"

namespace dlkit {
namespace {

const Both<EmbeddingKernels>& embedding_kernels() {
  static const auto& table = DLKIT_SELECT(embedding_table);
  return table;
}

// What a strip of columns is at least as wide as: some cache lines, as its ends share lines with others.
constexpr Index kStripBytes = 256;

}  // namespace

template <class T>
void embedding(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out, Rung rung) {
  if (n == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::embedding(weight, rows, cols, indices, n, out);
  const auto kernel = embedding_kernels().get(T{}).gather;
  for_rows(n, 2 * cols * static_cast<Index>(sizeof(T)), [&](Index begin, Index end) {
    kernel(weight, rows, cols, indices + begin, end - begin, out + begin * cols);
  });
}

template <class T>
void embedding_backward(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols,
                        std::int64_t padding, T* out, bool accumulate, Rung rung) {
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::embedding_backward(grad, indices, n, rows, cols, padding, out, accumulate);
  constexpr Index kSize = sizeof(T);
  if (!accumulate)
    for_pieces(rows * cols, kSize, [&](Index begin, Index end) { std::fill(out + begin, out + end, T(0)); });
  const auto kernel = embedding_kernels().get(T{}).scatter;
  const Index threads = 3 * n * cols * kSize < 2 * kPieceBytes ? 1 : num_threads();
  const Index strips = std::clamp<Index>(cols * kSize / kStripBytes, 1, threads);
  Index owners = 1;
  while (owners * strips < threads) owners *= 2;
  int shift = 0;  // rows that share a cache line have one owner
  while ((cols * kSize << shift) < 64) ++shift;
  // Strips end at whole cache lines, as far as rows begin at them.
  const Index strip = (cols + strips - 1) / strips, line = 64 / kSize, width = (strip + line - 1) / line * line;
  parallel_for(static_cast<int>(strips * owners), [&](int task) {
    const Index col = task / owners * width;
    if (col >= cols) return;
    const ScatterPart part = {std::min(width, cols - col), owners - 1, task % owners, shift};
    kernel(grad + col, indices, n, rows, cols, padding, part, out + col);
  });
}

#define DLKIT_INSTANTIATE(T)                                                             \
  template void embedding(const T*, Index, Index, const std::int64_t*, Index, T*, Rung); \
  template void embedding_backward(const T*, const std::int64_t*, Index, Index, Index, std::int64_t, T*, bool, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
