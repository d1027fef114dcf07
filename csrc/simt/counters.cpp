#include "simt/counters.h"

#include <algorithm>
#include <array>
#include <bit>

namespace dlkit::simt {
namespace {

constexpr int kLanes = 32;
constexpr std::uintptr_t kSector = 32;
constexpr int kBanks = 32, kBankBytes = 4;

struct Access {
  std::uintptr_t address;
  unsigned bytes;
};

// The different bytes and sectors of a warp's request.
void count_global(const Access* accesses, int n, GlobalTraffic& traffic) {
  std::array<std::pair<std::uintptr_t, std::uintptr_t>, kLanes> spans;
  for (int i = 0; i < n; ++i) spans[i] = {accesses[i].address, accesses[i].address + accesses[i].bytes};
  std::sort(spans.begin(), spans.begin() + n);
  std::uintptr_t covered = 0, next_sector = 0;
  for (int i = 0; i < n; ++i) {
    const auto [begin, end] = spans[i];
    const std::uintptr_t from = std::max(begin, covered);
    if (end > from) traffic.bytes += end - from;
    covered = std::max(covered, end);
    const std::uintptr_t first = std::max(begin / kSector, next_sector), last = (end - 1) / kSector;
    if (last + 1 > first) traffic.sectors += last + 1 - first;
    next_sector = std::max(next_sector, last + 1);
  }
  ++traffic.requests;
}

// In each phase of 32 lanes (16, 8 for wider accesses) a bank serves one word, to all lanes that want it.
void count_shared(const std::array<Access, kLanes>& by_lane, unsigned active, SharedTraffic& traffic) {
  unsigned widest = 0;
  for (int lane = 0; lane < kLanes; ++lane)
    if (active >> lane & 1) widest = std::max(widest, by_lane[lane].bytes);
  const int phase_lanes = widest > 8 ? 8 : widest > 4 ? 16 : 32;
  for (int begin = 0; begin < kLanes; begin += phase_lanes) {
    std::array<std::uintptr_t, 4 * kLanes> words;
    int n = 0;
    for (int lane = begin; lane < begin + phase_lanes; ++lane) {
      if (!(active >> lane & 1)) continue;
      const auto [address, bytes] = by_lane[lane];
      for (std::uintptr_t word = address / kBankBytes; word <= (address + bytes - 1) / kBankBytes; ++word)
        if (n < static_cast<int>(words.size())) words[n++] = word;
    }
    if (n == 0) continue;
    std::sort(words.begin(), words.begin() + n);
    n = static_cast<int>(std::unique(words.begin(), words.begin() + n) - words.begin());
    std::array<int, kBanks> load = {};
    int most = 0;
    for (int i = 0; i < n; ++i) most = std::max(most, ++load[words[i] % kBanks]);
    traffic.wavefronts += static_cast<std::uint64_t>(most);
    traffic.conflicts += static_cast<std::uint64_t>(most - 1);
  }
  ++traffic.requests;
}

GlobalTraffic& operator+=(GlobalTraffic& a, const GlobalTraffic& b) {
  a.requests += b.requests;
  a.sectors += b.sectors;
  a.bytes += b.bytes;
  return a;
}

SharedTraffic& operator+=(SharedTraffic& a, const SharedTraffic& b) {
  a.requests += b.requests;
  a.wavefronts += b.wavefronts;
  a.conflicts += b.conflicts;
  return a;
}

// Where the basic block after event `at` is; 0 where the log ends, which for all lanes is the same place.
std::uint32_t next_block(const std::vector<Event>& log, std::size_t at) {
  for (++at; at < log.size(); ++at)
    if (log[at].kind == EventKind::basic_block) return log[at].place;
  return 0;
}

}  // namespace

Counters& Counters::operator+=(const Counters& other) {
  flops += other.flops;
  special += other.special;
  tensor_flops += other.tensor_flops;
  global_load += other.global_load;
  global_store += other.global_store;
  global_atomic += other.global_atomic;
  shared_load += other.shared_load;
  shared_store += other.shared_store;
  shared_atomic += other.shared_atomic;
  barriers += other.barriers;
  basic_blocks += other.basic_blocks;
  active_lanes += other.active_lanes;
  divergent_branches += other.divergent_branches;
  return *this;
}

void count_warp(std::vector<Event>* const* logs, int lanes, Counters& counters) {
  std::array<std::size_t, kLanes> at = {};
  for (;;) {
    // The lanes at the first place in the code.
    std::uint32_t place = ~0u;
    EventKind kind = EventKind::basic_block;
    unsigned active = 0;
    for (int lane = 0; lane < lanes; ++lane) {
      if (at[lane] == logs[lane]->size()) continue;
      const Event& event = (*logs[lane])[at[lane]];
      if (event.place < place) {
        place = event.place;
        kind = event.kind;
        active = 0;
      }
      if (event.place == place && event.kind == kind) active |= 1u << lane;
    }
    if (active == 0) break;

    std::array<Access, kLanes> by_lane;
    std::array<Access, kLanes> packed;
    int n = 0;
    bool diverges = false;
    std::uint32_t successor = 0;
    for (int lane = 0; lane < lanes; ++lane) {
      if (!(active >> lane & 1)) continue;
      const Event& event = (*logs[lane])[at[lane]];
      if (kind == EventKind::basic_block) {
        const std::uint32_t next = next_block(*logs[lane], at[lane]);
        diverges |= n > 0 && next != successor;
        successor = next;
      }
      by_lane[lane] = packed[n] = {event.address, event.bytes};
      ++n;
      ++at[lane];
    }
    switch (kind) {
      case EventKind::global_load: count_global(packed.data(), n, counters.global_load); break;
      case EventKind::global_store: count_global(packed.data(), n, counters.global_store); break;
      case EventKind::global_atomic: count_global(packed.data(), n, counters.global_atomic); break;
      case EventKind::shared_load: count_shared(by_lane, active, counters.shared_load); break;
      case EventKind::shared_store: count_shared(by_lane, active, counters.shared_store); break;
      case EventKind::shared_atomic: count_shared(by_lane, active, counters.shared_atomic); break;
      case EventKind::basic_block:
        ++counters.basic_blocks;
        counters.active_lanes += static_cast<std::uint64_t>(n);
        counters.divergent_branches += diverges;
        break;
    }
  }
  for (int lane = 0; lane < lanes; ++lane) logs[lane]->clear();
}

}  // namespace dlkit::simt
