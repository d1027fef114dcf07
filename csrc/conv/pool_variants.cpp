// The tables of the ladders of pooling.
#include <algorithm>
#include <cstdint>

#include "conv/pool.h"
#include "conv/pool_kernels.h"
#include "conv/pool_naive.h"
#include "conv/pool_vector.h"
#include "conv/pool_windows.h"

namespace dlkit {
namespace {

template <class Problem>
bool any(const Problem&) {
  return true;
}

// Rows are worked on with their padding, a number kept for each tap: both should be of the plane's order of size.
// Places are numbers in a register of T until they are stored: float counts to 2^24.
bool modest(const PoolShape& s) {
  return s.kernel_h <= 4096 && s.kernel_w <= 4096 && s.pad_w <= 2 * s.width + 64 &&
         s.dilation_w * (s.kernel_w - 1) <= 4 * s.width + 4096;
}
constexpr const char* kModest =
    "a kernel of at most 4096 x 4096, and padding and dilation of the order of the plane's width";

template <class Problem>
bool in_rows(const Problem& p) {
  return modest(p.shape);
}

template <class T>
bool in_rows(const MaxPoolBackward<T>& p) {
  return p.places != nullptr && modest(p.shape) && (p.shape.stride_w <= 2 || p.shape.out_w == 1);
}
constexpr const char* kGathers = "uint8 places, a horizontal stride of 1 or 2, and padding of the order of the width";

// Where it may pay to gather: windows that overlap and have few taps.
bool gathers(const PoolShape& s) {
  return s.out_w > 1 && s.taps() <= 9 && (s.stride_h < s.kernel_h || s.stride_w < s.kernel_w);
}

bool by_twos(const PoolShape& s) {
  const bool tall = s.kernel_h == 2 && s.stride_h == 2 && s.dilation_h == 1;
  const bool flat = s.kernel_h == 1 && s.stride_h == 1;
  return (tall || flat) && s.kernel_w == 2 && s.stride_w == 2 && s.dilation_w == 1 && s.pad_h == 0 && s.pad_w == 0 &&
         2 * s.out_w <= s.width && s.kernel_h * s.out_h <= s.height;
}
constexpr const char* kTwos = "a kernel and stride of 2 x 2 or 1 x 2 without padding, and no int64 indices";

template <class Problem>
bool twos(const Problem& p) {
  return by_twos(p.shape);
}
template <class T>
bool twos(const MaxPool<T>& p) {
  return by_twos(p.shape) && p.indices == nullptr;
}
template <class T>
bool twos(const MaxPoolBackward<T>& p) {
  return by_twos(p.shape) && p.places != nullptr;
}

bool by_threes(const PoolShape& s) {
  return s.kernel_h == 3 && s.kernel_w == 3 && s.stride_h == 2 && s.stride_w == 2 && s.dilation_h == 1 &&
         s.dilation_w == 1 && s.pad_h <= 1 && s.pad_w <= 1;
}
constexpr const char* kThrees = "a kernel of 3 x 3 with a stride of 2, padding of 0 or 1, and no int64 indices";

template <class T>
bool threes(const MaxPool<T>& p) {
  return by_threes(p.shape) && p.indices == nullptr;
}
template <class T>
bool threes(const MaxPoolBackward<T>& p) {
  return by_threes(p.shape) && p.places != nullptr;
}

template <class Problem>
bool of_the_plane(const Problem& p) {
  const PoolShape& s = p.shape;
  return s.out_size() == 1 && s.kernel_h == s.height && s.kernel_w == s.width && s.dilation_h == 1 &&
         s.dilation_w == 1 && s.pad_h == 0 && s.pad_w == 0;
}
constexpr const char* kPlane = "a kernel of the plane's size";

template <class Problem>
bool even(const Problem& p) {
  const PoolShape& s = p.shape;
  return s.height % s.out_h == 0 && s.width % s.out_w == 0;
}
constexpr const char* kEven = "an output size that divides the input's";

// Indices are put together in 32 bits, those of taps outside the plane included.
template <class T>
bool widens(const MaxPool<T>& p) {
  const PoolShape& s = p.shape;
  constexpr double kMost = 1 << 30;
  const auto rows = static_cast<double>(s.height + s.pad_h + s.dilation_h * s.kernel_h);
  const auto cols = static_cast<double>(s.width + s.pad_w + s.dilation_w * s.kernel_w + 16 * s.stride_w);
  return p.indices != nullptr && s.taps() <= kMostPlaces && rows * cols < kMost;
}
constexpr const char* kWidens = "int64 indices, at most 255 taps, and planes of less than 2^30 elements";

// What a row of windows reads, as many planes as a register has lanes, must not take too much memory; numbers of
// elements must be exact in float.
bool interleaves(const PoolShape& s, double tall) {
  const double most = std::min(tall, static_cast<double>(s.height));
  return (most + 1) * static_cast<double>(s.width) + static_cast<double>(s.out_w) <= kInterleavedMost / 64 &&
         static_cast<double>(s.height) * static_cast<double>(s.width) < (1 << 24) && s.kernel_h <= 4096 &&
         s.kernel_w <= 4096 && s.out_h + s.out_w < (1 << 20);
}
bool windows_interleave(const PoolShape& s) {
  return interleaves(s, static_cast<double>(s.dilation_h) * static_cast<double>(s.kernel_h - 1) + 1) &&
         s.dilation_w <= s.width + s.pad_w && s.taps() <= 1 << 16;
}
constexpr const char* kInterleaves = "rows of windows that read at most 64 Ki elements of a plane";

template <class Problem>
bool interleaved(const Problem& p) {
  return windows_interleave(p.shape);
}
// Gradients hold the outputs that a band of rows meets.
template <class Problem>
bool grads_interleave(const Problem& p) {
  return windows_interleave(p.shape) && p.shape.out_size() <= 1 << 16;
}
template <class T>
bool grads_interleave(const MaxPoolBackward<T>& p) {
  return p.places != nullptr && windows_interleave(p.shape) && p.shape.out_size() <= 1 << 16;
}
template <class T>
bool grads_interleave(const StochasticAverageBackward<T>& p) {
  return windows_interleave(p.shape) && p.shape.in_size() <= 1 << 16 && p.shape.out_size() <= 1 << 16;
}
template <class Problem>
bool adaptive_interleaves(const Problem& p) {
  const PoolShape& s = p.shape;
  PoolShape of_taps = s;
  of_taps.kernel_h = of_taps.kernel_w = 1;
  return interleaves(of_taps, static_cast<double>(s.height / s.out_h) + 2) && s.out_size() <= 1 << 16;
}

// Registers of results of a plane, and rows that are read for them, must not be too many for a list of them. A tile of
// results reads two registers at most.
template <class T>
bool moves(double out_h, double out_w, double rows, double cols, double step) {
  const auto lanes = static_cast<double>(pool_move_lanes<T>());
  const double tiles = out_w / std::max(1.0, (2 * lanes - kMostMoves) / step) + 1;
  return lanes >= 4 && cols <= kMostMoves && tiles <= 512 && out_h * tiles <= kMostMoveSteps &&
         out_h * tiles * rows <= 16 * kMostMoveSteps;
}
double at_most(Index count, Index step) { return static_cast<double>((count - 1) / step + 1); }

template <class T>
bool moves(const AvgPool<T>& p) {
  const PoolShape& s = p.shape;
  return moves<T>(static_cast<double>(s.out_h), static_cast<double>(s.out_w), static_cast<double>(s.kernel_h),
                  static_cast<double>(s.kernel_w), static_cast<double>(s.stride_w));
}
template <class T>
bool moves(const AvgPoolBackward<T>& p) {
  const PoolShape& s = p.shape;
  return moves<T>(static_cast<double>(s.height), static_cast<double>(s.width), at_most(s.kernel_h, s.stride_h),
                  at_most(s.kernel_w, s.stride_w), 1);
}
template <class T>
bool moves(const AdaptiveAvgPool<T>& p) {
  const PoolShape& s = p.shape;
  const double rows = at_most(s.height, s.out_h) + 1, cols = at_most(s.width, s.out_w) + 1;
  return moves<T>(static_cast<double>(s.out_h), static_cast<double>(s.out_w), rows, cols, cols);
}
template <class T>
bool moves(const AdaptiveAvgPoolBackward<T>& p) {
  const PoolShape& s = p.shape;
  const double rows = at_most(s.out_h, s.height) + 1, cols = at_most(s.out_w, s.width) + 1;
  return moves<T>(static_cast<double>(s.height), static_cast<double>(s.width), rows, cols, cols);
}
template <class T>
bool moves(const MaxPoolBackward<T>& p) {
  const PoolShape& s = p.shape;
  const auto lanes = static_cast<double>(pool_move_lanes<T>()), kernel = static_cast<double>(s.kernel_h);
  const double rows = static_cast<double>(std::max(s.height, s.out_h));
  const double cols = static_cast<double>(std::max(s.width, s.out_w));
  return p.places != nullptr && s.kernel_h == s.kernel_w && (s.kernel_h == 2 || s.kernel_h == 3) &&
         s.stride_h == s.stride_w && s.stride_h <= 2 && s.dilation_h == 1 && s.dilation_w == 1 && lanes > kernel &&
         rows * (cols / (lanes - kernel + 1) + 1) <= kMostMoveSteps;
}
constexpr const char* kMoves =
    "AVX-512, float32, windows of at most 8 columns (gradients: at most 8 of them on a column), and planes "
    "of a few thousand registers";
constexpr const char* kMaximaMove =
    "AVX-512, float32, uint8 places, a kernel of 2 x 2 or 3 x 3, one stride of 1 or 2, no dilation, and planes of a "
    "few "
    "thousand registers";
constexpr const char* kMoved = "rows in registers, moved along their lanes";

constexpr const char* kGradsInterleave = "rows of windows that read, and planes of outputs of, at most 64 Ki elements";
constexpr const char* kSide = "planes side by side in the lanes of registers, windows as they come";

template <class T>
constexpr PoolVariant<MaxPool<T>> kMax[] = {
    {"naive", "the taps of each window one after another", "", any, naive::pool<T>},
    {"rows", "a row of outputs at a time, on rows padded and split by phase", kModest, in_rows, pool_rows<T>},
    {"interleaved", kSide, kInterleaves, interleaved, pool_interleaved<T>},
    {"registers", "2 x 2: every second element by shuffles, no scratch", kTwos, twos<T>, pool_2x2<T>},
    {"columns", "3 x 3: down a register of columns, a row's best found once", kThrees, threes<T>, pool_3x3<T>},
    {"widened", "int64 indices from places as bytes, a few planes at a time", kWidens, widens<T>, pool_widened<T>},
    {"plane", "one window: its maximum, then where that is", kPlane, of_the_plane, pool_plane<T>},
};

template <class T>
constexpr PoolVariant<MaxPoolBackward<T>> kMaxBackward[] = {
    {"naive", "each window's taps, where one is the place of the maximum", "", any, naive::pool<T>},
    {"scatter", "each output's gradient added where a table says", "", any, pool_scatter<T>},
    {"rows", "each element gathers from the windows that hold it, a row at a time", kGathers, in_rows<T>, pool_rows<T>},
    {"interleaved", kSide, kGradsInterleave, grads_interleave<T>, pool_interleaved<T>},
    {"moves", kMoved, kMaximaMove, moves<T>, pool_moves<T>},
    {"registers", "2 x 2: comparisons with the places, joined by shuffles", kTwos, twos<T>, pool_2x2<T>},
    {"columns", "3 x 3: down a register of columns, three rows from each of outputs", kThrees, threes<T>, pool_3x3<T>},
};

template <class T>
constexpr PoolVariant<AvgPool<T>> kAvg[] = {
    {"naive", "the taps of each window one after another", "", any, naive::pool<T>},
    {"rows", "sums of rows, padded and split by phase, then of taps", kModest, in_rows, pool_rows<T>},
    {"interleaved", kSide, kInterleaves, interleaved, pool_interleaved<T>},
    {"moves", kMoved, kMoves, moves<T>, pool_moves<T>},
    {"registers", "2 x 2: every second element by shuffles, no scratch", kTwos, twos, pool_2x2<T>},
    {"plane", "one window: four sums at a time", kPlane, of_the_plane, pool_plane<T>},
};

template <class T>
constexpr PoolVariant<AvgPoolBackward<T>> kAvgBackward[] = {
    {"naive", "each output's share added to the taps of its window", "", any, naive::pool<T>},
    {"rows", "each element gathers from the windows that hold it, a row at a time", kModest, in_rows, pool_rows<T>},
    {"interleaved", kSide, kGradsInterleave, grads_interleave, pool_interleaved<T>},
    {"moves", kMoved, kMoves, moves<T>, pool_moves<T>},
    {"registers", "2 x 2: shares doubled by shuffles", kTwos, twos, pool_2x2<T>},
    {"plane", "one window: its share everywhere", kPlane, of_the_plane, pool_plane<T>},
};

template <class T>
constexpr PoolVariant<StochasticPool<T>> kStochastic[] = {
    {"naive", "the sum of a window, then the taps up to a random part of it", "", any, naive::pool<T>},
    {"rows", "the same for a register of outputs, on rows padded and split by phase", kModest, in_rows, pool_rows<T>},
    {"interleaved", kSide, kInterleaves, interleaved, pool_interleaved<T>},
};

template <class T>
constexpr PoolVariant<StochasticAverage<T>> kStochasticAverage[] = {
    {"naive", "the sum of squares over the sum", "", any, naive::pool<T>},
    {"rows", "the same for a register of outputs, on rows padded and split by phase", kModest, in_rows, pool_rows<T>},
    {"interleaved", kSide, kInterleaves, interleaved, pool_interleaved<T>},
};

template <class T>
constexpr PoolVariant<StochasticAverageBackward<T>> kStochasticAverageBackward[] = {
    {"naive", "each output's gradient to the taps of its window", "", any, naive::pool<T>},
    {"planes", "planes in parallel", "", any, pool_planes<StochasticAverageBackward<T>>},
    {"interleaved", kSide, kGradsInterleave, grads_interleave<T>, pool_interleaved<T>},
};

template <class T>
constexpr PoolVariant<AdaptiveMaxPool<T>> kAdaptiveMax[] = {
    {"naive", "the elements of each window one after another", "", any, naive::pool<T>},
    {"planes", "planes in parallel", "", any, pool_planes<AdaptiveMaxPool<T>>},
    {"interleaved", kSide, kInterleaves, adaptive_interleaves, pool_interleaved<T>},
    {"even", "windows of one size: those of max_pool2d", kEven, even, pool_even<T>},
};

template <class T>
constexpr PoolVariant<AdaptiveAvgPool<T>> kAdaptiveAvg[] = {
    {"naive", "the elements of each window one after another", "", any, naive::pool<T>},
    {"planes", "planes in parallel", "", any, pool_planes<AdaptiveAvgPool<T>>},
    {"interleaved", kSide, kInterleaves, adaptive_interleaves, pool_interleaved<T>},
    {"moves", kMoved, kMoves, moves<T>, pool_moves<T>},
    {"even", "windows of one size: those of avg_pool2d", kEven, even, pool_even<T>},
};

template <class T>
constexpr PoolVariant<AdaptiveAvgPoolBackward<T>> kAdaptiveAvgBackward[] = {
    {"naive", "each output's share added to the elements of its window", "", any, naive::pool<T>},
    {"planes", "planes in parallel", "", any, pool_planes<AdaptiveAvgPoolBackward<T>>},
    {"interleaved", kSide, kInterleaves, adaptive_interleaves, pool_interleaved<T>},
    {"moves", kMoved, kMoves, moves<T>, pool_moves<T>},
    {"even", "windows of one size: those of avg_pool2d_backward", kEven, even, pool_even<T>},
};

template <class T>
bool sorts_few(const KMaxPool<T>& p) {
  return p.k >= 1 && p.k <= kMostSorted && p.cols < 1 << 24;
}
constexpr const char* kSortsFew = "k of 1 to 32, rows of less than 2^24 elements";

template <class T>
constexpr PoolVariant<KMaxPool<T>> kKMax[] = {
    {"naive", "sort by size, keep k, sort by place", "", any, naive::pool<T>},
    {"select", "the k-th largest by partial sorting, then one pass for what is as large", "", any, pool_select<T>},
    {"interleaved", "rows side by side in the lanes of registers, the largest so far kept sorted", kSortsFew,
     sorts_few<T>, pool_interleaved<T>},
};

template <class T>
constexpr PoolVariant<MaxOverTime<T>> kOverTime[] = {
    {"naive", "one element after another", "", any, naive::pool<T>},
    {"plane", "the maximum by registers, then where that is", "", any, pool_plane<T>},
};

// Never destroyed: at exit a thread may still be computing.
template <class Problem, std::size_t N>
const std::vector<PoolVariant<Problem>>& table_of(const PoolVariant<Problem> (&rows)[N]) {
  static const auto& table = *new std::vector<PoolVariant<Problem>>(rows, rows + N);
  return table;
}

template <class Problem>
bool pays(const Problem&, const PoolVariant<Problem>&) {
  return true;
}

// Whether a row of the table is that of pool_interleaved, or of another function.
template <class Problem>
bool runs(const PoolVariant<Problem>& variant, void (*run)(const Problem&, int)) {
  return variant.run == run;
}

// Planes side by side need a register of them, and pay where rows are short, or windows lie far apart.
constexpr Index kSidePlanes = 16;
constexpr Index kNear = 1 << 20;  // bytes that stay in a cache

template <class T>
bool pays(const MaxPool<T>& p, const PoolVariant<MaxPool<T>>& variant) {
  const PoolShape& s = p.shape;
  const bool numbered = p.places != nullptr || p.indices != nullptr;
  const bool side = s.planes >= kSidePlanes && interleaved(p);
  if (runs(variant, pool_interleaved<T>)) {
    if (!side) return false;
    if (!numbered) return s.width <= (s.stride_w == 1 ? 14 : 32);
    return p.indices != nullptr || s.width <= 40 || s.stride_w > 1;
  }
  // From memory, and not a cache, columns are read faster than planes side by side.
  const bool far = s.planes * plane_bytes<T>(s) > kNear;
  if (runs(variant, pool_3x3<T>)) return !side || s.out_w > (far ? 4 : 7);
  return true;
}

template <class T>
bool pays(const MaxPoolBackward<T>& p, const PoolVariant<MaxPoolBackward<T>>& variant) {
  const PoolShape& s = p.shape;
  constexpr Index kWide = 80;  // from there on rows are faster than columns, which leave much of a plane between them
  if (runs(variant, pool_moves<T>))
    return pool_moves_are_fast<T>() && (s.stride_w == 1 ? s.width <= 64 : s.out_size() <= pool_move_lanes<T>());
  if (runs(variant, pool_3x3<T>))
    return s.width <= kWide && !(pool_moves_are_fast<T>() && moves(p) && s.out_size() <= pool_move_lanes<T>());
  if (runs(variant, pool_rows<T>)) return gathers(s) && s.width > (s.stride_w == 1 ? 40 : kWide);
  if (runs(variant, pool_interleaved<T>)) return s.planes >= kSidePlanes && s.width <= 10 && gathers(s);
  return true;
}

template <class T>
bool pays(const AvgPool<T>& p, const PoolVariant<AvgPool<T>>& variant) {
  const PoolShape& s = p.shape;
  const bool side = s.planes >= kSidePlanes && interleaved(p);
  if (runs(variant, pool_moves<T>))
    return pool_moves_are_fast<T>() && s.width <= pool_move_lanes<T>() && (s.out_w > 4 || s.stride_w == 1 || !side);
  if (!runs(variant, pool_interleaved<T>)) return true;
  return side && s.width <= (s.taps() > 9 * s.stride_h * s.stride_w ? 10 : 20);
}

template <class T>
bool pays(const AvgPoolBackward<T>& p, const PoolVariant<AvgPoolBackward<T>>& variant) {
  const PoolShape& s = p.shape;
  if (runs(variant, pool_moves<T>)) return pool_moves_are_fast<T>() && s.width <= 2 * pool_move_lanes<T>();
  if (!runs(variant, pool_interleaved<T>)) return true;
  // Rows that fill registers well, but where the arrays stay in the cache.
  const bool near = (s.stride_w == 2 || s.taps() <= 4) && s.planes * plane_bytes<T>(s) <= kNear;
  return s.planes >= kSidePlanes && (s.stride_w >= 3 || s.width <= (near ? 64 : 40));
}

template <class T>
bool pays(const AdaptiveMaxPool<T>& p, const PoolVariant<AdaptiveMaxPool<T>>& variant) {
  return !runs(variant, pool_interleaved<T>) || p.shape.planes >= kSidePlanes / 4;
}

template <class T>
bool pays(const AdaptiveAvgPool<T>& p, const PoolVariant<AdaptiveAvgPool<T>>& variant) {
  if (runs(variant, pool_moves<T>)) return pool_moves_are_fast<T>() && p.shape.width <= 64 && p.shape.out_w > 3;
  return !runs(variant, pool_interleaved<T>) || p.shape.planes >= kSidePlanes / 4;
}

template <class T>
bool pays(const AdaptiveAvgPoolBackward<T>& p, const PoolVariant<AdaptiveAvgPoolBackward<T>>& variant) {
  if (runs(variant, pool_moves<T>)) return pool_moves_are_fast<T>() && p.shape.width <= 64;
  return !runs(variant, pool_interleaved<T>) || p.shape.planes >= kSidePlanes / 4;
}

template <class T>
bool pays(const KMaxPool<T>& p, const PoolVariant<KMaxPool<T>>& variant) {
  return !runs(variant, pool_interleaved<T>) || p.rows >= kSidePlanes / 2;
}

template <class T>
bool pays(const StochasticPool<T>& p, const PoolVariant<StochasticPool<T>>& variant) {
  return !runs(variant, pool_interleaved<T>) || (p.shape.planes >= kSidePlanes && p.shape.width <= 32);
}

template <class T>
bool pays(const StochasticAverage<T>& p, const PoolVariant<StochasticAverage<T>>& variant) {
  return !runs(variant, pool_interleaved<T>) || (p.shape.planes >= kSidePlanes && p.shape.width <= 32);
}

}  // namespace

template <class Problem>
void pool(const Problem& problem, const PoolVariant<Problem>* variant, int threads) {
  const auto& table = pool_variants<Problem>();
  for (auto step = table.rbegin(); variant == nullptr; ++step)
    if (step->takes(problem) && pays(problem, *step)) variant = &*step;
  variant->run(problem, threads);
}

#define DLKIT_TABLE(Problem, rows)                           \
  template <>                                                \
  const std::vector<PoolVariant<Problem>>& pool_variants() { \
    return table_of(rows);                                   \
  }                                                          \
  template void pool(const Problem&, const PoolVariant<Problem>*, int);
#define DLKIT_TABLES(T)                                                    \
  DLKIT_TABLE(MaxPool<T>, kMax<T>)                                         \
  DLKIT_TABLE(MaxPoolBackward<T>, kMaxBackward<T>)                         \
  DLKIT_TABLE(AvgPool<T>, kAvg<T>)                                         \
  DLKIT_TABLE(AvgPoolBackward<T>, kAvgBackward<T>)                         \
  DLKIT_TABLE(StochasticPool<T>, kStochastic<T>)                           \
  DLKIT_TABLE(StochasticAverage<T>, kStochasticAverage<T>)                 \
  DLKIT_TABLE(StochasticAverageBackward<T>, kStochasticAverageBackward<T>) \
  DLKIT_TABLE(AdaptiveMaxPool<T>, kAdaptiveMax<T>)                         \
  DLKIT_TABLE(AdaptiveAvgPool<T>, kAdaptiveAvg<T>)                         \
  DLKIT_TABLE(AdaptiveAvgPoolBackward<T>, kAdaptiveAvgBackward<T>)         \
  DLKIT_TABLE(KMaxPool<T>, kKMax<T>)                                       \
  DLKIT_TABLE(MaxOverTime<T>, kOverTime<T>)
DLKIT_TABLES(float)
DLKIT_TABLES(double)

}  // namespace dlkit
