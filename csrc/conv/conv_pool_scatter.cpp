// The gradients of convolution and max-pooling from the places of the maxima, for an image at a time.
//
// For each filter f and element p of its pooled output there is one pixel q of the convolution's output that has its
// gradient g; all other pixels have none. So
//
//   dweight[f] += g patch[q]          patch[q]: what the kernel reads at q, (rows, columns, channels)
//   dpatch[q]  += g weight[f]         whose elements are then added up in dx
//
// with channels side by side, so that a row of a patch is contiguous. By the weight: for each filter, sums in registers
// over the list of its (q, g). By x: for each pixel, over the list of its (f, g). The lists are sorted out of the
// places of an image; patches or weights are taken a few rows at a time, as they fit the first-level cache.
//
// 2 C Kh Kw FLOPs for each element of the pooled output, where the convolution's gradient has as many for each element
// before pooling: a quarter, of 2 x 2. They run at two thirds of the multiply-adds' peak: a load for each (patches and
// weights of LeNet's second layer are in the second-level cache), and 10 to 15 cycles for each element of a list.
// Bytes: g and its place read, x read or dx written; the gradient before pooling is never formed.
#include "conv/conv_pool_grads.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// Registers of sums: what a list's elements are added up in.
template <class T>
constexpr int kMostSums = Vec<T>::registers >= 32 ? 14 : 8;
constexpr int kMostWide = 7;

// to[i * to_step + j] += sum over e of factor[e] * from[at[e] + i * step + j], of Segments x Vectors registers.
template <class T>
struct ListSum {
  const T* from;
  const Index* at;
  const T* factor;
  Index count;
  Index step;
  T* to;
  Index to_step;
  int last;  // lanes of the last register that are written
};

template <class T, int Vectors, int Segments>
__attribute__((noinline)) void list_sum(const ListSum<T>& t) {
  using V = Vec<T>;
  // Few registers are summed twice or four times over, so that a sum does not wait for itself.
  constexpr int kTimes = Vectors * Segments <= 2 ? 4 : Vectors * Segments <= kMostSums<T> / 2 ? 2 : 1;
  V sum[kTimes][Segments][Vectors];
#pragma GCC unroll 4
  for (int k = 0; k < kTimes; ++k)
#pragma GCC unroll 8
    for (int i = 0; i < Segments; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[k][i][j] = V::zero();
  Index e = 0;
  for (; e + kTimes <= t.count; e += kTimes) {
#pragma GCC unroll 4
    for (int k = 0; k < kTimes; ++k) {
      const T* const from = t.from + t.at[e + k];
      const V factor = V::broadcast(t.factor[e + k]);
#pragma GCC unroll 8
      for (int i = 0; i < Segments; ++i)
#pragma GCC unroll 8
        for (int j = 0; j < Vectors; ++j)
          sum[k][i][j] = V::fma(factor, V::load(from + i * t.step + j * V::lanes), sum[k][i][j]);
    }
  }
  for (; e < t.count; ++e) {
    const T* const from = t.from + t.at[e];
    const V factor = V::broadcast(t.factor[e]);
#pragma GCC unroll 8
    for (int i = 0; i < Segments; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j)
        sum[0][i][j] = V::fma(factor, V::load(from + i * t.step + j * V::lanes), sum[0][i][j]);
  }
#pragma GCC unroll 4
  for (int k = 1; k < kTimes; ++k)
#pragma GCC unroll 8
    for (int i = 0; i < Segments; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < Vectors; ++j) sum[0][i][j] = sum[0][i][j] + sum[k][i][j];
  const auto mask = V::first(t.last);
#pragma GCC unroll 8
  for (int i = 0; i < Segments; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < Vectors; ++j) {
      T* const to = t.to + i * t.to_step + j * V::lanes;
      if (j + 1 < Vectors || t.last == V::lanes)
        (V::load(to) + sum[0][i][j]).store(to);
      else
        (V::load(to, mask) + sum[0][i][j]).store(to, mask);
    }
}

template <class T>
using ListKernel = void (*)(const ListSum<T>&);

template <class T>
constexpr int most_segments(int vectors) {
  const int fit = vectors == 0 ? 0 : kMostSums<T> / vectors;
  return fit > 5 ? 5 : fit < 1 ? 1 : fit;
}

template <class T>
struct ListKernels {
  ListKernel<T> of[kMostWide + 1][6] = {};  // by registers and segments
};

template <class T, int Vectors, int Segments>
constexpr void fill_kernels(ListKernels<T>& kernels) {
  if constexpr (Vectors > 0) {
    kernels.of[Vectors][Segments] = list_sum<T, Vectors, Segments>;
    if constexpr (Segments > 1)
      fill_kernels<T, Vectors, Segments - 1>(kernels);
    else
      fill_kernels<T, Vectors - 1, most_segments<T>(Vectors - 1)>(kernels);
  }
}

template <class T>
constexpr ListKernels<T> list_kernels() {
  ListKernels<T> kernels;
  fill_kernels<T, kMostWide, most_segments<T>(kMostWide)>(kernels);
  return kernels;
}

template <class T>
constexpr ListKernels<T> kListKernels = list_kernels<T>();

// What `segments` pieces of `width` elements are cut into: body(sum, kernel, from, to), where `sum` lacks its list, and
// the cut begins so far from the pieces' first elements. Its sums fit the registers, and what it reads, `rows` pieces
// and `more` for each further segment, about fits the first-level cache. Of a piece there are `written` elements in
// `to`.
template <class T>
struct Pieces {
  using V = Vec<T>;
  Index segments, width, written, step, to_step, rows, more;

  template <class Body>
  DLKIT_INLINE void each_cut(const Body& body) const {
    constexpr Index kBytes = 36 * 1024;
    const Index registers = width / V::lanes, parts = divide_up(registers, Index{kMostWide});
    for (Index part = 0; part < parts; ++part) {
      const Index first = registers * part / parts, last = registers * (part + 1) / parts;
      const int vectors = static_cast<int>(last - first);
      const Index left = written - (last - 1) * V::lanes;
      const Index fit = kBytes / (vectors * V::lanes * static_cast<Index>(sizeof(T))) - rows;
      const Index most = smaller(most_segments<T>(vectors), fit < more ? 1 : fit / more + 1);
      for (Index segment = 0; segment < segments;) {
        const Index rest = segments - segment, now = divide_up(rest, divide_up(rest, most));  // in even parts
        const Index from = segment * step + first * V::lanes, to = segment * to_step + first * V::lanes;
        const ListSum<T> t = {nullptr, nullptr, nullptr, 0,
                              step,    nullptr, to_step, static_cast<int>(smaller(left, V::lanes))};
        body(t, kListKernels<T>.of[vectors][now], from, to);
        segment += now;
      }
    }
  }
};

// The working memory of a call, for an image.
template <class T>
struct UnpoolMemory {
  Index* tap;      // of the 256 places of a window, how far from its first element
  Index* element;  // of the pooled output, where its window's first element is
  Index* where;    // of the elements of the pooled output of all filters
  Index* start;    // of the lists
  Index* at;       // of the lists' elements
  T* factor;
  T* image;   // padded, channels side by side
  T* pieces;  // of the weight's gradient

  UnpoolMemory(const ConvShape& s, const PoolShape& p, const UnpoolLayout& a, bool by_weight) {
    const Index elements = s.filters * p.out_size();
    const Index lists = (by_weight ? s.filters : s.out_size()) + 2;
    const Index numbers = kPlaces + p.out_size() + 2 * elements + lists;
    char* memory = static_cast<char*>(
        scratch_bytes(Slot::pack_b, static_cast<std::size_t>(numbers) * sizeof(Index) +
                                        static_cast<std::size_t>(elements + Vec<T>::lanes) * sizeof(T)));
    tap = reinterpret_cast<Index*>(memory);
    element = tap + kPlaces;
    where = element + p.out_size();
    start = where + elements;
    at = start + lists;
    factor = reinterpret_cast<T*>(at + elements);
    const Index slack = 2 * Vec<T>::lanes, image_size = whole_vectors<T>(a.rows * a.cols * s.channels) + slack;
    const Index pieces_size = by_weight ? a.lines * s.out_w * a.width + slack : 0;
    image = scratch<T>(Slot::columns, static_cast<std::size_t>(image_size + pieces_size));
    pieces = image + image_size;
    fill_zero(image, image_size);
  }

  static constexpr Index kPlaces = 256;
};

// Where the elements of windows are in something whose rows and columns are `row` and `col` apart.
template <class T>
struct Windows {
  const PoolShape& s;
  const UnpoolMemory<T>& memory;
  Index row, col, taps;
  bool inside;  // all windows, wholly

  Windows(const PoolShape& shape, const UnpoolMemory<T>& tables, Index row_step, Index col_step)
      : s(shape), memory(tables), row(row_step), col(col_step), taps(shape.taps()) {
    for (Index i = 0, e = 0; i < s.out_h; ++i)
      for (Index j = 0; j < s.out_w; ++j)
        memory.element[e++] = (i * s.stride_h - s.pad_h) * row + (j * s.stride_w - s.pad_w) * col;
    for (Index k = 0; k < UnpoolMemory<T>::kPlaces; ++k)
      memory.tap[k] = k < taps ? k / s.kernel_w * s.dilation_h * row + k % s.kernel_w * s.dilation_w * col : 0;
    inside = s.pad_h == 0 && s.pad_w == 0 && (s.out_h - 1) * s.stride_h + (s.kernel_h - 1) * s.dilation_h < s.height &&
             (s.out_w - 1) * s.stride_w + (s.kernel_w - 1) * s.dilation_w < s.width;
  }

  // Whether an element's place is one. Where windows reach outside, those of another call may be there.
  DLKIT_INLINE bool valid(Index e, std::uint8_t place) const {
    if (place >= taps) return false;
    if (inside) return true;
    const Index h = e / s.out_w * s.stride_h - s.pad_h + place / s.kernel_w * s.dilation_h;
    const Index w = e % s.out_w * s.stride_w - s.pad_w + place % s.kernel_w * s.dilation_w;
    return h >= 0 && h < s.height && w >= 0 && w < s.width;
  }
  DLKIT_INLINE Index at(Index e, std::uint8_t place) const { return memory.element[e] + memory.tap[place]; }
};

// The part of an axis of the padded image that is within x.
struct Inside {
  Index begin, end;
  DLKIT_INLINE Inside(Index padded, Index pad, Index extent) {
    begin = smaller(pad, padded);
    end = smaller(padded, pad + extent);
    if (end < begin) end = begin;
  }
};

// Copies x to the padded image, whose other elements are 0, or the other way, where dx is 0 outside of it.
template <class T>
void copy_image(const ConvShape& s, const UnpoolLayout& a, const T* x, T* image) {
  const Inside rows(a.rows, s.pad_top, s.height), cols(a.cols, s.pad_left, s.width);
  for (Index c = 0; c < s.channels; ++c)
    for (Index h = rows.begin; h < rows.end; ++h) {
      const T* const from = x + (c * s.height + h - s.pad_top) * s.width - s.pad_left;
      T* const to = image + h * a.cols * s.channels + c;
      for (Index w = cols.begin; w < cols.end; ++w) to[w * s.channels] = from[w];
    }
}

template <class T>
void copy_gradient(const ConvShape& s, const UnpoolLayout& a, const T* image, T* dx) {
  const Inside rows(a.rows, s.pad_top, s.height), cols(a.cols, s.pad_left, s.width);
  for (Index c = 0; c < s.channels; ++c)
    for (Index h = 0; h < s.height; ++h) {
      T* const to = dx + (c * s.height + h) * s.width;
      const Index row = h + s.pad_top;
      if (row < rows.begin || row >= rows.end) {
        for (Index w = 0; w < s.width; ++w) to[w] = 0;
        continue;
      }
      const T* const from = image + (row * a.cols + s.pad_left) * s.channels + c;
      const Index end = cols.end - s.pad_left;
      Index w = 0;
      for (; w < end; ++w) to[w] = from[w * s.channels];
      for (; w < s.width; ++w) to[w] = 0;
    }
}

// What each pixel of the output reads, as UnpoolLayout says. Whole registers are copied: what they spill is to the
// right, where the next piece is written later.
template <class T>
void cut_pieces(const ConvShape& s, const UnpoolLayout& a, const T* image, T* pieces) {
  using V = Vec<T>;
  const Index rows_of_kernel = a.whole ? s.kernel_h : 1, line = a.cols * s.channels;
  const Index down = a.whole ? s.stride_h : 1, across = s.stride_w * s.channels;
  for (Index i = 0; i < a.lines; ++i)
    for (Index j = 0; j < s.out_w; ++j, pieces += a.width)
      for (Index u = 0; u < rows_of_kernel; ++u) {
        const T* const from = image + (i * down + u * s.dilation_h) * line + j * across;
        T* const to = pieces + u * a.run;
        for (Index k = 0; k < a.run; k += V::lanes) V::load(from + k).store(to + k);
      }
}

template <class T>
void pack(const ConvShape& s, const UnpoolLayout& a, const T* weight, T* to) {
  for (Index f = 0; f < s.filters; ++f)
    for (Index u = 0; u < s.kernel_h; ++u, to += a.weight_width) {
      for (Index v = 0; v < s.kernel_w; ++v)
        for (Index c = 0; c < s.channels; ++c)
          to[v * s.channels + c] = weight[((f * s.channels + c) * s.kernel_h + u) * s.kernel_w + v];
      for (Index k = a.run; k < a.weight_width; ++k) to[k] = 0;
    }
}

template <class T>
void backward_weight(const ConvMaxPoolBackwardWeight<T>& p, const UnpoolLayout& a, Index begin, Index end, T* sums,
                     T* bias_sums) {
  using V = Vec<T>;
  const ConvShape& s = p.conv;
  const Index size = p.pool.out_size();
  const UnpoolMemory<T> memory(s, p.pool, a, true);
  const Windows<T> windows(p.pool, memory, (a.whole ? 1 : s.stride_h) * s.out_w * a.width, a.width);
  const Pieces<T> pieces = {
      a.segments, a.width, a.width, s.dilation_h * s.out_w * a.width, a.width, s.out_size(), s.dilation_h * s.out_w};
  const Index filter_size = a.segments * a.width;
  for (Index n = begin; n < end; ++n) {
    copy_image(s, a, p.x + n * s.channels * s.in_size(), memory.image);
    cut_pieces(s, a, memory.image, memory.pieces);
    // Of each filter, a list.
    Index count = 0;
    for (Index f = 0; f < s.filters; ++f) {
      const Index first = (n * s.filters + f) * size, from = count;
      const T* const grad = p.grad + first;
      const std::uint8_t* const places = p.places + first;
      memory.start[f] = count;
      for (Index e = 0; e < size; ++e) {
        memory.at[count] = windows.at(e, places[e]);
        memory.factor[count] = grad[e];
        count += windows.valid(e, places[e]) ? 1 : 0;
      }
      if (bias_sums == nullptr) continue;
      V sum = V::zero();
      for (Index e = from; e < count; e += V::lanes) sum = sum + V::load(memory.factor + e, V::first(count - e));
      bias_sums[f] += sum.sum();
    }
    memory.start[s.filters] = count;
    pieces.each_cut([&](ListSum<T> t, ListKernel<T> kernel, Index from, Index to) __attribute__((always_inline)) {
      t.from = memory.pieces + from;
      t.to = sums + to;
      for (Index f = 0; f < s.filters; ++f, t.to += filter_size) {
        const Index first = memory.start[f];
        t.at = memory.at + first;
        t.factor = memory.factor + first;
        t.count = memory.start[f + 1] - first;
        if (t.count > 0) kernel(t);
      }
    });
  }
}

template <class T>
void backward_input(const ConvMaxPoolBackwardInput<T>& p, const UnpoolLayout& a, const T* packed, Index begin,
                    Index end) {
  const ConvShape& s = p.conv;
  const Index size = p.pool.out_size(), pixels = s.out_size(), line = a.cols * s.channels;
  const UnpoolMemory<T> memory(s, p.pool, a, false);
  const Windows<T> windows(p.pool, memory, s.out_w, 1);
  const Index image_size = a.rows * line, weight_size = s.kernel_h * a.weight_width;
  const Pieces<T> pieces = {s.kernel_h,          a.weight_width, a.run,    a.weight_width,
                            s.dilation_h * line, s.filters,      s.filters};
  for (Index n = begin; n < end; ++n) {
    // Of each pixel, a list of filters, and one of what has no place: count, then begin at the ends and go down.
    const Index first = n * s.filters * size;
    for (Index q = 0; q <= pixels + 1; ++q) memory.start[q] = 0;
    for (Index f = 0; f < s.filters; ++f) {
      const std::uint8_t* const places = p.places + first + f * size;
      Index* const where = memory.where + f * size;
      for (Index e = 0; e < size; ++e) {
        const Index q = windows.valid(e, places[e]) ? windows.at(e, places[e]) : pixels;
        where[e] = q;
        ++memory.start[q];
      }
    }
    for (Index q = 1; q <= pixels; ++q) memory.start[q] += memory.start[q - 1];
    for (Index f = s.filters - 1; f >= 0; --f)
      for (Index e = (f + 1) * size - 1; e >= f * size; --e) {
        const Index to = --memory.start[memory.where[e]];
        memory.at[to] = f * weight_size;
        memory.factor[to] = p.grad[first + e];
      }
    fill_zero(memory.image, image_size);
    pieces.each_cut([&](ListSum<T> t, ListKernel<T> kernel, Index from, Index to) __attribute__((always_inline)) {
      t.from = packed + from;
      for (Index i = 0, q = 0; i < s.out_h; ++i)
        for (Index j = 0; j < s.out_w; ++j, ++q) {
          const Index list = memory.start[q];
          t.at = memory.at + list;
          t.factor = memory.factor + list;
          t.count = memory.start[q + 1] - list;
          t.to = memory.image + i * s.stride_h * line + j * s.stride_w * s.channels + to;
          if (t.count > 0) kernel(t);
        }
    });
    copy_gradient(s, a, memory.image, p.dx + n * s.channels * s.in_size());
  }
}

}  // namespace

extern const UnpoolTable unpool_table;
const UnpoolTable unpool_table = {{pack<float>, backward_input<float>, backward_weight<float>, Vec<float>::lanes},
                                  {pack<double>, backward_input<double>, backward_weight<double>, Vec<double>::lanes}};

}  // namespace dlkit::DLKIT_TARGET
