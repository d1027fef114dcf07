#include "word2vec/device_engine.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>

#include "core/cuda/operands.h"
#include "core/thread_pool.h"
#include "word2vec/split_mix.h"

namespace dlkit::device {
namespace {

using word2vec::kSentenceEnd;
using word2vec::SplitMix;

constexpr Index kPieceTokens = 16384;  // train.cpp's: a piece has a seed and a rate
#if defined(DLKIT_SIMT)
constexpr Index kShardPieces = 2;  // which take it some seconds
#else
constexpr Index kShardPieces = 64;
#endif
constexpr std::uint32_t kLossEvery = 32;
constexpr double kTogether = 1;

template <class Value>
void upload(DeviceMemory& to, const std::vector<Value>& values, Stream stream) {
  if (values.empty()) return;
  const std::size_t bytes = values.size() * sizeof(Value);
  copy_async(to.atleast(bytes), values.data(), bytes, stream);
}

std::size_t rounded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace

DeviceTrainer::DeviceTrainer(const word2vec::Settings& settings, int vector_size,
                             const std::vector<std::uint64_t>& counts, double sample, double exponent, int device)
    : settings_(settings), device_(device), tables_(settings, counts, sample, exponent), pieces_(kShardPieces) {
  const OnDevice here(device);
  double kept = 0, most = 0;
  for (std::size_t word = 0; word < counts.size(); ++word) {
    const double of_word = static_cast<double>(counts[word]) * static_cast<double>(tables_.keep()[word]);
    kept += of_word;
    most = std::max(most, of_word);
  }
  if (most > 0) most_frequent_ = most / kept;
  std::int64_t longest = 0;
  const word2vec::HuffmanTree& tree = tables_.tree();
  for (std::size_t word = 0; word + 1 < tree.begins.size(); ++word)
    longest = std::max(longest, tree.begins[word + 1] - tree.begins[word]);
  sentence_ = {vector_size,        settings.window, settings.negatives, static_cast<int>(longest),
               settings.skip_gram, settings.mean,   settings.divide,    settings.shrink};
  const std::size_t needed = sentence_layout(sentence_, 1).bytes(), there = block_shared_memory();
  if (needed > there)
    throw std::invalid_argument("word2vec: a window of " + std::to_string(settings.window) + " words, vectors of " +
                                std::to_string(vector_size) + " elements and " + std::to_string(settings.negatives) +
                                " negatives take " + std::to_string(needed) +
                                " bytes of a device's shared memory; expected at most " + std::to_string(there));
  copies_ = std::make_unique<OwnStream>();
  for (auto& shard : shards_) {
    shard = std::make_unique<Shard>();
    shard->back.atleast(sizeof(Totals));
  }
  upload(noise_, tables_.noise().entries(), copies_->get());
  upload(path_begins_, tree.begins, copies_->get());
  upload(turns_, tree.turns, copies_->get());
  shards_[0]->copied.record(copies_->get());
  shards_[0]->copied.wait();
}

// Kernels and copies that an error has left behind still use the buffers.
DeviceTrainer::~DeviceTrainer() {
  for (const auto& shard : shards_) {
    if (shard == nullptr || !shard->busy) continue;
    try {
      shard->done.wait();
    } catch (const DeviceError&) {
    }
  }
}

int DeviceTrainer::default_in_flight() const {
  const OnDevice here(device_);
  const int resident = resident_groups(sentence_layout(sentence_, 1 << 20));
  return static_cast<int>(std::max(1.0, std::min<double>(resident, kTogether / most_frequent_)));
}

// A worker's run() of train.cpp, up to the words themselves.
void DeviceTrainer::prepare(const word2vec::Piece& text, Index piece, PieceWork& to) const {
  to.words.clear();
  to.segments.clear();
  to.read = to.kept = 0;
  const Index begin = piece * kPieceTokens, end = std::min(begin + kPieceTokens, text.count);
  const std::uint64_t seed = SplitMix::mixed(SplitMix::mixed(settings_.seed, static_cast<std::uint64_t>(text.epoch)),
                                             static_cast<std::uint64_t>(begin));
  std::uint64_t drawn = 0;
  const double share = static_cast<double>(begin) / static_cast<double>(text.count);
  const double done =
      (static_cast<double>(text.before) + share * static_cast<double>(text.words)) / static_cast<double>(text.total);
  const auto rate = static_cast<float>(text.first_rate + (text.last_rate - text.first_rate) * std::min(done, 1.0));
  const std::vector<std::uint32_t>& keep = tables_.keep();
  const auto negatives = static_cast<std::uint64_t>(settings_.negatives);
  Index at = begin;
  if (begin > 0)
    while (at < end && text.tokens[at - 1] != kSentenceEnd) ++at;
  while (at < end) {
    const std::size_t first = to.words.size();
    for (; at < text.count && text.tokens[at] != kSentenceEnd; ++at) {
      const std::int32_t word = text.tokens[at];
      word2vec::expect_word(word, static_cast<Index>(keep.size()));
      const std::uint32_t stays = keep[static_cast<std::size_t>(word)];
      ++to.read;
      if (stays == 0xFFFFFFFFu || static_cast<std::uint32_t>(SplitMix::number(seed, drawn++)) < stays)
        to.words.push_back(word);
    }
    ++at;
    const std::size_t n = to.words.size() - first;
    to.kept += n;
    if (n < 2) {
      to.words.resize(first);
      continue;
    }
    if (to.words.size() > 0x7FFFFFFF) throw std::invalid_argument("word2vec: a sentence has more than 2^31 words");
    for (std::size_t of = 0; of < n; of += kSegmentWords)
      to.segments.push_back({seed + drawn * SplitMix::kStep, static_cast<std::uint32_t>(first),
                             static_cast<std::uint32_t>(n), static_cast<std::uint32_t>(of), 0, rate, 0});
    drawn += n * negatives + (settings_.shrink ? n : 0);
  }
}

// Waits for what a buffer is busy with.
void DeviceTrainer::collect(Shard& shard, word2vec::Progress& progress) const {
  if (!shard.busy) return;
  shard.done.wait();
  shard.busy = false;
  Totals totals;
  std::memcpy(&totals, shard.back.data(), sizeof totals);
  progress.words += shard.read;
  progress.kept += shard.kept;
  progress.pairs += totals.pairs;
  double before = progress.loss;
  while (!progress.loss.compare_exchange_weak(before, before + totals.loss)) {
  }
}

void DeviceTrainer::launch(const Matrices& matrices, int in_flight, Stream stream, Shard& shard, Index pieces) {
  std::size_t words = 0, segments = 0;
  shard.read = shard.kept = 0;
  for (Index i = 0; i < pieces; ++i) {
    const PieceWork& piece = pieces_[static_cast<std::size_t>(i)];
    words += piece.words.size();
    segments += piece.segments.size();
    shard.read += piece.read;
    shard.kept += piece.kept;
  }
  if (words > 0x7FFFFFFF) throw std::invalid_argument("word2vec: a sentence has more than 2^31 words");
  const std::size_t words_at = rounded(sizeof(Header)) + rounded(segments * sizeof(Segment));
  const std::size_t bytes = words_at + words * sizeof(std::int32_t);
  // Twice what is needed now, so that shards a little larger do not ask again.
  if (bytes > shard.host.bytes()) {
    shard.host.atleast(2 * bytes);
    shard.there.atleast(2 * bytes);
  }
  char* const host = static_cast<char*>(shard.host.data());
  const Header header = {};
  std::memcpy(host, &header, sizeof header);
  auto* segment = reinterpret_cast<Segment*>(host + rounded(sizeof(Header)));
  auto* const first_word = reinterpret_cast<std::int32_t*>(host + words_at);
  std::uint32_t begin = 0;
  for (Index i = 0; i < pieces; ++i) {
    const PieceWork& piece = pieces_[static_cast<std::size_t>(i)];
    std::copy(piece.words.begin(), piece.words.end(), first_word + begin);
    for (Segment each : piece.segments) {
      each.since = each.begin % kLossEvery;  // counted anew in each piece
      each.begin += begin;
      *segment++ = each;
    }
    begin += static_cast<std::uint32_t>(piece.words.size());
  }
  copy_async(shard.there.data(), host, bytes, copies_->get());
  shard.copied.record(copies_->get());
  shard.copied.before(stream);

  char* const there = static_cast<char*>(shard.there.data());
  auto* const at = reinterpret_cast<Header*>(there);
  SentenceWork work = {};
  work.settings = sentence_;
  work.layout = sentence_layout(sentence_, in_flight);
  work.w_in = matrices.w_in;
  work.w_out = matrices.w_out;
  work.w_nodes = matrices.w_nodes;
  work.stride = settings_.dim;
  work.noise = static_cast<const NoiseEntry*>(noise_.data());
  work.words_of_noise = static_cast<std::uint32_t>(tables_.noise().size());
  work.path_begins = static_cast<const std::int64_t*>(path_begins_.data());
  work.turns = static_cast<const std::uint32_t*>(turns_.data());
  work.segments = reinterpret_cast<const Segment*>(there + rounded(sizeof(Header)));
  work.words = reinterpret_cast<const std::int32_t*>(there + words_at);
  work.queue = &at->queue;
  work.count = static_cast<std::uint32_t>(segments);
  work.in_flight = in_flight;
  work.loss = &at->totals.loss;
  work.pairs = &at->totals.pairs;
  const std::size_t rows = tables_.keep().size(), row = static_cast<std::size_t>(settings_.dim) * sizeof(float);
  {
    const Operands operands("word2vec", {{"w_in", matrices.w_in, rows * row, true},
                                         {"w_out", matrices.w_out, matrices.w_out ? rows * row : 0, true},
                                         {"w_nodes", matrices.w_nodes, matrices.w_nodes ? (rows - 1) * row : 0, true},
                                         {"noise", noise_.data(), noise_.bytes(), false},
                                         {"path_begins", path_begins_.data(), path_begins_.bytes(), false},
                                         {"turns", turns_.data(), turns_.bytes(), false},
                                         {"queue and totals", there, sizeof(Header), true},
                                         {"segments", work.segments, segments * sizeof(Segment), false},
                                         {"words", work.words, words * sizeof(std::int32_t), false}});
    if (segments > 0) train_sentences(stream, work);
  }
  copy_async(shard.back.data(), &at->totals, sizeof(Totals), stream);
  shard.done.record(stream);
  shard.busy = true;
}

Index DeviceTrainer::pieces(Index tokens) { return (tokens + kPieceTokens - 1) / kPieceTokens; }

Index DeviceTrainer::train(const word2vec::Piece& text, Index first, const Matrices& matrices, int in_flight,
                           int workers, Stream stream, word2vec::Progress& progress) {
  const OnDevice here(device_);
  const Index all = pieces(text.count);
  Index done = first;
  for (Index number = 0; done < all && !progress.stop; ++number) {
    const Index count = std::min(kShardPieces, all - done);
    parallel_for(
        static_cast<int>(count), [&](int i) { prepare(text, done + i, pieces_[static_cast<std::size_t>(i)]); },
        workers);
    Shard& shard = *shards_[number % 2];
    collect(shard, progress);  // its memory is about to be written
    launch(matrices, in_flight, stream, shard, count);
    done += count;
  }
  for (const auto& shard : shards_) collect(*shard, progress);
  return done;
}

}  // namespace dlkit::device
