// Conditional random fields on threads: sequences in groups that depend on the shape alone, each with sums of its own
// for the gradients of the transitions, which are added in order of the groups.
#include <algorithm>
#include <memory>

#include "core/counters.h"
#include "core/scratch.h"
#include "core/thread_pool.h"
#include "layers/crf.h"

namespace dlkit {
namespace {

const CrfKernelsOfBoth& crf_kernels() {
  static const auto& table = DLKIT_SELECT(crf_table);
  return table;
}

constexpr Index kGroup = 4;                  // sequences, at least
constexpr Index kMostGroups = 64;            // each has sums
constexpr Index kMostSums = Index{1} << 22;  // numbers, of all groups together
constexpr Index kScratch = Index{1} << 18;   // numbers that a thread keeps

// Memory of a sequence: the thread's own where it is not much.
template <class T>
class Memory {
 public:
  explicit Memory(Index count) {
    if (count > kScratch) own_.reset(new T[static_cast<std::size_t>(count)]);
    data_ = own_ ? own_.get() : scratch<T>(Slot::columns, static_cast<std::size_t>(count));
  }
  T* data() const { return data_; }

 private:
  std::unique_ptr<T[]> own_;
  T* data_ = nullptr;
};

template <class T>
double path_score(const CrfModel<T>& m, const std::int64_t* path, Index sequence) {
  double score = 0;
  Index before = 0;
  for (Index t = 0; t < m.lengths[sequence]; ++t) {
    const Index row = m.first_row[t] + sequence, tag = path[row];
    score += static_cast<double>(m.emissions[row * m.tags + tag]);
    if (t > 0)
      score += static_cast<double>(m.transitions[before * m.tags + tag]);
    else if (m.start != nullptr)
      score += static_cast<double>(m.start[tag]);
    before = tag;
  }
  return m.end == nullptr ? score : score + static_cast<double>(m.end[before]);
}

// Takes the path itself off the gradients of log Z.
template <class T>
void take_off(const CrfLoss<T>& work, Index sequence, const CrfSums<T>& sums) {
  const auto& m = work.model;
  const T weight = work.weights[sequence];
  Index before = 0;
  for (Index t = 0; t < m.lengths[sequence]; ++t) {
    const Index row = m.first_row[t] + sequence, tag = work.path[row];
    work.d_emissions[row * m.tags + tag] -= weight;
    if (t > 0)
      sums.d_transitions[before * m.tags + tag] -= weight;
    else
      sums.d_start[tag] -= weight;
    before = tag;
  }
  sums.d_end[before] -= weight;
}

}  // namespace

template <class T>
void crf_loss(const CrfLoss<T>& work, Rung rung) {
  const auto& m = work.model;
  const auto& kernels = crf_kernels().get(T{});
  const bool naive = rung == Rung::naive, with_gradient = work.weights != nullptr;
  const Index tags = m.tags, width = crf_width<T>(tags), square = tags * width;
  const Index each = square + tags * tags + 2 * tags;  // numbers of a group's sums
  const Index most = std::clamp<Index>(kMostSums / each, 1, kMostGroups);
  const Index size = std::max(kGroup, (m.batch + most - 1) / most), groups = (m.batch + size - 1) / size;

  std::unique_ptr<T[]> table_memory(new T[static_cast<std::size_t>(2 * square + 2 * width)]);
  CrfTables<T> tables = {};
  tables.width = width;
  tables.forward = table_memory.get();
  tables.backward = tables.forward + square;
  tables.start = tables.backward + square;
  tables.end = tables.start + width;
  if (!naive) kernels.tables(m, tables);
  std::unique_ptr<T[]> sums_memory;
  if (with_gradient) sums_memory.reset(new T[static_cast<std::size_t>(groups * each)]());

  const auto sums_of = [&](Index group) {
    T* const at = sums_memory.get() + group * each;
    T* const pairs_end = at + square;
    return CrfSums<T>{at, pairs_end, pairs_end + tags * tags, pairs_end + tags * tags + tags};
  };
  parallel_for(static_cast<int>(groups), [&](int group) {
    CrfSums<T> sums = {};
    if (with_gradient) sums = sums_of(group);
    CrfSums<T>* const wanted = with_gradient ? &sums : nullptr;
    for (Index s = group * size; s < std::min(m.batch, (group + 1) * size); ++s) {
      double log_z = 0;
      bool done = false;
      if (!naive) {
        const Memory<T> memory(crf_memory(m.lengths[s], width));
        done = kernels.sequence(work, tables, s, memory.data(), wanted, &log_z);
      }
      if (!done) log_z = naive::crf_sequence(work, s, wanted);
      work.losses[s] = static_cast<T>(work.path == nullptr ? log_z : log_z - path_score(m, work.path, s));
      if (with_gradient && work.path != nullptr) take_off(work, s, sums);
    }
    if (with_gradient && !naive) kernels.join(tables, tags, sums);
  });
  if (!with_gradient) return;
  std::fill(work.d_transitions, work.d_transitions + tags * tags, T(0));
  std::fill(work.d_start, work.d_start + tags, T(0));
  std::fill(work.d_end, work.d_end + tags, T(0));
  for (Index group = 0; group < groups; ++group) {
    const CrfSums<T> sums = sums_of(group);
    for (Index i = 0; i < tags * tags; ++i) work.d_transitions[i] += sums.d_transitions[i];
    for (Index i = 0; i < tags; ++i) work.d_start[i] += sums.d_start[i];
    for (Index i = 0; i < tags; ++i) work.d_end[i] += sums.d_end[i];
  }
}

template <class T>
void crf_decode(const CrfDecode<T>& work, Rung rung) {
  const auto& m = work.model;
  const auto& kernels = crf_kernels().get(T{});
  // A tag's number has to fit the vectors' type.
  const bool naive = rung == Rung::naive || m.tags > (Index{1} << 24);
  const Index width = crf_width<T>(m.tags), groups = (m.batch + kGroup - 1) / kGroup;
  parallel_for(static_cast<int>(groups), [&](int group) {
    for (Index s = group * kGroup; s < std::min(m.batch, (group + 1) * kGroup); ++s) {
      if (naive) {
        naive::crf_decode(work, s);
        continue;
      }
      const Memory<T> memory((m.lengths[s] + 2) * width);
      kernels.decode(work, s, memory.data());
    }
  });
}

#define DLKIT_INSTANTIATE(T)                       \
  template void crf_loss(const CrfLoss<T>&, Rung); \
  template void crf_decode(const CrfDecode<T>&, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
