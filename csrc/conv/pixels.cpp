// The loops of implicit GEMM around its micro-kernel.
//
//   for each panel of output pixels, 3 or 2 vectors wide, numbered through rows and images:
//     for each block of the sum (channels x taps):
//       the first tile of filters gathers the panel's pixels from the image and leaves a packed copy,
//       the other tiles read the copy, which stays in the second-level cache
//
// 2 FLOPs for each filter, pixel, channel and tap; im2col's matrix exists only as one panel. Copying a panel costs 6
// cycles of stores a step (Zen 4), hidden behind the first tile's multiplications. Bound by the multiply-adds from
// about 16 filters on. A panel runs over the ends of rows and images: a row of 14 pixels or an image of 49 wastes no
// lanes, and only the last panel has any to waste. A panel in three images or more computes into a buffer of its own.
//
// Without masked loads (everything but AVX-512) a panel is copied run by run before its first tile.
//
// Source of the idea: cuDNN (Chetlur et al. 2014), which forms the tiles of im2col's matrix on the fly.
#include "conv/pixels.h"

#include "conv/gather_taps.h"
#include "conv/pixel_tile.h"
#include "core/scratch.h"
#include "matmul/panels.h"
#include "matmul/split.h"

namespace dlkit::DLKIT_TARGET {
namespace {

template <class T>
constexpr int kMostPixels = kPanelVectors * Vec<T>::lanes;

// Pixels as panels: as many of main_vectors as leave a remainder that other_vectors divides; a single vector where
// there is no more.
template <class T>
struct PixelPanels {
  // Filters are few: where registers are, too, 6 of them by 2 vectors fit more often than 4 by 3.
  static constexpr bool tall = Vec<T>::registers < 32;
  static constexpr int other_vectors = tall ? 3 : 2;
  int main_vectors = tall ? 2 : 3;
  Index main = 0, other = 0;

  explicit PixelPanels(Index pixels) {
    const Index vectors = divide_up(pixels, Vec<T>::lanes);
    if (vectors == 1) {
      main_vectors = 1;
      main = 1;
      return;
    }
    while ((vectors - other * other_vectors) % main_vectors != 0) ++other;
    main = (vectors - other * other_vectors) / main_vectors;
  }
  Index count() const { return main + other; }
  int vectors(Index panel) const { return panel < main ? main_vectors : other_vectors; }
  Index begin(Index panel) const {
    return Vec<T>::lanes * (smaller(panel, main) * main_vectors + (panel > main ? panel - main : 0) * other_vectors);
  }
};

DLKIT_INLINE PixelBits bits_between(Index begin, Index end) {
  return begin >= end ? 0 : (end >= 64 ? ~PixelBits{0} : (PixelBits{1} << end) - 1) & ~((PixelBits{1} << begin) - 1);
}

// Pixels of a panel that follow each other in a row of the output.
struct Run {
  int lane, count;
  Index row, col;  // of the output
  Index from;      // where the source has its pixel at lane 0 of the panel, had it so many
};

// Pixels of a panel in one image.
struct Segment {
  int lane, count;
  Index image, pixel;
};

template <class T>
struct Panel {
  static constexpr int kMost = kMostPixels<T>;
  int vectors, count;  // pixels, of vectors * lanes
  int runs = 0, segments = 0;
  Run run[kMost];
  Segment segment[kMost];
  // Pieces of the vectors: pixels whose places in the source follow each other.
  int pieces[kPanelVectors];
  Index piece_from[kPanelVectors][Vec<T>::lanes];
  PixelBits piece_bits[kPanelVectors][Vec<T>::lanes];

  Panel(const PixelProblem<T>& p, Index first, int panel_vectors) : vectors(panel_vectors) {
    const Index size = p.out_h * p.out_w, left = p.pixels() - first;
    count = static_cast<int>(smaller(left, vectors * Vec<T>::lanes));
    Index image = first / size, pixel = first % size, row = pixel / p.out_w, col = pixel % p.out_w;
    for (int lane = 0; lane < count;) {
      if (lane == 0 || pixel == 0)
        segment[segments++] = {lane, static_cast<int>(smaller(size - pixel, count - lane)), image, pixel};
      const int length = static_cast<int>(smaller(p.out_w - col, count - lane));
      run[runs++] = {lane, length, row, col, image * p.image_stride + row * p.row_stride + col - lane};
      lane += length;
      pixel += length;
      col = 0;
      if (++row == p.out_h) {
        row = 0;
        pixel = 0;
        ++image;
      }
    }
    if (kGathers) find_pieces();
  }

  void find_pieces() {
    for (int v = 0; v < kPanelVectors; ++v) pieces[v] = 0;
    for (int r = 0; r < runs; ++r) {
      const Index begin = run[r].lane, end = begin + run[r].count;
      for (Index v = begin / Vec<T>::lanes; v * Vec<T>::lanes < end; ++v) {
        const PixelBits bits = bits_between(begin, end) & bits_between(v * Vec<T>::lanes, (v + 1) * Vec<T>::lanes);
        const int last = pieces[v] - 1;
        if (last >= 0 && piece_from[v][last] == run[r].from) {
          piece_bits[v][last] |= bits;
        } else {
          piece_from[v][pieces[v]] = run[r].from;
          piece_bits[v][pieces[v]++] = bits;
        }
      }
    }
  }

  int most_pieces() const {
    int most = 1;
    for (int v = 0; v < vectors; ++v) most = pieces[v] > most ? pieces[v] : most;
    return most;
  }

  // The pixels whose row, moved by the tap's line, is in its plane.
  PixelBits rows_inside(const TapLine& line) const {
    PixelBits bits = 0;
    for (int r = 0; r < runs; ++r) {
      const Index row = run[r].row + line.shift;
      if (row >= 0 && row < line.extent) bits |= bits_between(run[r].lane, run[r].lane + run[r].count);
    }
    return bits;
  }
  PixelBits cols_inside(const TapLine& line) const {
    PixelBits bits = 0;
    for (int r = 0; r < runs; ++r) {
      const Index col = run[r].col + line.shift, lane = run[r].lane;
      const Index skip = col < 0 ? smaller(-col, run[r].count) : 0;
      const Index keep = line.extent - col < run[r].count ? line.extent - col : run[r].count;
      bits |= bits_between(lane + skip, lane + keep);
    }
    return bits;
  }
};

// The working memory of a call.
template <class T>
struct Workspace {
  T* panel;        // depth of a block x kMostPixels, and a vector to write past the end
  T* output;       // filters x kMostPixels
  TapStep* steps;  // of the taps
  PixelBits* cols_inside;
  Index max_depth;

  static std::size_t up(std::size_t bytes) { return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine; }
  static std::size_t panel_bytes(Index depth) {
    return up(static_cast<std::size_t>(smaller(depth, panel_depth<T>()) * kMostPixels<T> + Vec<T>::lanes) * sizeof(T));
  }
  static std::size_t output_bytes(Index filters) {
    return up(static_cast<std::size_t>(filters * kMostPixels<T>) * sizeof(T));
  }
  static std::size_t bytes(Index depth, Index taps, Index filters) {
    return panel_bytes(depth) + output_bytes(filters) +
           up(static_cast<std::size_t>(taps) * (sizeof(TapStep) + sizeof(PixelBits)));
  }

  Workspace(const PixelProblem<T>& p, Index filters) {
    max_depth = panel_depth<T>();
    char* memory = static_cast<char*>(scratch_bytes(Slot::pack_b, bytes(p.depth(), p.taps(), filters)));
    panel = reinterpret_cast<T*>(memory);
    output = reinterpret_cast<T*>(memory += panel_bytes(p.depth()));
    steps = reinterpret_cast<TapStep*>(memory += output_bytes(filters));
    cols_inside = reinterpret_cast<PixelBits*>(steps + p.taps());
  }
};

// Whether some tap of some pixel is outside its plane.
template <class T>
bool reads_outside(const PixelProblem<T>& p) {
  for (Index u = 0; u < p.row_count; ++u)
    if (p.rows[u].shift < 0 || p.rows[u].shift + p.out_h > p.rows[u].extent) return true;
  for (Index v = 0; v < p.col_count; ++v)
    if (p.cols[v].shift < 0 || p.cols[v].shift + p.out_w > p.cols[v].extent) return true;
  return false;
}

#if defined(DLKIT_TARGET_AVX512)

// A panel whose vectors lie in any number of pieces.
template <class T>
void pack_pieces(const PixelProblem<T>& p, const Panel<T>& panel, bool padded, const TapStep* steps, Index first,
                 Index depth, T* to) {
  using V = Vec<T>;
  Index step = first % p.taps();
  const T* from = p.source + first / p.taps() * p.channel_stride;
  for (Index k = 0; k < depth; ++k, to += panel.vectors * V::lanes) {
    const PixelBits inside = padded ? steps[step].inside[0] : ~PixelBits{0};
    for (int v = 0; v < panel.vectors; ++v) {
      V x = V::zero();
      for (int i = 0; i < panel.pieces[v]; ++i)
        x = x.merge(from + steps[step].offset + panel.piece_from[v][i] + v * V::lanes,
                    mask_of<T>(panel.piece_bits[v][i] & inside, v));
      x.store(to + v * V::lanes);
    }
    if (++step == p.taps()) {
      step = 0;
      from += p.channel_stride;
    }
  }
}

#else

// A panel run by run. Whole vectors are written: what they spill is to the right, where the next run is written later.
template <class T>
void pack_runs(const PixelProblem<T>& p, const Panel<T>& panel, const TapStep* steps, Index first, Index depth, T* to) {
  using V = Vec<T>;
  const int width = panel.vectors * V::lanes;
  Index step = first % p.taps();
  const T* from = p.source + first / p.taps() * p.channel_stride;
  for (Index k = 0; k < depth; ++k, to += width) {
    for (int r = 0; r < panel.runs; ++r) {
      const Run& run = panel.run[r];
      const T* const pixels = from + steps[step].offset + run.from;
      const int end = run.lane + run.count;
      int lane = run.lane;
      for (; lane + V::lanes <= end; lane += V::lanes) V::load(pixels + lane).store(to + lane);
      if (end - lane > 2)
        V::load(pixels + lane, V::first(end - lane)).store(to + lane);
      else
        for (; lane < end; ++lane) to[lane] = pixels[lane];
    }
    for (int lane = panel.count; lane < width; ++lane) to[lane] = 0;
    if (++step == p.taps()) {
      step = 0;
      from += p.channel_stride;
    }
  }
}

#endif

// One panel, all blocks of the sum.
template <class T>
struct PanelPass {
  using V = Vec<T>;
  using Shapes = TileShapes<T>;

  const PixelProblem<T>& p;
  const Workspace<T>& work;
  const Panel<T>& panel;
  bool padded;
  Index filter, filters;
  const T* next;  // the first pixel of the panel that follows, or null

  void run() const {
    const int most_pieces = kGathers ? panel.most_pieces() : kGatherPieces + 1;
    const bool gather = gathers<T>(panel.vectors) && most_pieces <= kGatherPieces;
    if (padded) find_inside(gather);
    const bool two = kGathers && panel.segments == 2, whole = panel.segments == 1 || two;
    const Segment& first = panel.segment[0];
    const Index width = panel.vectors * V::lanes;

    PixelTile<T> t;
    const Segment& second = panel.segment[1];
    t.in_first = bits_between(0, first.count);
    t.in_second = bits_between(first.count, panel.count);
    t.last_cols = whole ? static_cast<int>(panel.count - (width - V::lanes)) : V::lanes;
    t.c_stride = whole ? p.y_filter_stride : width;
    t.panel = work.panel;
    t.a_stride = p.a_stride;
    t.a_step = p.a_step;
    if (gather) set_pieces(t);
    T* const c = whole ? p.y + first.image * p.y_image_stride + first.pixel + filter * p.y_filter_stride : work.output;

    const EvenSplit depths(p.depth(), work.max_depth);
    Index fetched = 0;  // channels of the panel that follows
    for (Index part = 0; part < depths.parts; ++part) {
      const Index k = depths.begin(part);
      t.depth = depths.size(part);
      t.accumulate = part > 0;
      t.relu = p.relu && part + 1 == depths.parts;
      PixelSource source = PixelSource::packed;
      if (gather) {
        const PixelSource first_of = padded ? PixelSource::one_piece_padded : PixelSource::one_piece;
        source = static_cast<PixelSource>(static_cast<int>(first_of) + most_pieces - 1);
        const Index from = k / p.taps() * p.channel_stride;
        for (int v = 0; v < panel.vectors; ++v)
          for (int i = 0; i < kGatherPieces; ++i)
            t.pieces[v][i] = p.source + from + panel.piece_from[v][i < panel.pieces[v] ? i : 0] + v * V::lanes;
        t.step = k % p.taps();
      } else {
        pack(k, t.depth);
      }
      const EvenSplit heights(filters, Shapes::rows(panel.vectors, t.depth));
      for (Index tile = 0; tile < heights.parts; ++tile) {
        const Index row = heights.begin(tile);
        t.a = p.a + (filter + row) * p.a_stride + k * p.a_step;
        t.next_a = tile + 1 < heights.parts ? t.a + heights.size(tile) * p.a_stride : p.a + filter * p.a_stride;
        t.bias = p.bias != nullptr ? p.bias + filter + row : nullptr;
        t.c = c + row * t.c_stride;
        t.second_c = two ? p.y + second.image * p.y_image_stride + second.pixel - second.lane +
                               (filter + row) * p.y_filter_stride
                         : nullptr;
        if (tile > 0 || heights.parts == 1)
          fetched = fetch(t, fetched, depths.parts * (heights.parts > 1 ? heights.parts - 1 : 1));
        else
          t.next.count = 0;
        pixel_tile_kernel<T>(static_cast<int>(heights.size(tile)), panel.vectors,
                             tile == 0 ? source : PixelSource::packed)(t);
      }
    }
    if (!whole) write_segments();
  }

  // Pixels lie a channel apart, too far for the processor to see a pattern: each of `tiles` tiles fetches the lines of
  // some channels, from channel `first` on, and returns where it stopped. Of all rows of taps the last: the others read
  // what it read for panels before.
  Index fetch(PixelTile<T>& t, Index first, Index tiles) const {
    t.next.count = 0;
    if (next == nullptr || first >= p.channels) return first;
    const Index chunks = divide_up(t.depth, kChunk<T>), count = divide_up(divide_up(p.channels, tiles), chunks);
    t.next = {next + first * p.channel_stride, p.channel_stride, count * p.channel_stride, static_cast<int>(count),
              panel.vectors + 1};
    return first + count * chunks;
  }

  void set_pieces(PixelTile<T>& t) const {
    for (PixelBits& lanes : t.lanes) lanes = 0;
    for (int v = 0; v < panel.vectors; ++v)
      for (int i = 0; i < panel.pieces[v]; ++i) t.lanes[i] |= panel.piece_bits[v][i];
    t.steps = work.steps;
    t.step_count = p.taps();
    t.channel_stride = p.channel_stride;
  }

  // Fills the steps' masks.
  void find_inside(bool gather) const {
    PixelBits lanes[kGatherPieces] = {~PixelBits{0}, 0};
    if (gather) {
      lanes[0] = 0;
      for (int v = 0; v < panel.vectors; ++v)
        for (int i = 0; i < panel.pieces[v]; ++i) lanes[i] |= panel.piece_bits[v][i];
    }
    for (Index v = 0; v < p.col_count; ++v) work.cols_inside[v] = panel.cols_inside(p.cols[v]);
    TapStep* step = work.steps;
    for (Index u = 0; u < p.row_count; ++u) {
      const PixelBits rows = panel.rows_inside(p.rows[u]);
      for (Index v = 0; v < p.col_count; ++v, ++step) {
        const PixelBits inside = rows & work.cols_inside[v];
        for (int i = 0; i < kGatherPieces; ++i) step->inside[i] = inside & lanes[i];
      }
    }
  }

  void pack(Index k, Index depth) const {
#if defined(DLKIT_TARGET_AVX512)
    pack_pieces(p, panel, padded, work.steps, k, depth, work.panel);
#else
    pack_runs(p, panel, work.steps, k, depth, work.panel);
#endif
  }

  void write_segments() const {
    const Index width = panel.vectors * V::lanes;
    for (int s = 0; s < panel.segments; ++s) {
      const Segment& part = panel.segment[s];
      T* to = p.y + part.image * p.y_image_stride + part.pixel + filter * p.y_filter_stride;
      const T* from = work.output + part.lane;
      for (Index f = 0; f < filters; ++f, to += p.y_filter_stride, from += width) {
        int i = 0;
        for (; i + V::lanes <= part.count; i += V::lanes) V::load(from + i).store(to + i);
        if (i == part.count) continue;
        if constexpr (V::cheap_masks) {
          const auto mask = V::first(part.count - i);
          V::load(from + i, mask).store(to + i, mask);
        } else {
          for (; i < part.count; ++i) to[i] = from[i];
        }
      }
    }
  }
};

template <class T>
Index panels(Index pixels) {
  return PixelPanels<T>(pixels).count();
}

template <class T>
void run(const PixelProblem<T>& p, Index panel, Index panel_end, Index filter, Index filter_end) {
  const PixelPanels<T> cut(p.pixels());
  const Workspace<T> work(p, filter_end - filter);
  TapStep* step = work.steps;
  for (Index u = 0; u < p.row_count; ++u)
    for (Index v = 0; v < p.col_count; ++v) (step++)->offset = p.rows[u].offset + p.cols[v].offset;
  const bool padded = kGathers && reads_outside(p);
  const Index last_row = p.rows[0].offset > p.rows[p.row_count - 1].offset ? 0 : p.row_count - 1;
  const Index size = p.out_h * p.out_w;
  for (; panel < panel_end; ++panel) {
    const Panel<T> pixels(p, cut.begin(panel), cut.vectors(panel));
    const T* next = nullptr;
    if (panel + 1 < panel_end) {
      const Index first = cut.begin(panel + 1), pixel = first % size;
      next = p.source + first / size * p.image_stride + pixel / p.out_w * p.row_stride + pixel % p.out_w +
             p.rows[last_row].offset + p.cols[0].offset;
    }
    PanelPass<T>{p, work, pixels, padded, filter, filter_end - filter, next}.run();
  }
}

template <class T>
std::size_t scratch_size(Index depth, Index taps, Index filters) {
  return Workspace<T>::bytes(depth, taps, filters);
}

template <class T, int Stride>
DLKIT_INLINE void split_by(const T* from, Index from_row, Index rows, Index cols, T* to, Index to_row) {
  for (; rows > 0; --rows, from += from_row, to += to_row)
    for (Index i = 0; i < cols; ++i) to[i] = from[i * Stride];
}

// Row i of `to` is every stride-th element of row i of `from`.
template <class T>
void split(const T* from, Index from_row, Index rows, Index cols, Index stride, T* to, Index to_row) {
  switch (stride) {
    case 1: return split_by<T, 1>(from, from_row, rows, cols, to, to_row);
    case 2: return split_by<T, 2>(from, from_row, rows, cols, to, to_row);
    case 3: return split_by<T, 3>(from, from_row, rows, cols, to, to_row);
    case 4: return split_by<T, 4>(from, from_row, rows, cols, to, to_row);
    default: break;
  }
  for (; rows > 0; --rows, from += from_row, to += to_row)
    for (Index i = 0; i < cols; ++i) to[i] = from[i * stride];
}

// to[i * stride + j] = from[j][i], up to to[count]; a null row is zeros
template <class T>
void join(const T* const* from, Index stride, Index count, T* to) {
  if (stride == 2 && from[0] != nullptr && from[1] != nullptr) {
    const T *even = from[0], *odd = from[1];
    for (Index i = 0; i < count / 2; ++i) {
      to[2 * i] = even[i];
      to[2 * i + 1] = odd[i];
    }
    if (count % 2 != 0) to[count - 1] = even[count / 2];
    return;
  }
  for (Index j = 0; j < smaller(stride, count); ++j)
    for (Index i = 0; i * stride + j < count; ++i) to[i * stride + j] = from[j] != nullptr ? from[j][i] : T(0);
}

}  // namespace

extern const PixelKernels<float> pixels_float;
extern const PixelKernels<double> pixels_double;
const PixelKernels<float> pixels_float = {panels<float>,      run<float>,     scratch_size<float>,
                                          gather_taps<float>, add_row<float>, split<float>,
                                          join<float>,        kGathers,       Vec<float>::lanes};
const PixelKernels<double> pixels_double = {panels<double>,      run<double>,     scratch_size<double>,
                                            gather_taps<double>, add_row<double>, split<double>,
                                            join<double>,        kGathers,        Vec<double>::lanes};

}  // namespace dlkit::DLKIT_TARGET
