// All pairs of a word at once: the m inputs share their n outputs, so that the update is three small matrix products.
//
//   S = X W^T,   G = lr (labels - sigmoid(S)),   X += G W,   W += G^T X     (all of it from the old X and W)
//
// Pair by pair, a pair's two vectors travel for its 6 dim operations; here m + n vectors do for all m n pairs: with 6
// inputs and 6 outputs a sixth, and nothing waits for a sum or a sigmoid but the next product. In the first product a
// tile of 2 inputs by 8 outputs (6 with 16 registers) stays in registers, whose sums over lanes come out as one
// register or two (core/lane_sums.h). In the other two, for each register's worth of columns, as many outputs and their
// steps do, while the inputs go by: two multiply-adds for each number of G.
//
// A word that stands in the window twice, or a negative that is drawn twice, is one row whose pairs count twice.
//
// One input has outputs of which nothing is shared, 6 n dim operations and n dim numbers: its steps go row by row,
// which takes a load, two multiply-adds and a store for each register of a row, against another load of the row's
// address and one of its step where the rows of one register of columns are taken in turn.
//
// What it computes is one step of gradient descent by the word's whole loss; naive.h takes one for each pair. And the
// inputs of a word must share their negatives, which the original program draws for each pair anew. Ji et al. found
// that neither matters for the vectors' quality.
//
// 3 m n dim multiply-adds, (m + n) dim numbers read twice and written once, in the first-level cache after the first
// time. With 6 inputs, 6 outputs and 100 elements: 756 multiply-adds of 16 of about 1,100 instructions.
//
// Source: Ji, Satish, Li & Dubey 2016 (parallelizing word2vec in shared and distributed memory).
#include <type_traits>

#include "core/lane_sums.h"
#include "core/simd.h"
#include "core/vector_math.h"
#include "word2vec/word2vec.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Skip-gram has 6 outputs as a rule, which AVX2 takes at a time: 12 sums, or outputs and their steps, of 16 registers.
// Double precision is for gradients to be checked in: small code.
template <class T>
constexpr int kInputs = Vec<T>::lanes >= 2 ? 2 : 1;
template <class T>
constexpr int kOutputs = sizeof(T) == sizeof(double) ? 1
                         : Vec<T>::lanes == 8        ? 6
                         : Vec<T>::lanes >= 4        ? Vec<T>::lanes / 2
                                                     : 1;

// Whether one input has a way of its own.
template <class T>
constexpr bool kHasSingle = sizeof(T) == sizeof(float) && Vec<T>::lanes >= 8;

// s[r * stride + c] = x[r] . w[c]. Where rows of s lie end to end, what is behind the last is written, too.
template <class T, int R, int C>
__attribute__((noinline)) void dot_tile(const T* const* x, const T* const* w, Index dim, T* s, Index stride) {
  using V = Vec<T>;
  constexpr int kParts = (R * C + V::lanes - 1) / V::lanes;
  V sums[kParts][V::lanes];
#pragma GCC unroll 2
  for (int part = 0; part < kParts; ++part)
#pragma GCC unroll 16
    for (int i = 0; i < V::lanes; ++i) sums[part][i] = V::zero();
  const auto add = [&](auto load) __attribute__((always_inline)) {
    V row[R];
#pragma GCC unroll 2
    for (int r = 0; r < R; ++r) {
      row[r] = load(x[r]);
      hold(row[r]);
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      V output = load(w[c]);
      hold(output);
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        V& sum = sums[(r * C + c) / V::lanes][(r * C + c) % V::lanes];
        sum = V::fma(row[r], output, sum);
      }
    }
  };
  const Index whole = dim / V::lanes * V::lanes;
  for (Index k = 0; k < whole; k += V::lanes) add([&](const T* row) { return V::load(row + k); });
  if (whole < dim) {
    const auto tail = V::first(dim - whole);
    add([&](const T* row) { return V::load(row + whole, tail); });
  }
  T tile[kParts * V::lanes];
  T* const to = stride == C ? s : tile;
#pragma GCC unroll 2
  for (int part = 0; part < kParts; ++part) lane_sums(sums[part]).store(to + part * V::lanes);
  if (stride == C) return;
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) s[r * stride + c] = tile[r * C + c];
}

// Calls body with `count`, which is 1 to Most, as a constant; or with the next of Most, Most - Step, ... that is not
// less.
template <int Most, int Step = 1, class Body>
DLKIT_INLINE void with_count(Index count, const Body& body) {
  if constexpr (Most > Step)
    if (count <= Most - Step) return with_count<Most - Step, Step>(count, body);
  body(std::integral_constant<int, Most>{});
}

// All inputs against C outputs from `first` on.
template <class T, int C>
DLKIT_INLINE void dot_columns(const PairUpdate<T>& p, Index first, T* s) {
  constexpr int R = kInputs<T>;
  Index i = 0;
  for (; i + R <= p.m; i += R) dot_tile<T, R, C>(p.x + i, p.w + first, p.dim, s + i * p.n + first, p.n);
  if (i < p.m) dot_tile<T, 1, C>(p.x + i, p.w + first, p.dim, s + i * p.n + first, p.n);
}

// A register's worth of columns of any row, or those that are left.
template <class T>
struct WholeColumns {
  Index k;
  DLKIT_INLINE Vec<T> load(const T* row) const { return Vec<T>::load(row + k); }
  DLKIT_INLINE void store(Vec<T> value, T* row) const { value.store(row + k); }
};
template <class T>
struct LastColumns {
  Index k;
  typename Vec<T>::Few few;
  LastColumns(Index first, Index dim) : k(first), few(Vec<T>::few(dim - first)) {}
  DLKIT_INLINE Vec<T> load(const T* row) const { return Vec<T>::load(row + k, few); }
  DLKIT_INLINE void store(Vec<T> value, T* row) const { value.store(row + k, few); }
};

// What C outputs from `first` on and all inputs add to each other in one register of columns. The inputs' steps wait in
// `steps` for the last block, since each block needs the inputs as they were.
template <class T, int C, class Columns>
DLKIT_INLINE void step_block(const PairUpdate<T>& p, Index first, const Columns& at, const T* g, T* steps) {
  using V = Vec<T>;
  const bool last = first + C == p.n;
  V w[C], dw[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) {
    w[c] = at.load(p.w[first + c]);
    dw[c] = V::zero();
  }
  for (Index i = 0; i < p.m; ++i) {
    const V x = at.load(p.x[i]);
    V dx = first == 0 ? V::zero() : V::load(steps + i * V::lanes);
    const T* const row = g + i * p.n + first;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const V factor = V::broadcast(row[c]);
      dx = V::fma(factor, w[c], dx);
      dw[c] = V::fma(factor, x, dw[c]);
    }
    if (last)
      at.store((p.dx[i] == p.x[i] ? x : at.load(p.dx[i])) + dx, p.dx[i]);
    else
      dx.store(steps + i * V::lanes);
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) at.store(w[c] + dw[c], p.w[first + c]);
}

// One input: nothing is summed up for an output, which is read and written in turn.
template <class T, class Columns>
DLKIT_INLINE void step_single(const PairUpdate<T>& p, const Columns& at, const T* g) {
  using V = Vec<T>;
  const V x = at.load(p.x[0]);
  V even = V::zero(), odd = V::zero();
  const auto step = [&](Index j, V& dx) __attribute__((always_inline)) {
    const V factor = V::broadcast(g[j]), w = at.load(p.w[j]);
    dx = V::fma(factor, w, dx);
    at.store(V::fma(factor, x, w), p.w[j]);
  };
  Index j = 0;
  for (; j + 2 <= p.n; j += 2) {
    step(j, even);
    step(j + 1, odd);
  }
  if (j < p.n) step(j, even);
  at.store(at.load(p.dx[0]) + (even + odd), p.dx[0]);
}

// Where a row is there twice and that cannot be merged (below): by single elements, and no row changes before all steps
// are known.
template <class T>
__attribute__((noinline)) void repeated(const PairUpdate<T>& p, const T* g, T* steps) {
  for (Index k = 0; k < p.dim; ++k) {
    for (Index i = 0; i < p.m; ++i) {
      steps[i] = 0;
      for (Index j = 0; j < p.n; ++j) steps[i] += g[i * p.n + j] * p.w[j][k];
    }
    for (Index j = 0; j < p.n; ++j) {
      steps[p.m + j] = 0;
      for (Index i = 0; i < p.m; ++i) steps[p.m + j] += g[i * p.n + j] * p.x[i][k];
    }
    for (Index i = 0; i < p.m; ++i) p.dx[i][k] += steps[i];
    for (Index j = 0; j < p.n; ++j) p.w[j][k] += steps[p.m + j];
  }
}

// All steps. Last: outputs of the last block of kOutputs, or of what is left for it.
template <class T, int Last>
__attribute__((noinline)) void step_blocks(const PairUpdate<T>& p, const T* g, T* steps) {
  using V = Vec<T>;
  constexpr int C = kOutputs<T>;
  const auto columns = [&](const auto& at) __attribute__((always_inline)) {
    if constexpr (!kHasSingle<T>)
      if (p.m == 1) return step_single(p, at, g);
    for (Index first = 0; first < p.n - Last; first += C) step_block<T, C>(p, first, at, g, steps);
    step_block<T, Last>(p, p.n - Last, at, g, steps);
  };
  const Index whole = p.dim / V::lanes * V::lanes;
  for (Index k = 0; k < whole; k += V::lanes) columns(WholeColumns<T>{k});
  if (whole < p.dim) columns(LastColumns<T>(whole, p.dim));
}

template <class T>
double matrix(const PairUpdate<T>& p) {
  using V = Vec<T>;
  constexpr int C = kOutputs<T>;
  T* const s = p.scratch;
  const Index pairs = p.m * p.n, last = p.n - (p.n - 1) / C * C;
  for (Index first = 0; first < p.n - last; first += C) dot_columns<T, C>(p, first, s);
  with_count<C>(last, [&](auto count) __attribute__((always_inline)) { dot_columns<T, count>(p, p.n - count, s); });

  T* const steps = s + (pairs + V::lanes - 1) / V::lanes * V::lanes;
  T* const weights = p.input_weights == nullptr ? nullptr : steps;  // of all pairs, until the steps are taken
  if (weights != nullptr)
    for (Index i = 0; i < p.m; ++i)
      for (Index j = 0; j < p.n; ++j) weights[i * p.n + j] = p.input_weights[i] * p.output_weights[j];

  double loss = 0;
  if (p.with_loss) {
    // -log sigmoid(z) = softplus(z) - z, and that of 1 - sigmoid(z) is softplus(z).
    V sum = V::zero();
    for (Index k = 0; k < pairs; k += V::lanes) {
      const auto mask = V::first(pairs - k);
      V each = softplus<T>(V::load(s + k, mask));
      if (weights != nullptr) each = each * V::load(weights + k, mask);
      sum = sum + V::select(mask, each, V::zero());
    }
    loss = static_cast<double>(sum.sum());
    for (Index j = 0; j < p.n; ++j)
      if (p.labels[j] != 0)
        for (Index i = 0; i < p.m; ++i)
          loss -= static_cast<double>(weights == nullptr ? s[i * p.n + j] : s[i * p.n + j] * weights[i * p.n + j]);
  }
  // Behind the last pair there is room for a whole register.
  const V minus_lr = V::broadcast(-p.lr);
  for (Index k = 0; k < pairs; k += V::lanes) (minus_lr * sigmoid<T>(V::load(s + k))).store(s + k);
  for (Index j = 0; j < p.n; ++j)
    if (p.labels[j] != 0)
      for (Index i = 0; i < p.m; ++i) s[i * p.n + j] += p.lr;
  if (weights != nullptr)
    for (Index k = 0; k < pairs; ++k) s[k] *= weights[k];

  if (p.distinct)
    with_count<C>(last, [&](auto count) __attribute__((always_inline)) { step_blocks<T, count>(p, s, steps); });
  else
    repeated(p, s, steps);
  return loss;
}

// One input, as of CBOW, in float32: a block of as many outputs as a register has lanes at a time. Their products with
// x become one register of sums, sigmoids and steps; then each output's row is read, changed and written, a few
// registers at a time, while those registers of x and its step are held.
template <class T>
constexpr int kMostHeld = Vec<T>::registers / 4;

// The first of the lanes hold x . w[c]; C is a multiple of 4 and may be more than there are outputs: the rest is x . x.
template <class T, int C>
__attribute__((noinline)) void single_dots(const T* x, const T* const* w, Index count, Index dim, T* dots) {
  using V = Vec<T>;
  const T* rows[C];
  for (int c = 0; c < C; ++c) rows[c] = c < count ? w[c] : x;
  V sums[V::lanes];
#pragma GCC unroll 16
  for (int c = 0; c < V::lanes; ++c) sums[c] = V::zero();
  const auto add = [&](auto load) __attribute__((always_inline)) {
    V input = load(x);
    hold(input);
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sums[c] = V::fma(input, load(rows[c]), sums[c]);
  };
  const Index whole = dim / V::lanes * V::lanes;
  for (Index k = 0; k < whole; k += V::lanes) add([&](const T* row) { return V::load(row + k); });
  if (whole < dim) {
    const auto tail = V::first(dim - whole);
    add([&](const T* row) { return V::load(row + whole, tail); });
  }
  lane_sums(sums).store(dots);
}

// N registers of columns from k on: dx += sum over w of g w, w += g x. The same columns of rows that are wanted `soon`
// are fetched: between stores that costs nothing.
template <class T, int N>
__attribute__((noinline)) void single_columns(const T* x, T* dx, T* const* w, const T* const* soon, const T* g,
                                              Index count, Index k) {
  using V = Vec<T>;
  constexpr Index kLines = (N * V::lanes * static_cast<int>(sizeof(T)) + 63) / 64;
  V input[N], step[N];
#pragma GCC unroll 8
  for (int q = 0; q < N; ++q) {
    input[q] = V::load(x + k + q * V::lanes);
    step[q] = V::zero();
  }
  for (Index j = 0; j < count; ++j) {
    T* const row = w[j] + k;
    const V factor = V::broadcast(g[j]);
    fetch_lines(soon[j] + k, kLines);
#pragma GCC unroll 8
    for (int q = 0; q < N; ++q) {
      V old = V::load(row + q * V::lanes);
      hold(old);
      step[q] = V::fma(factor, old, step[q]);
      V::fma(factor, input[q], old).store(row + q * V::lanes);
    }
  }
#pragma GCC unroll 8
  for (int q = 0; q < N; ++q) (V::load(dx + k + q * V::lanes) + step[q]).store(dx + k + q * V::lanes);
}

template <class T>
double single(const PairUpdate<T>& p) {
  using V = Vec<T>;
  const Index whole = p.dim / V::lanes * V::lanes;
  const V minus_lr = V::broadcast(-p.lr), lr = V::broadcast(p.lr);
  V loss = V::zero();
  T g[V::lanes];
  for (Index first = 0; first < p.n; first += V::lanes) {
    PairUpdate<T> block = p;
    block.w += first;
    block.n = p.n - first < V::lanes ? p.n - first : V::lanes;
    with_count<V::lanes, 4>(block.n, [&](auto most) __attribute__((always_inline)) {
      single_dots<T, most>(p.x[0], block.w, block.n, p.dim, g);
    });
    const auto there = V::first(block.n);
    const V dots = V::load(g), labels = V::load(p.labels + first, there);
    if (p.with_loss) loss = loss + V::select(there, softplus<T>(dots) - labels * dots, V::zero());
    V::fma(lr, labels, minus_lr * sigmoid<T>(dots)).store(g);
    const T* soon[V::lanes];  // without a branch in the loop: of a row that is here already where none is left
    for (Index j = 0; j < block.n; ++j)
      soon[j] = p.ahead != nullptr && p.ahead->done < p.ahead->count ? p.ahead->rows[p.ahead->done++] : block.w[j];
    for (Index k = 0; k < whole;) {
      const Index left = (whole - k) / V::lanes, n = left < kMostHeld<T> ? left : kMostHeld<T>;
      with_count<kMostHeld<T>>(n, [&](auto held) __attribute__((always_inline)) {
        single_columns<T, held>(p.x[0], p.dx[0], block.w, soon, g, block.n, k);
      });
      k += n * V::lanes;
    }
    if (whole < p.dim) step_single(block, LastColumns<T>(whole, p.dim), g);
  }
  return p.with_loss ? static_cast<double>(loss.sum()) : 0;
}

// Rows of which none is there twice, and how often each was.
template <class T>
struct Merged {
  static constexpr Index kMost = 64;
  const T* x[kMost];
  T *dx[kMost], *w[kMost];
  T labels[kMost], input_weights[kMost], output_weights[kMost];
  PairUpdate<T> update;

  // False where that cannot be. The weights of all pairs need the room that the steps have (matrix_scratch).
  bool take(const PairUpdate<T>& p) {
    if (p.m > kMost || p.n > kMost || p.m * p.n > kMostLanes * (p.m + p.n)) return false;
    update = p;
    update.m = once(p.dx, p.x, p.m, dx, x, input_weights);
    update.n = once(p.w, p.labels, p.n, w, labels, output_weights);
    if (update.m == 0 || update.n == 0) return false;
    update.x = x;
    update.dx = dx;
    update.w = w;
    update.labels = labels;
    update.input_weights = input_weights;
    update.output_weights = output_weights;
    update.distinct = true;
    return true;
  }

 private:
  // How many rows there are, 0 where a row has two values of what belongs to it.
  template <class Other>
  static Index once(T* const* rows, const Other* others, Index count, T** to, Other* others_to, T* weights) {
    Index found = 0;
    for (Index i = 0; i < count; ++i) {
      Index at = 0;
      while (at < found && to[at] != rows[i]) ++at;
      if (at == found) {
        to[found] = rows[i];
        others_to[found] = others[i];
        weights[found++] = 0;
      } else if (others_to[at] != others[i]) {
        return 0;
      }
      weights[at] += 1;
    }
    return found;
  }
};

template <class T>
__attribute__((noinline)) double merged(const PairUpdate<T>& p) {
  Merged<T> rows;
  return matrix<T>(rows.take(p) ? rows.update : p);
}

double matrix_float(const PairUpdate<float>& p) {
  if constexpr (kHasSingle<float>)
    if (p.m == 1 && p.distinct && (p.dx[0] != p.x[0] || p.n <= Vec<float>::lanes)) return single<float>(p);
  return p.distinct ? matrix<float>(p) : merged<float>(p);
}
double matrix_double(const PairUpdate<double>& p) { return p.distinct ? matrix<double>(p) : merged<double>(p); }

}  // namespace

extern const PairKernels pair_matrix;
const PairKernels pair_matrix = {matrix_float, matrix_double};

}  // namespace dlkit::DLKIT_TARGET
