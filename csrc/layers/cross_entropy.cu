// Softmax cross-entropy: losses and their gradient with each row of logits in registers, as in softmax.cu; no
// probabilities travel through memory.
//
// A mean needs the number of rows that count before any gradient is written: a first, short kernel finds it from the
// labels. Another one adds up the losses, in float64 and in groups of a fixed size, so that the bits do not depend on
// the machine.
//
// Bytes: 2 elements per logit (read, gradient written), 1 without gradient; 12 to 16 per row. Instructions per element:
// about 15, with one exponential. Bound: memory, from some hundred rows on; below, the five launches of a mean with its
// gradient. float32: 48 to 76 registers, 48 for rows that a block holds, 768 to 1280 threads of a multiprocessor.
#include "layers/device.h"
#include "layers/exponentials.h"
#include "layers/naive_layers.h"
#include "layers/rows.h"

namespace dlkit::device {
namespace {

template <class T>
struct Work {
  CrossEntropy<T> of;
  const Index* counted;  // null, or what the gradient is divided by

  __device__ __forceinline__ T scale() const {
    return counted == nullptr ? of.grad_scale : of.grad_scale / T(*counted);
  }
  __device__ __forceinline__ bool is_class(std::int64_t label) const {
    return label >= 0 && label < of.cols && label != of.ignore_index;
  }
  // Of a row whose label is no class: its loss, and each element of its gradient.
  __device__ __forceinline__ T without_class(std::int64_t label) const {
    return label == of.ignore_index ? T(0) : quiet_nan<T>();
  }
  // at_label: x - most there; sum_below: of x - most over the row, for label smoothing.
  __device__ __forceinline__ T loss(T at_label, T log_sum, T sum_below) const {
    const T s = of.label_smoothing, loss = log_sum - at_label;
    return s == T(0) ? loss : (T(1) - s) * loss + s * (log_sum - sum_below / T(of.cols));
  }
};

template <class T, class Shape>
__global__ void __launch_bounds__(Shape::kMostThreads, Shape::kLeastBlocks) cross_entropy_kernel(const Work<T> work) {
  const Rows<T, Shape> threads;
  constexpr int N = Shape::N, kPacks = Shape::kPacks, kRows = Shape::kRows;
  const Index rows = work.of.rows, cols = work.of.cols;
  const T scale = work.scale(), of_each = work.of.label_smoothing / T(cols), of_label = T(1) - work.of.label_smoothing;
  threads.each(rows, [&](Index first) {
    Pack<T, N> held[kRows][kPacks];
    int label[kRows];  // -1: no class
    T without_class[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step();
      threads.load(held[r], work.of.logits + row * work.of.row_stride, row < rows ? cols : 0, -infinity<T>());
      const std::int64_t given = row < rows ? work.of.labels[row] : -1;
      label[r] = work.is_class(given) ? static_cast<int>(given) : -1;
      without_class[r] = work.without_class(given);
    }
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      const Index row = first + r * threads.step();
      T most = -infinity<T>(), sum = T(0), sum_below = T(0), at_label = T(0);
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) most = Maximum::combine(most, held[r][j][k]);
      most = threads.template reduce<Maximum>(most, -infinity<T>());
      bool is_mine = false;  // whether this thread holds the label's element
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const T below = held[r][j][k] - most;
          held[r][j][k] = exp(below);
          sum += held[r][j][k];  // 0 past the row's end
          if (threads.column(j) < cols) sum_below += below;
          if (threads.column(j) + k == label[r]) {
            at_label = below;
            is_mine = true;
          }
        }
      sum = threads.sum(sum);
      if (work.of.label_smoothing != T(0)) sum_below = threads.sum(sum_below);
      if (is_mine) work.of.losses[row] = work.loss(at_label, log(sum), sum_below);
      if (label[r] < 0 && threads.lane == 0 && row < rows) work.of.losses[row] = without_class[r];
      if (work.of.grad == nullptr) continue;
      const T factor = T(1) / sum;
#pragma unroll
      for (int j = 0; j < kPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const T target = threads.column(j) + k == label[r] ? of_each + of_label : of_each;
          held[r][j][k] = label[r] < 0 ? without_class[r] : scale * (held[r][j][k] * factor - target);
        }
      threads.store(work.of.grad + row * cols, held[r], row < rows ? cols : 0);
    }
  });
}

template <class T, int N>
__global__ void __launch_bounds__(kLongThreads) long_cross_entropy_kernel(const Work<T> work) {
  const Index cols = work.of.cols;
  const T scale = work.scale(), of_each = work.of.label_smoothing / T(cols), of_label = T(1) - work.of.label_smoothing;
  for (Index row = blockIdx.x; row < work.of.rows; row += gridDim.x) {
    const T* const x = work.of.logits + row * work.of.row_stride;
    const std::int64_t label = work.of.labels[row];
    const bool is_class = work.is_class(label);
    const T without_class = work.without_class(label);
    const Exponentials<T> of_row = exponentials_of_long<N>(x, cols);
    T sum_below = T(0);
    if (work.of.label_smoothing != T(0)) {
      each_of_long_row<N>(cols, [&](Index first) {
        Pack<T, N> held[kLongPacks];
        load_long<T, N>(held, x, first, cols, of_row.most);
#pragma unroll
        for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
          for (int k = 0; k < N; ++k) sum_below += held[j][k] - of_row.most;
      });
      sum_below = block_sum(sum_below);
    }
    if (threadIdx.x == 0)
      work.of.losses[row] = is_class ? work.loss(x[label] - of_row.most, log(of_row.sum), sum_below) : without_class;
    if (work.of.grad == nullptr) continue;
    __syncthreads();  // the gradient may overwrite x[label]
    const T factor = T(1) / of_row.sum;
    T* const grad = work.of.grad + row * cols;
    each_of_long_row<N>(cols, [&](Index first) {
      Pack<T, N> held[kLongPacks];
      load_long<T, N>(held, x, first, cols, T(0));
#pragma unroll
      for (int j = 0; j < kLongPacks; ++j)
#pragma unroll
        for (int k = 0; k < N; ++k) {
          const Index col = first + static_cast<Index>(j) * kLongThreads * N + k;
          const T target = col == label ? of_each + of_label : of_each;
          held[j][k] = is_class ? scale * (exp(held[j][k] - of_row.most) * factor - target) : without_class;
        }
      store_long<T, N>(grad, held, first, cols);
    });
  }
}

constexpr Index kGroup = 8192;  // rows whose losses one block adds up
constexpr int kSumThreads = 1024;

// What is known of a group of rows, or of all.
struct Total {
  real<double> losses;
  Index counted;
};

__device__ __forceinline__ Total block_total(real<double> losses, Index counted) {
  // Counts are exact in float64.
  return {block_sum(losses), static_cast<Index>(block_sum(real<double>(counted)))};
}

// losses: null where only the count is wanted.
template <class T>
__global__ void __launch_bounds__(kSumThreads) sum_group_kernel(const T* losses, const std::int64_t* labels, Index rows,
                                                                std::int64_t ignore_index, Total* totals) {
  const Index first = blockIdx.x * kGroup, last = first + kGroup < rows ? first + kGroup : rows;
  real<double> sum(0);
  Index counted = 0;
  for (Index row = first + threadIdx.x; row < last; row += kSumThreads) {
    if (losses != nullptr) sum += real<double>(losses[row]);
    counted += labels[row] != ignore_index;
  }
  const Total total = block_total(sum, counted);
  if (threadIdx.x == 0) totals[blockIdx.x] = total;
}

// *counted, or *result where that is not null.
template <class T>
__global__ void __launch_bounds__(kSumThreads)
    sum_kernel(const Total* totals, Index groups, bool mean, Index* counted, T* result) {
  real<double> sum(0);
  Index count = 0;
  for (Index group = threadIdx.x; group < groups; group += kSumThreads) {
    sum += totals[group].losses;
    count += totals[group].counted;
  }
  const Total total = block_total(sum, count);
  if (threadIdx.x != 0) return;
  if (result != nullptr)
    *result = static_cast<T>(mean ? total.losses / real<double>(total.counted) : total.losses);
  else
    *counted = total.counted;
}

template <class T>
void total_of_rows(Stream stream, const CrossEntropy<T>& work, const real<T>* losses, bool mean, Index* counted,
                   Total* totals, real<T>* result) {
  const Index groups = ceil_div(work.rows, kGroup);
  if (groups > 0)
    launch("sum of losses", sum_group_kernel<real<T>>, {static_cast<unsigned>(groups), kSumThreads}, stream, losses,
           work.labels, work.rows, work.ignore_index, totals);
  launch("total", sum_kernel<real<T>>, {1, kSumThreads}, stream, totals, groups, mean, counted, result);
}

template <class T>
Work<real<T>> in_reals(const CrossEntropy<T>& work, const Index* counted) {
  using R = real<T>;
  return {{reals(work.logits), work.row_stride, work.labels, work.rows, work.cols, R(work.label_smoothing),
           work.ignore_index, R(work.grad_scale), reals(work.losses), reals(work.grad)},
          counted};
}

}  // namespace

// *counted, and then a Total for each group.
std::size_t cross_entropy_scratch(Index rows) {
  return sizeof(Total) * (static_cast<std::size_t>(ceil_div(rows, kGroup)) + 1);
}

template <class T>
void cross_entropy(Stream stream, const CrossEntropy<T>& work, Reduction reduction, T* result, void* scratch,
                   Rung rung) {
  using R = real<T>;
  const bool mean = reduction == Reduction::mean;
  auto* const totals = static_cast<Total*>(scratch);
  Index* counted = nullptr;
  if (mean && work.grad != nullptr && work.rows > 0) {
    counted = &totals->counted;
    total_of_rows<T>(stream, work, nullptr, mean, counted, totals + 1, nullptr);
  }
  const bool packed = rows_are_aligned(work.logits, work.row_stride) &&
                      (work.grad == nullptr ? work.cols % kPack<T> == 0 : rows_are_aligned(work.grad, work.cols));
  if (work.rows == 0) {
  } else if (rung == Rung::naive) {
    naive::cross_entropy(stream, work, counted);
  } else if (is_held<T>(work.cols, packed)) {
    with_row_shape<T>(work.rows, work.cols, packed, [&](auto shape, const LaunchShape& launch_shape) {
      launch("cross-entropy", cross_entropy_kernel<R, decltype(shape)>, launch_shape, stream, in_reals(work, counted));
    });
  } else {
    launch("cross-entropy of long rows",
           packed ? long_cross_entropy_kernel<R, kPack<T>> : long_cross_entropy_kernel<R, 1>,
           {full_grid(work.rows, kLongThreads), kLongThreads}, stream, in_reals(work, counted));
  }
  if (reduction != Reduction::none)
    total_of_rows<T>(stream, work, reals(work.losses), mean, nullptr, totals + 1, reals(result));
}

template void cross_entropy(Stream, const CrossEntropy<float>&, Reduction, float*, void*, Rung);
template void cross_entropy(Stream, const CrossEntropy<double>&, Reduction, double*, void*, Rung);

}  // namespace dlkit::device
