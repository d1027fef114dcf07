// Threads share out the planes of a depthwise convolution, or for the gradient by the weights the channels, so that
// each sum is one thread's.
#include "conv/depthwise.h"

#include <algorithm>

#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr double kMostRows = 1 << 22;     // elements of the rows that one output row reads
constexpr double kWorthThread = 1 << 16;  // operations

const DepthwiseTable& table() { return DLKIT_SELECT(depthwise_table); }

Index divide_up(Index a, Index b) { return (a + b - 1) / b; }

// body(begin, end): `count` things in as many parts as there are threads.
template <class Body>
void share(const ConvShape& s, Index count, int threads, const Body& body) {
  const double worth = s.flops() / kWorthThread;
  const Index most = worth < threads ? static_cast<Index>(worth) + 1 : threads;
  const int tasks = static_cast<int>(std::min(most, count));
  parallel_for(tasks, [&](int task) { body(count * task / tasks, count * (task + 1) / tasks); }, threads);
}

double padded_cols(const ConvShape& s) {
  const double reach = static_cast<double>((s.kernel_w - 1) * s.dilation_w);
  return std::max(static_cast<double>((s.out_w - 1) * s.stride_w), static_cast<double>(s.width + s.stride_w)) + reach +
         1;
}

}  // namespace

template <class T>
void conv_depthwise(const ConvForward<T>& p, int threads) {
  share(p.shape, p.shape.n * p.shape.channels, threads,
        [&](Index begin, Index end) { table().get(T()).forward(p, begin, end); });
}

template <class T>
void conv_depthwise(const ConvBackwardInput<T>& p, int threads) {
  share(p.shape, p.shape.n * p.shape.channels, threads,
        [&](Index begin, Index end) { table().get(T()).backward_input(p, begin, end); });
}

template <class T>
void conv_depthwise(const ConvBackwardWeight<T>& p, int threads) {
  share(p.shape, p.shape.channels, threads,
        [&](Index begin, Index end) { table().get(T()).backward_weight(p, begin, end); });
}

bool takes_depthwise(const ConvShape& s) {
  const double rows = static_cast<double>((s.kernel_h - 1) * s.dilation_h + 1 + 3 * s.stride_h);
  return s.group_channels() == 1 && rows * padded_cols(s) <= kMostRows;
}

template <class T>
std::size_t depthwise_scratch(const ConvShape& s) {
  // A strip of 4 rows where the first-level cache holds no more; in the gradient by x, the strip of dx beside it.
  const auto cols = static_cast<Index>(padded_cols(s)) + 32 * s.stride_w + 32;
  const Index rows = (s.kernel_h - 1) * s.dilation_h + 1 + 3 * s.stride_h;
  const Index strip = std::max(kDepthwiseStrip / static_cast<Index>(sizeof(T)), rows * cols);
  const Index sums = s.filters * (s.kernel_size() + 1) * divide_up(64, sizeof(T));
  return static_cast<std::size_t>(2 * strip + 2 * cols + 64 + 3 * s.kernel_size() + sums) * sizeof(T);
}

#define DLKIT_INSTANTIATE(T)                                       \
  template void conv_depthwise(const ConvForward<T>&, int);        \
  template void conv_depthwise(const ConvBackwardInput<T>&, int);  \
  template void conv_depthwise(const ConvBackwardWeight<T>&, int); \
  template std::size_t depthwise_scratch<T>(const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
