// A row of the gradient by x as the sum of what each tap has for it.
//
// A load and an addition for each tap and vector. Each sum stays in a register for all taps: adding the taps' rows to
// the row in memory one after the other takes a load and a store more, and a load that overlaps the store before it
// waits until that is in the cache.
#include "conv/gather_taps.h"

#include "core/simd.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {

template <class T>
void add_row(const T* from, Index count, T* to) {
  using V = Vec<T>;
  Index i = 0;
  for (; i + V::lanes <= count; i += V::lanes) (V::load(to + i) + V::load(from + i)).store(to + i);
  for (; i < count; ++i) to[i] += from[i];
}

#if defined(DLKIT_TARGET_AVX512)

template <class T>
void gather_taps(const T* from, const Index* rows, Index row_count, const TapCol* cols, Index col_count, Index count,
                 T* to) {
  using V = Vec<T>;
  using Mask = typename V::Mask;
  for (Index i = 0; i < count; i += V::lanes) {
    V even = V::zero(), odd = V::zero();
    for (Index v = 0; v < col_count; ++v) {
      const TapCol& col = cols[v];
      const Mask inside = static_cast<Mask>(V::first(col.end - i) & ~V::first(col.begin - i));
      if (inside == 0) continue;
      const T* const at = from + col.offset + i;
      Index u = 0;
      for (; u + 2 <= row_count; u += 2) {
        even = even + V::load(at + rows[u], inside);
        odd = odd + V::load(at + rows[u + 1], inside);
      }
      if (u < row_count) even = even + V::load(at + rows[u], inside);
    }
    (even + odd).store(to + i, V::first(count - i));
  }
}

#else

template <class T>
void gather_taps(const T* from, const Index* rows, Index row_count, const TapCol* cols, Index col_count, Index count,
                 T* to) {
  using V = Vec<T>;
  for (Index i = 0; i < count; ++i) to[i] = 0;
  // Vectors that every column of taps covers, in registers; the rest element by element.
  Index begin = 0, end = count;
  for (Index v = 0; v < col_count; ++v) {
    begin = cols[v].begin > begin ? cols[v].begin : begin;
    end = smaller(end, cols[v].end);
  }
  Index i = begin;
  if (col_count > 0)
    for (; i + V::lanes <= end; i += V::lanes) {
      V sum = V::zero();
      for (Index v = 0; v < col_count; ++v)
        for (Index u = 0; u < row_count; ++u) sum = sum + V::load(from + rows[u] + cols[v].offset + i);
      sum.store(to + i);
    }
  if (i < begin) i = begin;
  for (Index v = 0; v < col_count; ++v)
    for (Index u = 0; u < row_count; ++u) {
      const T* part = from + rows[u] + cols[v].offset;
      for (Index j = cols[v].begin; j < smaller(begin, cols[v].end); ++j) to[j] += part[j];
      for (Index j = cols[v].begin > i ? cols[v].begin : i; j < cols[v].end; ++j) to[j] += part[j];
    }
}

#endif

template void gather_taps(const float*, const Index*, Index, const TapCol*, Index, Index, float*);
template void gather_taps(const double*, const Index*, Index, const TapCol*, Index, Index, double*);
template void add_row(const float*, Index, float*);
template void add_row(const double*, Index, double*);

}  // namespace dlkit::DLKIT_TARGET
