// The engine's kernel (sentences.cu): what it is given.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/view.h"

namespace dlkit::device {

using Stream = void*;  // cudaStream_t

// Some neighbouring words of a sentence, for one group of warps.
struct Segment {
  std::uint64_t seed;    // what was drawn before the sentence's negatives lies behind it (split_mix.h)
  std::uint32_t begin;   // of the sentence, in the shard's words
  std::uint32_t length;  // words of the sentence
  std::uint32_t first;   // of the segment: kSegmentWords from here on, or to the sentence's end
  std::uint32_t since;   // words since the last one that was asked for its loss, at the sentence's begin
  float rate;
  std::uint32_t unused;
};
static_assert(sizeof(Segment) == 32);

// A long sentence is cut, so that there is work for all groups: one of 10,000 words is the whole work of one for 10 ms.
// A segment costs the rows of its first window, 2 window of them.
constexpr std::uint32_t kSegmentWords = 128;

struct NoiseEntry {
  std::uint32_t below;
  std::int32_t other;
};

// What a group has in shared memory, in units of 4 bytes from the group's begin.
struct SentenceLayout {
  int warps, groups;         // of a group, of a block
  int slots, pitch, inputs;  // rows in the ring, elements of one; inputs of a word
  int sampled, path;         // entries of outputs: of negative sampling, and of a path; multiples of 8, or 0
  int before, steps, bag, factors, partial, entries, numbers, size;
  std::size_t bytes() const { return static_cast<std::size_t>(size) * 4 * static_cast<std::size_t>(groups); }
};

struct SentenceSettings {
  int dim, window, negatives, longest_path;  // 0: no hierarchical softmax
  bool skip_gram, mean, divide, shrink;
};

struct SentenceWork {
  SentenceSettings settings;
  SentenceLayout layout;
  float *w_in, *w_out, *w_nodes;
  Index stride;  // of their rows
  const NoiseEntry* noise;
  std::uint32_t words_of_noise;
  const std::int64_t* path_begins;
  const std::uint32_t* turns;  // twice the node, and 1 where it turns right
  // The shard.
  const Segment* segments;
  const std::int32_t* words;
  std::uint32_t* queue;  // which segment comes next
  std::uint32_t count;
  int in_flight;  // groups
  double* loss;   // these two are added to
  unsigned long long* pairs;
};

// For a number of groups, where as many fit in a block. bytes() may be more than a block has.
SentenceLayout sentence_layout(const SentenceSettings& settings, int in_flight);
std::size_t block_shared_memory();
// How many groups the device works on at one time.
int resident_groups(const SentenceLayout& layout);

void train_sentences(Stream stream, const SentenceWork& work);

}  // namespace dlkit::device
