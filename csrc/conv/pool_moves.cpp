// Means, their gradients, and those of maxima, on planes where they lie: rows in registers, moved along their lanes
// (row_plan.h; depthwise_rows.cpp has the idea). No copy, no transposition, small planes as good as large ones.
//
// A mean is the sum of the rows of its windows, as masked loads, then of its columns, a move along the lanes for each
// column of a window. Its gradient is the same from the gradient's rows, where an element's windows are the window.
// Windows may have any places that follow each other, adaptive ones too. For maxima, each register of gradients goes to
// as many sums as a window has columns, to each where its place is that column, in that row; then these are moved.
//
// Operations for each register of results: a load and an addition for each row of a window (maxima: a comparison and an
// addition for each tap), a shuffle and an addition for each column. Bytes: each array once, in order. Bound: memory.
#include "conv/interleave.h"
#include "conv/pool_kernels.h"

#if defined(DLKIT_TARGET_AVX512)
#include "conv/row_plan.h"
#endif

namespace dlkit::DLKIT_TARGET {
#if defined(DLKIT_TARGET_AVX512)
namespace {

// --- means ----------------------------------------------------------------------------------------------------------

// Along an axis, what each result is a sum of: `count` elements from `first` on, worth `factor` each.
template <class T>
struct Windows {
  Index *first, *count;
  T* factor;
  Index size;

  static DLKIT_INLINE Index bytes(Index size) {
    return divide_up(size * static_cast<Index>(2 * sizeof(Index) + sizeof(T)), 64) * 64;
  }
  DLKIT_INLINE Windows(char*& memory, Index n) : size(n) {
    first = reinterpret_cast<Index*>(memory);
    count = first + n;
    factor = reinterpret_cast<T*>(count + n);
    memory += bytes(n);
  }
  DLKIT_INLINE void pooled(Index kernel, Index stride, Index pad, Index extent, bool include_pad, Index divisor) {
    for (Index i = 0; i < size; ++i) {
      const Index start = i * stride - pad;
      const Index end = start + kernel < extent + pad ? start + kernel : extent + pad;
      const Index begin = start < 0 ? 0 : start, until = end < extent ? end : extent;
      first[i] = begin < until ? begin : 0;
      count[i] = begin < until ? until - begin : 0;
      const Index counted = divisor != 0 ? divisor : include_pad ? end - start : count[i];
      factor[i] = T(1) / static_cast<T>(counted);
    }
  }
  DLKIT_INLINE void adaptive(Index extent) {
    for (Index i = 0; i < size; ++i) {
      first[i] = i * extent / size;
      count[i] = ((i + 1) * extent + size - 1) / size - first[i];
      factor[i] = T(1) / static_cast<T>(count[i]);
    }
  }
  // The windows that hold each element, where these are `windows`.
  DLKIT_INLINE void holders(const Windows& windows) {
    for (Index e = 0; e < size; ++e) first[e] = count[e] = 0;
    for (Index i = windows.size - 1; i >= 0; --i)
      for (Index e = windows.first[i]; e < windows.first[i] + windows.count[i]; ++e) first[e] = i, ++count[e];
  }
  DLKIT_INLINE Index most() const {
    Index most = 1;
    for (Index i = 0; i < size; ++i)
      if (count[i] > most) most = count[i];
    return most;
  }
  DLKIT_INLINE bool uniform() const {
    for (Index i = 1; i < size; ++i)
      if (factor[i] != factor[0]) return false;
    return true;
  }
};

template <class T>
struct MeanSource {
  Index at;
  T factor;
  typename Vec<T>::Mask mask[2];
};

// Results of a part of a row, or of some rows, from column `left` of what is read; factors of what is read, and of
// them.
template <class T>
struct MeanTile {
  Index begin, end, left;
  Moves<T> moves[kMostMoves];
  alignas(64) T read[2 * Vec<T>::lanes];
  alignas(64) T given[Vec<T>::lanes];
};

template <class T>
struct MeanStep {
  Index first, count, out;
  typename Vec<T>::Mask mask;
  const MeanTile<T>* tile;
};

template <class T>
struct MeanPlan {
  MeanStep<T>* steps;
  MeanSource<T>* sources;
  MeanTile<T>* tiles;
  Index count, tile_count, moves;
  Index gap = Vec<T>::lanes;  // from the first register that is read to the second
};

// The columns of results that a tile from column j on has: as many as read what is in two registers.
template <class T>
DLKIT_INLINE Index tile_end(const Windows<T>& cols, Index j) {
  constexpr Index kLanes = Vec<T>::lanes;
  Index end = j, left = -1;
  for (; end < cols.size && end < j + kLanes; ++end) {
    if (cols.count[end] == 0) continue;
    if (left < 0) left = cols.first[end];
    if (cols.first[end] + cols.count[end] - left > 2 * kLanes) break;
  }
  return end;
}

// Results of out_h x out_w from planes of height x width. Rows of windows one apart, `lead` before the result's own
// row, `tall` of them where all are there, let as many rows as fit be one: `tall` is 0 where that is not so. Where they
// are `apart`, the results of two rows may be one: from a register for each.
template <class T>
DLKIT_INLINE bool plan_means(MeanPlan<T>& plan, const Windows<T>& rows, const Windows<T>& cols,
                             const Windows<T>& read_rows, const Windows<T>& read_cols, bool forward, Index lead,
                             Index tall, Index apart) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index height = read_rows.size, width = read_cols.size, out_h = rows.size, out_w = cols.size;
  const Index longest = width > out_w ? width : out_w;
  const bool pairs = tall > 0 && apart > 1 && width <= kLanes && 2 * out_w <= kLanes;
  const Index together = pairs                                             ? 2
                         : tall > 0 && apart == 1 && 2 * longest <= kLanes ? smaller(kLanes / longest, out_h)
                                                                           : 1;
  const Index row_pitch = pairs ? kLanes : width;  // between the lanes of two rows
  if (pairs) plan.gap = apart * width;
  plan.tile_count = 0;
  for (Index j = 0; j < out_w; j = tile_end(cols, j)) ++plan.tile_count;
  const Index most_rows = together > 1 ? tall : rows.most(), steps = divide_up(out_h, together) * plan.tile_count;
  const auto up = [](std::size_t bytes) { return (bytes + 63) / 64 * 64; };
  const std::size_t of_tiles = up(static_cast<std::size_t>(plan.tile_count) * sizeof(MeanTile<T>));
  const std::size_t of_steps = up(static_cast<std::size_t>(steps) * sizeof(MeanStep<T>));
  const std::size_t of_sources = static_cast<std::size_t>(steps * most_rows) * sizeof(MeanSource<T>);
  char* const memory = static_cast<char*>(scratch_bytes(Slot::pack_b, of_tiles + of_steps + of_sources));
  plan.tiles = reinterpret_cast<MeanTile<T>*>(memory);
  plan.steps = reinterpret_cast<MeanStep<T>*>(memory + of_tiles);
  plan.sources = reinterpret_cast<MeanSource<T>*>(memory + of_tiles + of_steps);
  plan.moves = cols.most();
  bool two = false;
  Index k = 0;
  for (Index j = 0; j < out_w; ++k) {
    MeanTile<T>& tile = plan.tiles[k];
    tile.begin = j;
    tile.end = tile_end(cols, j);
    tile.left = 0;
    Index right = together * row_pitch;
    if (together == 1) {
      tile.left = width, right = 0;
      for (Index i = j; i < tile.end; ++i) {
        if (cols.count[i] == 0) continue;
        if (cols.first[i] < tile.left) tile.left = cols.first[i];
        if (cols.first[i] + cols.count[i] > right) right = cols.first[i] + cols.count[i];
      }
      if (right == 0) tile.left = 0;
    }
    two = two || right - tile.left > kLanes;
    for (Index m = 0; m < plan.moves; ++m) {
      Index lane[kLanes];
      for (Index i = 0; i < kLanes; ++i) {
        const Index row = i / (tile.end - j), col = j + i % (tile.end - j);
        lane[i] = row < together && m < cols.count[col] ? row * row_pitch + cols.first[col] + m - tile.left : -1;
      }
      tile.moves[m].set(lane);
    }
    for (Index i = 0; i < kLanes; ++i) tile.given[i] = forward ? cols.factor[j + i % (tile.end - j)] : T(1);
    for (Index i = 0; i < 2 * kLanes; ++i) {
      const Index col = together > 1 ? i % width : tile.left + i;
      tile.read[i] = !forward && col < width ? read_cols.factor[col] : T(1);
    }
    j = tile.end;
  }
  plan.count = 0;
  Index used = 0;
  for (Index i = 0; i < out_h; i += together)
    for (k = 0; k < plan.tile_count; ++k) {
      const MeanTile<T>& tile = plan.tiles[k];
      const Index group = smaller(together, out_h - i);
      MeanStep<T>& step = plan.steps[plan.count++];
      step.first = used;
      step.out = i * out_w + tile.begin;
      step.mask = Vec<T>::first(group * (tile.end - tile.begin));
      step.tile = &tile;
      const Index from = together > 1 ? i * (apart > 0 ? apart : 1) - lead : rows.first[i];
      const Index until = from + (together > 1 ? tall : rows.count[i]);
      for (Index row = from; row < until; ++row) {
        if (pairs) {
          const bool one = row >= 0 && row < height, other = group > 1 && row + apart >= 0 && row + apart < height;
          if (!one && !other) continue;
          MeanSource<T>& source = plan.sources[used++];
          source.at = row * width;
          source.factor = rows.factor[i];
          source.mask[0] = Vec<T>::first(one ? width : 0);
          source.mask[1] = Vec<T>::first(other ? width : 0);
          continue;
        }
        const Index begin = row < 0 ? -row : 0, end = row + group > height ? height - row : group;
        if (begin >= end) continue;
        MeanSource<T>& source = plan.sources[used++];
        source.at = row * width + tile.left;
        source.factor = forward ? rows.factor[i] : read_rows.factor[row + begin];
        for (Index r = 0; r < 2; ++r)
          source.mask[r] = together > 1 ? between<T>(begin * width - r * kLanes, end * width - r * kLanes)
                                        : Vec<T>::first(width - tile.left - r * kLanes);
      }
      step.count = used - step.first;
    }
  return two;
}

// kMoves: the moves of a tile, or 0.
template <class T, int Regs, bool kForward, int kMoves>
void run_means(const MeanPlan<T>& plan, const T* in, Index in_size, T* out, Index out_size, Index begin, Index end) {
  using V = Vec<T>;
  const Index most = in_size > out_size ? in_size : out_size, ahead = kAhead / most > 1 ? kAhead / most : 1;
  const Index moves = kMoves != 0 ? kMoves : plan.moves, gap = plan.gap;
  for (Index plane = begin; plane < end; ++plane) {
    const T* const from = in + plane * in_size;
    T* const to = out + plane * out_size;
    if (plane + ahead < end) {
      prefetch_plane<0>(from + ahead * in_size, in_size);
      prefetch_plane<1>(to + ahead * out_size, out_size);
    }
    for (Index k = 0; k < plan.count; ++k) {
      const MeanStep<T>& step = plan.steps[k];
      const MeanTile<T>& tile = *step.tile;
      V z[2] = {V::zero(), V::zero()};
      const MeanSource<T>* source = plan.sources + step.first;
      for (Index n = 0; n < step.count; ++n, ++source) {
        const V factor = V::broadcast(source->factor);
#pragma GCC unroll 2
        for (int r = 0; r < Regs; ++r)
          z[r] = V::fma(factor, V::load(from + source->at + r * gap, source->mask[r]), z[r]);
      }
      if constexpr (!kForward) {
#pragma GCC unroll 2
        for (int r = 0; r < Regs; ++r) z[r] = z[r] * V::load(tile.read + r * V::lanes);
      }
      const auto moved = [&](Index m) __attribute__((always_inline)) {
        return Regs == 2 ? tile.moves[m].of(z[0], z[1]) : tile.moves[m].of(z[0]);
      };
      V sum = moved(0);
#pragma GCC unroll 4
      for (Index m = 1; m < moves; ++m) sum = sum + moved(m);
      if constexpr (kForward) sum = sum * V::load(tile.given);
      sum.store(to + step.out, step.mask);
    }
  }
}

template <class T, bool kForward>
DLKIT_INLINE void run_means(const MeanPlan<T>& plan, bool two, const T* in, Index in_size, T* out, Index out_size,
                            Index begin, Index end) {
  const auto run = two               ? (plan.moves == 3 ? run_means<T, 2, kForward, 3> : run_means<T, 2, kForward, 0>)
                   : plan.moves == 2 ? run_means<T, 1, kForward, 2>
                   : plan.moves == 3 ? run_means<T, 1, kForward, 3>
                                     : run_means<T, 1, kForward, 0>;
  run(plan, in, in_size, out, out_size, begin, end);
}

// --- gradients of windows far apart ---------------------------------------------------------------------------------

// Registers of a plane's gradients, from the two registers of outputs, wherever these are, that hold the windows of its
// elements: move m of lane e is its m-th window, of which it is tap `tap`. Of small planes.
struct Span {
  Index first, count;
};

template <class T>
struct FlatTile {
  Index left, moves;
  Moves<T> move[kMostMoves];
  alignas(64) T tap[kMostMoves][Vec<T>::lanes];
  alignas(64) T read[2 * Vec<T>::lanes];
  typename Vec<T>::Mask in[2], out;
};

constexpr Index kMostFlat = 32;  // tiles

template <class T>
struct FlatPlan {
  FlatTile<T>* tiles;
  Index count;
  bool two;
};

// False where a register of elements has windows too many, or too far apart. first(h), count(h): windows of a row;
// tap(h, i, w, j): of the window at row i and column j, which that at (h, w) is; factor(i, j): of an output.
template <class T, class Rows, class Cols, class Tap, class Factor>
DLKIT_INLINE bool plan_flat(FlatPlan<T>& plan, const PoolShape& s, const Rows& rows, const Cols& cols, const Tap& tap,
                            const Factor& factor) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index size = s.in_size();
  plan.count = divide_up(size, kLanes);
  plan.two = false;
  if (plan.count > kMostFlat) return false;
  plan.tiles = static_cast<FlatTile<T>*>(
      scratch_bytes(Slot::pack_b, static_cast<std::size_t>(plan.count) * sizeof(FlatTile<T>)));
  Index h = 0, w = 0;
  for (Index k = 0; k < plan.count; ++k) {
    FlatTile<T>& tile = plan.tiles[k];
    const Index n = smaller(kLanes, size - k * kLanes);
    Index row_of[kLanes], col_of[kLanes];
    Span row[kLanes], col[kLanes];
    Index left = s.out_size(), right = 0, most = 1;
    for (Index i = 0; i < n; ++i) {
      row_of[i] = h, col_of[i] = w;
      row[i] = rows(h), col[i] = cols(w);
      if (++w == s.width) w = 0, ++h;
      if (row[i].count == 0 || col[i].count == 0) continue;
      if (row[i].count * col[i].count > most) most = row[i].count * col[i].count;
      const Index from = row[i].first * s.out_w + col[i].first;
      const Index until = (row[i].first + row[i].count - 1) * s.out_w + col[i].first + col[i].count;
      if (from < left) left = from;
      if (until > right) right = until;
    }
    if (right == 0) left = 0;
    if (most > kMostMoves || right - left > 2 * kLanes) return false;
    plan.two = plan.two || right - left > kLanes;
    tile.left = left;
    tile.moves = most;
    Index lane[kMostMoves][kLanes];
    for (Index m = 0; m < most; ++m)
      for (Index i = 0; i < kLanes; ++i) lane[m][i] = -1, tile.tap[m][i] = T(-1);
    for (Index i = 0; i < n; ++i) {
      Index m = 0;
      for (Index r = row[i].first; r < row[i].first + row[i].count; ++r)
        for (Index c = col[i].first; c < col[i].first + col[i].count; ++c, ++m) {
          lane[m][i] = r * s.out_w + c - left;
          tile.tap[m][i] = static_cast<T>(tap(row_of[i], r, col_of[i], c));
        }
    }
    for (Index m = 0; m < most; ++m) tile.move[m].set(lane[m]);
    Index r = left / s.out_w, c = left - r * s.out_w;
    for (Index i = 0; i < 2 * kLanes; ++i) {
      tile.read[i] = r < s.out_h ? factor(r, c) : T(0);
      if (++c == s.out_w) c = 0, ++r;
    }
    for (Index reg = 0; reg < 2; ++reg) tile.in[reg] = Vec<T>::first(s.out_size() - left - reg * kLanes);
    tile.out = Vec<T>::first(n);
  }
  return true;
}

template <class T, int Regs>
void run_flat_means(const FlatPlan<T>& plan, const T* in, Index in_size, T* out, Index out_size, Index begin,
                    Index end) {
  using V = Vec<T>;
  const Index ahead = kAhead / out_size > 1 ? kAhead / out_size : 1;
  for (Index plane = begin; plane < end; ++plane) {
    const T* const from = in + plane * in_size;
    T* const to = out + plane * out_size;
    if (plane + ahead < end) {
      prefetch_plane<0>(from + ahead * in_size, in_size);
      prefetch_plane<1>(to + ahead * out_size, out_size);
    }
    for (Index k = 0; k < plan.count; ++k) {
      const FlatTile<T>& tile = plan.tiles[k];
      V g[2];
#pragma GCC unroll 2
      for (int r = 0; r < Regs; ++r)
        g[r] = V::load(from + tile.left + r * V::lanes, tile.in[r]) * V::load(tile.read + r * V::lanes);
      const auto moved = [&](Index m) __attribute__((always_inline)) {
        return Regs == 2 ? tile.move[m].of(g[0], g[1]) : tile.move[m].of(g[0]);
      };
      V sum = moved(0);
      if (tile.moves == 4)
        sum = ((sum + moved(1)) + moved(2)) + moved(3);
      else
        for (Index m = 1; m < tile.moves; ++m) sum = sum + moved(m);
      sum.store(to + k * V::lanes, tile.out);
    }
  }
}

// set(rows, cols): the windows of a shape. tall and apart, as plan_means has them, where the factors of rows are alike.
template <class T, bool kForward, class Set>
DLKIT_INLINE void means(const PoolShape& s, const T* in, T* out, Index tall, Index apart, Index pad, const Set& set,
                        Index begin, Index end) {
  char* memory = static_cast<char*>(
      scratch_bytes(Slot::windows, static_cast<std::size_t>(Windows<T>::bytes(s.out_h) + Windows<T>::bytes(s.out_w) +
                                                            Windows<T>::bytes(s.height) + Windows<T>::bytes(s.width))));
  Windows<T> rows(memory, s.out_h), cols(memory, s.out_w), row_holders(memory, s.height), col_holders(memory, s.width);
  set(rows, cols);
  row_holders.holders(rows);
  col_holders.holders(cols);
  const Index together = rows.uniform() ? tall : 0;
  MeanPlan<T> plan;
  if constexpr (kForward) {
    const bool two = plan_means(plan, rows, cols, row_holders, col_holders, true, pad, together, apart);
    run_means<T, true>(plan, two, in, s.in_size(), out, s.out_size(), begin, end);
  } else {
    FlatPlan<T> flat;
    const bool few = row_holders.most() * col_holders.most() <= 4 && (together == 0 || apart > 1);
    const auto holder = [](const Windows<T>& windows) {
      return [&windows](Index e) __attribute__((always_inline)) { return Span{windows.first[e], windows.count[e]}; };
    };
    if (few && plan_flat(
                   flat, s, holder(row_holders), holder(col_holders), [](Index, Index, Index, Index) { return 0; },
                   [&](Index i, Index j) __attribute__((always_inline)) { return rows.factor[i] * cols.factor[j]; }))
      return (flat.two ? run_flat_means<T, 2> : run_flat_means<T, 1>)(flat, in, s.out_size(), out, s.in_size(), begin,
                                                                      end);
    const bool two =
        plan_means(plan, row_holders, col_holders, rows, cols, false, tall - 1 - pad, apart == 1 ? together : 0, apart);
    run_means<T, false>(plan, two, in, s.out_size(), out, s.in_size(), begin, end);
  }
}

template <class T, bool kForward, class Problem>
DLKIT_INLINE void pooled_means(const Problem& p, const T* in, T* out, Index begin, Index end) {
  const PoolShape& s = p.shape;
  const Index step = s.out_h == 1 ? 1 : s.stride_h, stride = s.out_w == 1 ? 1 : s.stride_w;
  means<T, kForward>(
      s, in, out, s.kernel_h, step, s.pad_h,
      [&](Windows<T>& rows, Windows<T>& cols) __attribute__((always_inline)) {
        rows.pooled(s.kernel_h, step, s.pad_h, s.height, p.include_pad, p.divisor != 0 ? 1 : 0);
        cols.pooled(s.kernel_w, stride, s.pad_w, s.width, p.include_pad, p.divisor);
      },
      begin, end);
}

template <class T>
void avg(const AvgPool<T>& p, Index begin, Index end) {
  pooled_means<T, true>(p, p.x, p.y, begin, end);
}

template <class T>
void avg_backward(const AvgPoolBackward<T>& p, Index begin, Index end) {
  pooled_means<T, false>(p, p.grad, p.dx, begin, end);
}

template <class T>
struct Adaptive {
  const PoolShape& s;
  DLKIT_INLINE void operator()(Windows<T>& rows, Windows<T>& cols) const {
    rows.adaptive(s.height);
    cols.adaptive(s.width);
  }
};

template <class T>
void adaptive_avg(const AdaptiveAvgPool<T>& p, Index begin, Index end) {
  means<T, true>(p.shape, p.x, p.y, 0, 0, 0, Adaptive<T>{p.shape}, begin, end);
}

template <class T>
void adaptive_avg_backward(const AdaptiveAvgPoolBackward<T>& p, Index begin, Index end) {
  means<T, false>(p.shape, p.grad, p.dx, 0, 0, 0, Adaptive<T>{p.shape}, begin, end);
}

// --- the gradients of maxima ----------------------------------------------------------------------------------------

template <class T>
DLKIT_INLINE Vec<T> add_where(typename Vec<T>::Mask mask, Vec<T> sum, Vec<T> x) {
#if defined(DLKIT_TARGET_AVX512)
  if constexpr (sizeof(T) == 4)
    return {_mm512_mask_add_ps(sum.v, mask, sum.v, x.v)};
  else
    return {_mm512_mask_add_pd(sum.v, mask, sum.v, x.v)};
#else
  return sum + Vec<T>::select(mask, x, Vec<T>::zero());
#endif
}

template <class T>
DLKIT_INLINE typename Vec<T>::Mask equal(Vec<T> a, Vec<T> b) {
#if defined(DLKIT_TARGET_AVX512)
  if constexpr (sizeof(T) == 4)
    return _mm512_cmp_ps_mask(a.v, b.v, _CMP_EQ_OQ);
  else
    return _mm512_cmp_pd_mask(a.v, b.v, _CMP_EQ_OQ);
#else
  return both(Vec<T>::less_equal(a, b), Vec<T>::less_equal(b, a));
#endif
}

// The places of a source's lanes; kNoPlace is none's, as 0 is in the lanes that are not there.
template <class T>
DLKIT_INLINE Places<T> load_places(const std::uint8_t* p, const typename Vec<T>::Mask mask, Index begin, Index end) {
#if defined(DLKIT_TARGET_AVX512)
  (void)begin, (void)end;
  return {_mm_maskz_loadu_epi8(mask, p)};
#else
  (void)mask;
  return Places<T>::load(p, begin, end);
#endif
}

template <class T, int K, int OutRegs>
void run_maxima(const MaxPoolBackward<T>& p, const Plan<T>& plan, Index begin, Index end) {
  using V = Vec<T>;
  const PoolShape& s = p.shape;
  const Index in_size = s.out_size(), out_size = s.in_size();
  const Index most = in_size > out_size ? in_size : out_size, ahead = kAhead / most > 1 ? kAhead / most : 1;
  for (Index plane = begin; plane < end; ++plane) {
    const T* const grad = p.grad + plane * in_size;
    const std::uint8_t* const places = p.places + plane * in_size;
    T* const to = p.dx + plane * out_size;
    if (plane + ahead < end) {
      prefetch_plane<0>(grad + ahead * in_size, in_size);
      prefetch_plane<0>(places + ahead * in_size, in_size);
      prefetch_plane<1>(to + ahead * out_size, out_size);
    }
    for (Index k = 0; k < plan.count; ++k) {
      const Step<T>& step = plan.steps[k];
      V z[K];
#pragma GCC unroll 4
      for (int v = 0; v < K; ++v) z[v] = V::zero();
      const Source<T>* source = plan.sources + step.first;
      for (Index n = 0; n < step.count; ++n, ++source) {
        const V g = V::load(grad + source->at, source->mask[0]);
        const auto place = load_places<T>(places + source->at, source->mask[0], source->begin, source->end);
        const int tap = static_cast<int>(source->tap_row) * K;
#pragma GCC unroll 4
        for (int v = 0; v < K; ++v) z[v] = add_where(place.is(tap + v), z[v], g);
      }
#pragma GCC unroll 2
      for (int r = 0; r < OutRegs; ++r) {
        V sum = plan.moves[r][0].of(z[0]);
#pragma GCC unroll 4
        for (int v = 1; v < K; ++v) sum = sum + plan.moves[r][v].of(z[v]);
        sum.store(to + step.out + r * plan.out_gap, step.mask[r]);
      }
    }
  }
}

template <class T, int Regs>
void run_flat_maxima(const MaxPoolBackward<T>& p, const FlatPlan<T>& plan, Index begin, Index end) {
  using V = Vec<T>;
  const Index in_size = p.shape.out_size(), out_size = p.shape.in_size();
  const Index ahead = kAhead / out_size > 1 ? kAhead / out_size : 1;
  for (Index plane = begin; plane < end; ++plane) {
    const T* const grad = p.grad + plane * in_size;
    const std::uint8_t* const places = p.places + plane * in_size;
    T* const to = p.dx + plane * out_size;
    if (plane + ahead < end) {
      prefetch_plane<0>(grad + ahead * in_size, in_size);
      prefetch_plane<0>(places + ahead * in_size, in_size);
      prefetch_plane<1>(to + ahead * out_size, out_size);
    }
    for (Index k = 0; k < plan.count; ++k) {
      const FlatTile<T>& tile = plan.tiles[k];
      V g[2], place[2];
#pragma GCC unroll 2
      for (int r = 0; r < Regs; ++r) {
        g[r] = V::load(grad + tile.left + r * V::lanes, tile.in[r]);
        place[r] = load_numbers<T>(places + tile.left + r * V::lanes, in_size - tile.left - r * V::lanes);
      }
      V sum = V::zero();
      const auto add = [&](Index m) __attribute__((always_inline)) {
        const Moves<T>& move = tile.move[m];
        const V at = Regs == 2 ? move.of(place[0], place[1]) : move.of(place[0]);
        sum = add_where(equal(at, V::load(tile.tap[m])), sum, Regs == 2 ? move.of(g[0], g[1]) : move.of(g[0]));
      };
      if (tile.moves == 4) {
#pragma GCC unroll 4
        for (Index m = 0; m < 4; ++m) add(m);
      } else {
        for (Index m = 0; m < tile.moves; ++m) add(m);
      }
      sum.store(to + k * V::lanes, tile.out);
    }
  }
}

// The windows of an axis that hold element e.
DLKIT_INLINE Span holders_of(Index e, Index kernel, Index stride, Index pad, Index outputs) {
  const Index before = e + pad - kernel + 1, first = before > 0 ? (before + stride - 1) / stride : 0;
  const Index last = smaller((e + pad) / stride + 1, outputs);
  return {first, last > first ? last - first : 0};
}

template <class T>
void max_backward(const MaxPoolBackward<T>& p, Index begin, Index end) {
  const PoolShape& s = p.shape;
  const Index K = s.kernel_h;
  FlatPlan<T> flat;
  if (s.stride_h == 2 &&
      plan_flat(
          flat, s, [&](Index h) __attribute__((always_inline)) { return holders_of(h, K, 2, s.pad_h, s.out_h); },
          [&](Index w) __attribute__((always_inline)) { return holders_of(w, K, 2, s.pad_w, s.out_w); },
          [&](Index h, Index i, Index w, Index j)
              __attribute__((always_inline)) { return (h + s.pad_h - 2 * i) * K + w + s.pad_w - 2 * j; },
          [](Index, Index) { return T(1); }))
    return (flat.two ? run_flat_maxima<T, 2> : run_flat_maxima<T, 1>)(p, flat, begin, end);
  Plan<T> plan;
  const Tiling<T> t =
      plan_backward(plan, Extents{s.out_h, s.out_w, s.height, s.width}, K, s.stride_h, s.pad_h, s.pad_w);
  const auto run = K == 2 ? (t.out_regs == 2 ? run_maxima<T, 2, 2> : run_maxima<T, 2, 1>)
                          : (t.out_regs == 2 ? run_maxima<T, 3, 2> : run_maxima<T, 3, 1>);
  run(p, plan, begin, end);
}

template <class T>
constexpr PoolMoveKernels<T> kKernels = {max_backward<T>,          avg<T>,       avg_backward<T>, adaptive_avg<T>,
                                         adaptive_avg_backward<T>, Vec<T>::lanes};

}  // namespace

extern const PoolTable<PoolMoveKernels> pool_move_table;
const PoolTable<PoolMoveKernels> pool_move_table = {kKernels<float>, {}};  // small code
#else
extern const PoolTable<PoolMoveKernels> pool_move_table;
const PoolTable<PoolMoveKernels> pool_move_table = {};
#endif

}  // namespace dlkit::DLKIT_TARGET
