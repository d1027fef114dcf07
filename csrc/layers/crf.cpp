// The conditional random field in probabilities instead of logarithms, a vector of tags at a time.
//
// With E = exp(transitions - top), made once for a batch, a step forward is a vector times a matrix, a' = (a E) x, x =
// exp(e_t - its maximum), after which a is scaled to the sum 1 and the logarithm of the scale kept (Rabiner 1989,
// section V.A): K exponentials instead of K^2. A step backward is the product with the transpose, and the
// probabilities of pairs are the sum over steps of outer products, which E multiplies once, at the end.
//
// FLOPs of a row: 2 K^2 forward, 4 K^2 backward, K exponentials and some 20 K more. Bytes: its K emissions in, K
// gradients out; the tables (2 K^2) and the K^2 of the sums stay in the first-level cache up to about 50 tags. Bound:
// fused operations on them, two loads each.
//
// Scaling keeps what is 1e-30 of its step's sum or more; a path below that could yet become the likeliest one. The
// smallest share is watched, and where it falls below, the sequence is left to the definition (crf_naive.cpp).
#include "layers/crf.h"

#include "core/simd.h"
#include "core/vector_math.h"

namespace dlkit::DLKIT_TARGET {
namespace {

DLKIT_INLINE double log_of(double x) { return __builtin_log(x); }

template <class T>
constexpr T kSmallest = sizeof(T) == 4 ? T(1e-30) : T(1e-290);

template <class T>
DLKIT_INLINE Vec<T> minus_infinity() {
  return Vec<T>::broadcast(-static_cast<T>(__builtin_inf()));
}

// The greatest of n numbers; -inf of none.
template <class T>
DLKIT_INLINE T greatest(const T* x, Index n) {
  using V = Vec<T>;
  V most = minus_infinity<T>();
  for (Index i = 0; i < n; i += V::lanes) {
    const auto mask = V::first(n - i);
    most = V::max(most, V::select(mask, V::load(x + i, mask), minus_infinity<T>()));
  }
  return most.maximum();
}

// out = exp(x - top), 0 from n to width; x null: 1.
template <class T>
DLKIT_INLINE void exponentials(const T* x, T top, T* out, Index n, Index width) {
  using V = Vec<T>;
  const V by = V::broadcast(top);
  for (Index i = 0; i < width; i += V::lanes) {
    if (i >= n) {
      V::zero().store(out + i);
      continue;
    }
    const auto mask = V::first(n - i);
    const V e = x == nullptr ? V::broadcast(1) : exp_of_negative<T>(V::load(x + i, mask) - by);
    V::select(mask, e, V::zero()).store(out + i);
  }
}

// out = (x times the rows of a matrix), n rows of `width`.
template <class T>
DLKIT_INLINE void product(const T* x, const T* matrix, T* out, Index n, Index width) {
  using V = Vec<T>;
  Index j = 0;
  for (; j + 2 * V::lanes <= width; j += 2 * V::lanes) {
    V sum[2][2] = {{V::zero(), V::zero()}, {V::zero(), V::zero()}};
    const T* row = matrix + j;
    Index i = 0;
    for (; i + 2 <= n; i += 2, row += 2 * width)
      for (int k = 0; k < 2; ++k) {
        const V by = V::broadcast(x[i + k]);
        sum[0][k] = V::fma(by, V::load(row + k * width), sum[0][k]);
        sum[1][k] = V::fma(by, V::load(row + k * width + V::lanes), sum[1][k]);
      }
    if (i < n) {
      const V by = V::broadcast(x[i]);
      sum[0][0] = V::fma(by, V::load(row), sum[0][0]);
      sum[1][0] = V::fma(by, V::load(row + V::lanes), sum[1][0]);
    }
    (sum[0][0] + sum[0][1]).store(out + j);
    (sum[1][0] + sum[1][1]).store(out + j + V::lanes);
  }
  for (; j < width; j += V::lanes) {
    V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    const T* row = matrix + j;
    Index i = 0;
    for (; i + 4 <= n; i += 4, row += 4 * width)
      for (int k = 0; k < 4; ++k) sum[k] = V::fma(V::broadcast(x[i + k]), V::load(row + k * width), sum[k]);
    for (; i < n; ++i, row += width) sum[0] = V::fma(V::broadcast(x[i]), V::load(row), sum[0]);
    ((sum[0] + sum[1]) + (sum[2] + sum[3])).store(out + j);
  }
}

// The smallest of the first n numbers, and of what there was.
template <class T>
DLKIT_INLINE void watch(Vec<T> value, Index i, Index n, Vec<T>& smallest) {
  if (i < n) smallest = Vec<T>::min(Vec<T>::select(Vec<T>::first(n - i), value, smallest), smallest);
}

// x *= y; returns the sum. What x was is watched: what a product lost could else be hidden in what it is multiplied
// with.
template <class T>
DLKIT_INLINE T times(T* x, const T* y, Index n, Index width, Vec<T>& smallest) {
  using V = Vec<T>;
  V sum = V::zero();
  for (Index i = 0; i < width; i += V::lanes) {
    const V before = V::load(x + i), value = before * V::load(y + i);
    watch<T>(before, i, n, smallest);
    value.store(x + i);
    sum = sum + value;
  }
  return sum.sum();
}

// x *= factor, watched after.
template <class T>
DLKIT_INLINE void scale(T* x, T factor, Index n, Index width, Vec<T>& smallest) {
  using V = Vec<T>;
  const V by = V::broadcast(factor);
  for (Index i = 0; i < width; i += V::lanes) {
    const V value = V::load(x + i) * by;
    value.store(x + i);
    watch<T>(value, i, n, smallest);
  }
}

template <class T>
DLKIT_INLINE T dot(const T* x, const T* y, Index width) {
  using V = Vec<T>;
  V sum = V::zero();
  for (Index i = 0; i < width; i += V::lanes) sum = V::fma(V::load(x + i), V::load(y + i), sum);
  return sum.sum();
}

template <class T>
DLKIT_INLINE T smallest_of(Vec<T> x) {
  return -(Vec<T>::zero() - x).maximum();
}

template <class T>
void tables(const CrfModel<T>& model, CrfTables<T>& t) {
  const Index tags = model.tags, width = t.width;
  t.top = greatest(model.transitions, tags * tags);
  for (Index i = 0; i < tags; ++i)
    exponentials(model.transitions + i * tags, t.top, t.forward + i * width, tags, width);
  for (Index i = 0; i < tags; ++i)
    for (Index j = 0; j < width; ++j) t.backward[i * width + j] = j < tags ? t.forward[j * width + i] : T(0);
  t.start_top = model.start == nullptr ? T(0) : greatest(model.start, tags);
  t.end_top = model.end == nullptr ? T(0) : greatest(model.end, tags);
  exponentials(model.start, t.start_top, t.start, tags, width);
  exponentials(model.end, t.end_top, t.end, tags, width);
}

template <class T>
bool sequence(const CrfLoss<T>& work, const CrfTables<T>& table, Index number, T* memory, CrfSums<T>* sums,
              double* log_z) {
  using V = Vec<T>;
  const auto& m = work.model;
  const Index steps = m.lengths[number], tags = m.tags, width = table.width;
  T *const alpha = memory, *const beta = alpha + steps * width, *const x = beta + steps * width;
  T* const norms = x + steps * width;  // of each step: a b, and the same before b was scaled
  V smallest = V::broadcast(1);
  double logarithm = 0;

  for (Index t = 0; t < steps; ++t) {
    const T* const emission = m.emissions + (m.first_row[t] + number) * tags;
    T* const here = alpha + t * width;
    const T top = greatest(emission, tags);
    exponentials(emission, top, x + t * width, tags, width);
    if (t == 0)
      for (Index i = 0; i < width; i += V::lanes) V::load(table.start + i).store(here + i);
    else
      product(here - width, table.forward, here, tags, width);
    const T sum = times(here, x + t * width, tags, width, smallest);
    scale(here, T(1) / sum, tags, width, smallest);
    logarithm += static_cast<double>(top) + log_of(static_cast<double>(sum));
  }
  const T last = dot(alpha + (steps - 1) * width, table.end, width);
  *log_z = logarithm + log_of(static_cast<double>(last)) + static_cast<double>(steps - 1) * table.top +
           static_cast<double>(table.start_top) + static_cast<double>(table.end_top);
  // Not so of a NaN, either; and where it is infinite, something was.
  const bool good = last >= kSmallest<T> && smallest_of(smallest) >= kSmallest<T> && __builtin_isfinite(*log_z);
  if (!good || sums == nullptr) return good;

  // b of each step, scaled to the sum 1. x becomes x b, what the step before it sees.
  T least = T(1);
  for (Index t = steps; t-- > 0;) {
    T* const here = beta + t * width;
    if (t + 1 == steps)
      for (Index i = 0; i < width; i += V::lanes) V::load(table.end + i).store(here + i);
    else
      product(x + (t + 1) * width, table.backward, here, tags, width);
    V total = V::zero();
    for (Index i = 0; i < width; i += V::lanes) {
      const V value = V::load(here + i);
      watch<T>(value, i, tags, smallest);
      total = total + value;
    }
    const T sum = total.sum();
    scale(here, T(1) / sum, tags, width, smallest);
    norms[2 * t] = dot(alpha + t * width, here, width);
    norms[2 * t + 1] = norms[2 * t] * sum;
    least = norms[2 * t] < least ? norms[2 * t] : least;
    least = norms[2 * t + 1] < least ? norms[2 * t + 1] : least;
    if (t > 0)
      for (Index i = 0; i < width; i += V::lanes)
        (V::load(x + t * width + i) * V::load(here + i)).store(x + t * width + i);
  }
  if (!(least >= kSmallest<T> && smallest_of(smallest) >= kSmallest<T>)) return false;

  const T weight = work.weights[number];
  for (Index t = 0; t < steps; ++t) {
    const T *const a = alpha + t * width, *const b = beta + t * width;
    T* const out = work.d_emissions + (m.first_row[t] + number) * tags;
    const V by = V::broadcast(weight / norms[2 * t]);
    for (Index i = 0; i < tags; i += V::lanes) {
      const auto mask = V::first(tags - i);
      const V share = V::load(a + i) * V::load(b + i) * by;
      share.store(out + i, mask);
      if (t == 0) (V::load(sums->d_start + i, mask) + share).store(sums->d_start + i, mask);
      if (t + 1 == steps) (V::load(sums->d_end + i, mask) + share).store(sums->d_end + i, mask);
    }
    if (t == 0) continue;
    // The sum over all pairs of a' E (x b) is that over the tags of a' times b' as it was before it was scaled.
    const T *const before = a - width, *const after = x + t * width;
    const T factor = weight / norms[2 * t - 1];
    for (Index i = 0; i < tags; ++i) {
      const V share_of = V::broadcast(before[i] * factor);
      T* const sum = sums->pairs + i * width;
      for (Index j = 0; j < width; j += V::lanes) V::fma(share_of, V::load(after + j), V::load(sum + j)).store(sum + j);
    }
  }
  return true;
}

template <class T>
void join(const CrfTables<T>& table, Index tags, const CrfSums<T>& sums) {
  using V = Vec<T>;
  for (Index i = 0; i < tags; ++i)
    for (Index j = 0; j < tags; j += V::lanes) {
      const auto mask = V::first(tags - j);
      T* const to = sums.d_transitions + i * tags + j;
      const Index at = i * table.width + j;
      V::fma(V::load(sums.pairs + at), V::load(table.forward + at), V::load(to, mask)).store(to, mask);
    }
}

// Scores of the best paths to each tag, and for each step which tag they come from, as a number of type T: exact up to
// 2^24 tags.
template <class T>
void decode(const CrfDecode<T>& work, Index number, T* memory) {
  using V = Vec<T>;
  const auto& m = work.model;
  const Index steps = m.lengths[number], tags = m.tags, width = crf_width<T>(tags);
  T *score = memory, *next = memory + width;
  T* const from = memory + 2 * width;
  const auto plus = [&](const T* x, const T* y, T* out) __attribute__((always_inline)) {
    for (Index i = 0; i < tags; i += V::lanes) {
      const auto mask = V::first(tags - i);
      const V base = x == nullptr ? V::zero() : V::load(x + i, mask);
      (base + V::load(y + i, mask)).store(out + i, mask);
    }
  };
  plus(m.start, m.emissions + (m.first_row[0] + number) * tags, score);
  for (Index t = 1; t < steps; ++t) {
    const T* const emission = m.emissions + (m.first_row[t] + number) * tags;
    for (Index j = 0; j < tags; j += V::lanes) {
      const auto mask = V::first(tags - j);
      V most = minus_infinity<T>(), best = V::zero();
      const T* row = m.transitions + j;
      for (Index i = 0; i < tags; ++i, row += tags) {
        const V candidate = V::broadcast(score[i]) + V::load(row, mask);
        const auto better = V::less(most, candidate);
        most = V::select(better, candidate, most);
        best = V::select(better, V::broadcast(static_cast<T>(i)), best);
      }
      (most + V::load(emission + j, mask)).store(next + j, mask);
      best.store(from + t * width + j, mask);
    }
    T* const swap = score;
    score = next, next = swap;
  }
  T most = -static_cast<T>(__builtin_inf());
  Index best = 0;
  for (Index j = 0; j < tags; ++j) {
    const T candidate = score[j] + (m.end == nullptr ? T(0) : m.end[j]);
    if (candidate > most) most = candidate, best = j;
  }
  work.scores[number] = most;
  for (Index t = steps; t-- > 0;) {
    work.path[m.first_row[t] + number] = best;
    if (t > 0) best = static_cast<Index>(from[t * width + best]);
  }
}

template <class T>
constexpr CrfKernels<T> kKernels = {tables<T>, sequence<T>, join<T>, decode<T>};

}  // namespace

extern const CrfKernelsOfBoth crf_table;
const CrfKernelsOfBoth crf_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
