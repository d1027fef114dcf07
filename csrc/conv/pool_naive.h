// The definitions of pooling (pool_naive.cpp).
#pragma once

#include "conv/pool.h"

namespace dlkit::naive {

// The body of every definition; `threads` is left aside.
template <class T>
void pool(const MaxPool<T>& p, int threads);
template <class T>
void pool(const MaxPoolBackward<T>& p, int threads);
template <class T>
void pool(const AvgPool<T>& p, int threads);
template <class T>
void pool(const AvgPoolBackward<T>& p, int threads);
template <class T>
void pool(const StochasticPool<T>& p, int threads);
template <class T>
void pool(const StochasticAverage<T>& p, int threads);
template <class T>
void pool(const StochasticAverageBackward<T>& p, int threads);
template <class T>
void pool(const AdaptiveMaxPool<T>& p, int threads);
template <class T>
void pool(const AdaptiveAvgPool<T>& p, int threads);
template <class T>
void pool(const AdaptiveAvgPoolBackward<T>& p, int threads);
template <class T>
void pool(const KMaxPool<T>& p, int threads);
template <class T>
void pool(const MaxOverTime<T>& p, int threads);

}  // namespace dlkit::naive
