// Pooling on vectors and threads: the kernels of pool_rows.cpp, pool_grads.cpp, pool_small.cpp and pool_plane.cpp, and
// what needs no vectors.
#pragma once

#include "conv/pool.h"

namespace dlkit {

// The definition, planes (or rows) in parallel.
template <class Problem>
void pool_planes(const Problem& p, int threads);

template <class T>
void pool_rows(const MaxPool<T>& p, int threads);
template <class T>
void pool_rows(const AvgPool<T>& p, int threads);
template <class T>
void pool_rows(const StochasticPool<T>& p, int threads);
template <class T>
void pool_rows(const StochasticAverage<T>& p, int threads);
template <class T>
void pool_rows(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool_rows(const AvgPoolBackward<T>& p, int threads);

template <class T>
void pool_scatter(const MaxPoolBackward<T>& p, int threads);

template <class T>
void pool_2x2(const MaxPool<T>& p, int threads);
template <class T>
void pool_2x2(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool_2x2(const AvgPool<T>& p, int threads);
template <class T>
void pool_2x2(const AvgPoolBackward<T>& p, int threads);

template <class T>
void pool_3x3(const MaxPool<T>& p, int threads);
template <class T>
void pool_3x3(const MaxPoolBackward<T>& p, int threads);

// int64 indices: places as bytes by the fastest variant, a few planes at a time, then widened (pool_widen.cpp).
template <class T>
void pool_widened(const MaxPool<T>& p, int threads);

// Rows in registers, moved along their lanes (pool_moves.cpp).
template <class T>
void pool_moves(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool_moves(const AvgPool<T>& p, int threads);
template <class T>
void pool_moves(const AvgPoolBackward<T>& p, int threads);
template <class T>
void pool_moves(const AdaptiveAvgPool<T>& p, int threads);
template <class T>
void pool_moves(const AdaptiveAvgPoolBackward<T>& p, int threads);

// Lanes of a register of the kernels of pool_moves, and whether moving them costs an instruction.
template <class T>
Index pool_move_lanes();
template <class T>
bool pool_moves_are_fast();

// Planes side by side in the lanes of registers (pool_interleaved.cpp).
template <class T>
void pool_interleaved(const MaxPool<T>& p, int threads);
template <class T>
void pool_interleaved(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool_interleaved(const AvgPool<T>& p, int threads);
template <class T>
void pool_interleaved(const AvgPoolBackward<T>& p, int threads);
template <class T>
void pool_interleaved(const AdaptiveMaxPool<T>& p, int threads);
template <class T>
void pool_interleaved(const AdaptiveAvgPool<T>& p, int threads);
template <class T>
void pool_interleaved(const AdaptiveAvgPoolBackward<T>& p, int threads);
template <class T>
void pool_interleaved(const StochasticPool<T>& p, int threads);
template <class T>
void pool_interleaved(const KMaxPool<T>& p, int threads);
template <class T>
void pool_interleaved(const StochasticAverage<T>& p, int threads);
template <class T>
void pool_interleaved(const StochasticAverageBackward<T>& p, int threads);

// Of one window, which is the plane.
template <class T>
void pool_plane(const MaxPool<T>& p, int threads);
template <class T>
void pool_plane(const AvgPool<T>& p, int threads);
template <class T>
void pool_plane(const AvgPoolBackward<T>& p, int threads);
template <class T>
void pool_plane(const MaxOverTime<T>& p, int threads);

// Windows that adapt to planes which they divide: ordinary ones.
template <class T>
void pool_even(const AdaptiveMaxPool<T>& p, int threads);
template <class T>
void pool_even(const AdaptiveAvgPool<T>& p, int threads);
template <class T>
void pool_even(const AdaptiveAvgPoolBackward<T>& p, int threads);

// The k-th largest by partial sorting, then one pass (pool_select.cpp).
template <class T>
void pool_select(const KMaxPool<T>& p, int threads);

}  // namespace dlkit
