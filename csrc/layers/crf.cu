// Conditional random fields, a block for each sequence: its steps follow each other, its tags are the threads' work.
// Groups of lanes share the sum over the tags before (behind); of 17 tags, 8 lanes each, of more than 128 one each.
//
// In logarithms, whatever the scores: each step's scores are relative to the largest of the step before, whose sum is
// kept in float64, so that float32 holds what sets tags apart and not how long the sequence is. The probabilities of
// pairs of neighbours come out of the same exponentials that the way back sums up: p(i, j) = p(i) exp(x_ij) / sum over
// j of exp(x_ij), with x_ij = transitions_ij + e_j + beta_j. (Rabiner 1989; Lafferty et al. 2001.)
//
// Of a row: K^2 exponentials forward, 2 K^2 backward, and some 24 K^2 FLOPs, as each pass makes its terms anew. Bytes:
// K emissions, forward scores written and read once, K gradients; the transitions and the sums of their gradients are
// in shared memory up to 64 KB, 89 tags in float32, else in the second-level cache. Sums of blocks are added in the
// order of the sequences: the same bits every time.
//
// Bound: latency. A step is two passes over K / lanes tags and a barrier, some 0.3 us for 17 tags, and a batch of 32
// sequences keeps 32 of 132 multiprocessors busy; beside the recurrent layer's step of 2 us or more it is little. A
// path is followed back by one thread, a load from the second-level cache for each step.
#include "layers/crf.h"

#include <algorithm>

#include "core/cuda/warp.h"
#include "layers/device.h"
#include "layers/device_crf.h"
#include "layers/each_pack.h"
#include "layers/functions.h"

namespace dlkit::device {
namespace {

using D = real<double>;

constexpr int kCrfThreads = 256;
constexpr std::size_t kTableBytes = 64 << 10;       // of shared memory, for what has K^2 numbers
constexpr Index kMostPartialSums = Index{1} << 20;  // numbers, of all blocks together

template <class T>
struct CrfWork {
  int tags, lanes, pitch;  // of a group of lanes; of the table in shared memory, odd: no two lanes in one bank
  Index steps, batch;
  const T *emissions, *transitions, *start, *end;
  const std::int64_t *first_row, *path;
  T* losses;
  const T* weights;
  T *d_emissions, *partial;  // (blocks, K K + 2 K)
  T* forward;                // (rows, K)
  D* offsets;                // (rows): what to add to them
  std::int64_t* best;        // the path that is found
  int* from;                 // (rows, K)
};

// A sequence of a packed batch.
struct Sequence {
  const std::int64_t* first_row;
  Index number, length;
  // Steps of at least number + 1 rows; their rows do not increase.
  __device__ __forceinline__ Sequence(const std::int64_t* rows, Index steps, Index s) : first_row(rows), number(s) {
    Index low = 0, high = steps;
    while (low < high) {
      const Index middle = (low + high) / 2;
      if (rows[middle + 1] - rows[middle] > s)
        low = middle + 1;
      else
        high = middle;
    }
    length = low;
  }
  __device__ __forceinline__ Index row(Index t) const { return first_row[t] + number; }
};

// Of the lanes of a group, all of which get it. The whole warp calls it.
template <class Operation, class T>
__device__ __forceinline__ T group_reduce(T value, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2)
    value = Operation::combine(value, __shfl_xor_sync(kFullMask, value, distance));
  return value;
}

// What a step's scores are relative to: the greatest, or 0 where that is not finite. By each warp alone.
template <class T>
__device__ __forceinline__ T greatest(const T* x, int n) {
  T most = -infinity<T>();
  for (int i = threadIdx.x % kWarp; i < n; i += kWarp) most = Maximum::combine(most, x[i]);
  most = warp_max(most);
  return most - most == T(0) ? most : T(0);
}

template <class T>
struct LogSum {
  T most, sum;
  __device__ __forceinline__ T value() const { return sum > T(0) || sum != sum ? most + log(sum) : -infinity<T>(); }
};

// log of the sum over k < n of exp(term(k)), by a group of lanes.
template <class T, class Term>
__device__ __forceinline__ LogSum<T> log_sum(int n, int lanes, const Term& term) {
  const int lane = threadIdx.x % lanes;
  T most = -infinity<T>(), sum(0);
  for (int k = lane; k < n; k += lanes) most = Maximum::combine(most, term(k));
  most = group_reduce<Maximum>(most, lanes);
  if (most == -infinity<T>()) most = T(0);  // no path: all exponentials are 0
  for (int k = lane; k < n; k += lanes) sum += exp(term(k) - most);
  return {most, group_reduce<Sum>(sum, lanes)};
}

// The table of transitions: in shared memory, or where it is.
template <class T>
struct Table {
  const T* at;
  int pitch;
  __device__ __forceinline__ T operator()(int i, int j) const { return at[static_cast<Index>(i) * pitch + j]; }
};

template <class T>
__device__ __forceinline__ Table<T> table_of(const CrfWork<T>& p, T* shared, bool kept) {
  if (!kept) return {p.transitions, p.tags};
  for (int i = threadIdx.x; i < p.tags * p.tags; i += kCrfThreads)
    shared[i / p.tags * p.pitch + i % p.tags] = p.transitions[i];
  __syncthreads();
  return {shared, p.pitch};
}

// The score of the path, by all threads; NaN where a tag is none.
template <class T>
__device__ __forceinline__ D path_score(const CrfWork<T>& p, const Sequence& s, const Table<T>& transitions) {
  D score(0);
  for (Index t = threadIdx.x; t < s.length; t += kCrfThreads) {
    const std::int64_t tag = p.path[s.row(t)], before = t == 0 ? 0 : p.path[s.row(t - 1)];
    if (tag < 0 || tag >= p.tags || before < 0 || before >= p.tags) {
      score = D(infinity<T>() - infinity<T>());
      break;
    }
    score += D(p.emissions[s.row(t) * p.tags + tag]);
    if (t > 0)
      score += D(transitions(static_cast<int>(before), static_cast<int>(tag)));
    else if (p.start != nullptr)
      score += D(p.start[tag]);
    if (t + 1 == s.length && p.end != nullptr) score += D(p.end[tag]);
  }
  return block_sum(score);
}

// kKept: the table and the sums of its gradient are in shared memory.
template <bool kKept, class T>
__global__ void __launch_bounds__(kCrfThreads) crf_loss_kernel(const CrfWork<T> p) {
  DLKIT_DYNAMIC_SHARED(T, memory);
  const int tags = p.tags, lanes = p.lanes, thread = static_cast<int>(threadIdx.x);
  const auto scores = [&](Index t) { return memory + (t % 2 == 0 ? 0 : tags); };  // of a step and the one before
  T* const behind = memory + 2 * tags;
  const Table<T> transitions = table_of(p, memory + 3 * tags, kKept);
  const bool gradients = p.weights != nullptr;
  const Index sums = static_cast<Index>(tags) * tags + 2 * tags;
  T* const partial = p.partial + blockIdx.x * sums;
  T* const pairs = kKept ? memory + 3 * tags + tags * p.pitch : partial;
  T *const by_start = partial + static_cast<Index>(tags) * tags, *const by_end = by_start + tags;
  if (gradients) {
    for (int i = thread; i < tags * tags; i += kCrfThreads) pairs[i] = T(0);
    for (int i = thread; i < 2 * tags; i += kCrfThreads) by_start[i] = T(0);
  }
  __syncthreads();
  // Tags of this thread's group; all groups of a warp take as many turns, since its lanes exchange values.
  const int groups = kCrfThreads / lanes, group = thread / lanes, lane = thread % lanes;
  const int first_group = thread / kWarp * (kWarp / lanes);  // of this warp

  for (Index number = blockIdx.x; number < p.batch; number += gridDim.x) {
    const Sequence s(p.first_row, p.steps, number);
    D offset(0);
    for (int j = thread; j < tags; j += kCrfThreads) {
      const Index at = s.row(0) * tags + j;
      const T value = p.emissions[at] + (p.start == nullptr ? T(0) : p.start[j]);
      scores(0)[j] = value;
      if (gradients) p.forward[at] = value;
    }
    if (gradients && thread == 0) p.offsets[s.row(0)] = D(0);
    __syncthreads();
    for (Index t = 1; t < s.length; ++t) {
      const T *const before = scores(t - 1), most = greatest(before, tags);
      T* const now = scores(t);
      const Index row = s.row(t);
      offset += D(most);
      for (int first = 0; first + first_group < tags; first += groups) {
        const int j = first + group, tag = j < tags ? j : tags - 1;
        const LogSum<T> sum = log_sum<T>(tags, lanes, [&](int i) { return before[i] - most + transitions(i, tag); });
        if (j < tags && lane == 0) {
          const T value = p.emissions[row * tags + j] + sum.value();
          now[j] = value;
          if (gradients) p.forward[row * tags + j] = value;
        }
      }
      if (gradients && thread == 0) p.offsets[row] = offset;
      __syncthreads();
    }
    const T* const last = scores(s.length - 1);
    const T most = greatest(last, tags);
    // By each warp alone.
    const LogSum<T> all =
        log_sum<T>(tags, kWarp, [&](int j) { return last[j] - most + (p.end == nullptr ? T(0) : p.end[j]); });
    const D log_z = offset + D(most) + D(all.value());
    const D of_path = p.path == nullptr ? D(0) : path_score(p, s, transitions);
    if (thread == 0) p.losses[number] = T(log_z - of_path);
    __syncthreads();
    if (!gradients) continue;

    const T weight = p.weights[number];
    const auto tag_of = [&](Index row) { return p.path == nullptr ? std::int64_t{-1} : p.path[row]; };
    // Of the step that the way back has come to: its row, and the path's tag.
    Index t = s.length - 1, row = s.row(t);
    std::int64_t tag = tag_of(row);
    // The share of a tag that the forward and the backward score of a step give; `known` is what both are relative to.
    const auto share_of = [&](int j, T beta, T known) {
      return weight * exp(p.forward[row * tags + j] + beta + known);
    };
    const auto put_share = [&](int j, T share) {
      const T by = tag == j ? share - weight : share;  // less the path's own
      p.d_emissions[row * tags + j] = by;
      if (t == 0) by_start[j] += by;
      if (t + 1 == s.length) by_end[j] += by;
    };
    const T known_last = T(p.offsets[row] - log_z);
    // `scores`: beta of a step.
    for (int j = thread; j < tags; j += kCrfThreads) {
      const T beta = p.end == nullptr ? T(0) : p.end[j];
      scores(t)[j] = beta;
      put_share(j, share_of(j, beta, known_last));
    }
    offset = D(0);
    __syncthreads();
    while (t > 0) {
      const T* const beta = scores(t);
      T* const before = scores(t - 1);
      const T least = greatest(beta, tags);
      offset += D(least);
      for (int j = thread; j < tags; j += kCrfThreads) behind[j] = p.emissions[row * tags + j] + (beta[j] - least);
      const std::int64_t tag_behind = tag;
      row = s.row(--t);
      tag = tag_of(row);
      const T known = T(p.offsets[row] + offset - log_z);
      __syncthreads();
      for (int first = 0; first + first_group < tags; first += groups) {
        const int i = first + group, from = i < tags ? i : tags - 1;
        const auto term = [&](int j) { return transitions(from, j) + behind[j]; };
        const LogSum<T> sum = log_sum<T>(tags, lanes, term);
        if (i >= tags) continue;
        const T value = sum.value(), share = share_of(i, value, known);
        if (lane == 0) {
          before[i] = value;
          put_share(i, share);
        }
        const T by = sum.sum > T(0) || sum.sum != sum.sum ? share / sum.sum : T(0);
        for (int j = lane; j < tags; j += lanes) {
          T& to = pairs[static_cast<Index>(i) * tags + j];
          to = fma(by, exp(term(j) - sum.most), to) - (i == tag && j == tag_behind ? weight : T(0));
        }
      }
      __syncthreads();
    }
  }
  if (kKept && gradients)
    for (int i = thread; i < tags * tags; i += kCrfThreads) partial[i] = pairs[i];
}

// A tag and the score of the best way to it.
template <class T>
struct Best {
  T score;
  int tag;
  // Of two equal ones the smaller tag. A NaN is never the greatest.
  __device__ __forceinline__ void take(T other, int of) {
    if (other > score || (other == score && of < tag)) score = other, tag = of;
  }
};

template <class T>
__device__ __forceinline__ Best<T> group_best(Best<T> best, int lanes) {
  for (int distance = lanes / 2; distance > 0; distance /= 2) {
    const T score = __shfl_xor_sync(kFullMask, best.score, distance);
    const int tag = __shfl_xor_sync(kFullMask, best.tag, distance);
    best.take(score, tag);
  }
  return best;
}

template <bool kKept, class T>
__global__ void __launch_bounds__(kCrfThreads) crf_decode_kernel(const CrfWork<T> p) {
  DLKIT_DYNAMIC_SHARED(T, memory);
  const int tags = p.tags, lanes = p.lanes, thread = static_cast<int>(threadIdx.x);
  const auto scores = [&](Index t) { return memory + (t % 2 == 0 ? 0 : tags); };  // of a step and the one before
  const Table<T> transitions = table_of(p, memory + 2 * tags, kKept);
  const int groups = kCrfThreads / lanes, group = thread / lanes, lane = thread % lanes;
  const int first_group = thread / kWarp * (kWarp / lanes);  // of this warp
  for (Index number = blockIdx.x; number < p.batch; number += gridDim.x) {
    const Sequence s(p.first_row, p.steps, number);
    for (int j = thread; j < tags; j += kCrfThreads)
      scores(0)[j] = (p.start == nullptr ? T(0) : p.start[j]) + p.emissions[s.row(0) * tags + j];
    __syncthreads();
    for (Index t = 1; t < s.length; ++t) {
      const T* const before = scores(t - 1);
      T* const now = scores(t);
      const Index row = s.row(t);
      for (int first = 0; first + first_group < tags; first += groups) {
        const int j = first + group, tag = j < tags ? j : tags - 1;
        Best<T> best = {-infinity<T>(), 0};
        for (int i = lane; i < tags; i += lanes) {
          const T candidate = before[i] + transitions(i, tag);
          if (candidate > best.score) best = {candidate, i};
        }
        best = group_best(best, lanes);
        if (j < tags && lane == 0) {
          now[j] = best.score + p.emissions[row * tags + j];
          p.from[row * tags + j] = best.tag;
        }
      }
      __syncthreads();
    }
    if (thread < kWarp) {
      const T* const last = scores(s.length - 1);
      Best<T> best = {-infinity<T>(), 0};
      for (int j = thread; j < tags; j += kWarp) {
        const T candidate = last[j] + (p.end == nullptr ? T(0) : p.end[j]);
        if (candidate > best.score) best = {candidate, j};
      }
      best = group_best(best, kWarp);
      if (thread == 0) {
        p.losses[number] = best.score;
        int tag = best.tag;
        for (Index t = s.length; t-- > 0;) {
          p.best[s.row(t)] = tag;
          if (t > 0) tag = p.from[s.row(t) * tags + tag];
        }
      }
    }
    __syncthreads();
  }
}

constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

Index sums_of(Index tags) { return tags * tags + 2 * tags; }

Index loss_blocks(Index tags, Index batch) {
  return std::min(batch, std::max<Index>(1, kMostPartialSums / sums_of(tags)));
}

template <class T>
CrfWork<real<T>> work_of(const DeviceCrf<T>& p) {
  CrfWork<real<T>> w = {};
  w.tags = static_cast<int>(p.tags);
  w.pitch = w.tags | 1;
  w.lanes = kWarp;
  while (w.lanes > 1 && w.lanes * w.tags > kCrfThreads) w.lanes /= 2;
  w.steps = p.steps;
  w.batch = p.batch;
  w.emissions = reals(p.emissions);
  w.transitions = reals(p.transitions);
  w.start = reals(p.start);
  w.end = reals(p.end);
  w.first_row = p.first_row;
  return w;
}

}  // namespace

template <class T>
std::size_t crf_loss_scratch(Index rows, Index tags, Index batch, bool gradients) {
  if (!gradients) return 0;
  const Index blocks = loss_blocks(tags, batch);
  return aligned(static_cast<std::size_t>(rows * tags) * sizeof(T)) +
         aligned(static_cast<std::size_t>(rows) * sizeof(double)) +
         aligned(static_cast<std::size_t>(blocks * sums_of(tags)) * sizeof(T)) +
         column_sum_scratch<T>(blocks, sums_of(tags));
}

template <class T>
void crf_loss(Stream stream, const DeviceCrf<T>& p, const std::int64_t* path, T* losses, const T* weights,
              T* d_emissions, T* sums, void* scratch) {
  using R = real<T>;
  CrfWork<R> w = work_of(p);
  w.path = path;
  w.losses = reals(losses);
  w.weights = reals(weights);
  w.d_emissions = reals(d_emissions);
  const Index blocks = weights == nullptr ? p.batch : loss_blocks(p.tags, p.batch);
  char* memory = static_cast<char*>(scratch);
  const auto take = [&](Index count, std::size_t item) {
    char* const part = memory;
    memory += aligned(static_cast<std::size_t>(count) * item);
    return static_cast<void*>(part);
  };
  T* partial = nullptr;
  if (weights != nullptr) {
    w.forward = static_cast<R*>(take(p.rows * p.tags, sizeof(T)));
    w.offsets = static_cast<D*>(take(p.rows, sizeof(double)));
    partial = static_cast<T*>(take(blocks * sums_of(p.tags), sizeof(T)));
    w.partial = reals(partial);
  }
  const Index scores = 3 * p.tags, tables = p.tags * w.pitch + p.tags * p.tags;
  const bool kept = static_cast<std::size_t>(scores + tables) * sizeof(T) <= kTableBytes;
  const LaunchShape shape{static_cast<unsigned>(std::min<Index>(blocks, Index{1} << 20)), kCrfThreads,
                          static_cast<std::size_t>(scores + (kept ? tables : 0)) * sizeof(T)};
  if (kept)
    launch("crf loss", crf_loss_kernel<true, R>, shape, stream, w);
  else
    launch("crf loss", crf_loss_kernel<false, R>, shape, stream, w);
  if (weights != nullptr)
    column_sum<T>(stream, partial, sums_of(p.tags), blocks, sums_of(p.tags), sums, false, memory, Rung::fused);
}

std::size_t crf_decode_scratch(Index rows, Index tags) { return static_cast<std::size_t>(rows * tags) * sizeof(int); }

template <class T>
void crf_decode(Stream stream, const DeviceCrf<T>& p, std::int64_t* path, T* scores, void* scratch) {
  using R = real<T>;
  CrfWork<R> w = work_of(p);
  w.best = path;
  w.losses = reals(scores);
  w.from = static_cast<int*>(scratch);
  const Index vectors = 2 * p.tags, table = p.tags * w.pitch;
  const bool kept = static_cast<std::size_t>(vectors + table) * sizeof(T) <= kTableBytes;
  const LaunchShape shape{static_cast<unsigned>(std::min<Index>(p.batch, Index{1} << 20)), kCrfThreads,
                          static_cast<std::size_t>(vectors + (kept ? table : 0)) * sizeof(T)};
  if (kept)
    launch("crf decode", crf_decode_kernel<true, R>, shape, stream, w);
  else
    launch("crf decode", crf_decode_kernel<false, R>, shape, stream, w);
}

#define DLKIT_INSTANTIATE(T)                                                                             \
  template void crf_loss(Stream, const DeviceCrf<T>&, const std::int64_t*, T*, const T*, T*, T*, void*); \
  template std::size_t crf_loss_scratch<T>(Index, Index, Index, bool);                                   \
  template void crf_decode(Stream, const DeviceCrf<T>&, std::int64_t*, T*, void*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
