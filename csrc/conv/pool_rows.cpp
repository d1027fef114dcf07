// Pooling a row of outputs at a time, on rows that are padded and split by phase (pool_rows.h), for any kernel, stride,
// padding and dilation.
//
// A maximum that needs no place, and a mean, first combine the rows of the window into one, then the taps along it: K_h
// + K_w operations in place of K_h K_w. One that keeps places compares tap by tap, in order, for the first of equal
// elements; its split rows are kept while windows overlap. The split costs a store and a load for each element that is
// read. Bound: small windows by memory; large ones by the load for each tap, from the first-level cache.
#include "conv/pool_rows.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
struct ColumnMax {
  const T* first;
  Index step, count;
  DLKIT_INLINE Vec<T> operator()(Index w, Index n) const {
    Vec<T> best = load_first(first + w, n);
    for (Index u = 1; u < count; ++u) best = nan_max(best, load_first(first + u * step + w, n));
    return best;
  }
};

template <class T>
void max_values(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  constexpr T kLowest = -static_cast<T>(__builtin_inf());
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, kLowest);
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * s.height * s.width;
    T* y = p.y + plane * s.out_h * s.out_w;
    for (Index i = 0; i < s.out_h; ++i, y += s.out_w) {
      const Index top = i * s.stride_h - s.pad_h;
      const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
      if (taps.begin == taps.end) {
        for (Index j = 0; j < s.out_w; ++j) y[j] = p.relu ? T(0) : kLowest;
        continue;
      }
      const T* first = x + (top + taps.begin * s.dilation_h) * s.width;
      split_row(a, ColumnMax<T>{first, s.dilation_h * s.width, taps.end - taps.begin}, memory.rows, kLowest,
                memory.line);
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        V best = V::load(memory.rows + memory.tap[0] + j);
        for (Index v = 1; v < s.kernel_w; ++v) best = nan_max(best, V::load(memory.rows + memory.tap[v] + j));
        if (p.relu) best = V::max(V::zero(), best);
        store_first(best, y + j, s.out_w - j);
      }
    }
  }
}

// For each output of a row, the number of its first tap in the plane, or -1: what a window of -inf alone remembers.
template <class T>
void first_places(const PoolShape& s, const Taps& rows, Index stride, T* places) {
  for (Index j = 0; j < s.out_w; ++j) {
    const Taps cols(j * stride - s.pad_w, s.kernel_w, s.dilation_w, s.width);
    places[j] = rows.begin < rows.end && cols.begin < cols.end ? T(rows.begin * s.kernel_w + cols.begin) : T(-1);
  }
}

template <class T>
void max_places(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  using V = Vec<T>;
  constexpr T kLowest = -static_cast<T>(__builtin_inf());
  const PoolShape& s = p.shape;
  const RowMemory<T> memory(s, a, scratch, kLowest);
  T* const firsts = memory.out[0];
  T* const found = memory.out[1];
  for (Index plane = begin; plane < end; ++plane) {
    const T* x = p.x + plane * s.height * s.width;
    for (Index i = 0; i < a.rows; ++i) memory.kept[i] = -1;
    Index firsts_of = -1;  // the row of taps that `firsts` begins at
    for (Index i = 0; i < s.out_h; ++i) {
      const Index out = (plane * s.out_h + i) * s.out_w;
      const Index top = i * s.stride_h - s.pad_h;
      const Taps taps(top, s.kernel_h, s.dilation_h, s.height);
      if (i == 0 || taps.begin != firsts_of || taps.begin == taps.end) {
        first_places(s, taps, a.stride, firsts);
        firsts_of = taps.begin == taps.end ? -1 : taps.begin;
      }
      for (Index u = taps.begin; u < taps.end; ++u) {
        const Index h = top + u * s.dilation_h, slot = h % a.rows;
        if (memory.kept[slot] == h) continue;
        split_row(a, RowSource<T>{x + h * s.width}, memory.rows + slot * a.row, kLowest, memory.line);
        memory.kept[slot] = h;
      }
      for (Index j = 0; j < s.out_w; j += V::lanes) {
        V best = V::broadcast(kLowest), place = V::load(firsts + j);
        for (Index u = taps.begin; u < taps.end; ++u) {
          const T* row = memory.rows + (top + u * s.dilation_h) % a.rows * a.row + j;
          for (Index v = 0; v < s.kernel_w; ++v) {
            const V value = V::load(row + memory.tap[v]);
            const auto larger = wins(value, best);
            best = V::select(larger, value, best);
            place = V::select(larger, V::broadcast(T(u * s.kernel_w + v)), place);
          }
        }
        if (p.relu) {
          const auto off = V::less_equal(best, V::zero());
          best = V::select(off, V::zero(), best);
          place = V::select(off, V::broadcast(T(-1)), place);
        }
        const Index n = s.out_w - j;
        store_first(best, p.y + out + j, n);
        if (p.places == nullptr)
          place.store(found + j);
        else if (n >= V::lanes)
          store_places(place, p.places + out + j);
        else
          store_places(place, p.places + out + j, n);
      }
      if (p.indices == nullptr) continue;
      for (Index j = 0; j < s.out_w; ++j) {
        const std::int64_t tap = static_cast<std::int64_t>(found[j]);
        const std::int64_t u = tap / s.kernel_w, v = tap % s.kernel_w;
        p.indices[out + j] =
            tap < 0 ? -1 : (top + u * s.dilation_h) * s.width + j * a.stride - s.pad_w + v * s.dilation_w;
      }
    }
  }
}

template <class T>
void max_rows(const MaxPool<T>& p, const RowLayout& a, Index begin, Index end, void* scratch) {
  if (p.places == nullptr && p.indices == nullptr)
    max_values(p, a, begin, end, scratch);
  else
    max_places(p, a, begin, end, scratch);
}

template <class T>
constexpr PoolRowKernels<T> kKernels = {max_rows<T>};

}  // namespace

extern const PoolTable<PoolRowKernels> pool_row_table;
const PoolTable<PoolRowKernels> pool_row_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
