// The engine's kernel: a group of warps walks along a segment of a sentence, word by word.
//
// The rows of the words in the window lie in a ring in shared memory, from the word where they enter it to the one
// where they leave: each is read once and added to once for the 2 window + 1 words that use it (FULL-W2V). A word that
// stands in the window twice has one place there, which stays as long as the later of the two. What leaves adds what it
// has gained since it came, by atomic additions: with thousands of sentences in flight two often hold one row, and
// neither's steps may undo the other's. Outputs are read for each word and added to after it (device_pairs.h).
//
// What is random is the CPU engine's, number for number (split_mix.h), and so are the segments' order, rates, and the
// words that are asked for their loss: one group alone computes what one worker does, but for rounding.
//
// A word of skip-gram with negative sampling, with 6 contexts and 6 outputs of 100 elements: 21,600 operations; 7 rows
// read and 7 added to, 2.8 KB each way. One group is a chain for each word: its negatives were drawn a word ahead, so
// one look at memory (600 to 900 cycles), then sums, sigmoids and steps, 2,000 to 3,000 cycles in all. 128 registers a
// thread leave a multiprocessor 16 warps, 10 KB of shared memory each: one word in 125 to 190 cycles. Its 550
// multiply-adds and 250 others take four schedulers 200 cycles, loads and stores of shared memory and exchanges between
// lanes the one port that they go by some 210. So instructions, not memory, are the bound that is expected: 132
// multiprocessors of 1.7 GHz come to 1 G of kept words a second. What the text bears in flight (device_engine.h) is
// less: 203 sentences of text8 are 115 to 170 M.
//
// Source: Randall, Allen & Ge 2021 (FULL-W2V: lifetime reuse of context words, independence of negatives); Ji et al.
// 2016 for the sharing of negatives.
#include "word2vec/sentences.h"

#include <algorithm>

#include "core/cuda/launch.h"
#include "core/cuda/residence.h"
#include "word2vec/device_pairs.h"
#include "word2vec/split_mix.h"

namespace dlkit::device {
namespace {

using T = real<float>;
using word2vec::SplitMix;

constexpr int kMostGroups = 4;                 // of a block
constexpr int kMostSentenceThreads = 256;      // of a group of eight warps
constexpr std::size_t kBlockBytes = 56 << 10;  // so that four blocks share a multiprocessor
constexpr std::uint32_t kLossEvery = 32;       // train.cpp's
constexpr int kMostResidentWarps = 16;         // by registers

__device__ __forceinline__ T* numbers(float* p) { return reinterpret_cast<T*>(p); }

// The inputs of a word: its contexts in the ring, or what they sum up to.
struct RingInputs {
  int m;
  T* from;  // skip-gram: the ring
  T* to;    // where steps go: the ring itself, or rows of their own
  int pitch;
  const int *list, *count;  // slots, and how often; null: one input at `from`
  bool in_place;

  __device__ __forceinline__ const T* values(int i) const { return list == nullptr ? from : from + list[i] * pitch; }
  __device__ __forceinline__ T times(int i) const { return T(list == nullptr ? 1 : count[i]); }
  __device__ __forceinline__ void step(int i, int column, T x, T by) const {
    if (in_place) {
      to[list[i] * pitch + column] = x + by;
    } else {
      T& sum = to[i * pitch + column];
      sum += by;
    }
  }
};

class Walk {
 public:
  __device__ __forceinline__ Walk(const SentenceWork& work, float* memory)
      : p_(work), s_(work.settings), l_(work.layout), group_(work.layout.warps), x_(numbers(memory)),
        before_(x_ + l_.before), steps_(x_ + l_.steps), bag_(x_ + l_.bag),
        pair_memory_{x_ + l_.partial, x_ + l_.factors, std::max(l_.sampled, l_.path)},
        entries_(reinterpret_cast<std::uint32_t*>(memory) + l_.entries),
        slot_word_(reinterpret_cast<int*>(memory) + l_.numbers), slot_last_(slot_word_ + l_.slots),
        slot_of_(slot_last_ + l_.slots), list_(slot_of_ + l_.slots), count_(list_ + l_.slots),
        told_(count_ + l_.slots) {}

  __device__ __forceinline__ void run() {
    for (std::uint32_t number = next(); number < p_.count; number = next()) segment(number);
    add_loss(loss_, p_.loss);
    if (group_.thread == 0) atomicAdd(p_.pairs, pairs_);
  }

 private:
  // What one thread tells all others of the group.
  enum Told { kQueue, kEntered, kInputs, kPath, kTold = kPath + 2 };

  __device__ __forceinline__ std::uint32_t next() {
    group_.sync();
    if (group_.thread == 0) told_[kQueue] = static_cast<int>(atomicAdd(p_.queue, 1u));
    group_.sync();
    return static_cast<std::uint32_t>(told_[kQueue]);
  }

  __device__ __forceinline__ void segment(std::uint32_t number) {
    const Segment& given = p_.segments[number];
    seed_ = given.seed;
    words_ = p_.words + given.begin;
    length_ = static_cast<int>(given.length);
    rate_ = T(given.rate);
    since_ = given.since;
    const int first = static_cast<int>(given.first), last = min_of(first + static_cast<int>(kSegmentWords), length_);
    leaving_ = -1;
    for (int slot = group_.thread; slot < l_.slots; slot += group_.threads) slot_word_[slot] = -1;
    group_.sync();
    const int end = min_of(first + s_.window + 1, length_);
    if (group_.warp == 0)
      for (int at = max_of(first - s_.window, 0); at < end; ++at) {
        place(at);
        __syncwarp();
      }
    find_outputs(first);
    group_.sync();
    for (int slot = 0; slot < l_.slots; slot += 2) load<2>(slot);
    for (int i = first; i < last; ++i) word(i, i > first, i + 1 < last);
    group_.sync();
    for (int slot = 0; slot < l_.slots; ++slot)
      if (slot != leaving_ && slot_word_[slot] >= 0) flush(slot);
  }

  // --- The ring ------------------------------------------------------------------------------------------------------

  // A slot for the word at a position, by the first warp: its own, if it has one, else a free one. Told: the slot, if
  // its row is to be loaded.
  __device__ __forceinline__ void place(int at) {
    const int word = words_[at];
    int own = -1, vacant = -1;
    for (int first = 0; first < l_.slots; first += kWarp) {
      const int slot = first + group_.lane;
      const int holds = slot < l_.slots ? slot_word_[slot] : -2;
      const unsigned same = __ballot_sync(kFullMask, holds == word), none = __ballot_sync(kFullMask, holds == -1);
      if (same != 0) own = first + __ffs(static_cast<int>(same)) - 1;
      if (none != 0 && vacant < 0) vacant = first + __ffs(static_cast<int>(none)) - 1;
    }
    const int slot = own >= 0 ? own : vacant;
    __syncwarp();
    if (group_.lane == 0) {
      slot_word_[slot] = word;
      slot_last_[slot] = at;
      slot_of_[at % l_.slots] = slot;
      told_[kEntered] = own >= 0 ? -1 : slot;
    }
  }

  // Rows of words that have just got their slots, `kRows` of them at a time on their way.
  template <int kRows>
  __device__ __forceinline__ void load(int slot) const {
    T v[kRows][kLaneColumns];
    int words[kRows];
#pragma unroll
    for (int k = 0; k < kRows; ++k) words[k] = slot + k < l_.slots ? slot_word_[slot + k] : -1;
#pragma unroll
    for (int k = 0; k < kRows; ++k)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q)
        if (words[k] >= 0 && group_.column(q) < s_.dim)
          v[k][q] = load_current(numbers(p_.w_in) + words[k] * p_.stride + group_.column(q));
#pragma unroll
    for (int k = 0; k < kRows; ++k)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q)
        if (words[k] >= 0 && group_.column(q) < s_.dim)
          x_[(slot + k) * l_.pitch + group_.column(q)] = before_[(slot + k) * l_.pitch + group_.column(q)] = v[k][q];
  }

  // Adds what a row has gained.
  __device__ __forceinline__ void flush(int slot) const {
    T* const row = numbers(p_.w_in) + slot_word_[slot] * p_.stride;
#pragma unroll
    for (int q = 0; q < kLaneColumns; ++q) {
      const int column = group_.column(q);
      if (column < s_.dim) atomicAdd(row + column, x_[slot * l_.pitch + column] - before_[slot * l_.pitch + column]);
    }
  }

  // The slots of the words around word i, up to `own` away, and how often each stands there; by the first warp.
  __device__ __forceinline__ void list_inputs(int i, int begin, int end) {
    int m = 0;
    for (int first = 0; first < l_.slots; first += kWarp) {
      const int slot = first + group_.lane;
      int times = 0, at = begin % l_.slots;
      for (int position = begin; position < end; ++position) {
        if (position != i && slot < l_.slots && slot_of_[at] == slot) ++times;
        if (++at == l_.slots) at = 0;
      }
      const unsigned there = __ballot_sync(kFullMask, times > 0);
      if (times > 0) {
        const int to = m + __popc(there & ((1u << group_.lane) - 1));
        list_[to] = slot;
        count_[to] = times;
      }
      m += __popc(there);
    }
    if (group_.lane == 0) told_[kInputs] = m;
  }

  // --- What is random ------------------------------------------------------------------------------------------------

  // The outputs of a word, into one of two places, in turn.
  __device__ __forceinline__ void find_outputs(int i) {
    const int word = words_[i];
    std::uint32_t* const to = entries_ + i % 2 * (l_.sampled + l_.path);
    if (s_.negatives > 0) {
      const std::uint64_t from = SplitMix::before_negatives(static_cast<std::uint64_t>(i),
                                                            static_cast<std::uint64_t>(s_.negatives), s_.shrink);
      for (int j = group_.thread; j <= s_.negatives; j += group_.threads) {
        if (j == 0) {
          to[0] = 2 * static_cast<std::uint32_t>(word) + 1;
          continue;
        }
        const std::uint64_t bits = SplitMix::number(seed_, from + static_cast<std::uint64_t>(j - 1));
        const auto at = static_cast<std::uint32_t>(((bits >> 32) * p_.words_of_noise) >> 32);
        const NoiseEntry entry = p_.noise[at];
        const int other = static_cast<std::uint32_t>(bits) < entry.below ? static_cast<int>(at) : entry.other;
        to[j] = other == word ? kNoOutput : 2 * static_cast<std::uint32_t>(other);
      }
    }
    if (s_.longest_path > 0) {
      const std::int64_t begin = p_.path_begins[word];
      const int nodes = static_cast<int>(p_.path_begins[word + 1] - begin);
      for (int j = group_.thread; j < nodes; j += group_.threads) to[l_.sampled + j] = p_.path_entries[begin + j];
      if (group_.thread == 0) told_[kPath + i % 2] = nodes;
    }
  }

  // --- A word --------------------------------------------------------------------------------------------------------

  __device__ __forceinline__ void word(int i, bool enters, bool more) {
    int own = s_.window;
    if (s_.shrink) {
      const std::uint64_t at = SplitMix::before_window(
          static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(length_), static_cast<std::uint64_t>(s_.negatives));
      own = 1 + static_cast<int>(((SplitMix::number(seed_, at) >> 32) * static_cast<std::uint64_t>(s_.window)) >> 32);
    }
    const int begin = max_of(i - own, 0), end = min_of(i + own + 1, length_);
    enters = enters && i + s_.window < length_;
    group_.sync();
    if (group_.warp == 0) {
      if (leaving_ >= 0 && group_.lane == 0) slot_word_[leaving_] = -1;
      __syncwarp();
      if (enters) place(i + s_.window);
      __syncwarp();
      list_inputs(i, begin, end);
    }
    group_.sync();
    if (enters && told_[kEntered] >= 0) load<1>(told_[kEntered]);
    if (more) find_outputs(i + 1);
    const bool with_loss = (since_ + static_cast<std::uint32_t>(i) + 1) % kLossEvery == 0;
    const int m = told_[kInputs], inputs = end - begin - 1;
    const std::uint32_t* const entries = entries_ + i % 2 * (l_.sampled + l_.path);
    if (!s_.skip_gram) sum_bag(m, inputs);
#pragma unroll 1
    for (int which = 0; which < 2; ++which) {
      const int n = which == 0            ? s_.negatives > 0 ? s_.negatives + 1 : 0
                    : s_.longest_path > 0 ? told_[kPath + i % 2]
                                          : 0;
      if (n == 0) continue;
      const bool apart = s_.skip_gram && n > kHeldOutputs;
      if (apart) clear_steps(m);
      const RingInputs in = s_.skip_gram ? RingInputs{m, x_, apart ? steps_ : x_, l_.pitch, list_, count_, !apart}
                                         : RingInputs{1, bag_, bag_ + l_.pitch, l_.pitch, nullptr, nullptr, false};
      const Outputs<T> out{entries + (which == 0 ? 0 : l_.sampled), n, numbers(which == 0 ? p_.w_out : p_.w_nodes),
                           p_.stride};
      AllPairs<T, RingInputs>(group_, in, out, pair_memory_, s_.dim, rate_).update(with_loss, loss_);
      if (with_loss) pairs_ += static_cast<unsigned long long>(s_.skip_gram ? inputs : 1);
      if (apart) add_steps(m);
    }
    if (!s_.skip_gram) return_bag(m, inputs);
    leaving_ = -1;
    if (i >= s_.window) {
      const int slot = slot_of_[(i - s_.window) % l_.slots];
      if (slot_last_[slot] == i - s_.window) {
        flush(slot);
        leaving_ = slot;
      }
    }
  }

  __device__ __forceinline__ void sum_bag(int m, int inputs) const {
    const T part = T(1) / T(inputs);
#pragma unroll
    for (int q = 0; q < kLaneColumns; ++q) {
      const int column = group_.column(q);
      if (column >= s_.dim) continue;
      T sum = T(0);
      for (int k = 0; k < m; ++k) sum = fma(T(count_[k]), x_[list_[k] * l_.pitch + column], sum);
      bag_[column] = s_.mean ? part * sum : sum;
      bag_[l_.pitch + column] = T(0);
    }
  }

  __device__ __forceinline__ void return_bag(int m, int inputs) const {
    const T part = s_.divide ? T(1) / T(inputs) : T(1);
#pragma unroll
    for (int q = 0; q < kLaneColumns; ++q) {
      const int column = group_.column(q);
      if (column >= s_.dim) continue;
      const T step = part * bag_[l_.pitch + column];
      for (int k = 0; k < m; ++k) {
        T& x = x_[list_[k] * l_.pitch + column];
        x = fma(T(count_[k]), step, x);
      }
    }
  }

  __device__ __forceinline__ void clear_steps(int m) const {
    for (int k = 0; k < m; ++k)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q)
        if (group_.column(q) < s_.dim) steps_[k * l_.pitch + group_.column(q)] = T(0);
  }

  __device__ __forceinline__ void add_steps(int m) const {
    for (int k = 0; k < m; ++k)
#pragma unroll
      for (int q = 0; q < kLaneColumns; ++q)
        if (group_.column(q) < s_.dim)
          x_[list_[k] * l_.pitch + group_.column(q)] += steps_[k * l_.pitch + group_.column(q)];
  }

  static __device__ __forceinline__ int min_of(int a, int b) { return a < b ? a : b; }
  static __device__ __forceinline__ int max_of(int a, int b) { return a < b ? b : a; }

  const SentenceWork& p_;
  const SentenceSettings& s_;
  const SentenceLayout& l_;
  const Group group_;
  // In shared memory. Columns of rows are read and written by their own lanes alone.
  T *const x_, *const before_, *const steps_, *const bag_;
  const PairMemory<T> pair_memory_;
  std::uint32_t* const entries_;
  int *const slot_word_, *const slot_last_, *const slot_of_, *const list_, *const count_, *const told_;
  // Of the segment.
  std::uint64_t seed_ = 0;
  const std::int32_t* words_ = nullptr;
  int length_ = 0, leaving_ = -1;
  T rate_ = T(0);
  std::uint32_t since_ = 0;
  real<double> loss_ = real<double>(0);
  unsigned long long pairs_ = 0;
};

__global__ void __launch_bounds__(kMostSentenceThreads, 2) sentences_kernel(const SentenceWork work) {
  DLKIT_DYNAMIC_SHARED(float, memory);
  const int group = static_cast<int>(threadIdx.x) / (work.layout.warps * kWarp);
  if (static_cast<int>(blockIdx.x) * work.layout.groups + group >= work.in_flight) return;
  Walk(work, memory + group * work.layout.size).run();
}

int rounded(int n, int to) { return (n + to - 1) / to * to; }

}  // namespace

SentenceLayout sentence_layout(const SentenceSettings& s, int in_flight) {
  SentenceLayout l = {};
  l.warps = (s.dim + kWarpColumns - 1) / kWarpColumns;
  l.slots = 2 * s.window + 1;
  l.pitch = rounded(s.dim, 4);
  l.inputs = s.skip_gram ? 2 * s.window : 1;
  l.sampled = s.negatives > 0 ? rounded(s.negatives + 1, kHeldOutputs) : 0;
  l.path = rounded(s.longest_path, kHeldOutputs);
  const int outputs = std::max(l.sampled, l.path);
  const bool apart = s.skip_gram && outputs > kHeldOutputs;
  int at = l.slots * l.pitch;
  const auto take = [&](int count) {
    const int begin = at;
    at += rounded(count, 4);
    return begin;
  };
  l.before = take(l.slots * l.pitch);
  l.steps = take(apart ? l.inputs * l.pitch : 0);
  l.bag = take(s.skip_gram ? 0 : 2 * l.pitch);
  l.factors = take(l.inputs * outputs);
  l.partial = take(l.warps * l.inputs * kHeldOutputs);
  l.entries = take(2 * (l.sampled + l.path));
  l.numbers = take(5 * l.slots + 5);
  l.size = at;
  l.groups = 1;
  if (l.warps == 1)
    while (l.groups < kMostGroups && l.groups < in_flight &&
           static_cast<std::size_t>(l.size) * 4 * static_cast<std::size_t>(l.groups + 1) <= kBlockBytes)
      ++l.groups;
  return l;
}

std::size_t block_shared_memory() { return residence().shared; }

int resident_groups(const SentenceLayout& l) {
  constexpr std::size_t kOfBlock = 1 << 10;  // what the driver takes
  const auto blocks = static_cast<int>((residence().shared + kOfBlock) / (l.bytes() + kOfBlock));
  const int warps = l.groups * l.warps;
  return multiprocessors() * l.groups * std::max(1, std::min(blocks, kMostResidentWarps / warps));
}

void train_sentences(Stream stream, const SentenceWork& work) {
  const SentenceLayout& l = work.layout;
  const LaunchShape shape{static_cast<unsigned>((work.in_flight + l.groups - 1) / l.groups),
                          static_cast<unsigned>(l.groups * l.warps * kWarp), l.bytes()};
  launch("sentences", sentences_kernel, shape, stream, work);
}

}  // namespace dlkit::device
