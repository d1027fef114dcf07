// The workers of the engine (engine.h).
//
// A word that is kept costs skip-gram with negative sampling, with an average of w inputs and k + 1 outputs, 6 w (k +
// 1) dim operations and (w + k + 1) dim numbers read and written; the inputs are those of the word before but two, so
// that (k + 3) dim of them come from beyond the first-level cache: for 100 elements, 5 negatives and a window of 5,
// 22,000 operations and 6 KB. CBOW: 6 (k + 1) dim operations, and the same bytes; as many as come in 0.3 us, which is
// longer than it computes. Where three words in succession share their negatives, as the contexts of a word of
// skip-gram do anyway, k / 3 + 2 rows come.
#include <algorithm>
#include <mutex>
#include <stdexcept>

#include "core/thread_pool.h"
#include "word2vec/engine.h"
#include "word2vec/hot_rows.h"
#include "word2vec/split_mix.h"
#include "word2vec/window_rows.h"

namespace dlkit::word2vec {
namespace {

// What a worker takes at a time, and how far ahead of a word its rows are fetched.
constexpr Index kPieceTokens = 16384;
constexpr Index kAhead = SplitMix::kAhead;
// One word of so many is asked for its loss.
constexpr Index kLossEvery = 32;
// A worker's own rows are merged after so many words.
constexpr Index kMergeEvery = 256;
// Nodes that so many words have in their paths that they are in the nearest cache without being fetched.
constexpr Index kNearNodes = 32;

// The numbers of split_mix.h, one after the other.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    const std::uint64_t found = SplitMix::number(state_, 0);
    state_ += SplitMix::kStep;
    return found;
  }
  // Less than `keep` of 2^32; nothing is drawn where that is all of them. Without a branch: it would be random.
  bool kept(std::uint32_t keep) {
    const Random before = *this;
    const bool drawn = static_cast<std::uint32_t>(bits()) < keep, always = keep == 0xFFFFFFFFu;
    state_ = always ? before.state_ : state_;
    return always | drawn;
  }

 private:
  std::uint64_t state_;
};

}  // namespace

class Worker {
 public:
  // Alone: no other worker changes the matrices.
  Worker(const Trainer& trainer, const Piece& text, float* w_in, float* w_out, float* w_nodes, bool alone,
         std::mutex& merging)
      : s_(trainer.settings_), t_(trainer), text_(text), w_in_(w_in), nodes_(t_.words() - 1),
        words_hot_(w_out, 0, alone || s_.negatives == 0 ? 0 : std::min(s_.hot_rows, t_.words()), s_.dim),
        nodes_hot_(w_nodes, nodes_ - hot_nodes(alone), hot_nodes(alone), s_.dim), alone_(alone), merging_(merging),
        window_(s_.reuse_window ? s_.window : 1, s_.dim), bag_(DLKIT_SELECT(bag_table).single_precision), random_(0),
        rows_(static_cast<std::size_t>(2 * s_.window)) {
    std::size_t most = static_cast<std::size_t>(s_.negatives) + 1;
    for (std::size_t word = 0; word + 1 < t_.tree_.begins.size(); ++word)
      most = std::max(most, static_cast<std::size_t>(t_.tree_.begins[word + 1] - t_.tree_.begins[word]));
    outputs_.resize(most);
    labels_.assign(most, 0.0f);
    const Index scratch = s_.variant->scratch(2 * s_.window, static_cast<Index>(most), s_.dim);
    memory_.resize(static_cast<std::size_t>(2 * s_.dim + scratch + kMostLanes));
    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    sum_ = memory_.data() + (64 - address % 64) % 64 / sizeof(float);
    step_ = sum_ + s_.dim;
    scratch_ = step_ + s_.dim;
  }

  // Tokens [begin, end) of the text and what is left of the sentence there; without the end of one that began before.
  void run(Index begin, Index end, Progress& progress) {
    const std::uint64_t epoch_seed = SplitMix::mixed(s_.seed, static_cast<std::uint64_t>(text_.epoch));
    random_ = Random(SplitMix::mixed(epoch_seed, static_cast<std::uint64_t>(begin)));
    const double share = static_cast<double>(begin) / static_cast<double>(text_.count);
    const double done = (static_cast<double>(text_.before) + share * static_cast<double>(text_.words)) /
                        static_cast<double>(text_.total);
    rate_ = static_cast<float>(text_.first_rate + (text_.last_rate - text_.first_rate) * std::min(done, 1.0));
    words_ = kept_words_ = pairs_ = 0;
    loss_ = 0;
    since_loss_ = 0;
    Index at = begin;
    if (begin > 0)
      while (at < end && text_.tokens[at - 1] != kSentenceEnd) ++at;
    while (at < end) {
      Index stop = at;
      for (; stop < text_.count && text_.tokens[stop] != kSentenceEnd; ++stop)
        expect_word(text_.tokens[stop], t_.words());
      words_ += static_cast<std::uint64_t>(stop - at);
      sentence(at, stop);
      at = stop + 1;
    }
    if (!alone_) {
      const std::lock_guard lock(merging_);
      merge();
    }
    progress.words += words_;
    progress.kept += kept_words_;
    progress.pairs += pairs_;
    double before = progress.loss;
    while (!progress.loss.compare_exchange_weak(before, before + loss_)) {
    }
  }

 private:
  Index hot_nodes(bool alone) const { return alone || !s_.hierarchical ? 0 : std::min(s_.hot_rows, nodes_); }

  void sentence(Index begin, Index end) {
    kept_.resize(static_cast<std::size_t>(end - begin));
    Index n = 0;
    for (Index i = begin; i < end; ++i) {
      const std::int32_t word = text_.tokens[i];
      kept_[static_cast<std::size_t>(n)] = word;
      n += random_.kept(t_.keep_[static_cast<std::size_t>(word)]) ? 1 : 0;
    }
    kept_.resize(static_cast<std::size_t>(n));
    kept_words_ += static_cast<std::uint64_t>(n);
    if (n < 2) return;
    drawn_.resize(static_cast<std::size_t>((n + kAhead) * s_.negatives));
    for (Index i = 0; i < kAhead && i < n; ++i) {
      collect(i);
      fetch_rest();
    }
    if (s_.reuse_window)
      for (Index i = 0; i < s_.window && i < n; ++i) enter(i);
    for (Index i = 0; i < n; ++i) {
      if (i + kAhead < n) collect(i + kAhead);
      if (s_.reuse_window && i + s_.window < n) enter(i + s_.window);
      word(i, n);
      fetch_rest();
      if (s_.reuse_window && i >= s_.window) window_.leave(i - s_.window);
      if (!alone_ && ++since_merge_ >= kMergeEvery && merging_.try_lock()) {
        merge();
        merging_.unlock();
      }
    }
    if (s_.reuse_window)
      for (Index i = std::max<Index>(n - s_.window, 0); i < n; ++i) window_.leave(i);
  }

  void enter(Index i) {
    const std::int32_t word = kept_[static_cast<std::size_t>(i)];
    window_.enter(i, word, w_in_ + word * s_.dim);
  }

  void merge() {
    words_hot_.merge();
    nodes_hot_.merge();
    since_merge_ = 0;
  }

  // CBOW's kernel is little but loads and stores, so that the time it takes to ask for all at once counts: it asks for
  // a row while it changes another.
  void fetch(const float* row) {
    if (s_.skip_gram)
      fetch_lines(row, lines_);
    else
      ahead_rows_.push_back(row);
  }

  void collect(Index i) {
    ahead_rows_.clear();
    draw(i);
    ahead_ = {ahead_rows_.data(), static_cast<Index>(ahead_rows_.size())};
  }

  // What the kernel has left.
  void fetch_rest() {
    for (Index j = ahead_.done; j < ahead_.count; ++j) fetch_lines(ahead_.rows[j], lines_);
    ahead_.done = ahead_.count;
  }

  // The negatives of a word; their rows, its own, and that of the word which then enters the window.
  void draw(Index i) {
    const std::int32_t word = kept_[static_cast<std::size_t>(i)];
    const Index first = i * s_.negatives;
    const bool drawn = i % s_.shared_negatives == 0;  // else they are those of the word before
    for (Index j = first; j < first + s_.negatives; ++j)
      drawn_[static_cast<std::size_t>(j)] =
          drawn ? t_.noise_.draw(random_.bits()) : drawn_[static_cast<std::size_t>(j - s_.negatives)];
    if (!s_.prefetch) return;
    const std::size_t enters = static_cast<std::size_t>(i + s_.window);
    if (enters < kept_.size()) fetch(w_in_ + kept_[enters] * s_.dim);
    if (s_.negatives > 0) {
      fetch(words_hot_.row(word));
      for (Index j = first; drawn && j < first + s_.negatives; ++j)
        fetch(words_hot_.row(drawn_[static_cast<std::size_t>(j)]));
    }
    if (s_.hierarchical) {
      // The path of a later word, too, whose nodes are then known when they are to be fetched.
      if (const std::size_t later = static_cast<std::size_t>(i + kAhead); later < kept_.size()) {
        const std::uint32_t* const path = t_.tree_.turns.data() + t_.tree_.begins[kept_[later]];
        __builtin_prefetch(path);
        __builtin_prefetch(path + 16);
      }
      // From the root on nodes are ever less near.
      Index j = t_.tree_.begins[word];
      const Index end = t_.tree_.begins[word + 1];
      while (j < end && HuffmanTree::node(t_.tree_.turns[j]) >= nodes_ - kNearNodes) ++j;
      for (; j < end; ++j) fetch(nodes_hot_.row(HuffmanTree::node(t_.tree_.turns[j])));
    }
  }

  void word(Index i, Index n) {
    const Index own = s_.shrink ? 1 + static_cast<Index>(((random_.bits() >> 32) * s_.window) >> 32) : s_.window;
    Index inputs = 0;
    for (Index j = std::max<Index>(i - own, 0); j <= std::min(i + own, n - 1); ++j)
      if (j != i)
        rows_[static_cast<std::size_t>(inputs++)] =
            s_.reuse_window ? window_.row(j) : w_in_ + kept_[static_cast<std::size_t>(j)] * s_.dim;
    with_loss_ = ++since_loss_ == kLossEvery;
    if (with_loss_) since_loss_ = 0;
    if (s_.skip_gram) {
      update(i, rows_.data(), rows_.data(), inputs);
    } else {
      const float part = 1 / static_cast<float>(inputs);
      bag_.sum(rows_.data(), inputs, s_.dim, s_.mean ? part : 1.0f, sum_);
      std::fill(step_, step_ + s_.dim, 0.0f);
      update(i, &sum_, &step_, 1);
      bag_.add(step_, s_.divide ? part : 1.0f, rows_.data(), inputs, s_.dim);
    }
  }

  void update(Index i, const float* const* x, float* const* dx, Index m) {
    const std::int32_t word = kept_[static_cast<std::size_t>(i)];
    const bool inputs_differ = all_differ(dx, m);
    if (s_.negatives > 0) {
      outputs_[0] = words_hot_.row(word);
      labels_[0] = 1;
      Index n = 1;
      for (Index j = i * s_.negatives; j < (i + 1) * s_.negatives; ++j)
        if (const std::int32_t other = drawn_[static_cast<std::size_t>(j)]; other != word) {
          labels_[static_cast<std::size_t>(n)] = 0;
          outputs_[static_cast<std::size_t>(n++)] = words_hot_.row(other);
        }
      pairs(x, dx, m, n, inputs_differ && all_differ(outputs_.data(), n));
    }
    if (s_.hierarchical) {
      Index n = 0;
      for (Index j = t_.tree_.begins[word]; j < t_.tree_.begins[word + 1]; ++j, ++n) {
        const std::uint32_t turn = t_.tree_.turns[j];
        labels_[static_cast<std::size_t>(n)] = static_cast<float>(1 - HuffmanTree::code(turn));  // no random branch
        outputs_[static_cast<std::size_t>(n)] = nodes_hot_.row(HuffmanTree::node(turn));
      }
      if (n > 0) pairs(x, dx, m, n, inputs_differ);
    }
  }

  void pairs(const float* const* x, float* const* dx, Index m, Index n, bool distinct) {
    loss_ += s_.variant->run(PairUpdate<float>{x, dx, m, outputs_.data(), labels_.data(), n, s_.dim, rate_, scratch_,
                                               with_loss_, distinct, nullptr, nullptr, &ahead_});
    if (with_loss_) pairs_ += static_cast<std::uint64_t>(m);
  }

  const Settings& s_;
  const Trainer& t_;
  const Piece& text_;
  float* const w_in_;
  const Index nodes_;
  HotRows words_hot_, nodes_hot_;
  const bool alone_;
  std::mutex& merging_;
  Index since_merge_ = 0;
  WindowRows window_;
  const BagKernels<float>& bag_;
  Random random_;
  float rate_ = 0;
  std::vector<std::int32_t> kept_, drawn_;
  std::vector<float*> rows_, outputs_;
  const Index lines_ = (s_.dim + 15) / 16;  // of a row
  std::vector<const float*> ahead_rows_;
  Ahead<float> ahead_{};
  std::vector<float> labels_, memory_;
  float* sum_;
  float* step_;
  float* scratch_;
  bool with_loss_ = false;
  Index since_loss_ = 0;
  std::uint64_t words_ = 0, kept_words_ = 0, pairs_ = 0;
  double loss_ = 0;
};

Index Trainer::pieces(Index tokens) { return (tokens + kPieceTokens - 1) / kPieceTokens; }

Index Trainer::train(const Piece& text, Index first, float* w_in, float* w_out, float* w_nodes, int workers,
                     Progress& progress) const {
  const Index all = pieces(text.count);
  // A piece that is taken is done: a worker asks whether it is to stop before it takes one.
  std::atomic<Index> next{first};
  std::mutex merging;
  const int tasks = static_cast<int>(std::min<Index>(workers, all - first));
  parallel_for(
      tasks,
      [&](int) {
        Worker worker(*this, text, w_in, w_out, w_nodes, tasks == 1, merging);
        while (!progress.stop) {
          const Index piece = next++;
          if (piece >= all) return;
          worker.run(piece * kPieceTokens, std::min((piece + 1) * kPieceTokens, text.count), progress);
        }
      },
      workers);
  return std::min<Index>(next, all);
}

}  // namespace dlkit::word2vec
