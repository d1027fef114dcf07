// Convolution of kernels 5 to 8 wide with a horizontal stride of 2, along rows at the points of winograd_stride2.h.
//
//   for each strip of output rows:
//     for each row of the image that it reads: every second element, every eighth of it side by side, at all points
//     for each 2 registers of tiles, for each tile of filters:
//       for each point: the sum over channels, rows of the kernel and parities, as first_layer's
//       4 outputs from the sums of all points, interleaved, to their places
//
// Sums of all points of a tile of filters are 7 x 14 x 2 registers at most: they stay in the first-level cache. For a
// kernel 7 wide a register of outputs takes 13 / 4 multiply-adds for each row of the kernel, instead of 7; beside them
// some 9 instructions for the outputs, and the points of x, which all filters share. Bound: the multiply-adds, about
// half of a direct convolution's; then the output's way to memory.
//
// Error: 2.2 times that of a plain sum for 4 taps, 1.5 times for 3.
//
// Source: Yepez & Ko 2020 (Winograd's convolution with a stride of 2).
#include "conv/pairs.h"
#include "conv/strip_tile.h"
#include "conv/winograd_stride2.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

// `to` [i] = factor i times `from` [i] over what is not 0, summed up; after unrolling all tests are gone.
template <class T, int Taps>
struct Points {
  using V = Vec<T>;
  static constexpr Stride2Transform<Taps> at{};
  static constexpr int points = at.points, outputs = at.outputs, pairs = Stride2Points<Taps>::pairs;

  static DLKIT_INLINE V add(double factor, V v, V sum) {
    return factor == 1 ? sum + v : V::fma(V::broadcast(static_cast<T>(factor)), v, sum);
  }

  // One point of the inputs d.
  template <int Point>
  static DLKIT_INLINE V input(const V* d) {
    V sum = V::zero();
#pragma GCC unroll 8
    for (int j = 0; j < points; ++j)
      if (at.input[Point][j] != 0) sum = add(at.input[Point][j], d[j], sum);
    return sum;
  }

  // The outputs, of the sums at all points.
  static DLKIT_INLINE void output(const V* m, V start, V* y) {
    V even[pairs], odd[pairs];
#pragma GCC unroll 2
    for (int p = 0; p < pairs; ++p) {
      even[p] = m[1 + 2 * p] + m[2 + 2 * p];
      odd[p] = m[1 + 2 * p] - m[2 + 2 * p];
    }
#pragma GCC unroll 4
    for (int k = 0; k < outputs; ++k) {
      V sum = k == 0 ? start + m[0] : k == outputs - 1 ? start + m[points - 1] : start;
#pragma GCC unroll 2
      for (int p = 0; p < pairs; ++p) sum = add(at.power[1 + 2 * p][k], k % 2 == 0 ? even[p] : odd[p], sum);
      if constexpr (points - 2 > 2 * pairs) sum = add(at.power[points - 2][k], m[points - 2], sum);
      y[k] = sum;
    }
  }
};

// Even and odd elements of `count` registers' worth of pairs.
template <class T>
DLKIT_INLINE void split_row(const T* from, Index count, T* even, T* odd) {
  using V = Vec<T>;
  for (Index i = 0; i < count; i += V::lanes) {
    V e, o;
    split_pairs(V::load(from + 2 * i), V::load(from + 2 * i + V::lanes), e, o);
    e.store(even + i);
    o.store(odd + i);
  }
}

// A row of the image at all points, tiles side by side: even columns of the kernel to `to`, odd ones `parity` on. What
// is written past the tiles lies where the next line is written later, or between planes.
template <class T, int Taps>
struct RowPoints {
  using V = Vec<T>;
  using X = Points<T, Taps>;

  template <int Point>
  static DLKIT_INLINE void store_points(const V* d, T* to, Index point) {
    if constexpr (Point < X::points) {
      X::template input<Point>(d).store(to + Point * point);
      store_points<Point + 1>(d, to, point);
    }
  }

  static DLKIT_INLINE void run(const ConvShape& s, const Stride2Strip& strip, const T* row, T* work, T* to,
                               Index parity) {
    const Index columns = strip.columns, length = 8 * columns;
    T *const padded = work, *const halves = padded + length, *const eighths = halves + length;
    // Zeros on both sides of what the tiles read of the row.
    const Index begin = smaller(s.pad_left, length), end = smaller(begin + s.width, length);
    for (Index i = 0; i < begin; ++i) padded[i] = 0;
    Index i = begin;
    for (; i + V::lanes <= end; i += V::lanes) V::load(row + i - begin).store(padded + i);
    for (; i < end; ++i) padded[i] = row[i - begin];
    for (; i < length; ++i) padded[i] = 0;
    // Element 8 t + e to place t of eighth e, in three steps; the place of an eighth has the bits of e turned round.
    split_row(padded, length / 2, halves, halves + length / 2);
    for (Index h = 0; h < 2; ++h)
      split_row(halves + h * length / 2, length / 4, eighths + h * length / 2, eighths + h * length / 2 + length / 4);
    for (Index h = 0; h < 4; ++h)
      split_row(eighths + h * length / 4, length / 8, padded + h * length / 4, padded + h * length / 4 + length / 8);
    for (Index p = 0; p < 2; ++p, to += parity)
      for (Index t = 0; t < strip.tiles; t += V::lanes) {
        V d[X::points];
#pragma GCC unroll 8
        for (int k = 0; k < X::points; ++k) {
          const Index e = 2 * (k % 4) + p;
          d[k] = V::load(padded + ((e & 1) * 4 + (e & 2) + e / 4) * columns + t + k / 4);
        }
        store_points<0>(d, to + t, strip.point);
      }
  }
};

// The planes of a strip whose first output row is `row`.
template <class T, int Taps>
void lay_out(const ConvShape& s, const Stride2Strip& strip, const T* image, Index row, Index rows, T* work, T* to) {
  using V = Vec<T>;
  constexpr int kPoints = Points<T, Taps>::points;
  const Index lines = rows + Stride2Strip::shift(s), parity = s.channels * s.stride_h * strip.plane;
  for (Index c = 0; c < s.channels; ++c)
    for (Index r = 0; r < s.stride_h; ++r, to += strip.plane) {
      Index h = row * s.stride_h + r - s.pad_top;
      T* line = to;
      for (Index k = 0; k < lines; ++k, h += s.stride_h, line += strip.tiles) {
        if (h >= 0 && h < s.height) {
          RowPoints<T, Taps>::run(s, strip, image + (c * s.height + h) * s.width, work, line, parity);
          continue;
        }
        for (Index p = 0; p < 2; ++p)
          for (Index point = 0; point < kPoints; ++point)
            for (Index t = 0; t < strip.tiles; t += V::lanes)
              V::zero().store(line + p * parity + point * strip.point + t);
      }
    }
}

// Outputs of tiles [first, first + 2 registers) of a strip of `rows` rows, which are `left` tiles, to one filter's.
template <class T>
DLKIT_INLINE void store_outputs(const Vec<T> (*y)[kStride2Outputs], int vectors, const ConvShape& s,
                                const Stride2Strip& strip, Index first, Index left, T* to) {
  using V = Vec<T>;
  const bool whole = s.out_w == kStride2Outputs * strip.tiles;  // rows follow each other
  T turned[2 * kStride2Outputs * V::lanes];
  T* place = whole ? to + kStride2Outputs * first : turned;
  Index n = whole ? kStride2Outputs * left : 2 * kStride2Outputs * V::lanes;
#pragma GCC unroll 2
  for (int j = 0; j < vectors; ++j) {
    V even[2], odd[2], out[4];
    join_pairs(y[j][0], y[j][2], even[0], even[1]);
    join_pairs(y[j][1], y[j][3], odd[0], odd[1]);
    join_pairs(even[0], odd[0], out[0], out[1]);
    join_pairs(even[1], odd[1], out[2], out[3]);
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k, n -= V::lanes, place += V::lanes)
      if (n >= V::lanes)
        out[k].store(place);
      else if (n > 0)
        out[k].store(place, V::first(n));
  }
  if (whole) return;
  const T* from = turned;
  Index row = first / strip.tiles, tile = first % strip.tiles, tiles = smaller(left, vectors * V::lanes);
  while (tiles > 0) {
    const Index here = smaller(tiles, strip.tiles - tile), col = kStride2Outputs * tile;
    const Index count = smaller(kStride2Outputs * here, s.out_w - col);
    T* const at = to + row * s.out_w + col;
    Index i = 0;
    for (; i + V::lanes <= count; i += V::lanes) V::load(from + i).store(at + i);
    for (; i < count; ++i) at[i] = from[i];
    from += kStride2Outputs * here;
    tiles -= here;
    tile = 0;
    ++row;
  }
}

template <class T, int Taps>
void forward(const ConvForward<T>& p, const Stride2Strip& strip, const T* packed, Index begin, Index end) {
  using V = Vec<T>;
  using X = Points<T, Taps>;
  constexpr Index kWidth = 2 * V::lanes, kRows = StripShapes<T>::rows_of_two;
  const ConvShape& s = p.shape;
  const EvenSplit filters(s.filters, kRows);
  const Index depth = strip.depth(false);
  T* const planes = scratch<T>(Slot::columns, static_cast<std::size_t>(X::points * strip.point));
  T* const work = scratch<T>(Slot::windows, static_cast<std::size_t>(24 * strip.columns));
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>(X::points * kRows * kWidth));
  Index* const offsets = scratch<Index>(Slot::pack_b, static_cast<std::size_t>(depth));
  for (Index k = 0; k < depth; ++k) offsets[k] = strip.offset(s, k);
  // Past the lines is read what no tile keeps; it is set, that no trap or slow number lies there.
  for (Index i = 0; i < X::points * strip.point; ++i) planes[i] = 0;

  for (Index unit = begin; unit < end; ++unit) {
    const Index image = unit / strip.parts, row = unit % strip.parts * strip.rows;
    const Index rows = smaller(strip.rows, s.out_h - row), tiles = rows * strip.tiles;
    lay_out<T, Taps>(s, strip, p.x + image * s.channels * s.in_size(), row, rows, work, planes);
    T* const y = p.y + image * s.filters * s.out_size() + row * s.out_w;
    for (Index tile = 0; tile < tiles; tile += kWidth) {
      const int vectors = tiles - tile > V::lanes ? 2 : 1;
      for (Index part = 0; part < filters.parts; ++part) {
        const Index first = filters.begin(part), count = filters.size(part);
        const StripKernel<T> kernel = strip_kernel<T>(static_cast<int>(count), vectors);
        StripTile<T> t;
        t.offsets = offsets;
        t.bias = nullptr;
        t.y_stride = kWidth;
        t.panels = 1;
        t.left = kWidth;
        t.relu = false;
        const T* weight = packed;
        T* const to = y + first * s.out_size() + tile / strip.tiles * s.out_w + kStride2Outputs * (tile % strip.tiles);
        for (int point = 0; point < X::points; ++point) {
          t.depth = strip.depth(point + 1 == X::points);
          t.weight = weight + first * t.depth;
          t.x = planes + point * strip.point + tile;
          t.y = sums + point * kRows * kWidth;
          // The outputs' places are fetched while the sums are formed: a few lines at each point.
          for (Index i = point; i < count; i += X::points)
            for (Index k = 0; k < kStride2Outputs * kWidth; k += 64 / static_cast<Index>(sizeof(T)))
              __builtin_prefetch(to + i * s.out_size() + k, 1);
          kernel(t);
          weight += s.filters * t.depth;
        }
        for (Index i = 0; i < count; ++i) {
          const V start = p.bias != nullptr ? V::broadcast(p.bias[first + i]) : V::zero();
          V out[2][kStride2Outputs];
          for (int j = 0; j < vectors; ++j) {
            V m[X::points];
#pragma GCC unroll 8
            for (int point = 0; point < X::points; ++point)
              m[point] = V::load(sums + (point * kRows + i) * kWidth + j * V::lanes);
            X::output(m, start, out[j]);
            if (p.relu)
#pragma GCC unroll 4
              for (int k = 0; k < X::outputs; ++k) out[j][k] = V::max(V::zero(), out[j][k]);
          }
          store_outputs<T>(out, vectors, s, strip, tile, tiles - tile, y + (first + i) * s.out_size());
        }
      }
    }
  }
}

template <class T>
constexpr Stride2Kernels<T> kKernels = {{forward<T, 3>, forward<T, 4>}, StripShapes<T>::rows_of_two, Vec<T>::lanes};

}  // namespace

extern const Stride2Table stride2_table;
const Stride2Table stride2_table = {kKernels<float>, kKernels<double>};

}  // namespace dlkit::DLKIT_TARGET
