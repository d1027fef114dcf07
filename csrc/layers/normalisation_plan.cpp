// Layer and batch normalisation on threads: which pieces there are, and how what is known of each becomes the
// statistics of all. Pieces depend on the shape alone, and are joined in order and in float64, so that results are the
// same bits on any number of threads.
//
// batch_norm goes one of two ways. Wide: a channel's elements lie in long runs; a thread takes a channel through all
// passes, so that the later ones find it in the second-level cache (channels that are fewer than threads are cut up).
// Narrow: runs are short, or single elements; columns of the matrix (n, channels * inner) are summed side by side, and
// those of a channel joined.
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "layers/kernels.h"
#include "layers/naive.h"
#include "layers/pieces.h"

namespace dlkit {
namespace {

const Both<NormKernels>& norm_kernels() {
  static const auto& table = DLKIT_SELECT(norm_table);
  return table;
}

const Both<ReductionKernels>& reduction_kernels() {
  static const auto& table = DLKIT_SELECT(reduction_table);
  return table;
}

// Moments of elements that come a piece at a time.
class Joined {
 public:
  void add(double count, const Moments& more) {
    if (count_ == 0) {
      all_ = more;
    } else {
      const double delta = more.mean - all_.mean, weight = count / (count_ + count);
      all_.mean += delta * weight;
      all_.squares += more.squares + delta * delta * count_ * weight;
    }
    count_ += count;
  }
  double mean() const { return all_.mean; }
  double variance() const { return all_.squares / count_; }

 private:
  Moments all_ = {0, 0};
  double count_ = 0;
};

// Moments of `count` columns together, each of `rows` elements. Relative to the first mean: it is one of those whose
// spread is sought, so that little can cancel.
Moments joined(const double* means, const double* squares, Index count, double rows) {
  double off = 0, spread = 0, own = 0;
  for (Index i = 0; i < count; ++i) {
    const double delta = means[i] - means[0];
    off += delta;
    spread += delta * delta;
    own += squares[i];
  }
  const double rest = off / static_cast<double>(count);
  return {means[0] + rest, own + rows * std::max(spread - off * rest, 0.0)};
}

template <class T>
NormFactors<T> factors_of(double mean, double rstd, const T* weight, const T* bias, Index channel) {
  const double scale = weight == nullptr ? rstd : rstd * static_cast<double>(weight[channel]);
  NormFactors<T> result;
  result.shift = static_cast<T>(mean);
  result.scale = static_cast<T>(scale);
  // What rounding the mean to T has left.
  const double rest = (mean - static_cast<double>(result.shift)) * scale;
  result.offset = static_cast<T>((bias == nullptr ? 0.0 : static_cast<double>(bias[channel])) - rest);
  return result;
}

// Writes dweight and dbias of a channel, and returns what its elements need.
template <class T>
NormBackwardFactors<T> backward_factors(const NormGradient<T>& work, double sum_grad, double sum_product, double count,
                                        Index channel) {
  const double rstd = static_cast<double>(work.rstd[channel]);
  if (work.dweight != nullptr) work.dweight[channel] = static_cast<T>(sum_product * rstd);
  if (work.dbias != nullptr) work.dbias[channel] = static_cast<T>(sum_grad);
  NormBackwardFactors<T> result;
  result.shift = work.mean[channel];
  result.mean_grad = static_cast<T>(sum_grad / count);
  result.slope = static_cast<T>(sum_product * rstd * rstd / count);
  result.scale =
      work.weight == nullptr ? work.rstd[channel] : static_cast<T>(rstd * static_cast<double>(work.weight[channel]));
  return result;
}

// Runs shorter than this many elements are narrow, if there are enough rows for columns to be worth joining.
constexpr Index kNarrow = 128, kTiny = 8, kRowsForColumns = 16;

bool is_narrow(const ChannelShape& shape) {
  return shape.inner < kTiny || (shape.inner < kNarrow && shape.n >= kRowsForColumns);
}

// The pieces of a channel of a wide shape, each of about kPiece elements: they stay in the first-level cache from one
// pass to the next.
class WidePieces {
 public:
  explicit WidePieces(const ChannelShape& shape) : shape_(shape) {
    if (shape.inner >= kPiece) {
      per_run_ = (shape.inner + kPiece - 1) / kPiece;
      count_ = shape.n * per_run_;
    } else {
      runs_ = kPiece / shape.inner;
      count_ = (shape.n + runs_ - 1) / runs_;
    }
  }
  Index count() const { return count_; }
  Runs piece(Index channel, Index index) const {
    const Index stride = shape_.channels * shape_.inner, start = channel * shape_.inner;
    if (per_run_ > 0) {
      const Index part = index % per_run_;
      const Index begin = shape_.inner * part / per_run_, end = shape_.inner * (part + 1) / per_run_;
      return {index / per_run_ * stride + start + begin, 1, end - begin, stride};
    }
    const Index first = index * runs_;
    return {first * stride + start, std::min(runs_, shape_.n - first), shape_.inner, stride};
  }

 private:
  static constexpr Index kPiece = 4096;
  ChannelShape shape_;
  Index per_run_ = 0, runs_ = 0, count_ = 0;
};

// body(channel) for all. Neighbouring channels are neighbours in memory, and a processor reads ahead of what it is
// asked for: threads that were side by side would take cache lines from each other. So each begins a block of its own.
template <class Body>
void for_channels(Index channels, Index channel_bytes, const Body& body) {
  const Index each = std::max<Index>(kPieceBytes / channel_bytes, 1), tasks = (channels + each - 1) / each;
  if (channels * channel_bytes < 2 * kPieceBytes || num_threads() == 1) {
    for (Index channel = 0; channel < channels; ++channel) body(channel);
    return;
  }
  const Index blocks = std::min<Index>(num_threads(), tasks);
  parallel_for(static_cast<int>(tasks), [&](int task) {
    const Index block = task % blocks;
    const Index place = block * (tasks / blocks) + std::min(block, tasks % blocks) + task / blocks;
    const Index end = std::min(channels, (place + 1) * each);
    for (Index channel = place * each; channel < end; ++channel) body(channel);
  });
}

// gather(channel, piece) for all pieces of a channel, then join(channel), then spread(channel, piece) for all.
template <class Gather, class Join, class Spread>
void over_channels(const ChannelShape& shape, Index bytes, const WidePieces& pieces, const Gather& gather,
                   const Join& join, const Spread& spread) {
  const Index count = pieces.count(), channel_bytes = shape.n * shape.inner * bytes;
  const bool small = shape.channels * channel_bytes < 2 * kPieceBytes;
  if (small || shape.channels >= 4 * num_threads()) {
    for_channels(shape.channels, channel_bytes, [&](Index channel) {
      for (Index piece = 0; piece < count; ++piece) gather(channel, piece);
      join(channel);
      for (Index piece = 0; piece < count; ++piece) spread(channel, piece);
    });
    return;
  }
  const Index piece_bytes = channel_bytes / count;
  for_rows(shape.channels * count, piece_bytes, [&](Index begin, Index end) {
    for (Index at = begin; at < end; ++at) gather(at / count, at % count);
  });
  for (Index channel = 0; channel < shape.channels; ++channel) join(channel);
  for_rows(shape.channels * count, piece_bytes, [&](Index begin, Index end) {
    for (Index at = begin; at < end; ++at) spread(at / count, at % count);
  });
}

// body(first row, rows, first column, columns) over blocks of a matrix, those of the same rows one after the other.
template <class Body>
void over_blocks(Index rows, Index cols, Index block_rows, Index block_cols, Index bytes, const Body& body) {
  const Index down = (rows + block_rows - 1) / block_rows, across = (cols + block_cols - 1) / block_cols;
  const Index each = std::min(rows, block_rows) * std::min(cols, block_cols) * bytes;
  for_rows(down * across, each, [&](Index begin, Index end) {
    for (Index at = begin; at < end; ++at) {
      const Index row = at / across * block_rows, col = at % across * block_cols;
      body(row, std::min(block_rows, rows - row), col, std::min(block_cols, cols - col));
    }
  });
}

// What column_apply and column_backward get: rows as long as memory likes them, and as few as threads do.
constexpr Index kMapRows = 16, kMapCols = 4096;

template <class T>
std::unique_ptr<T[]> uninitialised(Index count) {
  return std::unique_ptr<T[]>(new T[static_cast<std::size_t>(count)]);
}

template <class T>
void apply_wide(const T* x, T* out, const ChannelShape& shape, const std::vector<NormFactors<T>>& factors) {
  const auto& kernels = norm_kernels().get(T{});
  for_rows(shape.n * shape.channels, 2 * shape.inner * static_cast<Index>(sizeof(T)), [&](Index begin, Index end) {
    for (Index at = begin; at < end; ++at)
      kernels.run_apply(x, out, {at * shape.inner, 1, shape.inner, 0},
                        factors[static_cast<std::size_t>(at % shape.channels)]);
  });
}

template <class T>
void apply_narrow(const T* x, T* out, const ChannelShape& shape, const std::vector<NormFactors<T>>& factors) {
  const auto& kernels = norm_kernels().get(T{});
  const Index cols = shape.channels * shape.inner;
  const auto expanded = uninitialised<T>(3 * cols);
  T *shift = expanded.get(), *scale = shift + cols, *offset = scale + cols;
  for (Index channel = 0; channel < shape.channels; ++channel) {
    const auto& of = factors[static_cast<std::size_t>(channel)];
    const Index first = channel * shape.inner;
    std::fill_n(shift + first, shape.inner, of.shift);
    std::fill_n(scale + first, shape.inner, of.scale);
    std::fill_n(offset + first, shape.inner, of.offset);
  }
  over_blocks(shape.n, cols, kMapRows, kMapCols, 2 * sizeof(T), [&](Index row, Index rows, Index col, Index width) {
    const Index at = row * cols + col;
    kernels.column_apply(x + at, out + at, cols, rows, width, shift + col, scale + col, offset + col);
  });
}

template <class T>
void batch_norm_narrow(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape,
                       T eps) {
  const auto& kernels = norm_kernels().get(T{});
  const Index cols = shape.channels * shape.inner, groups = (shape.n + kColumnGroup - 1) / kColumnGroup;
  const auto moments = uninitialised<double>(2 * groups * cols);
  double *means = moments.get(), *squares = means + groups * cols;
  over_blocks(shape.n, cols, kColumnGroup, kColumnStrip, sizeof(T), [&](Index row, Index rows, Index col, Index width) {
    const Index to = row / kColumnGroup * cols + col;
    kernels.column_moments(x + row * cols + col, cols, rows, width, means + to, squares + to);
  });
  std::vector<NormFactors<T>> factors(static_cast<std::size_t>(shape.channels));
  const Index channel_bytes = 4 * groups * shape.inner * static_cast<Index>(sizeof(double));
  for_rows(shape.channels, channel_bytes, [&](Index begin, Index end) {
    for (Index channel = begin; channel < end; ++channel) {
      Joined all;
      for (Index group = 0; group < groups; ++group) {
        const double rows = static_cast<double>(std::min(kColumnGroup, shape.n - group * kColumnGroup));
        const Index at = group * cols + channel * shape.inner;
        all.add(rows * static_cast<double>(shape.inner), joined(means + at, squares + at, shape.inner, rows));
      }
      const double scale = 1 / std::sqrt(all.variance() + static_cast<double>(eps));
      mean[channel] = static_cast<T>(all.mean());
      rstd[channel] = static_cast<T>(scale);
      factors[static_cast<std::size_t>(channel)] = factors_of(all.mean(), scale, weight, bias, channel);
    }
  });
  apply_narrow(x, out, shape, factors);
}

template <class T>
void batch_norm_wide(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape,
                     T eps) {
  const auto& kernels = norm_kernels().get(T{});
  const WidePieces pieces(shape);
  const Index count = pieces.count();
  const auto moments = uninitialised<Moments>(shape.channels * count);
  const auto factors = uninitialised<NormFactors<T>>(shape.channels);
  over_channels(
      shape, 2 * static_cast<Index>(sizeof(T)), pieces,
      [&](Index channel, Index piece) {
        moments[static_cast<std::size_t>(channel * count + piece)] =
            kernels.run_moments(x, pieces.piece(channel, piece));
      },
      [&](Index channel) {
        Joined all;
        for (Index piece = 0; piece < count; ++piece) {
          const Runs runs = pieces.piece(channel, piece);
          all.add(static_cast<double>(runs.runs * runs.length),
                  moments[static_cast<std::size_t>(channel * count + piece)]);
        }
        const double scale = 1 / std::sqrt(all.variance() + static_cast<double>(eps));
        mean[channel] = static_cast<T>(all.mean());
        rstd[channel] = static_cast<T>(scale);
        factors[static_cast<std::size_t>(channel)] = factors_of(all.mean(), scale, weight, bias, channel);
      },
      [&](Index channel, Index piece) {
        kernels.run_apply(x, out, pieces.piece(channel, piece), factors[static_cast<std::size_t>(channel)]);
      });
}

template <class T>
void batch_norm_backward_narrow(const NormGradient<T>& work, const ChannelShape& shape) {
  const auto& kernels = norm_kernels().get(T{});
  const Index cols = shape.channels * shape.inner, groups = (shape.n + kColumnGroup - 1) / kColumnGroup;
  const auto expanded = uninitialised<T>(4 * cols);
  T *shift = expanded.get(), *mean_grad = shift + cols, *slope = mean_grad + cols, *scale = slope + cols;
  for (Index channel = 0; channel < shape.channels; ++channel)
    std::fill_n(shift + channel * shape.inner, shape.inner, work.mean[channel]);
  const auto sums = uninitialised<T>(2 * groups * cols);
  T *sum_grad = sums.get(), *sum_product = sum_grad + groups * cols;
  over_blocks(shape.n, cols, kColumnGroup, kColumnStrip, 2 * sizeof(T),
              [&](Index row, Index rows, Index col, Index width) {
                const Index at = row * cols + col, to = row / kColumnGroup * cols + col;
                kernels.column_products(work.grad + at, work.x + at, cols, rows, width, shift + col, sum_grad + to,
                                        sum_product + to);
              });
  const double count = static_cast<double>(shape.n * shape.inner);
  const Index channel_bytes = (4 * groups + 3) * shape.inner * static_cast<Index>(sizeof(double));
  for_rows(shape.channels, channel_bytes, [&](Index begin, Index end) {
    for (Index channel = begin; channel < end; ++channel) {
      double grad = 0, product = 0;
      const Index first = channel * shape.inner;
      for (Index group = 0; group < groups; ++group)
        for (Index at = group * cols + first; at < group * cols + first + shape.inner; ++at) {
          grad += static_cast<double>(sum_grad[at]);
          product += static_cast<double>(sum_product[at]);
        }
      const auto factors = backward_factors(work, grad, product, count, channel);
      std::fill_n(mean_grad + first, shape.inner, factors.mean_grad);
      std::fill_n(slope + first, shape.inner, factors.slope);
      std::fill_n(scale + first, shape.inner, factors.scale);
    }
  });
  over_blocks(shape.n, cols, kMapRows, kMapCols, 3 * sizeof(T), [&](Index row, Index rows, Index col, Index width) {
    const Index at = row * cols + col;
    kernels.column_backward(work.grad + at, work.x + at, work.dx + at, cols, rows, width, shift + col, mean_grad + col,
                            slope + col, scale + col);
  });
}

template <class T>
void batch_norm_backward_wide(const NormGradient<T>& work, const ChannelShape& shape) {
  const auto& kernels = norm_kernels().get(T{});
  const WidePieces pieces(shape);
  const Index count = pieces.count();
  const auto sums = uninitialised<double>(2 * shape.channels * count);
  const auto factors = uninitialised<NormBackwardFactors<T>>(shape.channels);
  over_channels(
      shape, 3 * static_cast<Index>(sizeof(T)), pieces,
      [&](Index channel, Index piece) {
        double* to = sums.get() + 2 * (channel * count + piece);
        kernels.run_products(work.grad, work.x, pieces.piece(channel, piece), work.mean[channel], to, to + 1);
      },
      [&](Index channel) {
        double grad = 0, product = 0;
        for (Index piece = 0; piece < count; ++piece) {
          grad += sums[static_cast<std::size_t>(2 * (channel * count + piece))];
          product += sums[static_cast<std::size_t>(2 * (channel * count + piece) + 1)];
        }
        factors[static_cast<std::size_t>(channel)] =
            backward_factors(work, grad, product, static_cast<double>(shape.n * shape.inner), channel);
      },
      [&](Index channel, Index piece) {
        kernels.run_backward(work.grad, work.x, work.dx, pieces.piece(channel, piece),
                             factors[static_cast<std::size_t>(channel)]);
      });
}

}  // namespace

template <class T>
void layer_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index rows, Index cols, T eps,
                Rung rung) {
  if (rung == Rung::naive) return naive::layer_norm(x, weight, bias, out, mean, rstd, rows, cols, eps);
  const auto kernel = norm_kernels().get(T{}).layer_norm;
  for_rows(rows, 2 * cols * static_cast<Index>(sizeof(T)), [&](Index begin, Index end) {
    kernel(x + begin * cols, weight, bias, out + begin * cols, mean + begin, rstd + begin, end - begin, cols, eps);
  });
}

template <class T>
void layer_norm_backward(const NormGradient<T>& work, Index rows, Index cols, Rung rung) {
  if (rung == Rung::naive) return naive::layer_norm_backward(work, rows, cols);
  const auto kernel = norm_kernels().get(T{}).layer_norm_backward;
  const Index row_bytes = 3 * cols * static_cast<Index>(sizeof(T));
  const auto part = [&](Index begin, Index end, T* dweight, T* dbias) {
    NormGradient<T> own = work;
    own.grad += begin * cols;
    own.x += begin * cols;
    own.dx += begin * cols;
    own.mean += begin;
    own.rstd += begin;
    own.dweight = dweight;
    own.dbias = dbias;
    kernel(own, end - begin, cols);
  };
  if (work.dweight == nullptr && work.dbias == nullptr)
    return for_rows(rows, row_bytes, [&](Index begin, Index end) { part(begin, end, nullptr, nullptr); });
  // Sums of groups of rows: at most kGroups, of some microseconds' work at least, and of enough rows that their sums
  // are little beside them.
  constexpr Index kGroups = 64, kLeastRows = 16;
  const Index least = std::max<Index>(kPieceBytes / std::max<Index>(row_bytes, 1), kLeastRows);
  const Index each = std::max((rows + kGroups - 1) / kGroups, least) / 4 * 4;  // the kernel takes four rows at once
  const Index groups = std::max<Index>(rows / each, 1);                        // the last takes what is left over
  const auto sums = uninitialised<T>(2 * groups * cols);
  parallel_for(static_cast<int>(groups), [&](int group) {
    T* dweight = sums.get() + 2 * group * cols;
    std::fill(dweight, dweight + 2 * cols, T(0));
    part(each * group, group + 1 == groups ? rows : each * (group + 1), dweight, dweight + cols);
  });
  const auto add = reduction_kernels().get(T{}).column_sum;
  if (work.dweight != nullptr) add(sums.get(), 2 * cols, groups, cols, work.dweight);
  if (work.dbias != nullptr) add(sums.get() + cols, 2 * cols, groups, cols, work.dbias);
}

template <class T>
void batch_norm(const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, const ChannelShape& shape, T eps,
                Rung rung) {
  if (rung == Rung::naive || shape.n * shape.inner == 0)
    return naive::batch_norm(x, weight, bias, out, mean, rstd, shape, eps);
  if (is_narrow(shape))
    batch_norm_narrow(x, weight, bias, out, mean, rstd, shape, eps);
  else
    batch_norm_wide(x, weight, bias, out, mean, rstd, shape, eps);
}

template <class T>
void batch_norm_apply(const T* x, const T* mean, const T* var, const T* weight, const T* bias, T* out,
                      const ChannelShape& shape, T eps, Rung rung) {
  if (shape.n * shape.inner == 0) return;
  if (rung == Rung::naive) return naive::batch_norm_apply(x, mean, var, weight, bias, out, shape, eps);
  std::vector<NormFactors<T>> factors(static_cast<std::size_t>(shape.channels));
  for (Index channel = 0; channel < shape.channels; ++channel) {
    const double scale = 1 / std::sqrt(static_cast<double>(var[channel]) + static_cast<double>(eps));
    factors[static_cast<std::size_t>(channel)] =
        factors_of(static_cast<double>(mean[channel]), scale, weight, bias, channel);
  }
  if (is_narrow(shape))
    apply_narrow(x, out, shape, factors);
  else
    apply_wide(x, out, shape, factors);
}

template <class T>
void batch_norm_backward(const NormGradient<T>& work, const ChannelShape& shape, Rung rung) {
  if (rung == Rung::naive || shape.n * shape.inner == 0) return naive::batch_norm_backward(work, shape);
  if (is_narrow(shape))
    batch_norm_backward_narrow(work, shape);
  else
    batch_norm_backward_wide(work, shape);
}

#define DLKIT_INSTANTIATE(T)                                                                                          \
  template void layer_norm(const T*, const T*, const T*, T*, T*, T*, Index, Index, T, Rung);                          \
  template void layer_norm_backward(const NormGradient<T>&, Index, Index, Rung);                                      \
  template void batch_norm(const T*, const T*, const T*, T*, T*, T*, const ChannelShape&, T, Rung);                   \
  template void batch_norm_apply(const T*, const T*, const T*, const T*, const T*, T*, const ChannelShape&, T, Rung); \
  template void batch_norm_backward(const NormGradient<T>&, const ChannelShape&, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit
