// The tables of the three ladders, and the choice by shape.
#include <cstdint>

#include "conv/backward_weight.h"
#include "conv/conv.h"
#include "conv/depthwise.h"
#include "conv/im2col.h"
#include "conv/implicit_gemm.h"
#include "conv/naive.h"
#include "conv/pointwise.h"
#include "conv/tap_sums.h"
#include "conv/winograd.h"
#include "core/counters.h"

namespace dlkit {
namespace {

bool any(const ConvShape&) { return true; }

// From so many pixels an image on, a product for each image loses little at its end.
constexpr Index kManyPixels = 1024;

std::size_t nothing(const ConvShape&) { return 0; }

template <class T>
std::size_t columns(const ConvShape& shape) {
  return im2col_scratch(shape) * sizeof(T);
}

template <class Problem, class T>
std::size_t panels(const ConvShape& shape) {
  return implicit_gemm_scratch<T>(static_cast<const Problem*>(nullptr), shape);
}

constexpr const char* kPadsLittle = "padding that is not far larger than the images";
constexpr const char* kOneChannel = "one channel in a group, and rows that are not too long";
constexpr const char* kOneFilter = "one channel and one filter in each group, and rows that are not too long";
constexpr const char* kSmallWindow = "a kernel whose dilation spans fewer pixels";
constexpr const char* kWinogradNeeds = "a kernel of 3 x 3, strides and dilations of 1";

constexpr const char* kPointwise = "a kernel of 1 x 1, a stride of 1 and no padding";

template <class T>
constexpr ConvVariant<ConvForward<T>> kForward[] = {
    {"naive", "seven loops, the textbook's definition", "", any, naive::conv<T>, nothing},
    {"im2col", "the patches of an image as a matrix, and a matrix product", "", any, conv_im2col<T>, columns<T>},
    {"implicit_gemm", "panels of im2col's matrix, formed from the image as they are multiplied", kPadsLittle,
     takes_implicit_gemm<T>, conv_implicit_gemm<T>, panels<ConvForward<T>, T>},
    {"winograd2", "2 x 2 outputs by 16 products instead of 36", kWinogradNeeds, winograd_takes, conv_winograd<T, 2>,
     winograd_scratch<T, 2, false>},
    {"winograd4", "4 x 4 outputs by 36 products instead of 144", kWinogradNeeds, winograd_takes, conv_winograd<T, 4>,
     winograd_scratch<T, 4, false>},
    {"depthwise", "one channel in a group: planes in the first-level cache, pixels in registers", kOneChannel,
     takes_depthwise, conv_depthwise<T>, depthwise_scratch<T>},
    {"depthwise_interleaved", "one channel in a group: channels side by side in registers", kOneFilter,
     takes_depthwise_interleaved, conv_depthwise_interleaved<T>, depthwise_interleaved_scratch<T>},
    {"pointwise", "a 1 x 1 kernel: a matrix product on the image as it lies", kPointwise, takes_pointwise,
     conv_pointwise<T>, nothing},
};

template <class T>
constexpr ConvVariant<ConvBackwardInput<T>> kBackwardInput[] = {
    {"naive", "seven loops: each output element's gradient to all that it read", "", any, naive::conv<T>, nothing},
    {"im2col", "a matrix product, whose columns are added back into the image", "", any, conv_im2col<T>, columns<T>},
    {"implicit_gemm", "convolutions of the gradient with the turned weight, one for each remainder by the stride",
     kPadsLittle, takes_implicit_gemm<T>, conv_implicit_gemm<T>, panels<ConvBackwardInput<T>, T>},
    {"winograd2", "2 x 2 outputs by 16 products instead of 36", kWinogradNeeds, winograd_takes, conv_winograd<T, 2>,
     winograd_scratch<T, 2, true>},
    {"winograd4", "4 x 4 outputs by 36 products instead of 144", kWinogradNeeds, winograd_takes, conv_winograd<T, 4>,
     winograd_scratch<T, 4, true>},
    {"depthwise", "one channel in a group: planes in the first-level cache, pixels in registers", kOneChannel,
     takes_depthwise, conv_depthwise<T>, depthwise_scratch<T>},
    {"depthwise_interleaved", "one channel in a group: channels side by side in registers", kOneFilter,
     takes_depthwise_interleaved, conv_depthwise_interleaved<T>, depthwise_interleaved_scratch<T>},
    {"tap_sums", "im2col's product in pieces that stay in the cache, and sums of them without a scatter", "", any,
     conv_tap_sums<T>, tap_sums_scratch<T>},
    {"pointwise", "a 1 x 1 kernel: a matrix product on the gradient as it lies", kPointwise, takes_pointwise,
     conv_pointwise<T>, nothing},
};

template <class T>
constexpr ConvVariant<ConvBackwardWeight<T>> kBackwardWeight[] = {
    {"naive", "seven loops: what each output element read, times its gradient", "", any, naive::conv<T>, nothing},
    {"im2col", "the gradient times the transposed matrix of patches", "", any, conv_im2col<T>, columns<T>},
    {"filter_vectors", "tiles of filters by taps in registers, x read where it is", kSmallWindow, weight_window_fits,
     conv_filter_vectors<T>, filter_vectors_scratch<T>},
    {"channel_vectors", "tiles of channels by filters in registers, a window of x transposed", kSmallWindow,
     weight_window_fits, conv_channel_vectors<T>, channel_vectors_scratch<T>},
    {"pixel_vectors", "tiles of dot products: rows of grad by shifted rows of x", kSmallWindow, weight_window_fits,
     conv_pixel_vectors<T>, pixel_vectors_scratch<T>},
    {"depthwise", "one channel in a group: planes in the first-level cache, pixels in registers", kOneChannel,
     takes_depthwise, conv_depthwise<T>, depthwise_scratch<T>},
    {"depthwise_interleaved", "one channel in a group: channels side by side in registers", kOneFilter,
     takes_depthwise_interleaved, conv_depthwise_interleaved<T>, depthwise_interleaved_scratch<T>},
    {"winograd4", "3 x 3 taps from 4 x 4 gradients by 36 products instead of 144", kWinogradNeeds, winograd_takes,
     conv_winograd<T>, winograd_weight_scratch<T>},
};

// Never destroyed: at exit a thread may still be computing.
template <class Problem, std::size_t N>
const std::vector<ConvVariant<Problem>>& table_of(const ConvVariant<Problem> (&rows)[N]) {
  static const auto& table = *new std::vector<ConvVariant<Problem>>(rows, rows + N);
  return table;
}

template <class Problem>
const ConvVariant<Problem>& named(const char* name) {
  const auto* variant = find_conv_variant<Problem>(name);
  return variant != nullptr ? *variant : conv_variants<Problem>().front();
}

// Name of the Winograd variant where one is faster than a direct convolution, or null.
template <class T>
const char* winograd_for(const ConvForward<T>*, const ConvShape& s) {
  const int size = winograd_choice<T, false>(s);
  return size == 4 ? "winograd4" : size == 2 ? "winograd2" : nullptr;
}
template <class T>
const char* winograd_for(const ConvBackwardInput<T>*, const ConvShape& s) {
  const int size = winograd_choice<T, true>(s);
  return size == 4 ? "winograd4" : size == 2 ? "winograd2" : nullptr;
}
template <class T>
const char* winograd_for(const ConvBackwardWeight<T>*, const ConvShape& s) {
  return winograd_pays_by_weight<T>(s) ? "winograd4" : nullptr;
}

}  // namespace

#define DLKIT_TABLES(T)                                                    \
  template <>                                                              \
  const std::vector<ConvVariant<ConvForward<T>>>& conv_variants() {        \
    return table_of(kForward<T>);                                          \
  }                                                                        \
  template <>                                                              \
  const std::vector<ConvVariant<ConvBackwardInput<T>>>& conv_variants() {  \
    return table_of(kBackwardInput<T>);                                    \
  }                                                                        \
  template <>                                                              \
  const std::vector<ConvVariant<ConvBackwardWeight<T>>>& conv_variants() { \
    return table_of(kBackwardWeight<T>);                                   \
  }
DLKIT_TABLES(float)
DLKIT_TABLES(double)

template <class Problem>
const ConvVariant<Problem>* find_conv_variant(std::string_view name) {
  for (const auto& variant : conv_variants<Problem>())
    if (name == variant.name) return &variant;
  return nullptr;
}

namespace {

// The choice for each operation, by name. The measurements behind it are in docs/conv.md.
template <class T>
const char* choice(const ConvForward<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::forward)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (takes_pointwise(s) && s.out_size() >= kManyPixels) return "pointwise";
  if (const char* name = winograd_for(problem, s)) return name;
  return takes_implicit_gemm<T>(s) ? "implicit_gemm" : "im2col";
}

template <class T>
const char* choice(const ConvBackwardInput<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::input)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (takes_pointwise(s)) return s.in_size() >= kManyPixels ? "pointwise" : "implicit_gemm";
  if (const char* name = winograd_for(problem, s)) return name;
  // Estimates of both ways in cycles, for a channel-filter-tap of a group and image: vectors of pixels, each of which
  // costs half a cycle and its share of what else happens to it.
  const double n = static_cast<double>(s.n), lanes = static_cast<double>(64 / sizeof(T));
  const double channels = static_cast<double>(s.group_channels()), filters = static_cast<double>(s.group_filters());
  const double in = static_cast<double>(s.in_size()) / static_cast<double>(s.stride_h * s.stride_w) / lanes;
  const double out = static_cast<double>(s.out_size()) / lanes;
  constexpr double kGather = 3, kShare = 8, kTurn = 3;  // of an element of a panel, of a share, of a weight
  const double implicit_gemm = in * (0.5 + kGather / channels) + kTurn / n;
  const double tap_sums = out * (0.5 + kShare / filters);
  return tap_sums < implicit_gemm || !takes_implicit_gemm<T>(s) ? "tap_sums" : "implicit_gemm";
}

template <class T>
const char* choice(const ConvBackwardWeight<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::weight)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (const char* name = winograd_for(problem, s)) return name;
  return weight_window_fits(s) ? fastest_vectors<T>(s) : "im2col";
}

}  // namespace

template <class Problem>
const ConvVariant<Problem>& choose_conv(const ConvShape& shape) {
  return named<Problem>(choice(static_cast<const Problem*>(nullptr), shape));
}

template <class Problem>
void convolve(const Problem& problem, const ConvVariant<Problem>* variant, int threads) {
  const ConvShape& s = problem.shape;
  if (s.flops() == 0) return conv_variants<Problem>().front().run(problem, 1);
  (variant != nullptr ? *variant : choose_conv<Problem>(s)).run(problem, threads);
}

#define DLKIT_INSTANTIATE(Problem)                                          \
  template const ConvVariant<Problem>* find_conv_variant(std::string_view); \
  template const ConvVariant<Problem>& choose_conv(const ConvShape&);       \
  template void convolve(const Problem&, const ConvVariant<Problem>*, int);
DLKIT_INSTANTIATE(ConvForward<float>)
DLKIT_INSTANTIATE(ConvForward<double>)
DLKIT_INSTANTIATE(ConvBackwardInput<float>)
DLKIT_INSTANTIATE(ConvBackwardInput<double>)
DLKIT_INSTANTIATE(ConvBackwardWeight<float>)
DLKIT_INSTANTIATE(ConvBackwardWeight<double>)

}  // namespace dlkit
