// Direct convolution in a channel-blocked layout: the loops of a block and the micro-kernel.
//
//   for each block of the output, some rows of an image, of a group:
//     turn its input: (channels, rows, columns) to (blocks of channels, rows, columns, a vector of channels), zeros for
//     the padding of columns; rows outside are left out, and so are their taps
//     for each panel of two vectors of filters, and each row of the block:
//       for each tile of pixels of the row: 14 (or 6) pixels x 2 vectors of filters in registers, one sum over
//       blocks of channels, taps, channels: two loads of the weight, and for each pixel a broadcast, two multiply-adds
//     turn back the panel's output, from pixels x filters to planes
//
// Short rows and odd numbers of vectors get tiles of 9 (4) pixels x 3 vectors: how many multiply-adds there are for
// each step is what counts. A kernel of 1 x 1 without padding reads each pixel once for a panel: it has no use for the
// turned input, and broadcasts from the image where that lies, a channel's pixels a plane apart.
//
// 2 FLOPs for each filter, pixel, channel and tap. 28 multiply-adds take 16 loads and 30 cycles (Zen 4; 18 take 20):
// bound by the multipliers. The panel of the weight streams from the second-level cache, 128 bytes in 28 cycles, half
// of what an implicit GEMM's panel of pixels takes there; the tile's pixels stay in the first, each read by all taps.
// Turning the input and the output costs 7 to 15 cycles for each vector of either, by where the arrays are: of a 3 x 3
// convolution of 64 channels to 128 with a stride of 2 the 5 and 2 per cent of the time. What the next block reads, and
// what a tile writes, is fetched into the second-level cache between the steps of the sum.
//
// Source: Georganas et al. 2018, Zhang, Franchetti & Low 2018 (see direct.cpp).
#include <cstdint>
#include <utility>

#include "conv/direct.h"
#include "core/scratch.h"
#include "core/simd.h"
#include "core/transpose.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr int kMostVectors = 3;

// Most pixels of a tile. With 28 or 27 accumulators of 32 registers, or 12 of 16, there are enough left for the weight
// and one pixel.
template <class T>
constexpr int pixels_of(int vectors) {
  if (Vec<T>::registers >= 32) return vectors == 3 ? 9 : 14;
  return vectors == 3 ? 4 : 6;
}

template <class T>
Index tile_pixels(Index vectors) {
  return pixels_of<T>(static_cast<int>(vectors));
}

constexpr Index kLine = 64;

// Pieces of memory, `stride` bytes apart, to be fetched into the second-level cache line by line.
struct Ahead {
  const char* piece = nullptr;
  Index stride = 0, pieces = 0, bytes = 0, done = 0;

  Index lines() const { return pieces * (bytes / kLine + 1); }
  DLKIT_INLINE void fetch(Index lines) {
    for (; lines > 0 && pieces > 0; --lines) {
      const Index before = static_cast<Index>(reinterpret_cast<std::uintptr_t>(piece) % kLine);
      __builtin_prefetch(piece - before + done, 0, 2);
      done += kLine;
      if (done < before + bytes) continue;
      done = 0;
      piece += stride;
      --pieces;
    }
  }
};

template <class T>
struct Tile {
  const T* x;  // the first pixel
  Index x_pixel, x_channel, x_block;
  const T* weight;
  Index weight_block;
  const DirectStep* steps;
  Index step_count, channels;
  const T* bias;  // or null
  bool relu;
  T* out;
  Index out_pixel;
  // To be fetched with each step: of what is read next; of write_count places to write to.
  Ahead* ahead;
  Index reads, writes, write_count;
  const T* write;
  Index write_stride;
};

template <class T, int Pixels, int Vectors>
__attribute__((noinline)) void direct_tile(const Tile<T>& t) {
  using V = Vec<T>;
  constexpr int kGroups = (Pixels + 2) / 3;
  constexpr int kWidth = Vectors * V::lanes;
  V sum[Pixels][Vectors];
#pragma GCC unroll 32
  for (int i = 0; i < Pixels; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j] = V::zero();

  const Index pixel = t.x_pixel, channel = t.x_channel;
  const T* write = t.write;
  Index writes_left = t.write_count;
  const T* block = t.x;
  const T* weight = t.weight;
  for (Index c = 0; c < t.channels; c += V::lanes) {
    const Index count = smaller(V::lanes, t.channels - c);
    for (Index s = 0; s < t.step_count; ++s) {
      t.ahead->fetch(t.reads);
      for (Index i = 0; i < t.writes && writes_left > 0; ++i, --writes_left, write += t.write_stride)
        __builtin_prefetch(write, 1, 2);

      const T* w = weight + t.steps[s].tap * count * kWidth;
      // One pointer for three pixels: x, x + pixel, x + 2 * pixel are addresses that x86 forms within the load.
      const T* x[kGroups];
#pragma GCC unroll 16
      for (int g = 0; g < kGroups; ++g) x[g] = block + t.steps[s].offset + 3 * g * pixel;
      for (Index k = count; k > 0; --k) {
        V filters[Vectors];
#pragma GCC unroll 4
        for (int j = 0; j < Vectors; ++j) {
          filters[j] = V::load(w + j * V::lanes);
          hold(filters[j]);
        }
#pragma GCC unroll 32
        for (int i = 0; i < Pixels; ++i) {
          const V value = V::broadcast(*(x[i / 3] + (i % 3) * pixel));
#pragma GCC unroll 4
          for (int j = 0; j < Vectors; ++j) sum[i][j] = V::fma(value, filters[j], sum[i][j]);
        }
#pragma GCC unroll 16
        for (int g = 0; g < kGroups; ++g) x[g] += channel;
        w += kWidth;
      }
    }
    block += t.x_block;
    weight += t.weight_block;
  }

  if (t.bias != nullptr) {
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) {
      const V bias = V::load(t.bias + j * V::lanes);
#pragma GCC unroll 32
      for (int i = 0; i < Pixels; ++i) sum[i][j] = sum[i][j] + bias;
    }
  }
  if (t.relu) {
#pragma GCC unroll 32
    for (int i = 0; i < Pixels; ++i)
#pragma GCC unroll 4
      for (int j = 0; j < Vectors; ++j) sum[i][j] = V::max(V::zero(), sum[i][j]);
  }
#pragma GCC unroll 32
  for (int i = 0; i < Pixels; ++i)
#pragma GCC unroll 4
    for (int j = 0; j < Vectors; ++j) sum[i][j].store(t.out + i * t.out_pixel + j * V::lanes);
}

template <class T>
using TileKernel = void (*)(const Tile<T>&);

template <class T, int Vectors, int... Pixel>
constexpr TileKernel<T> pick(Index pixels, std::integer_sequence<int, Pixel...>) {
  constexpr TileKernel<T> table[] = {direct_tile<T, Pixel + 1, Vectors>...};
  return table[pixels - 1];
}

template <class T, int Vectors>
TileKernel<T> tile_of(Index pixels) {
  return pick<T, Vectors>(pixels, std::make_integer_sequence<int, pixels_of<T>(Vectors)>{});
}

// A panel: some vectors of filters of a group.
template <class T>
struct Panel {
  Index first, filters, vectors, width;  // width: of the vectors

  Panel(const DirectConv<T>& p, Index panel) {
    constexpr Index kLanes = Vec<T>::lanes;
    const EvenSplit split(divide_up(p.filters, kLanes), p.panel_vectors);
    vectors = split.size(panel);
    width = vectors * kLanes;
    first = split.begin(panel) * kLanes;
    filters = smaller(width, p.filters - first);
  }
  T* weight(const DirectConv<T>& p, Index group) const {
    return p.packed + group * p.packed_group + first * p.channels * p.taps;
  }
};

// --- the weight ------------------------------------------------------------------------------------------------------

// A matrix of `rows` rows, at most a vector's lanes, column by column: store(j, column), rows that are not there as
// zeros.
template <class T, class Store>
DLKIT_INLINE void turn(const T* from, Index stride, Index rows, Index cols, const Store& store) {
  using V = Vec<T>;
  Index j = 0;
  if (rows == V::lanes)
    for (; j + V::lanes <= cols; j += V::lanes)
      transpose_block(from + j, stride, [&](int i, V x) __attribute__((always_inline)) { store(j + i, x); });
  for (; j < cols; j += V::lanes) {
    T copy[V::lanes * V::lanes];
    const Index left = smaller(V::lanes, cols - j);
    const auto mask = V::first(left);
    for (Index i = 0; i < V::lanes; ++i) {
      const V row = i < rows ? V::load(from + i * stride + j, mask) : V::zero();
      row.store(copy + i * V::lanes);
    }
    transpose_block(copy, V::lanes, [&](int i, V x) __attribute__((always_inline)) {
      if (i < left) store(j + i, x);
    });
  }
}

template <class T>
void pack(const DirectConv<T>& p, Index group, Index panel) {
  using V = Vec<T>;
  const Panel<T> at(p, panel);
  const Index width = at.width;
  const T* const from = p.weight + group * p.weight_group + at.first * p.weight_filter;
  T* const packed = at.weight(p, group);
  if (p.taps == 1 && p.weight_filter == 1) {  // filters follow each other
    for (Index c = 0; c < p.channels; ++c)
      for (Index v = 0; v < at.vectors; ++v)
        V::load(from + c * p.weight_channel + v * V::lanes, V::first(at.filters - v * V::lanes))
            .store(packed + c * width + v * V::lanes);
    return;
  }
  for (Index v = 0; v < at.vectors; ++v) {
    const Index rows = smaller(V::lanes, at.filters - v * V::lanes);
    const T* const filter = from + v * V::lanes * p.weight_filter;
    for (Index c = 0; c < p.channels; c += V::lanes) {
      const Index count = smaller(V::lanes, p.channels - c);
      T* const to = packed + c * p.taps * width + v * V::lanes;
      if (p.weight_channel == p.taps) {  // a filter's channels and taps follow each other
        Index channel = 0, tap = 0, next = 0;
        turn(filter + c * p.taps, p.weight_filter, rows, count * p.taps, [&](Index k, V x) {
          for (; next < k; ++next)
            if (++tap == p.taps) tap = 0, ++channel;
          x.store(to + (tap * count + channel) * width);
        });
        continue;
      }
      for (Index channel = 0; channel < count; ++channel) {
        const T* const row = filter + (c + channel) * p.weight_channel;
        turn(row, p.weight_filter, rows, p.taps,
             [&](Index tap, V x) { x.store(to + (tap * count + channel) * width); });
      }
    }
  }
}

// --- the input -------------------------------------------------------------------------------------------------------

// Of a block along an axis: what it reads, [begin, end).
struct Span {
  Index begin, end;

  Span(const DirectAxis& axis, Index first, Index count) {
    const Index last = first + count - 1;
    begin = first / axis.out_step * axis.in_step + axis.least;
    end = last / axis.out_step * axis.in_step + axis.most + 1;
  }
  void clip(Index inputs) {
    begin = begin < 0 ? 0 : begin;
    end = smaller(end, inputs);
    if (end < begin) end = begin;
  }
  Index size() const { return end - begin; }
};

// `count` columns of a row of `channels` channels, a plane apart.
template <class T>
DLKIT_INLINE void turn_row(const T* from, Index plane, Index channels, Index count, T* to) {
  using V = Vec<T>;
  if (channels < V::lanes || count < V::lanes)
    return turn(from, plane, channels, count,
                [&](Index j, V x) __attribute__((always_inline)) { x.store(to + j * V::lanes); });
  // The last vector of columns overlaps the one before. Of planes a power of two apart the first-level cache does not
  // hold all rows of a block: these are read once, to where it does.
  const bool collides = plane * static_cast<Index>(sizeof(T)) % 2048 == 0;
  for (Index j = 0;; j = smaller(j + V::lanes, count - V::lanes)) {
    const auto store = [&](int i, V x) __attribute__((always_inline)) { x.store(to + (j + i) * V::lanes); };
    if (collides) {
      T copy[V::lanes * V::lanes];
#pragma GCC unroll 16
      for (Index i = 0; i < V::lanes; ++i) V::load(from + j + i * plane).store(copy + i * V::lanes);
      transpose_block(copy, V::lanes, store);
    } else {
      transpose_block(from + j, plane, store);
    }
    if (j + V::lanes >= count) return;
  }
}

template <class T>
void turn_input(const DirectConv<T>& p, const T* x, const Span& rows, const Span& cols, T* to) {
  using V = Vec<T>;
  const Index left = cols.begin < 0 ? smaller(-cols.begin, cols.size()) : 0;
  const Index first = cols.begin + left, inside = smaller(cols.end, p.cols.inputs) - first;
  const Index width = inside < 0 ? 0 : inside;
  for (Index c = 0; c < p.channels; c += V::lanes) {
    const T* from = x + c * p.x_channel + rows.begin * p.cols.inputs + first;
    const Index channels = smaller(V::lanes, p.channels - c);
    for (Index row = 0; row < rows.size(); ++row, from += p.cols.inputs) {
      for (Index j = 0; j < left; ++j, to += V::lanes) V::zero().store(to);
      if (width > 0) turn_row(from, p.x_channel, channels, width, to);
      to += width * V::lanes;
      for (Index j = left + width; j < cols.size(); ++j, to += V::lanes) V::zero().store(to);
    }
  }
}

// --- the output ------------------------------------------------------------------------------------------------------

// `count` pixels of a vector of filters, `pixel` elements apart, to their planes.
template <class T>
void turn_back(const T* from, Index pixel, Index count, T* to, Index plane, Index filters) {
  using V = Vec<T>;
  const auto part = [&](Index first, Index end) {
    const auto mask = V::first(end - first);
    transpose_block(from + first * pixel, pixel, [&](int f, V x) __attribute__((always_inline)) {
      if (f < filters) x.store(to + f * plane + first, mask);
    });
  };
  Index p = 0;
  if (filters == V::lanes) {
    // Whole cache lines where all planes begin alike: else a line is written in two parts, and of planes a power of two
    // apart the first-level cache does not hold both.
    const Index past = static_cast<Index>(reinterpret_cast<std::uintptr_t>(to) / sizeof(T)) % V::lanes;
    if (past > 0 && plane % V::lanes == 0 && count > V::lanes) part(0, p = V::lanes - past);
    for (; p + V::lanes <= count; p += V::lanes)
      transpose_block(from + p * pixel, pixel,
                      [&](int f, V x) __attribute__((always_inline)) { x.store(to + f * plane + p); });
  }
  for (; p < count; p += V::lanes) part(p, smaller(count, p + V::lanes));
}

// --- a block ---------------------------------------------------------------------------------------------------------

template <class T>
struct Unit {
  Index image, group, row, col, height, width;  // of the output

  Unit(const DirectConv<T>& p, Index unit) {
    const Index cols = unit % p.cols.blocks, rows = unit / p.cols.blocks % p.rows.blocks;
    const Index rest = unit / p.cols.blocks / p.rows.blocks;
    group = rest % p.groups;
    image = rest / p.groups;
    row = p.rows.begin(rows);
    height = p.rows.size(rows);
    col = p.cols.begin(cols);
    width = p.cols.size(cols);
  }
  const T* x(const DirectConv<T>& p) const { return p.x + image * p.x_image + group * p.x_group; }
};

// What a block reads: of each channel's rows one piece.
template <class T>
Ahead ahead_of(const DirectConv<T>& p, const Unit<T>& next) {
  Span rows(p.rows, next.row, next.height), cols(p.cols, next.col, next.width);
  rows.clip(p.rows.inputs);
  cols.clip(p.cols.inputs);
  if (rows.size() == 0 || cols.size() == 0) return {};
  constexpr Index kItem = sizeof(T);
  return {reinterpret_cast<const char*>(next.x(p) + rows.begin * p.cols.inputs + cols.begin), p.x_channel * kItem,
          p.channels, ((rows.size() - 1) * p.cols.inputs + cols.size()) * kItem};
}

template <class T>
struct BlockPass {
  using V = Vec<T>;
  const DirectConv<T>& p;
  const Unit<T>& unit;
  T *input, *out;
  DirectStep* steps;
  Ahead& ahead;
  Span rows, cols;
  Tile<T> t{};

  void run(Index panel, Index panel_end) {
    rows.clip(p.rows.inputs);
    if (!p.in_place) turn_input(p, unit.x(p), rows, cols, input);
    t.x_pixel = p.cols.in_step * (p.in_place ? 1 : V::lanes);
    t.x_channel = p.in_place ? p.x_channel : 1;
    t.x_block = V::lanes * (p.in_place ? p.x_channel : rows.size() * cols.size());
    t.channels = p.channels;
    t.relu = p.relu;
    const Index blocks = divide_up(p.channels, V::lanes);
    const Index tiles = (panel_end - panel) * unit.height * divide_up(unit.width, tile_pixels<T>(p.panel_vectors));
    t.ahead = &ahead;
    t.reads = divide_up(ahead.lines(), tiles * blocks * divide_up(p.taps, p.rows.out_step * p.cols.out_step));
    for (; panel < panel_end; ++panel) run_panel(panel);
  }

  void run_panel(Index panel) {
    const Panel<T> at(p, panel);
    const Index first = at.first, filters = at.filters, vectors = at.vectors, width = at.width;
    t.weight = at.weight(p, unit.group);
    t.weight_block = V::lanes * p.taps * width;
    t.out_pixel = p.cols.out_step * width;
    T bias[kMostVectors * V::lanes];
    if (p.bias != nullptr)
      for (Index f = 0; f < width; ++f) bias[f] = f < filters ? p.bias[unit.group * p.filters + first + f] : T(0);
    t.bias = p.bias != nullptr ? bias : nullptr;
    T* const y = p.y + unit.image * p.y_image + unit.group * p.y_group + first * p.y_filter +
                 unit.row * p.cols.outputs + unit.col;
    for (Index i = 0; i < unit.height; ++i)
      for (Index phase = 0; phase < p.cols.out_step; ++phase)
        run_row(i, phase, vectors, out + i * unit.width * width, y + i * p.cols.outputs, filters);

    for (Index v = 0; v < vectors; ++v) {
      const T* from = out + v * V::lanes;
      T* to = y + v * V::lanes * p.y_filter;
      const Index count = smaller(V::lanes, filters - v * V::lanes);
      if (unit.width == p.cols.outputs)
        turn_back(from, width, unit.height * unit.width, to, p.y_filter, count);
      else
        for (Index i = 0; i < unit.height; ++i)
          turn_back(from + i * unit.width * width, width, unit.width, to + i * p.cols.outputs, p.y_filter, count);
    }
  }

  // The outputs of a row of the block that are in a phase of the columns.
  void run_row(Index i, Index phase, Index vectors, T* to, T* y, Index filters) {
    const DirectPhase& along = p.cols.phases[phase];
    const Index row = (unit.row + i) / p.rows.out_step * p.rows.in_step;
    const DirectPhase& down = p.rows.phases[(unit.row + i) % p.rows.out_step];
    // Outputs are first, first + 1, ... of the phase.
    const Index first = along.first >= unit.col ? 0 : divide_up(unit.col - along.first, p.cols.out_step);
    const Index last = unit.col + unit.width - 1 - along.first;
    if (last < 0) return;
    const Index count = last / p.cols.out_step + 1 - first;
    if (count <= 0) return;

    // What is read: its first row and column, and elements from one to the next.
    const T* const source = p.in_place ? unit.x(p) : input;
    const Index top = p.in_place ? 0 : rows.begin, left = p.in_place ? 0 : cols.begin;
    const Index item = p.in_place ? 1 : V::lanes, pitch = (p.in_place ? p.cols.inputs : cols.size()) * item;
    t.steps = steps;
    t.step_count = 0;
    for (Index u = 0; u < down.tap_count; ++u) {
      const Index at = row + down.taps[u].shift;
      if (at < 0 || at >= p.rows.inputs) continue;
      for (Index v = 0; v < along.tap_count; ++v)
        steps[t.step_count++] = {(at - top) * pitch + (first * p.cols.in_step + along.taps[v].shift - left) * item,
                                 down.taps[u].number * p.kernel_w + along.taps[v].number};
    }
    const EvenSplit tiles(count, tile_pixels<T>(p.panel_vectors));
    const Index width = vectors * V::lanes, chunks = t.step_count * divide_up(p.channels, V::lanes);
    t.writes = chunks > 0 ? divide_up(filters, chunks) : 0;
    t.write_count = filters;
    t.write_stride = p.y_filter;
    for (Index tile = 0; tile < tiles.parts; ++tile) {
      const Index j = tiles.begin(tile), size = tiles.size(tile);
      const Index col = along.first + (first + j) * p.cols.out_step - unit.col;
      t.x = source + j * t.x_pixel;
      t.out = to + col * width;
      t.write = y + col;
      (vectors == 3 ? tile_of<T, 3>(size) : vectors == 2 ? tile_of<T, 2>(size) : tile_of<T, 1>(size))(t);
    }
  }
};

template <class T>
void run(const DirectConv<T>& p, Index unit, Index unit_end, Index panel, Index panel_end) {
  T* const input = scratch<T>(Slot::pack_b, static_cast<std::size_t>(p.input_size));
  T* const out = scratch<T>(Slot::result, static_cast<std::size_t>(p.out_size));
  DirectStep* const steps = scratch<DirectStep>(Slot::windows, static_cast<std::size_t>(p.taps));
  for (; unit < unit_end; ++unit) {
    const Unit<T> at(p, unit);
    Ahead ahead;
    if (unit + 1 < unit_end) ahead = ahead_of(p, Unit<T>(p, unit + 1));
    BlockPass<T>{p, at, input, out, steps, ahead, {p.rows, at.row, at.height}, {p.cols, at.col, at.width}}.run(
        panel, panel_end);
  }
}

}  // namespace

extern const DirectKernels<float> direct_float;
extern const DirectKernels<double> direct_double;
const DirectKernels<float> direct_float = {Vec<float>::lanes, tile_pixels<float>, pack<float>, run<float>};
const DirectKernels<double> direct_double = {Vec<double>::lanes, tile_pixels<double>, pack<double>, run<double>};

}  // namespace dlkit::DLKIT_TARGET
