// The ladder on a GPU, by name, and what is chosen where no variant is named.
#include <algorithm>

#include "matmul/device_plan.h"
#include "recurrent/device_sequence.h"
#include "recurrent/persistent.h"

namespace dlkit::device {
namespace {

bool takes_any(const RecurrentShape&) { return true; }

template <class T, bool kStreams>
bool takes_persistent(const RecurrentShape& s) {
  return few_runs(s) && persistent_facts<T>(s, 1, false, kStreams).fits &&
         persistent_facts<T>(s, 1, true, kStreams).fits;
}

template <class T, RecurrentRung kRung>
std::size_t forward(Stream stream, const RecurrentForward<T>* passes, int directions, Precision precision,
                    void* scratch) {
  return forward_pass(kRung, stream, passes, directions, precision, scratch);
}
template <class T, RecurrentRung kRung>
std::size_t backward(Stream stream, const RecurrentBackward<T>* passes, int directions, Precision precision,
                     void* scratch) {
  return backward_pass(kRung, stream, passes, directions, precision, scratch);
}

// Microseconds of an H100, estimated. A step's product, as matmul's plan has it, and the fused cell's launch.
template <class T>
double stepwise_microseconds(const RecurrentShape& s, double rows, Precision precision) {
  constexpr double kCyclesPerMicrosecond = 1760, kLaunches = 4;
  const Index width = s.gates() * s.hidden;
  const double weights = static_cast<double>(width) * static_cast<double>(s.hidden);
  DeviceMatmul p = {};
  p.type = p.out_type = sizeof(T) == 4 ? DeviceType::float32 : DeviceType::float64;
  p.precision = precision;
  p.m = static_cast<Index>(rows + 0.5);
  p.n = width;
  p.k = s.hidden;
  p.batch = 1;
  p.tile = -1;
  const TileFamily* const family = family_of(p);
  const double product =
      family == nullptr
          ? std::max(sizeof(T) * weights / kCacheBytesPerMicrosecond, 2 * weights * rows / 20e6)
          : std::min(plan_tiles(p, *family, false).cycles, plan_tiles(p, *family, true).cycles) / kCyclesPerMicrosecond;
  return kLaunches + product;
}

// A step is a barrier, products at what persistent.cu says, and what is read anew; before the first one all weights
// are.
template <class T>
double persistent_microseconds(const RecurrentShape& s, int directions, double rows, RecurrentRung rung) {
  constexpr double kFlopsPerMicrosecond = 40e6, kLaunch = 8;
  const bool streams = rung == RecurrentRung::streamed, together = directions == 2 && at_once<T>(rung, s, false);
  const PersistentFacts facts = persistent_facts<T>(s, together ? 2 : 1, false, streams);
  const double weights = static_cast<double>(s.gates() * s.hidden) * static_cast<double>(s.hidden);
  const double slower = sizeof(T) / 4.0, launches = together ? 1 : directions;
  const double barriers = (s.cell == Cell::gru_reset_first ? 2 : 1) * kBarrierMicroseconds * launches;
  const double step = std::max(2 * weights * rows * slower / kFlopsPerMicrosecond,
                               sizeof(T) * static_cast<double>(facts.streamed) / kCacheBytesPerMicrosecond);
  return launches * kLaunch + directions * sizeof(T) * weights / 3e6 +
         static_cast<double>(s.steps()) * (barriers + directions * step);
}

}  // namespace

template <class T>
const std::vector<RecurrentVariant<T>>& recurrent_variants() {
  using enum RecurrentRung;
  static const std::vector<RecurrentVariant<T>> table = {
      {"naive", "products step by step, a thread for each of their elements; the cell, a thread for each unit", "",
       takes_any, forward<T, naive>, backward<T, naive>},
      {"stepwise", "the input's products of all steps as one; for each step a product and a fused cell", "", takes_any,
       forward<T, stepwise>, backward<T, stepwise>},
      {"persistent",
       "all steps, of both directions, in one launch; recurrent weights stay in shared memory, a barrier of the grid "
       "parts steps",
       "at most 64 different batch sizes, and recurrent weights that fit in the shared memory of all multiprocessors",
       takes_persistent<T, false>, forward<T, persistent>, backward<T, persistent>},
      {"streamed",
       "as persistent, but that shared memory keeps as much of the recurrent weights as it can, and the rest comes in "
       "tiles from the second-level cache in each step",
       "at most 64 different batch sizes, and sums of a step that fit in the shared memory of all multiprocessors",
       takes_persistent<T, true>, forward<T, streamed>, backward<T, streamed>},
  };
  return table;
}

template <class T>
const RecurrentVariant<T>& choose_recurrent(const RecurrentShape& s, int directions, Precision precision) {
  using enum RecurrentRung;
  const double rows = static_cast<double>(s.rows()) / static_cast<double>(s.steps());
  const auto& table = recurrent_variants<T>();
  const double stepwise_all = directions * static_cast<double>(s.steps()) *
                              stepwise_microseconds<T>(s, rows, precision) *
                              (s.cell == Cell::gru_reset_first ? 1.5 : 1);
  const RecurrentVariant<T>* best = &table[1];
  for (const RecurrentRung rung : {persistent, streamed}) {
    const RecurrentVariant<T>& variant = table[static_cast<std::size_t>(rung)];
    if (!variant.takes(s)) continue;
    if (persistent_microseconds<T>(s, directions, rows, rung) < stepwise_all) best = &variant;
    break;  // what fits is not streamed
  }
  return *best;
}

#define DLKIT_INSTANTIATE(T)                                             \
  template const std::vector<RecurrentVariant<T>>& recurrent_variants(); \
  template const RecurrentVariant<T>& choose_recurrent(const RecurrentShape&, int, Precision);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
