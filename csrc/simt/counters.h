// What a kernel did, as a GPU's profiler would count it.
//
// Each thread leaves a log of its loads, stores and basic blocks; the logs of a warp are merged as its lanes would have
// run together. Lanes that are at different places take turns, the one whose code comes first going first, and go on
// together where they meet again (Collange, "Stack-less SIMT Reconvergence at Low Cost", 2011).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dlkit::simt {

enum class EventKind : std::uint8_t {
  global_load,
  global_store,
  global_atomic,
  shared_load,
  shared_store,
  shared_atomic,
  basic_block,
};

struct Event {
  std::uintptr_t address;
  std::uint32_t place;  // in the code, from the start of the module
  std::uint16_t bytes;
  EventKind kind;
};

// Of one kind of access to global memory. A request is one instruction of a warp; a sector is 32 bytes, the least that
// moves; bytes are the different ones that lanes asked for.
struct GlobalTraffic {
  std::uint64_t requests = 0, sectors = 0, bytes = 0;
};

// Of one kind of access to shared memory. A wavefront is a pass over the 32 banks of 4 bytes; requests of 8 and 16
// bytes a lane need two and four at best. Conflicts are the wavefronts beyond that.
struct SharedTraffic {
  std::uint64_t requests = 0, wavefronts = 0, conflicts = 0;
};

struct Counters {
  std::uint64_t flops = 0;         // + - * / count 1, a fused multiply-add 2
  std::uint64_t special = 0;       // exp, log, sqrt, tanh and the like
  std::uint64_t tensor_flops = 0;  // of tensor cores
  GlobalTraffic global_load, global_store, global_atomic;
  SharedTraffic shared_load, shared_store, shared_atomic;
  std::uint64_t barriers = 0;            // of whole blocks
  std::uint64_t basic_blocks = 0;        // executed by warps, with whichever lanes
  std::uint64_t active_lanes = 0;        // in them, added up
  std::uint64_t divergent_branches = 0;  // basic blocks that lanes of a warp left in different directions

  Counters& operator+=(const Counters& other);
};

// One warp's logs since its lanes last stood at the same place; lanes without a thread have empty logs. They are
// cleared.
void count_warp(std::vector<Event>* const* logs, int lanes, Counters& counters);

struct LaunchRecord {
  std::string operation, kernel;
  unsigned grid[3], block[3];
  std::uint64_t shared_bytes;  // of a block, static and dynamic
  Counters counters;
};

}  // namespace dlkit::simt
