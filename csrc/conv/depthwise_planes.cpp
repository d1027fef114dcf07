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
#include "conv/pairs.h"
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
  const T* ahead = nullptr;  // what is read next
};

// Memory would rest while a strip is computed: a line of what is read next is prefetched for each register of results.
template <class T>
DLKIT_INLINE void prefetch_lines(const T* from, Index lines) {
  for (Index i = 0; i < lines; ++i) __builtin_prefetch(from + i * (64 / static_cast<Index>(sizeof(T))));
}

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

// Kernels of K rows without gaps, any columns: offset[u * columns + v] is offset[v] + u * row. Each register of x is
// loaded once for each column of the kernel, and serves all the rows of the output that read it, `Stride` rows of x
// apart.
template <class T, int K, int Stride, int Rows>
void correlate_rows(const Correlation<T>& c, Index row) {
  using V = Vec<T>;
  const Index columns = c.taps / K, x_row = c.row_step / Stride;
  const T* in = c.in + row * c.row_step;
  T* out = c.out + row * c.out_pitch;
  for (Index j = 0; j < c.cols; j += V::lanes) {
    const Index left = c.cols - j;
    if (c.ahead != nullptr) {
      prefetch_lines(c.ahead + Stride * Stride * (row * c.cols + j * Rows), Rows * Stride * Stride);
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) __builtin_prefetch(out + (i + Rows) * c.out_pitch + j, 1);
    }
    V sum[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i)
      sum[i] = c.add ? V::load(out + i * c.out_pitch + j, V::first(left)) : V::broadcast(c.bias);
    for (Index v = 0; v < columns; ++v) {
      const T* x_row_of = in + c.offset[v] + j;
      V w[K];
#pragma GCC unroll 8
      for (int u = 0; u < K; ++u) w[u] = V::broadcast(c.weight[u * columns + v]);
#pragma GCC unroll 16
      for (int r = 0; r < (Rows - 1) * Stride + K; ++r, x_row_of += x_row) {
        const V x = V::load(x_row_of);
#pragma GCC unroll 8
        for (int u = 0; u < K; ++u)
          if (r >= u && (r - u) % Stride == 0 && (r - u) / Stride < Rows)
            sum[(r - u) / Stride] = V::fma(w[u], x, sum[(r - u) / Stride]);
      }
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

template <class T, int K, int Stride>
void correlate_blocks(const Correlation<T>& c) {
  Index row = 0;
  if constexpr (Stride == 1) {
    if (c.rows % 8 != 0 && c.rows % 7 == 0) {
      for (; row < c.rows; row += 7) correlate_rows<T, K, Stride, 7>(c, row);
      return;
    }
    for (; row + 8 <= c.rows; row += 8) correlate_rows<T, K, Stride, 8>(c, row);
  }
  for (; row + 4 <= c.rows; row += 4) correlate_rows<T, K, Stride, 4>(c, row);
  if (row + 2 <= c.rows) correlate_rows<T, K, Stride, 2>(c, row), row += 2;
  if (row < c.rows) correlate_rows<T, K, Stride, 1>(c, row);
}

// kernel_rows: of a kernel without gaps between its rows, `stride` of which are between those of the output; else 0
template <class T>
void correlate(const Correlation<T>& c, Index kernel_rows, Index stride) {
  if (stride == 1) {
    if (kernel_rows == 2) return correlate_blocks<T, 2, 1>(c);
    if (kernel_rows == 3) return correlate_blocks<T, 3, 1>(c);
    if (kernel_rows == 5) return correlate_blocks<T, 5, 1>(c);
    if (kernel_rows == 7) return correlate_blocks<T, 7, 1>(c);
  } else if (stride == 2) {
    if (kernel_rows == 3) return correlate_blocks<T, 3, 2>(c);
    if (kernel_rows == 5) return correlate_blocks<T, 5, 2>(c);
    if (kernel_rows == 7) return correlate_blocks<T, 7, 2>(c);
  }
  Index row = 0;
  for (; row + 4 <= c.rows; row += 4) correlate_any<T, 4>(c, row);
  for (; row < c.rows; ++row) correlate_any<T, 1>(c, row);
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
    pitch = whole_vectors<T>(divide_up(cols, stride)) + (stride == 2 ? V::lanes : 0);
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
        for (Index k = first; k < last; k += V::lanes) {
          const Index left_over = 2 * (last - k);
          V even, odd;
          if (left_over >= 2 * V::lanes)
            split_pairs(V::load(from + 2 * k), V::load(from + 2 * k + V::lanes), even, odd);
          else if (left_over > V::lanes)
            split_pairs(V::load(from + 2 * k), V::load(from + 2 * k + V::lanes, V::first(left_over - V::lanes)), even,
                        odd);
          else
            split_pairs(V::load(from + 2 * k, V::first(left_over)), V::zero(), even, odd);
          even.store(to + k);  // past the last: zeros, up to the end of the remainder's columns
          odd.store(to + pitch + k);
        }
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
  const Index kernel_rows = s.dilation_h == 1 ? s.kernel_h : 0;
  for (Index plane = begin; plane < end; ++plane)
    for (Index row = 0; row < s.out_h; row += strip) {
      const Index rows = smaller(strip, s.out_h - row);
      padded.fill(p.x + plane * s.in_size(), row * s.stride_h - s.pad_top, (rows - 1) * s.stride_h + one);
      for (Index m = 0; m < multiple; ++m) {
        const Index f = plane % s.channels * multiple + m;
        correlate<T>(
            {padded.data, s.stride_h * padded.row, p.weight + f * taps, offset, taps,
             p.bias != nullptr ? p.bias[f] : T(0), false, p.relu,
             p.y + (plane * multiple + m) * s.out_size() + row * s.out_w, s.out_w, rows, s.out_w,
             m > 0 ? nullptr : p.x + plane * s.in_size() + smaller((row + rows) * s.stride_h, s.height) * s.width},
            kernel_rows, s.stride_h);
      }
    }
}

// A row of dx from its phases, `part` elements apart, without the first `skip` columns.
template <class T>
void join_row(const ConvShape& s, const T* from, Index part, Index skip, bool add, T* to) {
  using V = Vec<T>;
  if (s.stride_w != 2) {
    for (Index w = 0; w < s.width; ++w) {
      const T value = from[(w + skip) % s.stride_w * part + (w + skip) / s.stride_w];
      to[w] = add ? to[w] + value : value;
    }
    return;
  }
  const T* const even = skip == 0 ? from : from + part;
  const T* const odd = skip == 0 ? from + part : from + 1;
  const auto put = [&](V x, Index w) {
    const Index left = s.width - w;
    if (left <= 0) return;
    if (add) x = x + V::load(to + w, V::first(left));
    if (left >= V::lanes)
      x.store(to + w);
    else
      x.store(to + w, V::first(left));
  };
  for (Index w = 0; w < s.width; w += 2 * V::lanes) {
    V a, b;
    join_pairs(V::load(even + w / 2), V::load(odd + w / 2), a, b);
    put(a, w);
    put(b, w + V::lanes);
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
  // The taps' weights of a phase, and behind them the strips of dx of all phases of columns.
  const bool whole = s.stride_w == 1 && s.stride_h == 1;
  const Index part_pitch = whole_vectors<T>(cols) + Vec<T>::lanes, part = strip * part_pitch;
  const Index joined = whole ? 0 : part * s.stride_w;
  T* const weight = scratch<T>(Slot::pack_a, static_cast<std::size_t>(taps + joined));
  T* const parts = weight + taps;

  // Sets weight and offset to the taps of a phase, from the last to the first. Those of a dilation of 1, or of the
  // stride, lie in rows without gaps.
  const bool dense = s.dilation_h == 1 || s.dilation_h == s.stride_h;
  Index kernel_rows = 0;
  const auto select = [&](Index f, Index phase_h, Index phase_w) {
    Index count = 0;
    kernel_rows = 0;
    for (Index u = s.kernel_h - 1; u >= 0; --u) {
      if (u * s.dilation_h % s.stride_h != phase_h) continue;
      ++kernel_rows;
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
        const T* const grad = p.grad + (plane * multiple + m) * s.out_size();
        padded.fill(grad, a - most_q, rows + most_q);
        T* const dx = p.dx + plane * s.in_size();
        if (whole) {
          const Index count = select(f, 0, 0);
          correlate<T>(
              {padded.data, padded.row, weight, offset, count, T(0), m > 0, false, dx + (a - s.pad_top) * s.width,
               s.width, rows, s.width, grad + smaller(a + rows, s.out_h) * s.out_w},
              dense ? kernel_rows : 0, 1);
          continue;
        }
        for (Index phase_h = 0; phase_h < s.stride_h; ++phase_h) {
          for (Index phase_w = 0; phase_w < s.stride_w; ++phase_w) {
            const Index count = select(f, phase_h, phase_w);
            correlate<T>({padded.data, padded.row, weight, offset, count, T(0), false, false, parts + phase_w * part,
                          part_pitch, rows, cols},
                         dense ? kernel_rows : 0, 1);
          }
          for (Index i = 0; i < rows; ++i) {
            const Index h = (a + i) * s.stride_h + phase_h - s.pad_top;
            if (h >= 0 && h < s.height)
              join_row(s, parts + i * part_pitch, part, s.pad_left - first_b * s.stride_w, m > 0, dx + h * s.width);
          }
        }
      }
    }
}

// The sums of a kernel of K x K taps without gaps: each register of x is loaded once for all rows of a block of grad.
// What is read next follows grad, and x_ahead.
template <class T, int K, int Stride, int Rows>
void add_dense(const T* in, Index row, const Index* offset, const T* grad, Index grad_pitch, Index blocks, Index cols,
               T* sums, const T* grad_ahead, const T* x_ahead) {
  using V = Vec<T>;
  V sum[K * K];
#pragma GCC unroll 32
  for (int t = 0; t < K * K; ++t) sum[t] = V::load(sums + t * V::lanes);
  for (Index block = 0; block < blocks; ++block, in += Rows * Stride * row, grad += Rows * grad_pitch)
    for (Index j = 0; j < cols; j += V::lanes) {
      const Index done = Rows * (block * cols + j);
      prefetch_lines(grad_ahead + done, Rows);
      prefetch_lines(x_ahead + Stride * Stride * done, Stride * Stride * Rows);
      V y[Rows];
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i)
        y[i] = cols - j >= V::lanes ? V::load(grad + i * grad_pitch + j)
                                    : V::load(grad + i * grad_pitch + j, V::first(cols - j));
#pragma GCC unroll 16
      for (int r = 0; r < (Rows - 1) * Stride + K; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < K; ++v) {
          const V x = V::load(in + r * row + offset[v] + j);
#pragma GCC unroll 8
          for (int u = 0; u < K; ++u)
            if (r >= u && (r - u) % Stride == 0 && (r - u) / Stride < Rows)
              sum[u * K + v] = V::fma(y[(r - u) / Stride], x, sum[u * K + v]);
        }
    }
#pragma GCC unroll 32
  for (int t = 0; t < K * K; ++t) sum[t].store(sums + t * V::lanes);
}

template <class T, int K, int Stride>
void add_dense_rows(const T* in, Index row, const Index* offset, const T* grad, Index pitch, Index rows, T* sums,
                    const T* x_ahead) {
  constexpr int kRows = K == 3 ? 4 : 2;
  const T* const ahead = grad + rows * pitch;
  if constexpr (K == 3 && Vec<T>::registers >= 32)
    if (rows % 7 == 0 && rows % 4 != 0)
      return add_dense<T, K, Stride, 7>(in, row, offset, grad, pitch, rows / 7, pitch, sums, ahead, x_ahead);
  const Index blocks = rows / kRows, done = blocks * kRows;
  add_dense<T, K, Stride, kRows>(in, row, offset, grad, pitch, blocks, pitch, sums, ahead, x_ahead);
  if (done < rows)
    add_dense<T, K, Stride, 1>(in + done * Stride * row, row, offset, grad + done * pitch, pitch, rows - done, pitch,
                               sums, ahead + done * pitch, x_ahead + Stride * Stride * done * pitch);
}

// Whether there is such a kernel for the shape, which is then run.
template <class T>
bool add_dense(const ConvShape& s, const T* in, Index row, const Index* offset, const T* grad, Index rows, T* sums,
               const T* x_ahead) {
  const Index k = s.kernel_h;
  if (k != s.kernel_w || s.dilation_h != 1 || (k != 3 && k != 5) || s.stride_h > 2) return false;
  if (k == 5 && Vec<T>::registers < 32) return false;
  const auto run = [&](auto rows_kernel) { rows_kernel(in, row, offset, grad, s.out_w, rows, sums, x_ahead); };
  if (k == 3) run(s.stride_h == 1 ? add_dense_rows<T, 3, 1> : add_dense_rows<T, 3, 2>);
  if constexpr (Vec<T>::registers >= 32)
    if (k == 5) run(s.stride_h == 1 ? add_dense_rows<T, 5, 1> : add_dense_rows<T, 5, 2>);
  return true;
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
  Index* const offset = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(s.kernel_w));
  for (Index v = 0; v < s.kernel_w; ++v) offset[v] = padded.offset(0, v * s.dilation_w);
  // A vector for each tap and filter, and one for the bias.
  const Index filters = (end - begin) * multiple, sums_size = filters * (taps + 1) * V::lanes;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(sums_size));
  fill_zero(sums, sums_size);
  const T* x_rows[Tiles::most_taps];

  for (Index n = 0; n < s.n; ++n)
    for (Index c = begin; c < end; ++c)
      for (Index row = 0; row < s.out_h; row += strip) {
        const Index rows = smaller(strip, s.out_h - row);
        const T* const x = p.x + (n * s.channels + c) * s.in_size();
        padded.fill(x, row * s.stride_h - s.pad_top, (rows - 1) * s.stride_h + one);
        const T* const x_ahead = x + smaller((row + rows) * s.stride_h, s.height) * s.width;
        for (Index m = 0; m < multiple; ++m) {
          const T* grad = p.grad + (n * s.filters + c * multiple + m) * s.out_size() + row * s.out_w;
          T* const to = sums + ((c - begin) * multiple + m) * (taps + 1) * V::lanes;
          if (!add_dense(s, padded.data, padded.row, offset, grad, rows, to, x_ahead)) {
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
