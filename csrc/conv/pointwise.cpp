// A kernel of 1 x 1 without stride and padding: an image's channels are the matrix already.
//
//   y = W x,   dx = W^T grad
//
// for each image and group, by the matmul chapter, which reads both where they lie: no copy, no scratch memory. Bound
// by the multiply-adds, with few channels or filters by the memory that x and y pass through. A product ends with its
// image, in a vector that is partly empty: images of few pixels are better off with implicit_gemm.cpp.
//
// Source: Lin, Chen & Yan 2014 (network in network) for the kernel; that it is a product is plain.
#include "conv/pointwise.h"

#include "core/thread_pool.h"
#include "matmul/matmul.h"

namespace dlkit {
namespace {

// body(image, group, threads): images in parallel where there are enough of them.
template <class Body>
void for_images(const ConvShape& s, int threads, const Body& body) {
  const Index total = s.n * s.groups;
  const int tasks = total >= threads ? threads : 1, inner = tasks == 1 ? threads : 1;
  parallel_for(
      tasks,
      [&](int task) {
        for (Index i = total * task / tasks; i < total * (task + 1) / tasks; ++i)
          body(i / s.groups, i % s.groups, inner);
      },
      threads);
}

template <class T>
Matrix<T> rows_of(T* data, Index rows, Index cols) {
  return {data, rows, cols, cols, 1};
}

}  // namespace

bool takes_pointwise(const ConvShape& s) {
  return s.kernel_size() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.out_h == s.height && s.out_w == s.width &&
         s.pad_top == 0 && s.pad_left == 0;
}

template <class T>
void conv_pointwise(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index filters = s.group_filters(), channels = s.group_channels(), size = s.out_size();
  for_images(s, threads, [&](Index image, Index group, int inner) {
    MatmulProblem<T> product;
    product.a = rows_of(p.weight + group * filters * channels, filters, channels);
    product.b = rows_of(p.x + (image * s.channels + group * channels) * size, channels, size);
    product.c = rows_of(p.y + (image * s.filters + group * filters) * size, filters, size);
    matmul<T>(product, nullptr, inner);
    if (p.bias == nullptr && !p.relu) return;
    for (Index f = 0; f < filters; ++f) {
      const T bias = p.bias != nullptr ? p.bias[group * filters + f] : T(0);
      T* y = product.c.data + f * size;
      for (Index i = 0; i < size; ++i) {
        const T value = y[i] + bias;
        y[i] = p.relu && value < 0 ? T(0) : value;
      }
    }
  });
}

template <class T>
void conv_pointwise(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const Index filters = s.group_filters(), channels = s.group_channels(), size = s.out_size();
  for_images(s, threads, [&](Index image, Index group, int inner) {
    MatmulProblem<T> product;
    product.a = rows_of(p.weight + group * filters * channels, filters, channels).transposed();
    product.b = rows_of(p.grad + (image * s.filters + group * filters) * size, filters, size);
    product.c = rows_of(p.dx + (image * s.channels + group * channels) * size, channels, size);
    matmul<T>(product, nullptr, inner);
  });
}

template void conv_pointwise(const ConvForward<float>&, int);
template void conv_pointwise(const ConvForward<double>&, int);
template void conv_pointwise(const ConvBackwardInput<float>&, int);
template void conv_pointwise(const ConvBackwardInput<double>&, int);

}  // namespace dlkit
