// Convolution of few channels: im2col along the width alone.
//
//   for each strip of output rows:
//     for each channel and column v of the kernel:  the rows of the image, as far as that column reads them, v apart
//     for each tile of filters, for each 2 to 4 registers of output pixels:
//       the taps, one after another: a load of each register, from one place, and a broadcast for each filter
//
// With few channels the sum is short (25 steps for 5 x 5), and what implicit GEMM does for each panel of pixels before
// its first step (where rows end, masks, a packed copy) weighs as much as the sum. Here rows follow each other without
// gaps in the copy of each column v, so that output pixel q of the strip reads tap (u, v) at q + u out_w of copy v: no
// masks, no lanes wasted at the ends of rows. Padding is zeros in the copy; a stride sorts its rows by remainder.
//
// 2 Kh Kw FLOPs for each channel, filter and pixel. The copy is Kw elements for each of x, in the first-level cache for
// small images, else in the second: a Kh F-th of the multiply-adds. Bound: the multiply-adds (strip_tile.h).
//
// The gradient by the weight reads the same copies: a tile of filters by taps is a sum over registers of pixels, of
// grad times a copy, 10 loads for the 25 multiply-adds of 5 x 5; the registers are added up within when all images are
// done.
//
// Source of the copy: MEC (Cho & Brand 2017).
#include "conv/first_layer.h"
#include "conv/pairs.h"
#include "conv/strip_tile.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
int main_vectors(Index rows) {
  return rows <= StripShapes<T>::rows_of_four ? 4 : 2;
}

template <class T>
EvenSplit tiles_of(const ConvShape& s) {
  return EvenSplit(s.filters, StripShapes<T>::rows_of_two);
}

template <class T>
void pack(const ConvForward<T>& p, T* to) {
  const Index depth = p.shape.depth();
  const EvenSplit tiles = tiles_of<T>(p.shape);
  for (Index tile = 0; tile < tiles.parts; ++tile) {
    const T* const from = p.weight + tiles.begin(tile) * depth;
    const Index rows = tiles.size(tile);
    for (Index k = 0; k < depth; ++k)
      for (Index i = 0; i < rows; ++i) *to++ = from[i * depth + k];
  }
}

// What a column of the kernel reads of a row: elements first + j stride, those of j in [begin, end) inside.
struct ColumnReads {
  Index first, stride, begin, end, count;

  DLKIT_INLINE ColumnReads(const ConvShape& s, Index v)
      : first(v * s.dilation_w - s.pad_left), stride(s.stride_w), count(s.out_w) {
    begin = first >= 0 ? 0 : DLKIT_TARGET::smaller(DLKIT_TARGET::divide_up(-first, stride), count);
    end = first >= s.width ? begin : DLKIT_TARGET::smaller(DLKIT_TARGET::divide_up(s.width - first, stride), count);
    if (end < begin) end = begin;
  }
};

// A line of a plane, from a row of the image. Whole registers are written: what they spill is to the right, where the
// next line is written later.
template <class T>
DLKIT_INLINE void copy_line(const ColumnReads& r, const T* row, T* to) {
  using V = Vec<T>;
  const T* const x = row + r.first;
  for (Index j = 0; j < r.begin; j += V::lanes) V::zero().store(to + j);
  if (r.stride == 1) {
    Index j = r.begin;
    for (; j + V::lanes <= r.end; j += V::lanes) V::load(x + j).store(to + j);
    if (j < r.end) V::load(x + j, V::first(r.end - j)).store(to + j);
  } else if (r.stride == 2) {
    V even, odd;
    for (Index j = r.begin; j < r.end; j += V::lanes) {
      const Index left = 2 * (r.end - j) - 1;  // elements from here on that are inside
      if (left >= 2 * V::lanes)
        split_pairs(V::load(x + 2 * j), V::load(x + 2 * j + V::lanes), even, odd);
      else
        split_pairs(V::load(x + 2 * j, V::first(left)), V::load(x + 2 * j + V::lanes, V::first(left - V::lanes)), even,
                    odd);
      even.store(to + j);
    }
  } else {
    for (Index j = r.begin; j < r.end; ++j) to[j] = x[j * r.stride];
  }
  for (Index j = r.end; j < r.count; j += V::lanes) V::zero().store(to + j);
}

// The planes of a strip whose first output row is `row`.
template <class T>
void lay_out(const ConvShape& s, const FirstLayerStrip& strip, const T* image, Index row, Index rows, T* to) {
  using V = Vec<T>;
  const Index lines = rows + FirstLayerStrip::shift(s);
  for (Index c = 0; c < s.channels; ++c)
    for (Index v = 0; v < s.kernel_w; ++v) {
      const ColumnReads reads(s, v);
      for (Index r = 0; r < s.stride_h; ++r, to += strip.plane) {
        Index h = row * s.stride_h + r - s.pad_top;
        T* line = to;
        for (Index k = 0; k < lines; ++k, h += s.stride_h, line += s.out_w) {
          if (h >= 0 && h < s.height)
            copy_line(reads, image + (c * s.height + h) * s.width, line);
          else
            for (Index j = 0; j < s.out_w; j += V::lanes) V::zero().store(line + j);
        }
      }
    }
}

template <class T>
void forward(const ConvForward<T>& p, const FirstLayerStrip& strip, const T* packed, Index begin, Index end) {
  using V = Vec<T>;
  const ConvShape& s = p.shape;
  const Index depth = s.depth();
  T* const planes = scratch<T>(Slot::columns, static_cast<std::size_t>(strip.size));
  Index* const offsets = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(depth));
  for (Index c = 0, k = 0; c < s.channels; ++c)
    for (Index u = 0; u < s.kernel_h; ++u)
      for (Index v = 0; v < s.kernel_w; ++v) offsets[k++] = strip.offset(s, c, u, v);
  const EvenSplit tiles = tiles_of<T>(s);
  // Planes that stay in the first-level cache are read by one tile of filters after the other; of larger ones, a few
  // registers of pixels at a time by all tiles.
  const bool small = strip.size * static_cast<Index>(sizeof(T)) <= 24 * 1024;

  for (Index unit = begin; unit < end; ++unit) {
    const Index image = unit / strip.parts, row = unit % strip.parts * strip.rows;
    const Index rows = DLKIT_TARGET::smaller(strip.rows, s.out_h - row), pixels = rows * s.out_w;
    lay_out(s, strip, p.x + image * s.channels * s.in_size(), row, rows, planes);
    T* const y = p.y + image * s.filters * s.out_size() + row * s.out_w;
    StripTile<T> t;
    t.offsets = offsets;
    t.depth = depth;
    t.y_stride = s.out_size();
    t.relu = p.relu;
    // Registers [first, first + count * vectors) of pixels of a tile.
    const auto run = [&](Index tile, Index first, Index count, int vectors) __attribute__((always_inline)) {
      const Index filter = tiles.begin(tile), pixel = first * V::lanes;
      t.weight = packed + filter * depth;
      t.bias = p.bias != nullptr ? p.bias + filter : nullptr;
      t.x = planes + pixel;
      t.y = y + filter * s.out_size() + pixel;
      t.left = pixels - pixel;
      t.panels = count;
      strip_kernel<T>(static_cast<int>(tiles.size(tile)), vectors)(t);
    };
    const Index registers = DLKIT_TARGET::divide_up(pixels, V::lanes);
    const int wide = main_vectors<T>(tiles.size(0));
    const Index panels = registers / wide, step = small ? (panels > 0 ? panels : 1) : 1;
    for (Index panel = 0; panel < panels; panel += step)
      for (Index tile = 0; tile < tiles.parts; ++tile)
        run(tile, panel * wide, DLKIT_TARGET::smaller(step, panels - panel), wide);
    for (Index tile = 0; tile < tiles.parts; ++tile) {
      Index done = panels * wide;
      if (registers - done >= 2) run(tile, done, 1, 2), done += 2;
      if (registers > done) run(tile, done, 1, 1);
    }
  }
}

// --- the gradient by the weight --------------------------------------------------------------------------------------

// sums[i * sums_row + k] += grad[i][q] * x[k][q], over the registers of pixels q of a strip, of Rows filters and Taps
// taps.
template <class T>
struct StripDots {
  const T* grad;
  Index grad_row;
  const T* x;
  const Index* offsets;
  Index pixels;
  T* sums;  // registers
  Index sums_row;
};

template <class T, int Rows, int Taps>
__attribute__((noinline)) void strip_dots(const StripDots<T>& t) {
  using V = Vec<T>;
  V sum[Rows][Taps];
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int k = 0; k < Taps; ++k) sum[i][k] = V::load(t.sums + i * t.sums_row + k * V::lanes);
  const T* x[Taps];
#pragma GCC unroll 8
  for (int k = 0; k < Taps; ++k) x[k] = t.x + t.offsets[k];
  const auto step = [&](const auto& load, Index q) __attribute__((always_inline)) {
    V grad[Rows];
#pragma GCC unroll 8
    for (int i = 0; i < Rows; ++i) {
      grad[i] = load(t.grad + i * t.grad_row + q);
      hold(grad[i]);
    }
#pragma GCC unroll 8
    for (int k = 0; k < Taps; ++k) {
      V pixels = load(x[k] + q);
      hold(pixels);
#pragma GCC unroll 8
      for (int i = 0; i < Rows; ++i) sum[i][k] = V::fma(grad[i], pixels, sum[i][k]);
    }
  };
  Index q = 0;
  for (; q + V::lanes <= t.pixels; q += V::lanes)
    step([](const T* from) __attribute__((always_inline)) { return V::load(from); }, q);
  if (q < t.pixels) {
    const auto mask = V::first(t.pixels - q);
    step([&](const T* from) __attribute__((always_inline)) { return V::load(from, mask); }, q);
  }
#pragma GCC unroll 8
  for (int i = 0; i < Rows; ++i)
#pragma GCC unroll 8
    for (int k = 0; k < Taps; ++k) sum[i][k].store(t.sums + i * t.sums_row + k * V::lanes);
}

template <class T>
constexpr int kDotSide = Vec<T>::registers >= 32 ? 5 : 3;

template <class T, int Rows, int Taps>
void run_dots(const StripDots<T>& t, int rows, int taps) {
  if constexpr (Rows > 1)
    if (rows < Rows) return run_dots<T, Rows - 1, Taps>(t, rows, taps);
  if constexpr (Taps > 1)
    if (taps < Taps) return run_dots<T, Rows, Taps - 1>(t, rows, taps);
  strip_dots<T, Rows, Taps>(t);
}

template <class T>
void accumulate(const ConvBackwardWeight<T>& p, const FirstLayerStrip& strip, Index begin, Index end, T* sums) {
  using V = Vec<T>;
  const ConvShape& s = p.shape;
  const Index depth = s.depth(), row_size = (depth + 1) * V::lanes;  // the last is the bias's
  T* const planes = scratch<T>(Slot::columns, static_cast<std::size_t>(strip.size));
  Index* const offsets = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(depth));
  for (Index c = 0, k = 0; c < s.channels; ++c)
    for (Index u = 0; u < s.kernel_h; ++u)
      for (Index v = 0; v < s.kernel_w; ++v) offsets[k++] = strip.offset(s, c, u, v);
  fill_zero(sums, s.filters * row_size);
  const EvenSplit filters(s.filters, kDotSide<T>), taps(depth, kDotSide<T>);
  for (Index unit = begin; unit < end; ++unit) {
    const Index image = unit / strip.parts, row = unit % strip.parts * strip.rows;
    const Index rows = DLKIT_TARGET::smaller(strip.rows, s.out_h - row), pixels = rows * s.out_w;
    lay_out(s, strip, p.x + image * s.channels * s.in_size(), row, rows, planes);
    const T* const grad = p.grad + image * s.filters * s.out_size() + row * s.out_w;
    for (Index j = 0; j < filters.parts; ++j) {
      const Index f = filters.begin(j);
      for (Index i = 0; i < taps.parts; ++i) {
        const Index k = taps.begin(i);
        const StripDots<T> t = {grad + f * s.out_size(),
                                s.out_size(),
                                planes,
                                offsets + k,
                                pixels,
                                sums + f * row_size + k * V::lanes,
                                row_size};
        run_dots<T, kDotSide<T>, kDotSide<T>>(t, static_cast<int>(filters.size(j)), static_cast<int>(taps.size(i)));
      }
    }
    if (p.dbias == nullptr) continue;
    for (Index f = 0; f < s.filters; ++f) {
      const T* const from = grad + f * s.out_size();
      T* const to = sums + f * row_size + depth * V::lanes;
      V even = V::load(to), odd = V::zero();
      Index q = 0;
      for (; q + 2 * V::lanes <= pixels; q += 2 * V::lanes) {
        even = even + V::load(from + q);
        odd = odd + V::load(from + q + V::lanes);
      }
      for (; q < pixels; q += V::lanes) even = even + V::load(from + q, V::first(pixels - q));
      (even + odd).store(to);
    }
  }
}

template <class T>
void finish(const ConvBackwardWeight<T>& p, const T* sums, Index parts) {
  using V = Vec<T>;
  const ConvShape& s = p.shape;
  const Index depth = s.depth(), size = s.filters * (depth + 1) * V::lanes;
  const T* from = sums;
  for (Index f = 0; f < s.filters; ++f)
    for (Index k = 0; k <= depth; ++k, from += V::lanes) {
      if (k == depth && p.dbias == nullptr) continue;
      V sum = V::load(from);
      for (Index part = 1; part < parts; ++part) sum = sum + V::load(from + part * size);
      T& to = k < depth ? p.dweight[f * depth + k] : p.dbias[f];
      to = p.accumulate ? to + sum.sum() : sum.sum();
    }
}

}  // namespace

extern const FirstLayerTable first_layer_table;
const FirstLayerTable first_layer_table = {
    {pack<float>, forward<float>, accumulate<float>, finish<float>, Vec<float>::lanes},
    {pack<double>, forward<double>, accumulate<double>, finish<double>, Vec<double>::lanes}};

}  // namespace dlkit::DLKIT_TARGET
