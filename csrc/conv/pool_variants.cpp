// The tables of the ladders of pooling.
#include <cstdint>

#include "conv/pool.h"
#include "conv/pool_naive.h"
#include "conv/pool_vector.h"

namespace dlkit {
namespace {

template <class Problem>
bool any(const Problem&) {
  return true;
}

// Rows are worked on with their padding: that should be of the plane's order of size.
bool not_all_padding(const PoolShape& s) { return s.pad_w <= 2 * s.width + 64; }

// Places are numbers in a register of T until they are stored: float counts to 2^24.
template <class T>
bool numbered(const MaxPool<T>& p) {
  return p.shape.kernel_h <= 4096 && p.shape.kernel_w <= 4096 && not_all_padding(p.shape);
}

bool by_twos(const PoolShape& s) {
  const bool tall = s.kernel_h == 2 && s.stride_h == 2;
  const bool flat = s.kernel_h == 1 && s.stride_h == 1;
  return (tall || flat) && s.kernel_w == 2 && s.stride_w == 2 && s.dilation_w == 1 && (flat || s.dilation_h == 1) &&
         s.pad_h == 0 && s.pad_w == 0 && 2 * s.out_w <= s.width && s.kernel_h * s.out_h <= s.height;
}

template <class T>
bool twos(const MaxPool<T>& p) {
  return by_twos(p.shape) && p.indices == nullptr;
}
template <class T>
bool twos(const MaxPoolBackward<T>& p) {
  return by_twos(p.shape) && p.places != nullptr;
}

constexpr const char* kNumbered = "a kernel of at most 4096 x 4096, and no more padding than twice the width";
constexpr const char* kTwos = "a kernel and stride of 2 x 2 or 1 x 2 without padding, and no int64 indices";

template <class T>
constexpr PoolVariant<MaxPool<T>> kMax[] = {
    {"naive", "the taps of each window one after another", "", any, naive::pool<T>},
    {"rows", "a row of outputs at a time, on rows padded and split by phase", kNumbered, numbered, pool_rows<T>},
    {"registers", "2 x 2: every second element by shuffles, no scratch", kTwos, twos<T>, pool_2x2<T>},
};

template <class T>
constexpr PoolVariant<MaxPoolBackward<T>> kMaxBackward[] = {
    {"naive", "each window's taps, where one is the place of the maximum", "", any, naive::pool<T>},
    {"scatter", "each output's gradient added where a table says", "", any, pool_scatter<T>},
    {"registers", "2 x 2: comparisons with the places, joined by shuffles", kTwos, twos<T>, pool_2x2<T>},
};

// Never destroyed: at exit a thread may still be computing.
template <class Problem, std::size_t N>
const std::vector<PoolVariant<Problem>>& table_of(const PoolVariant<Problem> (&rows)[N]) {
  static const auto& table = *new std::vector<PoolVariant<Problem>>(rows, rows + N);
  return table;
}

}  // namespace

template <class Problem>
const PoolVariant<Problem>* find_pool_variant(std::string_view name) {
  for (const auto& variant : pool_variants<Problem>())
    if (name == variant.name) return &variant;
  return nullptr;
}

template <class Problem>
void pool(const Problem& problem, const PoolVariant<Problem>* variant, int threads) {
  const auto& table = pool_variants<Problem>();
  for (auto step = table.rbegin(); variant == nullptr; ++step)
    if (step->takes(problem)) variant = &*step;
  variant->run(problem, threads);
}

#define DLKIT_TABLE(Problem, rows)                                          \
  template <>                                                               \
  const std::vector<PoolVariant<Problem>>& pool_variants() {                \
    return table_of(rows);                                                  \
  }                                                                         \
  template const PoolVariant<Problem>* find_pool_variant(std::string_view); \
  template void pool(const Problem&, const PoolVariant<Problem>*, int);
#define DLKIT_TABLES(T)            \
  DLKIT_TABLE(MaxPool<T>, kMax<T>) \
  DLKIT_TABLE(MaxPoolBackward<T>, kMaxBackward<T>)
DLKIT_TABLES(float)
DLKIT_TABLES(double)

}  // namespace dlkit
