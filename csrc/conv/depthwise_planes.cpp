// Depthwise convolution: a channel's plane is correlated with its own small kernel, pixels side by side in a register.
//
//   for each plane, for each strip of rows:  a copy with zeros around it, in the first-level cache
//     for each 4 rows of the output, for each register of columns:
//       the taps of the kernel, whose elements are broadcast once for the 4 rows
//
// With kernels of 3 x 3 and 5 x 5 and a stride of 1, each register of a row is loaded once for all the output rows that
// it belongs to: 18 loads for the 36 multiply-adds of 3 x 3 on 4 rows. There are no masks but in a row's last register.
// A stride sorts the columns of the copy by their remainder, so that loads are of neighbours.
//
// 2 Kh Kw operations for an element read and one written, 8 bytes: for 3 x 3 about 9 cycles for each 64 bytes written,
// less than memory takes. Bound by bandwidth, by the multipliers from 5 x 5 on.
//
// The gradient by x is the same with the kernel turned by 180 degrees; of a stride, once for each remainder. That by
// the weights is a sum for each tap, of grad times a shifted plane: kept as vectors until all images are done.
#include "conv/depthwise.h"
#include "conv/dot_tile.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// out[i, j] = (out[i, j] or bias) + sum over taps of weight[tap] in[i * row_step + offset[tap] + j]
template <class T>
struct Correlation {
  const T* in;
  Index row_step;
  const T* weight;
  const Index* offset;
  Index taps;
  T bias;
  bool add, relu;
  T* out;
  Index out_pitch, rows, cols;
};

// Reads whole registers of `in`, also for the last, partial one of a row.
template <class T, int Rows>
void correlate_any(const Correlation<T>& c, Index row) {
  using V = Vec<T>;
  const T* in = c.in + row * c.row_step;
  T* out = c.out + row * c.out_pitch;
  for (Index j = 0; j < c.cols; j += V::lanes) {
    const Index left = c.cols - j;
    const auto mask = V::first(left);
    V sum[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) sum[i] = c.add ? V::load(out + i * c.out_pitch + j, mask) : V::broadcast(c.bias);
    for (Index t = 0; t < c.taps; ++t) {
      const V w = V::broadcast(c.weight[t]);
      const T* from = in + c.offset[t] + j;
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) sum[i] = V::fma(w, V::load(from + i * c.row_step), sum[i]);
    }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      if (c.relu) sum[i] = V::max(V::zero(), sum[i]);
      if (left >= V::lanes)
        sum[i].store(out + i * c.out_pitch + j);
      else
        sum[i].store(out + i * c.out_pitch + j, mask);
    }
  }
}

// offset[u * K + v] = u * row_step + v
template <class T, int K, int Rows>
void correlate_dense(const Correlation<T>& c, Index row) {
  using V = Vec<T>;
  const T* in = c.in + row * c.row_step;
  T* out = c.out + row * c.out_pitch;
  V w[K * K];
#pragma GCC unroll 32
  for (int t = 0; t < K * K; ++t) w[t] = V::broadcast(c.weight[t]);
  for (Index j = 0; j < c.cols; j += V::lanes) {
    const Index left = c.cols - j;
    V sum[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i)
      sum[i] = c.add ? V::load(out + i * c.out_pitch + j, V::first(left)) : V::broadcast(c.bias);
#pragma GCC unroll 16
    for (int r = 0; r < Rows + K - 1; ++r)
#pragma GCC unroll 8
      for (int v = 0; v < K; ++v) {
        const V x = V::load(in + r * c.row_step + j + v);
#pragma GCC unroll 8
        for (int u = 0; u < K; ++u)
          if (r - u >= 0 && r - u < Rows) sum[r - u] = V::fma(w[u * K + v], x, sum[r - u]);
      }
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      if (c.relu) sum[i] = V::max(V::zero(), sum[i]);
      if (left >= V::lanes)
        sum[i].store(out + i * c.out_pitch + j);
      else
        sum[i].store(out + i * c.out_pitch + j, V::first(left));
    }
  }
}

template <class T, int Rows>
void correlate_rows(const Correlation<T>& c, int dense, Index row) {
  if (dense == 3)
    correlate_dense<T, 3, Rows>(c, row);
  else if (dense == 5)
    correlate_dense<T, 5, Rows>(c, row);
  else
    correlate_any<T, Rows>(c, row);
}

// dense: 3 or 5 for a kernel of so many rows and columns without gaps, 0 for others
template <class T>
void correlate(const Correlation<T>& c, int dense) {
  Index row = 0;
  for (; row + 4 <= c.rows; row += 4) correlate_rows<T, 4>(c, dense, row);
  if (row + 2 <= c.rows) correlate_rows<T, 2>(c, dense, row), row += 2;
  if (row < c.rows) correlate_rows<T, 1>(c, dense, row);
}

int dense_kernel(const ConvShape& s) {
  const bool dense = s.stride_h == 1 && s.stride_w == 1 && s.dilation_h == 1 && s.dilation_w == 1;
  return dense && s.kernel_h == s.kernel_w && (s.kernel_h == 3 || s.kernel_h == 5) ? static_cast<int>(s.kernel_h) : 0;
}

template <class T>
DLKIT_INLINE void split_pairs(const T* __restrict from, T* __restrict even, T* __restrict odd, Index n) {
  for (Index j = 0; j < n; ++j) even[j] = from[2 * j], odd[j] = from[2 * j + 1];
}

template <class T>
DLKIT_INLINE void join_pairs(const T* __restrict even, const T* __restrict odd, T* __restrict to, Index n) {
  for (Index j = 0; j < n; ++j) to[2 * j] = even[j], to[2 * j + 1] = odd[j];
}

// Rows of planes of height x width, `cols` columns from column `left` on, with zeros for what is outside of a plane.
// Column j of row i of the copy is at data + offset(i, j): sorted by the remainder by `stride`. The zeros beside the
// planes are written once; what is inside begins at a cache line, so that most stores stay within one.
template <class T>
struct Padded {
  using V = Vec<T>;

  Index height, width, left, stride;
  Index begin, end;  // of the columns, those inside
  Index pitch, row;  // of a remainder's columns, and of them all
  T* data;

  DLKIT_INLINE Padded(Index rows, Index cols, Index by, Index plane_height, Index plane_width, Index first_col)
      : height(plane_height), width(plane_width), left(first_col), stride(by) {
    begin = left < 0 ? smaller(-left, cols) : 0;
    end = smaller(cols, width - left);
    if (end < begin) end = begin;
    pitch = whole_vectors<T>(divide_up(cols, stride));
    row = pitch * stride;
    const Index lead = stride == 1 ? whole_vectors<T>(begin) : 0;
    const Index size = lead + rows * row + 4 * V::lanes;
    T* const memory = scratch<T>(Slot::columns, static_cast<std::size_t>(size));
    data = memory + (stride == 1 ? lead - begin : 0);
    for (Index i = 0; i < size; i += V::lanes) V::zero().store(memory + i);
  }

  DLKIT_INLINE Index offset(Index i, Index j) const { return i * row + j % stride * pitch + j / stride; }

  // Rows [top, top + rows) of a plane.
  void fill(const T* plane, Index top, Index rows) {
    for (Index i = 0; i < rows; ++i) {
      const bool outside = top + i < 0 || top + i >= height;
      const T* from = plane + (top + i) * width + left;
      T* const to = data + i * row;
      if (stride == 1) {
        for (Index j = begin; j < end; j += V::lanes) {
          const V x = outside               ? V::zero()
                      : end - j >= V::lanes ? V::load(from + j)
                                            : V::load(from + j, V::first(end - j));
          x.store(to + j);  // past the end: zeros, before what is inside of the next row
        }
      } else if (outside) {
        for (Index j = 0; j < row; j += V::lanes) V::zero().store(to + j);
      } else if (stride == 2) {
        const Index first = divide_up(begin, 2), last = end / 2 > first ? end / 2 : first;
        split_pairs(from + 2 * first, to + first, to + pitch + first, last - first);
        if (begin % 2 == 1 && begin < end) to[pitch + begin / 2] = from[begin];
        if (end % 2 == 1 && begin < end) to[end / 2] = from[end - 1];
      } else {
        for (Index j = begin; j < end; ++j) to[j % stride * pitch + j / stride] = from[j];
      }
    }
  }
};

DLKIT_INLINE Index reach(Index outputs, Index stride, Index kernel, Index dilation) {
  return (outputs - 1) * stride + (kernel - 1) * dilation + 1;
}

// Rows of a strip: about as many as fit the first-level cache with what they read, whole fours.
template <class T>
Index strip_rows(Index rows, Index stride, Index reach_of_one, Index row) {
  const Index fit = kDepthwiseStrip / static_cast<Index>(sizeof(T)) / row - reach_of_one;
  const Index count = fit < 4 * stride ? 4 : fit / stride / 4 * 4;
  return smaller(count, rows);
}

template <class T>
void forward(const ConvForward<T>& p, Index begin, Index end) {
  const ConvShape& s = p.shape;
  const Index multiple = s.group_filters(), taps = s.kernel_size();
  const Index cols = reach(s.out_w, s.stride_w, s.kernel_w, s.dilation_w), one = (s.kernel_h - 1) * s.dilation_h + 1;
  const Index strip = strip_rows<T>(s.out_h, s.stride_h, one, whole_vectors<T>(cols));
  Padded<T> padded((strip - 1) * s.stride_h + one, cols, s.stride_w, s.height, s.width, -s.pad_left);
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(taps));
  for (Index u = 0; u < s.kernel_h; ++u)
    for (Index v = 0; v < s.kernel_w; ++v)
      offset[u * s.kernel_w + v] = padded.offset(u * s.dilation_h, v * s.dilation_w);
  const int dense = dense_kernel(s);
  for (Index plane = begin; plane < end; ++plane)
    for (Index row = 0; row < s.out_h; row += strip) {
      const Index rows = smaller(strip, s.out_h - row);
      padded.fill(p.x + plane * s.in_size(), row * s.stride_h - s.pad_top, (rows - 1) * s.stride_h + one);
      for (Index m = 0; m < multiple; ++m) {
        const Index f = plane % s.channels * multiple + m;
        correlate<T>({padded.data, s.stride_h * padded.row, p.weight + f * taps, offset, taps,
                      p.bias != nullptr ? p.bias[f] : T(0), false, p.relu,
                      p.y + (plane * multiple + m) * s.out_size() + row * s.out_w, s.out_w, rows, s.out_w},
                     dense);
      }
    }
}

// dx[h, w], where h + pad = a stride + phase, is a sum over the taps u with u dilation = q stride + phase of
// weight[u, v] grad[a - q, ...]: a correlation of grad with some of the taps, for each phase of rows and of columns.
template <class T>
void backward_input(const ConvBackwardInput<T>& p, Index begin, Index end) {
  const ConvShape& s = p.shape;
  const Index multiple = s.group_filters(), taps = s.kernel_size();
  const Index first_a = s.pad_top / s.stride_h, last_a = (s.height - 1 + s.pad_top) / s.stride_h;
  const Index first_b = s.pad_left / s.stride_w, last_b = (s.width - 1 + s.pad_left) / s.stride_w;
  const Index most_q = (s.kernel_h - 1) * s.dilation_h / s.stride_h;
  const Index most_r = (s.kernel_w - 1) * s.dilation_w / s.stride_w;
  const Index cols = last_b - first_b + 1;
  const Index strip = strip_rows<T>(last_a - first_a + 1, 1, most_q + 1, cols + most_r);
  Padded<T> padded(strip + most_q, cols + most_r, 1, s.out_h, s.out_w, first_b - most_r);
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(taps));
  // The taps' weights of a phase, and behind them the strips of dx of all phases of columns, and a joined row.
  const bool whole = s.stride_w == 1 && s.stride_h == 1;
  const Index joined = whole ? 0 : (strip + 1) * cols * s.stride_w;
  T* const weight = scratch<T>(Slot::pack_a, static_cast<std::size_t>(taps + joined));
  T* const parts = weight + taps;
  T* const line = parts + strip * cols * s.stride_w;
  const int dense = dense_kernel(s);

  // Sets weight and offset to the taps of a phase, from the last to the first.
  const auto select = [&](Index f, Index phase_h, Index phase_w) {
    Index count = 0;
    for (Index u = s.kernel_h - 1; u >= 0; --u) {
      if (u * s.dilation_h % s.stride_h != phase_h) continue;
      for (Index v = s.kernel_w - 1; v >= 0; --v) {
        if (v * s.dilation_w % s.stride_w != phase_w) continue;
        weight[count] = p.weight[f * taps + u * s.kernel_w + v];
        offset[count++] = padded.offset(most_q - u * s.dilation_h / s.stride_h, most_r - v * s.dilation_w / s.stride_w);
      }
    }
    return count;
  };

  for (Index plane = begin; plane < end; ++plane)
    for (Index a = first_a; a <= last_a; a += strip) {
      const Index rows = smaller(strip, last_a + 1 - a);
      for (Index m = 0; m < multiple; ++m) {
        const Index f = plane % s.channels * multiple + m;
        padded.fill(p.grad + (plane * multiple + m) * s.out_size(), a - most_q, rows + most_q);
        T* const dx = p.dx + plane * s.in_size();
        if (whole) {
          const Index count = select(f, 0, 0);
          correlate<T>({padded.data, padded.row, weight, offset, count, T(0), m > 0, false,
                        dx + (a - s.pad_top) * s.width, s.width, rows, s.width},
                       dense);
          continue;
        }
        for (Index phase_h = 0; phase_h < s.stride_h; ++phase_h) {
          for (Index phase_w = 0; phase_w < s.stride_w; ++phase_w) {
            const Index count = select(f, phase_h, phase_w);
            correlate<T>({padded.data, padded.row, weight, offset, count, T(0), false, false,
                          parts + phase_w * strip * cols, cols, rows, cols},
                         0);
          }
          for (Index i = 0; i < rows; ++i) {
            const Index h = (a + i) * s.stride_h + phase_h - s.pad_top;
            if (h < 0 || h >= s.height) continue;
            const T* from = parts + i * cols;
            if (s.stride_w == 2) {
              join_pairs(from, from + strip * cols, line, cols);
            } else {
              for (Index phase_w = 0; phase_w < s.stride_w; ++phase_w)
                for (Index j = 0; j < cols; ++j) line[j * s.stride_w + phase_w] = from[phase_w * strip * cols + j];
            }
            const T* row = line + s.pad_left - first_b * s.stride_w;
            T* to = dx + h * s.width;
            if (m == 0)
              copy(row, to, s.width);
            else
              for (Index j = 0; j < s.width; ++j) to[j] += row[j];
          }
        }
      }
    }
}

// The sums of a kernel of K x K taps without gaps: each register of x is loaded once for all rows of a block of grad.
template <class T, int K, int Rows>
void add_dense(const T* in, Index row, const T* grad, Index grad_pitch, Index blocks, Index cols, T* sums) {
  using V = Vec<T>;
  V sum[K * K];
#pragma GCC unroll 32
  for (int t = 0; t < K * K; ++t) sum[t] = V::load(sums + t * V::lanes);
  for (Index block = 0; block < blocks; ++block, in += Rows * row, grad += Rows * grad_pitch)
    for (Index j = 0; j < cols; j += V::lanes) {
      V y[Rows];
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i)
        y[i] = cols - j >= V::lanes ? V::load(grad + i * grad_pitch + j)
                                    : V::load(grad + i * grad_pitch + j, V::first(cols - j));
#pragma GCC unroll 16
      for (int r = 0; r < Rows + K - 1; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < K; ++v) {
          const V x = V::load(in + r * row + j + v);
#pragma GCC unroll 8
          for (int u = 0; u < K; ++u)
            if (r - u >= 0 && r - u < Rows) sum[u * K + v] = V::fma(y[r - u], x, sum[u * K + v]);
        }
    }
#pragma GCC unroll 32
  for (int t = 0; t < K * K; ++t) sum[t].store(sums + t * V::lanes);
}

template <class T, int K>
void add_dense_rows(const T* in, Index row, const T* grad, Index grad_pitch, Index rows, Index cols, T* sums) {
  constexpr int kRows = K == 3 ? 4 : 2;
  const Index blocks = rows / kRows, done = blocks * kRows;
  add_dense<T, K, kRows>(in, row, grad, grad_pitch, blocks, cols, sums);
  if (done < rows)
    add_dense<T, K, 1>(in + done * row, row, grad + done * grad_pitch, grad_pitch, rows - done, cols, sums);
}

template <class T>
void backward_weight(const ConvBackwardWeight<T>& p, Index begin, Index end) {
  using V = Vec<T>;
  using Tiles = DotTiles<T>;
  const ConvShape& s = p.shape;
  const Index multiple = s.group_filters(), taps = s.kernel_size();
  const Index cols = reach(s.out_w, s.stride_w, s.kernel_w, s.dilation_w), one = (s.kernel_h - 1) * s.dilation_h + 1;
  const Index strip = strip_rows<T>(s.out_h, s.stride_h, one, whole_vectors<T>(cols));
  Padded<T> padded((strip - 1) * s.stride_h + one, cols, s.stride_w, s.height, s.width, -s.pad_left);
  const int dense = V::registers >= 32 || s.kernel_h == 3 ? dense_kernel(s) : 0;
  // A vector for each tap and filter, and one for the bias.
  const Index filters = (end - begin) * multiple, sums_size = filters * (taps + 1) * V::lanes;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(sums_size));
  fill_zero(sums, sums_size);
  const T* x_rows[Tiles::most_taps];

  for (Index n = 0; n < s.n; ++n)
    for (Index c = begin; c < end; ++c)
      for (Index row = 0; row < s.out_h; row += strip) {
        const Index rows = smaller(strip, s.out_h - row);
        padded.fill(p.x + (n * s.channels + c) * s.in_size(), row * s.stride_h - s.pad_top,
                    (rows - 1) * s.stride_h + one);
        for (Index m = 0; m < multiple; ++m) {
          const T* grad = p.grad + (n * s.filters + c * multiple + m) * s.out_size() + row * s.out_w;
          T* const to = sums + ((c - begin) * multiple + m) * (taps + 1) * V::lanes;
          if (dense == 3) {
            add_dense_rows<T, 3>(padded.data, padded.row, grad, s.out_w, rows, s.out_w, to);
          } else if (dense == 5) {
            add_dense_rows<T, 5>(padded.data, padded.row, grad, s.out_w, rows, s.out_w, to);
          } else {
            DotTile<T> t;
            t.x = x_rows;
            t.grad = &grad;
            t.x_image = s.stride_h * padded.row;
            t.grad_image = s.out_w;
            t.run = s.out_w;
            t.images = rows;
            t.sums_stride = 0;
            t.add = true;
            const Index tiles = divide_up(taps, Tiles::max_taps(1));
            for (Index tile = 0; tile < tiles; ++tile) {
              const Index first = taps * tile / tiles, last = taps * (tile + 1) / tiles;
              for (Index k = first; k < last; ++k)
                x_rows[k - first] =
                    padded.data + padded.offset(k / s.kernel_w * s.dilation_h, k % s.kernel_w * s.dilation_w);
              t.sums = to + first * V::lanes;
              dot_kernel<T>(1, static_cast<int>(last - first))(t);
            }
          }
          if (p.dbias == nullptr) continue;
          T* const bias = to + taps * V::lanes;
          const Index pixels = rows * s.out_w;
          V even = V::load(bias), odd = V::zero();
          Index j = 0;
          for (; j + 2 * V::lanes <= pixels; j += 2 * V::lanes) {
            even = even + V::load(grad + j);
            odd = odd + V::load(grad + j + V::lanes);
          }
          for (; j < pixels; j += V::lanes) even = even + V::load(grad + j, V::first(pixels - j));
          (even + odd).store(bias);
        }
      }
  for (Index f = 0; f < filters; ++f) {
    const T* from = sums + f * (taps + 1) * V::lanes;
    T* to = p.dweight + (begin * multiple + f) * taps;
    for (Index t = 0; t < taps; ++t) {
      const T sum = V::load(from + t * V::lanes).sum();
      to[t] = p.accumulate ? to[t] + sum : sum;
    }
    if (p.dbias == nullptr) continue;
    T& bias = p.dbias[begin * multiple + f];
    const T sum = V::load(from + taps * V::lanes).sum();
    bias = p.accumulate ? bias + sum : sum;
  }
}

}  // namespace

extern const DepthwiseTable depthwise_table;
const DepthwiseTable depthwise_table = {{forward<float>, backward_input<float>, backward_weight<float>},
                                        {forward<double>, backward_input<double>, backward_weight<double>}};

}  // namespace dlkit::DLKIT_TARGET
