// Pooling on vectors and threads: the kernels of pool_rows.cpp, pool_small.cpp and pool_plane.cpp, and what need none.
#pragma once

#include "conv/pool.h"

namespace dlkit {

template <class T>
void pool_rows(const MaxPool<T>& p, int threads);
template <class T>
void pool_scatter(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool_2x2(const MaxPool<T>& p, int threads);
template <class T>
void pool_2x2(const MaxPoolBackward<T>& p, int threads);

}  // namespace dlkit
