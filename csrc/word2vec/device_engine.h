// The training engine on a GPU: the host's part.
//
// The text goes in shards of some pieces. Of each the host leaves out what subsampling throws away, cuts sentences into
// segments, and notes where the random numbers of each begin, as those of a piece are drawn one after the other;
// threads take pieces in turn, some 3 ns a word. A shard goes through pinned memory by a stream of copies to one of
// two buffers, while the kernel works on the other: 4 bytes a word and 32 a segment, less than a nanosecond a word, and
// a kernel takes several. Losses come back behind each kernel.
//
// Sentences in flight do not see each other's steps of the moment, and what they all add to a frequent word adds up:
// the more of them have it, the longer a step in the wrong direction goes on. So many are in flight as have the most
// frequent word once among their words of a moment, with what subsampling leaves of it (kTogether); docs/word2vec.md
// has what more would do.
//
// The matrices are the caller's; what is drawn from, tables and shards are in memory of its own.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/cuda/transfer.h"
#include "word2vec/engine.h"
#include "word2vec/sentences.h"

namespace dlkit::device {

// Where the matrices are: rows of Settings::dim elements.
struct Matrices {
  float *w_in, *w_out, *w_nodes;
};

class DeviceTrainer {
 public:
  // vector_size: elements of a row that are not padding. Throws std::invalid_argument where a window does not fit,
  // DeviceError, std::bad_alloc.
  DeviceTrainer(const word2vec::Settings& settings, int vector_size, const std::vector<std::uint64_t>& counts,
                double sample, double exponent, int device);
  ~DeviceTrainer();
  DeviceTrainer(const DeviceTrainer&) = delete;
  DeviceTrainer& operator=(const DeviceTrainer&) = delete;

  // Over the text from a piece on, so many sentences in flight. Returns how many pieces are done: fewer than there are
  // where it was asked to stop. All that is done is then in the matrices.
  Index train(const word2vec::Piece& text, Index first, const Matrices& matrices, int in_flight, int workers,
              Stream stream, word2vec::Progress& progress);
  // Of a text of so many tokens.
  static Index pieces(Index tokens);
  // As many sentences as the device works on at one time, and as the text bears.
  int default_in_flight() const;

 private:
  struct PieceWork {
    std::vector<std::int32_t> words;
    std::vector<Segment> segments;
    std::uint64_t read = 0, kept = 0;
  };
  struct Totals {
    double loss;
    unsigned long long pairs;
  };
  struct Header {
    std::uint32_t queue, unused;
    Totals totals;
  };
  struct Shard {
    PinnedMemory host;
    DeviceMemory there;
    PinnedMemory back;
    Event copied, done;
    bool busy = false;
    std::uint64_t read = 0, kept = 0;
  };

  void prepare(const word2vec::Piece& text, Index piece, PieceWork& to) const;
  void collect(Shard& shard, word2vec::Progress& progress) const;
  void launch(const Matrices& matrices, int in_flight, Stream stream, Shard& shard, Index pieces);

  word2vec::Settings settings_;
  int device_;
  double most_frequent_ = 1;  // the share of one word of those that are kept
  word2vec::Trainer tables_;
  SentenceSettings sentence_;
  DeviceMemory noise_, path_begins_, turns_;
  std::unique_ptr<OwnStream> copies_;
  std::unique_ptr<Shard> shards_[2];
  std::vector<PieceWork> pieces_;
};

}  // namespace dlkit::device
