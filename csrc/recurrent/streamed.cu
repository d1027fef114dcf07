// As persistent.cu, for recurrent weights that shared memory does not hold: each block keeps the beginnings of its rows
// of U there, as much as there is room for, and reads the rest anew in each step, from the second-level cache.
//
// What is read comes in tiles: of the rows that all warps together work on, 128 elements each (512 bytes), three tiles
// in turns, by asynchronous copies. A warp multiplies its tile of 4 sequences by 8 gates with what is kept, and then
// with the chunks as they come, in the same order: the sums are those of persistent.cu to the bit. What comes does not
// depend on the state, so the first two tiles of a step are on their way while the blocks wait for each other. Each
// block has written its share of U in the order in which it reads it, rows aligned to 16 bytes; backward that is U
// transposed.
//
// Up to 64 sequences (4 by 16 warps) a step reads each number that is not kept once; more of them, once for each 64.
// An LSTM of H = 1500 with B = 20 on an H100: U is 36 MB, of which 125 multiprocessors keep 21.5 (4 KB of each are
// sums and 36 KB tiles), and 14.5 MB a step at some 5 TB/s are 3 us, beside 36 MB and 7 us step by step. 2 B G H^2
// FLOPs, 360 MFLOP or 9 us. Bound: shared memory, as in persistent.cu, as long as streamed bytes / FLOPs < 1 / 8; so it
// is from B = 8 on or so, and below that the second-level cache, or from 50 MB on (H = 1770) the memory behind it.
#include "recurrent/persistent_kernel.h"

namespace dlkit::device {

template <class T>
void streamed_forward(Stream stream, const RecurrentShape& shape, const Persistent<T>* passes, int directions) {
  persistent::launch_forward<true>(stream, shape, passes, directions);
}
template <class T>
void streamed_backward(Stream stream, const RecurrentShape& shape, const PersistentBack<T>* passes, int directions) {
  persistent::launch_backward<true>(stream, shape, passes, directions);
}

#define DLKIT_INSTANTIATE(T)                                                                \
  template void streamed_forward(Stream, const RecurrentShape&, const Persistent<T>*, int); \
  template void streamed_backward(Stream, const RecurrentShape&, const PersistentBack<T>*, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
