// A sequence in one launch: the recurrent weights stay in shared memory from the first step to the last. (Diamos et al.
// 2016, "Persistent RNNs: stashing recurrent weights on-chip".)
//
// Each multiprocessor has one block, which keeps the rows of U of its units (persistent_kernel.h). Two directions share
// the multiprocessors, half each, and meet at the same barriers: where one alone is bound by those, both take the time
// of one.
//
// Of a step and a block, with n = G * units of its rows: 2 B n H FLOPs; 4 B H bytes of h' from the second-level cache
// (3 MB in all blocks together at B = 64, H = 100; 34 MB at H = 1024), and of shared memory (1/4 + 1/8) 4 B n H bytes
// less what the first-level cache gives. U itself, 4 G H^2 bytes, is read once for all steps instead of in each. Bound:
// below some 0.6 MFLOP a multiprocessor (an LSTM of H = 650 at B = 20) the barrier, 1.5 to 2 us; above, shared memory:
// 12 loads of 16 bytes for 128 multiply-adds take 48 cycles of it and 32 of the arithmetic units. That is two thirds of
// the peak.
//
// float32: 128 registers, 512 threads, so that the loads of some warps are on their way while others multiply. LSTMs up
// to H = 1320 on an H100 (227 KB of shared memory in each of 132 multiprocessors, 64 sequences), GRUs up to 1548, tanh
// up to 2700; of both directions at once up to 924, 1072 and 1914, and from there on one after the other. Above,
// streamed.cu. gru_reset_first has two products a step that wait for each other, and two barriers.
#include "recurrent/persistent_kernel.h"

namespace dlkit::device {

bool few_runs(const RecurrentShape& s) {
  int runs = 0;
  for (std::size_t t = 0; t < s.batch_sizes.size(); ++t)
    runs += t == 0 || s.batch_sizes[t] != s.batch_sizes[t - 1] ? 1 : 0;
  return runs <= kMostRuns;
}

template <class T>
PersistentFacts persistent_facts(const RecurrentShape& s, int directions, bool backward, bool streams) {
  const persistent::Layout l = persistent::layout_of<T>(s, directions, backward, streams);
  PersistentFacts facts = {l.fits, 0, 0, l.rest * l.blocks};
  for (int i = 0; i < l.parts && l.fits; ++i) {
    const persistent::PartLayout& part = l.part[i];
    facts.kept += static_cast<Index>(part.cols) * part.kept * l.blocks;
    facts.streamed += static_cast<Index>(part.cols) * (part.depth - part.kept) * l.blocks * l.groups;
  }
  return facts;
}

template <class T>
void persistent_forward(Stream stream, const RecurrentShape& shape, const Persistent<T>* passes, int directions) {
  persistent::launch_forward<false>(stream, shape, passes, directions);
}
template <class T>
void persistent_backward(Stream stream, const RecurrentShape& shape, const PersistentBack<T>* passes, int directions) {
  persistent::launch_backward<false>(stream, shape, passes, directions);
}

#define DLKIT_INSTANTIATE(T)                                                                  \
  template PersistentFacts persistent_facts<T>(const RecurrentShape&, int, bool, bool);       \
  template void persistent_forward(Stream, const RecurrentShape&, const Persistent<T>*, int); \
  template void persistent_backward(Stream, const RecurrentShape&, const PersistentBack<T>*, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
