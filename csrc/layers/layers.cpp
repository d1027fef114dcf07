// Which rung of the ladder runs, and on how many threads.
//
// Work is cut into pieces at places that do not depend on the number of threads, so results do not either. Waking the
// pool costs a few microseconds, so what one thread finishes in about that time stays on the caller's.
#include "layers/layers.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "core/thread_pool.h"
#include "layers/kernels.h"
#include "layers/naive.h"
#include "layers/pieces.h"

namespace dlkit {
namespace {

const Both<ActivationKernels>& activation_kernels() {
  static const auto& table = DLKIT_SELECT(activation_table);
  return table;
}
const Both<SoftmaxKernels>& softmax_kernels() {
  static const auto& table = DLKIT_SELECT(softmax_table);
  return table;
}
const Both<UpdateKernels>& update_kernels() {
  static const auto& table = DLKIT_SELECT(update_table);
  return table;
}
const Both<ReductionKernels>& reduction_kernels() {
  static const auto& table = DLKIT_SELECT(reduction_table);
  return table;
}
const Both<DropoutKernels>& dropout_kernels() {
  static const auto& table = DLKIT_SELECT(dropout_table);
  return table;
}

// body(part) over pieces of all parameters. An update of an element depends on that element alone, so where the cuts
// are does not matter to the result.
template <class T, class Body>
void for_parameters(const std::vector<Parameter<T>>& parameters, Index bytes, const Body& body) {
  Index total = 0;
  for (const auto& part : parameters) total += part.n;
  const Index piece = kPieceBytes / bytes / 64 * 64;
  if (total < 2 * piece || num_threads() == 1) {
    for (const auto& part : parameters) body(part);
    return;
  }
  std::vector<Parameter<T>> pieces;
  pieces.reserve(static_cast<std::size_t>(total / piece) + parameters.size());
  for (const auto& part : parameters)
    for (Index at = 0; at < part.n; at += piece) {
      const auto moved = [&](auto* pointer) { return pointer == nullptr ? nullptr : pointer + at; };
      pieces.push_back(
          {part.value + at, moved(part.grad), moved(part.first), moved(part.second), std::min(piece, part.n - at)});
    }
  parallel_for(static_cast<int>(pieces.size()), [&](int task) { body(pieces[static_cast<std::size_t>(task)]); });
}

// What an element costs besides its traffic, as bytes.
constexpr Index kCost[kActivations] = {8, 8, 24, 24, 24, 48, 32, 64, 24};

}  // namespace

const std::vector<LayerVariant>& layer_variants() {
  static const std::vector<LayerVariant> all = {
      {"activation", "naive", "the C library's function, an element at a time", ""},
      {"activation", "estimate", "vectors; sigmoid and tanh divide by an estimate and a Newton step", ""},
      {"activation", "fused", "vectors; sigmoid and tanh by the division instruction", ""},
      {"softmax", "naive", "the C library's exp, an element at a time", ""},
      {"softmax", "fused", "vectors, three passes over a row while it is cached", ""},
      {"cross_entropy", "naive", "the C library's exp and log, an element at a time", ""},
      {"cross_entropy", "fused", "vectors; losses and gradient of a row while it is cached", ""},
      {"crf", "naive", "logarithms: a log-sum for each tag and step, in float64", ""},
      {"crf", "fused", "scaled probabilities: vector times matrix; what does not fit its type as naive", ""},
      {"dropout", "naive", "a Philox block for each element", ""},
      {"dropout", "fused", "vectors of Philox blocks, four elements from each", ""},
      {"column_sum", "naive", "a column at a time", ""},
      {"column_sum", "fused", "strips of a few registers' width, groups of rows on threads", ""},
      {"embedding", "naive", "an element at a time", ""},
      {"embedding", "fused", "vectors, rows asked for ahead; backward, a thread owns what it adds to", ""},
      {"layer_norm", "naive", "a row at a time: mean, variance, result", ""},
      {"layer_norm", "fused", "vectors, all passes over a row while it is cached; backward, four rows at a time", ""},
      {"batch_norm", "naive", "a channel at a time: mean, variance, result", ""},
      {"batch_norm", "fused", "vectors; moments of cached pieces, joined in float64", ""},
      {"sgd_step", "naive", "an element at a time", ""},
      {"sgd_step", "fused", "vectors, one pass over each parameter", ""},
      {"adam_step", "naive", "as the paper writes it, an element at a time", ""},
      {"adam_step", "estimate", "vectors, one pass; root and quotient from estimates and Newton steps", ""},
      {"adam_step", "fused", "vectors, one pass; square root and division instructions", ""},
      {"adadelta_step", "naive", "as the paper writes it, an element at a time", ""},
      {"adadelta_step", "fused", "vectors, one pass over each parameter", ""},
  };
  return all;
}

template <class T>
void activation(ActivationKind kind, const T* x, T* y, Index n, T alpha, Rung rung) {
  if (rung == Rung::naive) return naive::activation(kind, x, y, n, alpha);
  const auto& kernels = activation_kernels().get(T{});
  MapKernel<T> kernel = kernels.forward[static_cast<int>(kind)];
  if (rung == Rung::estimate && kind == ActivationKind::sigmoid) kernel = kernels.sigmoid_estimate;
  if (rung == Rung::estimate && kind == ActivationKind::tanh) kernel = kernels.tanh_estimate;
  for_pieces(n, kCost[static_cast<int>(kind)],
             [&](Index begin, Index end) { kernel(x + begin, y + begin, end - begin, alpha); });
}

template <class T>
void activation_backward(ActivationKind kind, const T* grad, const T* saved, T* out, Index n, T alpha, Rung rung) {
  if (rung == Rung::naive) return naive::activation_backward(kind, grad, saved, out, n, alpha);
  const auto kernel = activation_kernels().get(T{}).backward[static_cast<int>(kind)];
  for_pieces(n, std::max<Index>(kCost[static_cast<int>(kind)], 12),
             [&](Index begin, Index end) { kernel(grad + begin, saved + begin, out + begin, end - begin, alpha); });
}

template <class T>
void softmax(const T* x, Index row_stride, T* out, Index rows, Index cols, bool logarithm, Rung rung) {
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::softmax(x, row_stride, out, rows, cols, logarithm);
  const auto& kernels = softmax_kernels().get(T{});
  const auto kernel = logarithm ? kernels.log_softmax : kernels.softmax;
  for_rows(rows, cols * 32, [&](Index begin, Index end) {
    kernel(x + begin * row_stride, row_stride, out + begin * cols, end - begin, cols);
  });
}

template <class T>
void softmax_backward(const T* grad, const T* y, T* out, Index rows, Index cols, bool logarithm, Rung rung) {
  if (rows == 0 || cols == 0) return;
  if (rung == Rung::naive) return naive::softmax_backward(grad, y, out, rows, cols, logarithm);
  const auto& kernels = softmax_kernels().get(T{});
  const auto kernel = logarithm ? kernels.log_softmax_backward : kernels.softmax_backward;
  for_rows(rows, cols * 16, [&](Index begin, Index end) {
    kernel(grad + begin * cols, y + begin * cols, out + begin * cols, end - begin, cols);
  });
}

template <class T>
void cross_entropy(const CrossEntropy<T>& work, Rung rung) {
  if (work.rows == 0) return;
  if (rung == Rung::naive) return naive::cross_entropy(work);
  const auto kernel = softmax_kernels().get(T{}).cross_entropy;
  for_rows(work.rows, work.cols * 32, [&](Index begin, Index end) { kernel(work, begin, end); });
}

template <class T>
void dropout(const T* x, T* y, Index n, double p, std::uint64_t seed, std::uint64_t offset, Rung rung) {
  if (n == 0) return;
  if (p == 0) {
    if (x != y) std::memcpy(y, x, static_cast<std::size_t>(n) * sizeof(T));
    return;
  }
  if (p == 1) {
    std::fill(y, y + n, T(0));
    return;
  }
  if (rung == Rung::naive) return naive::dropout(x, y, n, p, seed, offset);
  const auto kernel = dropout_kernels().get(T{}).dropout;
  const auto threshold = static_cast<std::uint32_t>(std::min(std::ceil(p * 4294967296.0), 4294967295.0));
  const T scale = static_cast<T>(1 / (1 - p));
  for_pieces(n, 32, [&](Index begin, Index end) {
    kernel(x + begin, y + begin, end - begin, seed, offset + static_cast<std::uint64_t>(begin), threshold, scale);
  });
}

template <class T>
void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate, Rung rung) {
  if (cols == 0) return;
  if (rung == Rung::naive) return naive::column_sum(x, row_stride, rows, cols, out, accumulate);
  // A sum of sums over groups of rows: errors grow with the square root of the rows, and groups can be on threads.
  constexpr Index kGroup = 512, kStrip = 512;
  const auto kernel = reduction_kernels().get(T{}).column_sum;
  const Index groups = std::max<Index>((rows + kGroup - 1) / kGroup, 1), strips = (cols + kStrip - 1) / kStrip;
  std::unique_ptr<T[]> partial;
  T* sums = out;
  if (groups > 1 || accumulate) {
    partial.reset(new T[static_cast<std::size_t>(groups * cols)]);
    sums = partial.get();
  }
  const auto part = [&](Index group, Index strip) {
    const Index row = group * kGroup, col = strip * kStrip;
    kernel(x + row * row_stride + col, row_stride, std::min(kGroup, rows - row), std::min(kStrip, cols - col),
           sums + group * cols + col);
  };
  if (rows * cols * static_cast<Index>(sizeof(T)) < 2 * kPieceBytes || num_threads() == 1) {
    for (Index group = 0; group < groups; ++group)
      for (Index strip = 0; strip < strips; ++strip) part(group, strip);
  } else {
    for_rows(groups * strips, kPieceBytes, [&](Index begin, Index end) {
      for (Index at = begin; at < end; ++at) part(at / strips, at % strips);
    });
  }
  if (!partial) return;
  for (Index group = 0; group < groups; ++group)
    for (Index col = 0; col < cols; ++col) {
      const T sum = sums[group * cols + col];
      out[col] = group == 0 && !accumulate ? sum : out[col] + sum;
    }
}

template <class T>
void sgd_step(const std::vector<Parameter<T>>& parameters, const SgdSettings& settings, Rung rung) {
  if (rung == Rung::naive) return naive::sgd_step(parameters, settings);
  const auto factors = factors_of<T>(settings);
  const auto kernel = update_kernels().get(T{}).sgd;
  for_parameters(parameters, 5 * sizeof(T), [&](const Parameter<T>& part) { kernel(part, factors); });
}

template <class T>
void adam_step(const std::vector<Parameter<T>>& parameters, const AdamSettings& settings, Rung rung) {
  if (rung == Rung::naive) return naive::adam_step(parameters, settings);
  const auto factors = factors_of<T>(settings);
  const auto& kernels = update_kernels().get(T{});
  const auto kernel = rung == Rung::estimate ? kernels.adam_estimate : kernels.adam;
  for_parameters(parameters, 7 * sizeof(T), [&](const Parameter<T>& part) { kernel(part, factors); });
}

template <class T>
void adadelta_step(const std::vector<Parameter<T>>& parameters, const AdadeltaSettings& settings, Rung rung) {
  if (rung == Rung::naive) return naive::adadelta_step(parameters, settings);
  const auto factors = factors_of<T>(settings);
  const auto kernel = update_kernels().get(T{}).adadelta;
  for_parameters(parameters, 7 * sizeof(T), [&](const Parameter<T>& part) { kernel(part, factors); });
}

template <class T>
double sum_squares(const std::vector<Parameter<T>>& parameters) {
  struct Chunk {
    const T* data;
    Index n;
  };
  std::vector<Chunk> chunks;
  for (const auto& part : parameters)
    for (Index at = 0; at < part.n; at += kSumChunk)
      chunks.push_back({part.value + at, std::min(kSumChunk, part.n - at)});
  std::vector<double> sums(chunks.size());
  const auto kernel = reduction_kernels().get(T{}).sum_squares;
  for_rows(static_cast<Index>(chunks.size()), kSumChunk * static_cast<Index>(sizeof(T)), [&](Index begin, Index end) {
    for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at)
      sums[at] = kernel(chunks[at].data, chunks[at].n);
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <class T>
void scale_inplace(const std::vector<Parameter<T>>& parameters, T factor) {
  const auto kernel = update_kernels().get(T{}).scale;
  for_parameters(parameters, 2 * sizeof(T), [&](const Parameter<T>& part) { kernel(part.value, part.n, factor); });
}

template <class T>
void clamp_inplace(const std::vector<Parameter<T>>& parameters, T limit) {
  const auto kernel = update_kernels().get(T{}).clamp;
  for_parameters(parameters, 2 * sizeof(T), [&](const Parameter<T>& part) { kernel(part.value, part.n, limit); });
}

#define DLKIT_INSTANTIATE(T)                                                                    \
  template void activation(ActivationKind, const T*, T*, Index, T, Rung);                       \
  template void activation_backward(ActivationKind, const T*, const T*, T*, Index, T, Rung);    \
  template void softmax(const T*, Index, T*, Index, Index, bool, Rung);                         \
  template void softmax_backward(const T*, const T*, T*, Index, Index, bool, Rung);             \
  template void cross_entropy(const CrossEntropy<T>&, Rung);                                    \
  template void dropout(const T*, T*, Index, double, std::uint64_t, std::uint64_t, Rung);       \
  template void column_sum(const T*, Index, Index, Index, T*, bool, Rung);                      \
  template void sgd_step(const std::vector<Parameter<T>>&, const SgdSettings&, Rung);           \
  template void adam_step(const std::vector<Parameter<T>>&, const AdamSettings&, Rung);         \
  template void adadelta_step(const std::vector<Parameter<T>>&, const AdadeltaSettings&, Rung); \
  template double sum_squares(const std::vector<Parameter<T>>&);                                \
  template void scale_inplace(const std::vector<Parameter<T>>&, T);                             \
  template void clamp_inplace(const std::vector<Parameter<T>>&, T);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
