// Rows of a table by their numbers (gather), and sums of gradients back into them (scatter), a row at a time on
// vectors.
//
// Bytes: each row taken is read and written once; backward reads each gradient once, and reads and writes the row that
// it goes to. FLOPs: none; one per element backward. Bound: bandwidth, and latency where rows are short and the table
// is larger than the caches: no prefetcher of the processor's sees which row is next, so rows are asked for ahead.
#include "core/simd.h"
#include "layers/kernels.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr Index kAhead = 12;        // rows
constexpr Index kAheadBytes = 512;  // of a row; the processor goes on by itself from there

DLKIT_INLINE bool is_below(std::int64_t index, Index bound) {
  return static_cast<std::uint64_t>(index) < static_cast<std::uint64_t>(bound);
}

template <bool kToWrite, class T>
DLKIT_INLINE void prefetch_row(const T* row, Index n) {
  const auto* bytes = reinterpret_cast<const char*>(row);
  const Index count = n * static_cast<Index>(sizeof(T));
  for (Index at = 0; at < (count < kAheadBytes ? count : kAheadBytes); at += 64)
    __builtin_prefetch(bytes + at, kToWrite ? 1 : 0, 3);
}

template <class T>
DLKIT_INLINE void copy_row(const T* from, T* to, Index n) {
  using V = Vec<T>;
  constexpr int kUnroll = 4;
  Index i = 0;
  for (; i + kUnroll * V::lanes <= n; i += kUnroll * V::lanes)
    for (int j = 0; j < kUnroll; ++j) V::load(from + i + j * V::lanes).store(to + i + j * V::lanes);
  for (; i + V::lanes <= n; i += V::lanes) V::load(from + i).store(to + i);
  if (i == n) return;
  // The last register once more, where there is one: dearer masked stores are for short rows alone.
  if (n >= V::lanes)
    V::load(from + n - V::lanes).store(to + n - V::lanes);
  else
    V::load(from, V::first(n)).store(to, V::first(n));
}

template <class T>
DLKIT_INLINE void zero_row(T* to, Index n) {
  using V = Vec<T>;
  for (Index i = 0; i < n; i += V::lanes) V::zero().store(to + i, V::first(n - i));
}

template <class T>
DLKIT_INLINE void add_row(const T* from, T* to, Index n) {
  using V = Vec<T>;
  Index i = 0;
  for (; i + 2 * V::lanes <= n; i += 2 * V::lanes) {
    const V first = V::load(to + i) + V::load(from + i);
    const V second = V::load(to + i + V::lanes) + V::load(from + i + V::lanes);
    first.store(to + i);
    second.store(to + i + V::lanes);
  }
  for (; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    (V::load(to + i, mask) + V::load(from + i, mask)).store(to + i, mask);
  }
}

template <class T>
void gather(const T* weight, Index rows, Index cols, const std::int64_t* indices, Index n, T* out) {
  for (Index i = 0; i < n; ++i, out += cols) {
    if (i + kAhead < n && is_below(indices[i + kAhead], rows))
      prefetch_row<false>(weight + indices[i + kAhead] * cols, cols);
    const std::int64_t index = indices[i];
    if (is_below(index, rows))
      copy_row(weight + index * cols, out, cols);
    else
      zero_row(out, cols);
  }
}

template <class T>
void scatter(const T* grad, const std::int64_t* indices, Index n, Index rows, Index cols, std::int64_t padding,
             const ScatterPart& part, T* out) {
  const auto own = [&](std::int64_t index) __attribute__((always_inline)) {
    return is_below(index, rows) && ((index >> part.shift) & part.mask) == part.owner && index != padding;
  };
  for (Index i = 0; i < n; ++i, grad += cols) {
    if (i + kAhead < n && own(indices[i + kAhead])) prefetch_row<true>(out + indices[i + kAhead] * cols, part.width);
    const std::int64_t index = indices[i];
    if (own(index)) add_row(grad, out + index * cols, part.width);
  }
}

template <class T>
constexpr EmbeddingKernels<T> kKernels = {gather<T>, scatter<T>};

}  // namespace

extern const Both<EmbeddingKernels> embedding_table;
const Both<EmbeddingKernels> embedding_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
