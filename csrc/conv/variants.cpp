// The tables of the three ladders, and the choice by shape.
#include <cstdint>

#include "conv/backward_weight.h"
#include "conv/conv.h"
#include "conv/depthwise.h"
#include "conv/direct.h"
#include "conv/first_layer.h"
#include "conv/im2col.h"
#include "conv/implicit_gemm.h"
#include "conv/naive.h"
#include "conv/pixels.h"
#include "conv/pointwise.h"
#include "conv/tap_sums.h"
#include "conv/winograd.h"
#include "conv/winograd_row.h"
#include "conv/winograd_stride2.h"
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
std::size_t blocks(const ConvShape& shape) {
  return direct_scratch<T>(static_cast<const Problem*>(nullptr), shape);
}

template <class Problem, class T>
std::size_t panels(const ConvShape& shape) {
  return implicit_gemm_scratch<T>(static_cast<const Problem*>(nullptr), shape);
}

constexpr const char* kPadsLittle = "padding that is not far larger than the images";
constexpr const char* kOneChannel = "one channel in a group, and rows that are not too long";
constexpr const char* kOneFilter = "one channel and one filter in each group, and rows that are not too long";
constexpr const char* kSmallFilter =
    "AVX-512, float32, one channel and one filter in each group, a kernel of 3 x 3 or 5 x 5, one stride of 1 or 2, a "
    "dilation of 1, and planes of a few thousand registers";
constexpr const char* kSmallWindow = "a kernel whose dilation spans fewer pixels";
constexpr const char* kSmallReach = "a kernel and stride that reach over fewer pixels and channels";
constexpr const char* kWinogradNeeds = "a kernel of 3 x 3, strides and dilations of 1, on x86 AVX2";
constexpr const char* kWinograd5Needs = "a kernel of 5 x 5, strides and dilations of 1, on x86 AVX2";
constexpr const char* kRowNeeds =
    "a kernel of one row, 3 to 5 wide, strides and a horizontal dilation of 1, no padding above, on x86 AVX2";
constexpr const char* kStride2Needs =
    "a kernel 5 to 8 wide, a horizontal stride of 2 and dilation of 1, one group, rows that are not too long, on x86 "
    "AVX2";

constexpr const char* kFewChannels = "one to sixteen channels, one group, and rows that are not too long";
constexpr const char* kPointwise = "a kernel of 1 x 1, a stride of 1 and no padding";

template <class T>
constexpr ConvVariant<ConvForward<T>> kForward[] = {
    {"naive", "seven loops, the textbook's definition", "", any, naive::conv<T>, nothing},
    {"im2col", "the patches of an image as a matrix, and a matrix product", "", any, conv_im2col<T>, columns<T>},
    {"implicit_gemm", "panels of im2col's matrix, formed from the image as they are multiplied", kPadsLittle,
     takes_implicit_gemm<T>, conv_implicit_gemm<T>, panels<ConvForward<T>, T>},
    {"direct", "channels in blocks of a vector, a tile of pixels by filters in registers for all taps", kSmallReach,
     takes_direct, conv_direct<T>, blocks<ConvForward<T>, T>},
    {"winograd2", "2 x 2 outputs by 16 products instead of 36", kWinogradNeeds, winograd_takes<3>,
     conv_winograd<T, 2, 3>, winograd_scratch<ConvForward<T>, T, 2, 3>},
    {"winograd4", "4 x 4 outputs by 36 products instead of 144", kWinogradNeeds, winograd_takes<3>,
     conv_winograd<T, 4, 3>, winograd_scratch<ConvForward<T>, T, 4, 3>},
    {"winograd2x5", "2 x 2 outputs by 36 products instead of 100", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 2, 5>, winograd_scratch<ConvForward<T>, T, 2, 5>},
    {"winograd4x5", "4 x 4 outputs by 64 products instead of 400", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 4, 5>, winograd_scratch<ConvForward<T>, T, 4, 5>},
    {"depthwise", "one channel in a group: planes in the first-level cache, pixels in registers", kOneChannel,
     takes_depthwise, conv_depthwise<T>, depthwise_scratch<T>},
    {"depthwise_interleaved", "one channel in a group: channels side by side in registers", kOneFilter,
     takes_depthwise_interleaved, conv_depthwise_interleaved<T>, depthwise_interleaved_scratch<T>},
    {"depthwise_rows", "one channel in a group: rows of a plane in registers, moved along their lanes", kSmallFilter,
     takes_depthwise_rows<T>, conv_depthwise_rows<T>, depthwise_rows_scratch<T>},
    {"pointwise", "a 1 x 1 kernel: a matrix product on the image as it lies", kPointwise, takes_pointwise,
     conv_pointwise<T>, nothing},
    {"first_layer", "few channels: im2col along the width alone, in the first-level cache", kFewChannels,
     takes_first_layer, conv_first_layer<T>, first_layer_scratch<T>},
    {"winograd_row", "4 outputs of a row by 8 products instead of 20, for a kernel 5 wide", kRowNeeds,
     takes_winograd_row, conv_winograd_row<T>, winograd_row_scratch<ConvForward<T>, T>},
    {"winograd_stride2", "4 outputs of a row by 13 products instead of 28, for a kernel 7 wide", kStride2Needs,
     takes_winograd_stride2, conv_winograd_stride2<T>, winograd_stride2_scratch<T>},
};

template <class T>
constexpr ConvVariant<ConvBackwardInput<T>> kBackwardInput[] = {
    {"naive", "seven loops: each output element's gradient to all that it read", "", any, naive::conv<T>, nothing},
    {"im2col", "a matrix product, whose columns are added back into the image", "", any, conv_im2col<T>, columns<T>},
    {"implicit_gemm", "convolutions of the gradient with the turned weight, one for each remainder by the stride",
     kPadsLittle, takes_implicit_gemm<T>, conv_implicit_gemm<T>, panels<ConvBackwardInput<T>, T>},
    {"direct", "channels in blocks of a vector, a tile of pixels by filters in registers for all taps", kSmallReach,
     takes_direct, conv_direct<T>, blocks<ConvBackwardInput<T>, T>},
    {"winograd2", "2 x 2 outputs by 16 products instead of 36", kWinogradNeeds, winograd_takes<3>,
     conv_winograd<T, 2, 3>, winograd_scratch<ConvBackwardInput<T>, T, 2, 3>},
    {"winograd4", "4 x 4 outputs by 36 products instead of 144", kWinogradNeeds, winograd_takes<3>,
     conv_winograd<T, 4, 3>, winograd_scratch<ConvBackwardInput<T>, T, 4, 3>},
    {"winograd2x5", "2 x 2 outputs by 36 products instead of 100", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 2, 5>, winograd_scratch<ConvBackwardInput<T>, T, 2, 5>},
    {"winograd4x5", "4 x 4 outputs by 64 products instead of 400", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 4, 5>, winograd_scratch<ConvBackwardInput<T>, T, 4, 5>},
    {"depthwise", "one channel in a group: planes in the first-level cache, pixels in registers", kOneChannel,
     takes_depthwise, conv_depthwise<T>, depthwise_scratch<T>},
    {"depthwise_interleaved", "one channel in a group: channels side by side in registers", kOneFilter,
     takes_depthwise_interleaved, conv_depthwise_interleaved<T>, depthwise_interleaved_scratch<T>},
    {"depthwise_rows", "one channel in a group: rows of a plane in registers, moved along their lanes", kSmallFilter,
     takes_depthwise_rows<T>, conv_depthwise_rows<T>, depthwise_rows_scratch<T>},
    {"tap_sums", "im2col's product in pieces that stay in the cache, and sums of them without a scatter", "", any,
     conv_tap_sums<T>, tap_sums_scratch<T>},
    {"winograd_row", "4 gradients of a row by 8 products instead of 20, for a kernel 5 wide", kRowNeeds,
     takes_winograd_row, conv_winograd_row<T>, winograd_row_scratch<ConvBackwardInput<T>, T>},
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
    {"depthwise_rows", "one channel in a group: rows of a plane in registers, moved along their lanes", kSmallFilter,
     takes_depthwise_rows<T>, conv_depthwise_rows<T>, depthwise_rows_scratch<T>},
    {"first_layer", "few channels: tiles of filters by taps, on im2col along the width alone", kFewChannels,
     takes_first_layer, conv_first_layer<T>, first_layer_weight_scratch<T>},
    {"winograd4", "3 x 3 taps from 4 x 4 gradients by 36 products instead of 144", kWinogradNeeds, winograd_takes<3>,
     conv_winograd<T, 4, 3>, winograd_scratch<ConvBackwardWeight<T>, T, 4, 3>},
    {"winograd2x5", "5 x 5 taps from 2 x 2 gradients by 36 products instead of 100", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 2, 5>, winograd_scratch<ConvBackwardWeight<T>, T, 2, 5>},
    {"winograd4x5", "5 x 5 taps from 4 x 4 gradients by 64 products instead of 400", kWinograd5Needs, winograd_takes<5>,
     conv_winograd<T, 4, 5>, winograd_scratch<ConvBackwardWeight<T>, T, 4, 5>},
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
template <class Problem>
const char* winograd_for(const Problem* problem, const ConvShape& s) {
  const int size = winograd_choice(problem, s);
  if (size == 0) return nullptr;
  if (s.kernel_h == 3) return size == 4 ? "winograd4" : "winograd2";
  return size == 4 ? "winograd4x5" : "winograd2x5";
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

// Cycles as direct_cycles counts them. Both products run at about that part of the peak.
constexpr double kEfficiency = 0.87;

// A product with a row for each filter and a column for each pixel: begun and ended in tiles of `depth` steps.
double product_cycles(double pixels, double filters, double depth, double lanes) {
  constexpr double kEnds = 6;
  return pixels / lanes * filters * (depth / kEfficiency + kEnds);
}

constexpr double kSplit = 8;  // of a vector of an image that a stride divides

template <class T>
bool direct_pays(const ConvForward<T>* problem, const ConvShape& s) {
  if (!takes_direct(s)) return false;
  const double lanes = static_cast<double>(pixel_kernels<T>().lanes), n = static_cast<double>(s.n);
  const double pixels = n * static_cast<double>(s.out_size()), depth = static_cast<double>(s.depth());
  const double groups = static_cast<double>(s.groups), filters = static_cast<double>(s.group_filters());
  constexpr double kGather = 3;  // of a vector of a panel
  double product = groups * product_cycles(pixels, filters, depth, lanes);
  if (!takes_pointwise(s)) product += groups * pixels / lanes * kGather * depth;
  if (s.stride_h > 1 || s.stride_w > 1) product += kSplit * n * static_cast<double>(s.channels * s.in_size()) / lanes;
  return direct_cycles<T>(problem, s) < product;
}

// The choice for each operation, by name. The measurements behind it are in docs/conv.md.
template <class T>
const char* choice(const ConvForward<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_rows_pays<T>(s, ConvPass::forward)) return "depthwise_rows";
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::forward)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (winograd_stride2_pays<T>(s)) return "winograd_stride2";
  if (s.channels <= 4 && first_layer_pays<T>(s)) return "first_layer";  // too few to sum up for Winograd
  if (const char* name = winograd_for(problem, s)) return name;
  if (winograd_row_pays(problem, s)) return "winograd_row";
  if (first_layer_pays<T>(s)) return "first_layer";
  if (direct_pays(problem, s)) return "direct";
  if (takes_pointwise(s) && s.out_size() >= kManyPixels) return "pointwise";
  return takes_implicit_gemm<T>(s) ? "implicit_gemm" : "im2col";
}

template <class T>
const char* choice(const ConvBackwardInput<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_rows_pays<T>(s, ConvPass::input)) return "depthwise_rows";
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::input)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (const char* name = winograd_for(problem, s)) return name;
  if (winograd_row_pays(problem, s)) return "winograd_row";
  const bool gathers = takes_implicit_gemm<T>(s), pointwise = takes_pointwise(s);
  const double lanes = static_cast<double>(pixel_kernels<T>().lanes), groups = static_cast<double>(s.groups);
  const double n = static_cast<double>(s.n), phases = static_cast<double>(s.stride_h * s.stride_w);
  const double channels = static_cast<double>(s.group_channels()), filters = static_cast<double>(s.group_filters());
  const double taps = static_cast<double>(s.kernel_size());
  const double in = n * static_cast<double>(s.in_size()), out = n * static_cast<double>(s.out_size());
  constexpr double kGather = 6, kShare = 16, kTurn = 6;  // of a vector of a panel, of a vector of shares, of a weight
  double product = groups * product_cycles(in, channels, filters * taps / phases, lanes);
  if (!pointwise) product += groups * filters * taps * (in / phases / lanes * kGather + kTurn * channels);
  if (phases > 1) product += kSplit * groups * channels * in / lanes;
  const double tap_sums = groups * out / lanes * taps * channels * (filters + kShare) / kEfficiency;
  const bool sums = !pointwise && (tap_sums < product || !gathers);
  // Of a single row the counts are as close as the times: there the product is ahead by 2 to 5%.
  const bool one_row = s.height == 1 && s.kernel_h == 1;
  if (!one_row && takes_direct(s) && direct_cycles<T>(problem, s) < (sums ? tap_sums : product)) return "direct";
  if (pointwise) return s.in_size() >= kManyPixels ? "pointwise" : "implicit_gemm";
  return sums ? "tap_sums" : "implicit_gemm";
}

template <class T>
const char* choice(const ConvBackwardWeight<T>* problem, const ConvShape& s) {
  if (s.groups > 1 && depthwise_rows_pays<T>(s, ConvPass::weight)) return "depthwise_rows";
  if (s.groups > 1 && depthwise_interleaves(s, ConvPass::weight)) return "depthwise_interleaved";
  if (s.groups > 1 && takes_depthwise(s)) return "depthwise";
  if (first_layer_pays_by_weight<T>(s)) return "first_layer";
  if (const char* name = winograd_for(problem, s)) return name;
  return weight_window_fits(s) ? fastest_vectors<T>(s) : "im2col";
}

// Nothing is multiplied: no outputs, or all that is read is padding.
bool trivial(const ConvShape& s) { return s.flops() == 0 || s.in_size() == 0; }

}  // namespace

template <class Problem>
const ConvVariant<Problem>& choose_conv(const ConvShape& shape) {
  if (trivial(shape)) return conv_variants<Problem>().front();
  return named<Problem>(choice(static_cast<const Problem*>(nullptr), shape));
}

template <class Problem>
void convolve(const Problem& problem, const ConvVariant<Problem>* variant, int threads) {
  const ConvShape& s = problem.shape;
  if (trivial(s)) return conv_variants<Problem>().front().run(problem, 1);
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
