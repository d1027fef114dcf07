// Every patch of an image becomes a column of a matrix, and the convolution a matrix product:
//
//   y = W cols,   dW = grad cols^T,   cols = W^T grad and dx = the sum of each pixel's places in cols
//
// The product runs at the speed of the matmul chapter. What it costs: the matrix has Kh Kw / (stride) times the image's
// elements (3 x 3: nine times), which is written and read once more, an image at a time, so that a small image's stays
// in the second-level cache. Bound where the filters are few: by that memory, not by the multiplications.
//
// Source: Chellapilla, Puri & Simard 2006; Caffe (Jia et al. 2014).
#include "conv/im2col.h"

#include <algorithm>

#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

// The columns j of an output row for which j * stride + offset is within [0, width).
struct Inside {
  Index begin, end;
  Inside(Index offset, Index stride, Index width, Index out_w) {
    begin = offset >= 0 ? 0 : (-offset + stride - 1) / stride;
    end = offset >= width ? 0 : (width - 1 - offset) / stride + 1;
    begin = std::min(begin, out_w);
    end = std::clamp(end, begin, out_w);
  }
};

// body(row, i, h, inside, offset): for every row of `cols` (a channel's tap) and row i of the output, the row h of the
// channel's image (or -1), and where it meets the output's.
template <class Body>
void patch_rows(const ConvShape& s, const Body& body) {
  Index row = 0;
  for (Index c = 0; c < s.group_channels(); ++c)
    for (Index u = 0; u < s.kernel_h; ++u)
      for (Index v = 0; v < s.kernel_w; ++v, ++row) {
        const Index offset = v * s.dilation_w - s.pad_left;
        const Inside inside(offset, s.stride_w, s.width, s.out_w);
        for (Index i = 0; i < s.out_h; ++i) {
          const Index h = i * s.stride_h - s.pad_top + u * s.dilation_h;
          const bool outside = h < 0 || h >= s.height;
          body(row * s.out_size() + i * s.out_w, outside ? Index{-1} : (c * s.height + h) * s.width, inside, offset);
        }
      }
}

template <class T>
void to_columns(const ConvShape& s, const T* x, T* cols) {
  patch_rows(s, [&](Index at, Index row, const Inside& inside, Index offset) {
    T* to = cols + at;
    if (row < 0) {
      std::fill(to, to + s.out_w, T(0));
      return;
    }
    const T* from = x + row + offset;
    std::fill(to, to + inside.begin, T(0));
    if (s.stride_w == 1)
      std::copy(from + inside.begin, from + inside.end, to + inside.begin);
    else
      for (Index j = inside.begin; j < inside.end; ++j) to[j] = from[j * s.stride_w];
    std::fill(to + inside.end, to + s.out_w, T(0));
  });
}

template <class T>
void add_columns(const ConvShape& s, const T* cols, T* dx) {
  patch_rows(s, [&](Index at, Index row, const Inside& inside, Index offset) {
    if (row < 0) return;
    const T* from = cols + at;
    T* to = dx + row + offset;
    for (Index j = inside.begin; j < inside.end; ++j) to[j * s.stride_w] += from[j];
  });
}

// body(image, group, threads): images in parallel where there are enough of them.
template <class Body>
void for_images(const ConvShape& s, int threads, const Body& body) {
  const int tasks = s.n >= threads ? threads : 1, inner = tasks == 1 ? threads : 1;
  parallel_for(
      tasks,
      [&](int task) {
        for (Index image = s.n * task / tasks; image < s.n * (task + 1) / tasks; ++image)
          for (Index group = 0; group < s.groups; ++group) body(image, group, inner);
      },
      threads);
}

template <class T>
Matrix<T> rows_of(T* data, Index rows, Index cols) {
  return {data, rows, cols, cols, 1};
}

}  // namespace

std::size_t im2col_scratch(const ConvShape& s) { return static_cast<std::size_t>(s.depth() * s.out_size()); }

template <class T>
void conv_im2col(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index filters = s.group_filters(), channels = s.group_channels(), out_size = s.out_size();
  for_images(s, threads, [&](Index image, Index group, int inner) {
    T* cols = scratch<T>(Slot::columns, im2col_scratch(s));
    to_columns(s, p.x + (image * s.channels + group * channels) * s.in_size(), cols);
    MatmulProblem<T> product;
    product.a = rows_of(p.weight + group * filters * s.depth(), filters, s.depth());
    product.b = rows_of<const T>(cols, s.depth(), out_size);
    product.c = rows_of(p.y + (image * s.filters + group * filters) * out_size, filters, out_size);
    matmul<T>(product, nullptr, inner);
    if (p.bias == nullptr && !p.relu) return;
    for (Index f = 0; f < filters; ++f) {
      const T bias = p.bias != nullptr ? p.bias[group * filters + f] : T(0);
      T* y = product.c.data + f * out_size;
      for (Index i = 0; i < out_size; ++i) {
        const T value = y[i] + bias;
        y[i] = p.relu && value < 0 ? T(0) : value;
      }
    }
  });
}

template <class T>
void conv_im2col(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index filters = s.group_filters(), channels = s.group_channels(), out_size = s.out_size();
  for_images(s, threads, [&](Index image, Index group, int inner) {
    T* cols = scratch<T>(Slot::columns, im2col_scratch(s));
    MatmulProblem<T> product;
    product.a = rows_of(p.weight + group * filters * s.depth(), filters, s.depth()).transposed();
    product.b = rows_of(p.grad + (image * s.filters + group * filters) * out_size, filters, out_size);
    product.c = rows_of(cols, s.depth(), out_size);
    matmul<T>(product, nullptr, inner);
    T* dx = p.dx + (image * s.channels + group * channels) * s.in_size();
    std::fill(dx, dx + channels * s.in_size(), T(0));
    add_columns(s, cols, dx);
  });
}

template <class T>
void conv_im2col(const ConvBackwardWeight<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index filters = s.group_filters(), channels = s.group_channels(), out_size = s.out_size();
  for (Index image = 0; image < s.n; ++image)
    for (Index group = 0; group < s.groups; ++group) {
      T* cols = scratch<T>(Slot::columns, im2col_scratch(s));
      to_columns(s, p.x + (image * s.channels + group * channels) * s.in_size(), cols);
      MatmulProblem<T> product;
      product.a = rows_of(p.grad + (image * s.filters + group * filters) * out_size, filters, out_size);
      product.b = rows_of<const T>(cols, s.depth(), out_size).transposed();
      product.c = rows_of(p.dweight + group * filters * s.depth(), filters, s.depth());
      product.accumulate = p.accumulate || image > 0;
      matmul<T>(product, nullptr, threads);
      if (p.dbias == nullptr) continue;
      for (Index f = 0; f < filters; ++f) {
        T sum = product.accumulate ? p.dbias[group * filters + f] : T(0);
        const T* grad = product.a.data + f * out_size;
        for (Index i = 0; i < out_size; ++i) sum += grad[i];
        p.dbias[group * filters + f] = sum;
      }
    }
}

#define DLKIT_INSTANTIATE(T)                                   \
  template void conv_im2col(const ConvForward<T>&, int);       \
  template void conv_im2col(const ConvBackwardInput<T>&, int); \
  template void conv_im2col(const ConvBackwardWeight<T>&, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
