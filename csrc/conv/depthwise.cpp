// Threads share out the planes of a depthwise convolution, or for the gradient by the weights the channels, so that
// each sum is one thread's.
#include "conv/depthwise.h"

#include <algorithm>

#include "conv/pixels.h"
#include "core/thread_pool.h"

namespace dlkit {
namespace {

constexpr double kMostRows = 1 << 22;     // elements of the rows that one output row reads
constexpr double kWorthThread = 1 << 16;  // operations

const DepthwiseTable& table() { return DLKIT_SELECT(depthwise_table); }
const DepthwiseTable& interleaved_table() { return DLKIT_SELECT(depthwise_interleaved_table); }
const DepthwiseTable& rows_table() { return DLKIT_SELECT(depthwise_rows_table); }

constexpr Index kLanes = 16;  // of the longest register

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

constexpr double kMostSteps = 4096;  // of depthwise_rows.cpp, for a plane

double most_steps(const ConvShape& s, double lanes) {
  const double kernel = static_cast<double>(s.kernel_h);
  const double rows = static_cast<double>(std::max(s.height, s.out_h));
  const double cols = static_cast<double>(std::max(s.width, s.out_w));
  return rows * (cols / (lanes - kernel + 1) + 1);
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

template <class T>
void conv_depthwise_interleaved(const ConvForward<T>& p, int threads) {
  const Index planes = p.shape.n * p.shape.channels;
  share(p.shape, divide_up(planes, kLanes), threads, [&](Index begin, Index end) {
    interleaved_table().get(T()).forward(p, begin * kLanes, std::min(end * kLanes, planes));
  });
}

template <class T>
void conv_depthwise_interleaved(const ConvBackwardInput<T>& p, int threads) {
  const Index planes = p.shape.n * p.shape.channels;
  share(p.shape, divide_up(planes, kLanes), threads, [&](Index begin, Index end) {
    interleaved_table().get(T()).backward_input(p, begin * kLanes, std::min(end * kLanes, planes));
  });
}

template <class T>
void conv_depthwise_interleaved(const ConvBackwardWeight<T>& p, int threads) {
  const Index channels = p.shape.channels;
  share(p.shape, divide_up(channels, kLanes), threads, [&](Index begin, Index end) {
    interleaved_table().get(T()).backward_weight(p, begin * kLanes, std::min(end * kLanes, channels));
  });
}

bool takes_depthwise_interleaved(const ConvShape& s) {
  const double tall = static_cast<double>((s.kernel_h - 1) * s.dilation_h + 2 * s.stride_h + 1);
  const double wide = 2 * padded_cols(s) + static_cast<double>(2 * s.pad_left + s.out_w);
  return s.groups == s.channels && s.filters == s.channels && tall * wide <= (1 << 16) && s.kernel_size() <= 1024;
}

template <class T>
std::size_t depthwise_interleaved_scratch(const ConvShape& s) {
  constexpr Index lanes = 64 / static_cast<Index>(sizeof(T));
  const auto cols = 2 * static_cast<Index>(padded_cols(s)) + 2 * s.pad_left + s.out_w;
  const Index read = (interleaved_rows(s, true) + 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h + 1;
  const Index rows = std::max(read, interleaved_rows(s, false) + s.kernel_h * s.dilation_h + 2);
  const auto of_floats =
      static_cast<std::size_t>(2 * rows * cols * lanes + (s.kernel_size() + 1) * (s.channels + 2 * lanes));
  return of_floats * sizeof(T) + static_cast<std::size_t>(s.kernel_size() + rows * cols) * sizeof(Index);
}

template <class T>
void conv_depthwise_rows(const ConvForward<T>& p, int threads) {
  share(p.shape, p.shape.n * p.shape.channels, threads,
        [&](Index begin, Index end) { rows_table().get(T()).forward(p, begin, end); });
}

template <class T>
void conv_depthwise_rows(const ConvBackwardInput<T>& p, int threads) {
  share(p.shape, p.shape.n * p.shape.channels, threads,
        [&](Index begin, Index end) { rows_table().get(T()).backward_input(p, begin, end); });
}

template <class T>
void conv_depthwise_rows(const ConvBackwardWeight<T>& p, int threads) {
  share(p.shape, p.shape.channels, threads,
        [&](Index begin, Index end) { rows_table().get(T()).backward_weight(p, begin, end); });
}

template <class T>
bool takes_depthwise_rows(const ConvShape& s) {
  const bool square = s.kernel_h == s.kernel_w && (s.kernel_h == 3 || s.kernel_h == 5);
  const bool steps = s.stride_h == s.stride_w && s.stride_h <= 2 && s.dilation_h == 1 && s.dilation_w == 1;
  const Index lanes = pixel_kernels<T>().lanes;
  return active_isa() == Isa::avx512 && sizeof(T) == sizeof(float) && s.groups == s.channels &&
         s.filters == s.channels && square && steps && lanes > s.kernel_h &&
         most_steps(s, static_cast<double>(lanes)) <= kMostSteps;
}

template <class T>
std::size_t depthwise_rows_scratch(const ConvShape& s) {
  constexpr std::size_t kStep = 96;  // bytes of a step or a source at most
  const double steps = most_steps(s, static_cast<double>(pixel_kernels<T>().lanes));
  return static_cast<std::size_t>(steps) * static_cast<std::size_t>(s.kernel_h + 1) * kStep + 64 +
         static_cast<std::size_t>(s.channels * (s.kernel_size() + 1)) * 64;
}

template <class T>
bool depthwise_rows_pays(const ConvShape& s, ConvPass pass) {
  if (!takes_depthwise_rows<T>(s)) return false;
  (void)pass;
  const Index lanes = pixel_kernels<T>().lanes;
  if (s.kernel_h == 5 && (s.width > 2 * lanes || s.out_w > lanes)) return false;
  return s.stride_h > 1 || s.width <= lanes;
}

bool depthwise_interleaves(const ConvShape& s, ConvPass pass) {
  if (!takes_depthwise_interleaved(s) || s.channels < kLanes) return false;
  // Rows that fill registers badly, or that a stride takes apart. The gradient by the weights has tiles for 3 x 3 and
  // 5 x 5 (depthwise_planes.cpp) that need neither.
  const Index stride = std::max(s.stride_h, s.stride_w);
  if (pass == ConvPass::weight) {
    const bool tiled = s.kernel_h == s.kernel_w && (s.kernel_h == 3 || s.kernel_h == 5) && s.dilation_h == 1;
    if (!tiled) return s.width <= 32;
    return s.out_w <= 7 || (stride > 1 && s.out_w > 14) || (s.kernel_h == 5 && s.out_w <= 14);
  }
  if (stride > 1) return true;
  return s.width <= (s.kernel_h > 3 && pass == ConvPass::forward ? 10 : 14);
}

#define DLKIT_INSTANTIATE(T)                                                   \
  template void conv_depthwise(const ConvForward<T>&, int);                    \
  template void conv_depthwise(const ConvBackwardInput<T>&, int);              \
  template void conv_depthwise(const ConvBackwardWeight<T>&, int);             \
  template void conv_depthwise_interleaved(const ConvForward<T>&, int);        \
  template void conv_depthwise_interleaved(const ConvBackwardInput<T>&, int);  \
  template void conv_depthwise_interleaved(const ConvBackwardWeight<T>&, int); \
  template std::size_t depthwise_interleaved_scratch<T>(const ConvShape&);     \
  template void conv_depthwise_rows(const ConvForward<T>&, int);               \
  template void conv_depthwise_rows(const ConvBackwardInput<T>&, int);         \
  template void conv_depthwise_rows(const ConvBackwardWeight<T>&, int);        \
  template bool takes_depthwise_rows<T>(const ConvShape&);                     \
  template bool depthwise_rows_pays<T>(const ConvShape&, ConvPass);            \
  template std::size_t depthwise_rows_scratch<T>(const ConvShape&);            \
  template std::size_t depthwise_scratch<T>(const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
