// Implicit GEMM: the matrix product of im2col without its matrix.
//
// The product has a row for each filter and a column for each output pixel, numbered through all images; pixels.cpp
// forms panels of its second operand as it goes. It knows no strides:
//
// - Forward with a stride, the image is split first into a plane for each remainder of its rows and columns by the
//   stride, of which each tap reads one: a pass over the image, for Kh Kw F multiply-adds an element.
// - The gradient by x is the convolution of grad, padded, with the filters' and channels' roles exchanged and the taps
//   turned round. With a stride, the pixels of dx with the same remainders are reached by the same taps, a subset of
//   them: a convolution with stride 1 for each pair of remainders, whose results are then joined.
//
// The same multiplications as the definition's, none for zeros that a stride would put between elements of grad.
//
// Source: Chetlur et al. 2014 (cuDNN); the splitting by remainders: polyphase decomposition, Bellanger et al. 1976.
#include "conv/implicit_gemm.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "conv/pixels.h"
#include "core/dispatch.h"
#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {

DLKIT_DECLARE_PER_ISA(PixelKernels<float>, pixels_float)
DLKIT_DECLARE_PER_ISA(PixelKernels<double>, pixels_double)

template <>
const PixelKernels<float>& pixel_kernels() {
  static const auto& table = DLKIT_SELECT(pixels_float);
  return table;
}

template <>
const PixelKernels<double>& pixel_kernels() {
  static const auto& table = DLKIT_SELECT(pixels_double);
  return table;
}

namespace {

Index floor_div(Index a, Index b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }

// What a tap reads along an axis: element (i + shift) * stride + remainder for output i.
struct AxisTap {
  Index shift, remainder;
};

// An output axis, or one of its parts: how many outputs, and their taps.
struct AxisTaps {
  Index outputs;
  std::vector<AxisTap> taps;
};

AxisTaps forward_taps(Index outputs, Index kernel, Index stride, Index dilation, Index pad) {
  AxisTaps axis{outputs, {}};
  for (Index u = 0; u < kernel; ++u) {
    const Index at = u * dilation - pad, shift = floor_div(at, stride);
    axis.taps.push_back({shift, at - shift * stride});
  }
  return axis;
}

// The inputs with a remainder by the stride, and what they have of the gradient: numbers of taps beside.
struct Phase {
  AxisTaps axis;
  std::vector<Index> kernel_taps;
};

std::vector<Phase> backward_phases(Index inputs, Index kernel, Index stride, Index dilation, Index pad) {
  std::vector<Phase> phases(static_cast<std::size_t>(std::min(stride, inputs)));
  for (Index r = 0; r < static_cast<Index>(phases.size()); ++r) {
    Phase& phase = phases[static_cast<std::size_t>(r)];
    phase.axis.outputs = divide_up(inputs - r, stride);
    for (Index u = 0; u < kernel; ++u) {
      const Index at = r + pad - u * dilation;
      if (at % stride != 0) continue;
      phase.axis.taps.push_back({at / stride, 0});
      phase.kernel_taps.push_back(u);
    }
  }
  return phases;
}

// One axis of the source: in place, or as planes of a copy.
struct SourceAxis {
  Index extent, stride;
  bool padded;                    // the copy holds zeros for what is outside; else masks keep out of it
  std::vector<Index> remainders;  // a plane each
  Index origin = 0, length = 0;   // a plane's elements are (origin + i) * stride + remainder, i < length
  bool outside = false;           // some tap reads outside

  SourceAxis(Index source_extent, Index source_stride, bool pad_copy)
      : extent(source_extent), stride(source_stride), padded(pad_copy) {}

  Index inside(Index remainder) const { return remainder < extent ? divide_up(extent - remainder, stride) : 0; }

  void add(const AxisTaps& axis) {
    for (const AxisTap& tap : axis.taps) {
      if (std::find(remainders.begin(), remainders.end(), tap.remainder) == remainders.end())
        remainders.push_back(tap.remainder);
      const Index end = tap.shift + axis.outputs;
      if (tap.shift < 0 || end > inside(tap.remainder)) outside = true;
      if (padded) {
        const Index last = std::max(origin + length, end);
        if (length == 0) origin = tap.shift;
        origin = std::min(origin, tap.shift);
        length = (length == 0 ? end : last) - origin;
      } else {
        length = std::max(length, inside(tap.remainder));
      }
    }
  }

  // pitch: elements from one plane's line to the next; plane: from one plane to the next.
  TapLine line(const AxisTap& tap, Index pitch, Index plane) const {
    const Index which = std::find(remainders.begin(), remainders.end(), tap.remainder) - remainders.begin();
    if (padded) return {0, kEverywhere, which * plane + (tap.shift - origin) * pitch};
    return {tap.shift, inside(tap.remainder), which * plane + tap.shift * pitch};
  }

  static constexpr Index kEverywhere = Index{1} << 62;
};

// The images that taps read from.
template <class T>
struct Source {
  const T* data;
  Index channels, image_channels;  // of a group; of all
  SourceAxis rows, cols;
  bool copied = false;
  Index pitch = 0, plane = 0, channel_stride = 0;

  Source(const T* images, Index group_channels, Index all_channels, Index height, Index width, Index stride_h,
         Index stride_w)
      : data(images), channels(group_channels), image_channels(all_channels),
        rows(height, stride_h, !pixel_kernels<T>().masks), cols(width, stride_w, !pixel_kernels<T>().masks) {}

  // After all taps were added. outputs: of a row; where the copy's rows are as long, panels run over row ends.
  void settle(Index outputs) {
    copied = rows.stride > 1 || cols.stride > 1 || (rows.padded && (rows.outside || cols.outside));
    if (!copied) {
      rows.padded = cols.padded = false;
      pitch = cols.extent;
      plane = 0;
      channel_stride = rows.extent * cols.extent;
      return;
    }
    pitch = cols.padded ? cols.length : std::max(cols.length, outputs);
    plane = rows.length * pitch;
    channel_stride = plane * static_cast<Index>(rows.remainders.size() * cols.remainders.size());
  }

  Index copy_size() const { return copied ? channel_stride * image_channels : 0; }  // elements of an image

  std::vector<TapLine> row_lines(const AxisTaps& axis) const {
    std::vector<TapLine> lines;
    for (const AxisTap& tap : axis.taps)
      lines.push_back(rows.line(tap, pitch, plane * static_cast<Index>(cols.remainders.size())));
    return lines;
  }
  std::vector<TapLine> col_lines(const AxisTaps& axis) const {
    std::vector<TapLine> lines;
    for (const AxisTap& tap : axis.taps) lines.push_back(cols.line(tap, 1, plane));
    return lines;
  }

  // The planes of a channel.
  void copy_channel(const T* from, T* to) const {
    const auto& kernels = pixel_kernels<T>();
    for (const Index row : rows.remainders)
      for (const Index col : cols.remainders) {
        // The part of the plane that is within the image.
        const Index top = std::clamp<Index>(-rows.origin, 0, rows.length);
        const Index bottom = std::clamp<Index>(rows.inside(row) - rows.origin, top, rows.length);
        const Index left = std::clamp<Index>(-cols.origin, 0, cols.length);
        const Index right = std::clamp<Index>(cols.inside(col) - cols.origin, left, cols.length);
        if (rows.padded && (bottom - top < rows.length || right - left < cols.length)) std::fill(to, to + plane, T(0));
        if (top < bottom && left < right)
          kernels.split(
              from + ((rows.origin + top) * rows.stride + row) * cols.extent + (cols.origin + left) * cols.stride + col,
              rows.stride * cols.extent, bottom - top, right - left, cols.stride, to + top * pitch + left, pitch);
        to += plane;
      }
  }

  void copy(Index image, Index images, T* to, int threads) const {
    const Index total = images * image_channels;
    const T* from = data + image * image_channels * rows.extent * cols.extent;
    const int tasks = static_cast<int>(std::min<Index>(total, threads));
    parallel_for(
        tasks,
        [&](int task) {
          for (Index c = total * task / tasks; c < total * (task + 1) / tasks; ++c)
            copy_channel(from + c * rows.extent * cols.extent, to + c * channel_stride);
        },
        threads);
  }
};

// Images whose copies or results together take about half a second-level cache, and at least one.
template <class T>
Index block_of(Index images, Index image_size) {
  constexpr Index kBytes = Index{1} << 19;
  if (image_size == 0) return images;
  return std::clamp<Index>(kBytes / static_cast<Index>(sizeof(T)) / image_size, 1, images);
}

// A problem for each group, on up to `threads` threads: each cut by panels, or by filters where panels are few.
template <class T>
void run_pixels(const std::vector<PixelProblem<T>>& groups, int threads) {
  const auto& kernels = pixel_kernels<T>();
  const PixelProblem<T>& first = groups.front();
  const Index panels = kernels.panels(first.pixels());
  const double cycles = static_cast<double>(first.filters * first.pixels()) * static_cast<double>(first.depth()) *
                        static_cast<double>(groups.size()) / static_cast<double>(2 * kernels.lanes);
  constexpr double kCyclesPerThread = 8000;
  const int useful = static_cast<int>(std::clamp(cycles / kCyclesPerThread, 1.0, static_cast<double>(threads)));
  const Index count = static_cast<Index>(groups.size());
  Index panel_parts = 1, filter_parts = 1;
  if (useful > 1 && count < 4 * useful) {
    if (panels >= 4 * useful)
      panel_parts = std::min<Index>(4 * useful, panels);
    else
      filter_parts = std::min<Index>(useful, first.filters);
  }
  const EvenSplit by_panel(panels, divide_up(panels, panel_parts));
  const EvenSplit by_filter(first.filters, divide_up(first.filters, filter_parts));
  const Index parts = by_panel.parts * by_filter.parts;
  const auto run_part = [&](Index part) {
    const Index rest = part % parts, panel = rest / by_filter.parts, filter = rest % by_filter.parts;
    kernels.run(groups[static_cast<std::size_t>(part / parts)], by_panel.begin(panel), by_panel.begin(panel + 1),
                by_filter.begin(filter), by_filter.begin(filter + 1));
  };
  const Index total = count * parts;
  const int tasks = static_cast<int>(std::min<Index>(total, 4 * useful));
  parallel_for(
      tasks,
      [&](int task) {
        for (Index part = total * task / tasks; part < total * (task + 1) / tasks; ++part) run_part(part);
      },
      useful);
}

// Elements between rows of a copied weight: a cache line more than the depth, so that rows spread over the cache's
// sets.
template <class T>
Index spread_stride(Index depth) {
  constexpr Index kLine = 64 / static_cast<Index>(sizeof(T));
  return divide_up(depth, kLine) * kLine + kLine;
}

// Whether rows that far apart fall into so few sets of the first-level cache that a tile's evict each other.
template <class T>
bool collides(Index depth) {
  return depth * static_cast<Index>(sizeof(T)) % 2048 == 0;
}

template <class T>
Source<T> forward_source(const ConvShape& s, const T* x, const AxisTaps& rows, const AxisTaps& cols) {
  Source<T> source(x, s.group_channels(), s.channels, s.height, s.width, s.stride_h, s.stride_w);
  source.rows.add(rows);
  source.cols.add(cols);
  source.settle(s.out_w);
  return source;
}

template <class T>
Source<T> backward_source(const ConvShape& s, const T* grad, const std::vector<Phase>& rows,
                          const std::vector<Phase>& cols) {
  Source<T> source(grad, s.group_filters(), s.filters, s.out_h, s.out_w, 1, 1);
  for (const Phase& phase : rows) source.rows.add(phase.axis);
  for (const Phase& phase : cols) source.cols.add(phase.axis);
  source.settle(cols.front().axis.outputs);
  return source;
}

std::vector<Phase> row_phases(const ConvShape& s) {
  return backward_phases(s.height, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top);
}
std::vector<Phase> col_phases(const ConvShape& s) {
  return backward_phases(s.width, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left);
}

// The results of a gradient with a stride, before they are joined: planes of an image.
Index phase_size(const ConvShape& s) { return divide_up(s.height, s.stride_h) * divide_up(s.width, s.stride_w); }

bool joins(const ConvShape& s) { return s.stride_h > 1 || s.stride_w > 1; }

}  // namespace

template <class T>
void conv_implicit_gemm(const ConvForward<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const AxisTaps rows = forward_taps(s.out_h, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top);
  const AxisTaps cols = forward_taps(s.out_w, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left);
  const Source<T> source = forward_source(s, p.x, rows, cols);
  const std::vector<TapLine> row_lines = source.row_lines(rows), col_lines = source.col_lines(cols);

  const Index depth = s.depth(), filters = s.group_filters();
  const T* a = p.weight;
  Index a_stride = depth;
  if (collides<T>(depth) && filters > 1) {
    a_stride = spread_stride<T>(depth);
    T* copy = scratch<T>(Slot::pack_a, static_cast<std::size_t>(s.filters * a_stride));
    for (Index f = 0; f < s.filters; ++f)
      std::memcpy(copy + f * a_stride, p.weight + f * depth, static_cast<std::size_t>(depth) * sizeof(T));
    a = copy;
  }

  const Index block = block_of<T>(s.n, source.copy_size());
  T* const copy =
      source.copied ? scratch<T>(Slot::columns, static_cast<std::size_t>(block * source.copy_size())) : nullptr;
  std::vector<PixelProblem<T>> groups(static_cast<std::size_t>(s.groups));
  for (Index image = 0; image < s.n; image += block) {
    const Index images = std::min(block, s.n - image);
    if (source.copied) source.copy(image, images, copy, threads);
    const T* const from = source.copied ? copy : p.x + image * s.channels * s.in_size();
    for (Index g = 0; g < s.groups; ++g)
      groups[static_cast<std::size_t>(g)] = {images,
                                             source.channels,
                                             filters,
                                             s.out_h,
                                             s.out_w,
                                             from + g * source.channels * source.channel_stride,
                                             source.channel_stride * s.channels,
                                             source.channel_stride,
                                             source.pitch,
                                             row_lines.data(),
                                             col_lines.data(),
                                             s.kernel_h,
                                             s.kernel_w,
                                             a + g * filters * a_stride,
                                             a_stride,
                                             1,
                                             p.bias != nullptr ? p.bias + g * filters : nullptr,
                                             p.relu,
                                             p.y + (image * s.filters + g * filters) * s.out_size(),
                                             s.filters * s.out_size(),
                                             s.out_size()};
    run_pixels(groups, threads);
  }
}

template <class T>
void conv_implicit_gemm(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const auto& kernels = pixel_kernels<T>();
  const std::vector<Phase> rows = row_phases(s), cols = col_phases(s);
  const Source<T> source = backward_source(s, p.grad, rows, cols);
  const Index channels = s.group_channels(), filters = s.group_filters(), taps = s.kernel_size();

  // The weight with channels as rows, for each phase (filter, tap).
  struct PhasePair {
    const Phase *row, *col;
    std::vector<TapLine> row_lines, col_lines;
    Index a, a_stride, index;
  };
  std::vector<PhasePair> pairs;
  const bool turned = taps > 1;  // a single tap's weight is read in place, by columns
  Index a_size = 0, index = 0;
  for (const Phase& row : rows)
    for (const Phase& col : cols) {
      const Index count = static_cast<Index>(row.kernel_taps.size() * col.kernel_taps.size());
      if (count > 0) {
        const Index stride = spread_stride<T>(filters * count);
        pairs.push_back({&row, &col, source.row_lines(row.axis), source.col_lines(col.axis), a_size, stride, index});
        a_size += stride * s.channels;
      }
      ++index;
    }
  T* const a = turned ? scratch<T>(Slot::pack_a, static_cast<std::size_t>(a_size)) : nullptr;
  const int turners = a_size > (1 << 15) ? static_cast<int>(std::min<Index>(s.channels, threads)) : 1;
  if (turned)
    parallel_for(
        turners,
        [&](int task) {
          for (const PhasePair& pair : pairs)
            for (Index c = s.channels * task / turners; c < s.channels * (task + 1) / turners; ++c) {
              const Index group = c / channels;
              T* to = a + pair.a + c * pair.a_stride;
              const T* from = p.weight + (group * filters * channels + c % channels) * taps;
              for (Index f = 0; f < filters; ++f, from += channels * taps)
                for (const Index u : pair.row->kernel_taps)
                  for (const Index v : pair.col->kernel_taps) *to++ = from[u * s.kernel_w + v];
            }
        },
        threads);

  const bool join = joins(s);
  const Index plane = phase_size(s), phases = static_cast<Index>(rows.size() * cols.size());
  const Index result_size = join ? s.channels * phases * plane : 0;
  const Index block = std::min(block_of<T>(s.n, source.copy_size()), block_of<T>(s.n, result_size));
  T* const copy =
      source.copied ? scratch<T>(Slot::columns, static_cast<std::size_t>(block * source.copy_size())) : nullptr;
  T* const result = join ? scratch<T>(Slot::result, static_cast<std::size_t>(block * result_size)) : nullptr;
  std::vector<const PhasePair*> pair_of(static_cast<std::size_t>(phases), nullptr);
  for (const PhasePair& pair : pairs) pair_of[static_cast<std::size_t>(pair.index)] = &pair;

  std::vector<PixelProblem<T>> groups(static_cast<std::size_t>(s.groups));
  for (Index image = 0; image < s.n; image += block) {
    const Index images = std::min(block, s.n - image);
    if (source.copied) source.copy(image, images, copy, threads);
    const T* const from = source.copied ? copy : p.grad + image * s.filters * s.out_size();
    for (const PhasePair& pair : pairs) {
      for (Index g = 0; g < s.groups; ++g) {
        T* const y = join ? result + g * channels * phases * plane + pair.index * plane
                          : p.dx + (image * s.channels + g * channels) * s.in_size();
        groups[static_cast<std::size_t>(g)] = {
            images,
            filters,
            channels,
            pair.row->axis.outputs,
            pair.col->axis.outputs,
            from + g * filters * source.channel_stride,
            source.channel_stride * s.filters,
            source.channel_stride,
            source.pitch,
            pair.row_lines.data(),
            pair.col_lines.data(),
            static_cast<Index>(pair.row_lines.size()),
            static_cast<Index>(pair.col_lines.size()),
            turned ? a + pair.a + g * channels * pair.a_stride : p.weight + g * filters * channels,
            turned ? pair.a_stride : 1,
            turned ? 1 : channels,
            nullptr,
            false,
            y,
            join ? result_size : s.channels * s.in_size(),
            join ? phases * plane : s.in_size()};
      }
      run_pixels(groups, threads);
    }
    if (!join) continue;
    const Index total = images * s.channels, col_phase_count = static_cast<Index>(cols.size());
    const int tasks = static_cast<int>(std::min<Index>(total, threads));
    parallel_for(
        tasks,
        [&](int task) {
          std::vector<const T*> lines(cols.size());
          for (Index c = total * task / tasks; c < total * (task + 1) / tasks; ++c)
            for (Index h = 0; h < s.height; ++h) {
              for (Index j = 0; j < col_phase_count; ++j) {
                const Index phase = h % s.stride_h * col_phase_count + j;
                const PhasePair* pair = pair_of[static_cast<std::size_t>(phase)];
                lines[static_cast<std::size_t>(j)] =
                    pair == nullptr ? nullptr
                                    : result + (c * phases + phase) * plane + h / s.stride_h * pair->col->axis.outputs;
              }
              kernels.join(lines.data(), s.stride_w, s.width,
                           p.dx + (image * s.channels * s.in_size()) + c * s.in_size() + h * s.width);
            }
        },
        threads);
  }
}

template <class T>
bool takes_implicit_gemm(const ConvShape& s) {
  if (pixel_kernels<T>().masks) return true;
  constexpr Index kMost = 16;
  const Index reach_h = s.out_h * s.stride_h + s.kernel_h * s.dilation_h,
              reach_w = s.out_w * s.stride_w + s.kernel_w * s.dilation_w;
  return static_cast<double>(reach_h) * static_cast<double>(reach_w) <=
         static_cast<double>(kMost) * static_cast<double>(s.in_size() + s.out_size() + 4096);
}

template <class T>
std::size_t implicit_gemm_scratch(const ConvForward<T>*, const ConvShape& s) {
  if (s.flops() == 0) return 0;
  const Source<T> source =
      forward_source<T>(s, nullptr, forward_taps(s.out_h, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top),
                        forward_taps(s.out_w, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left));
  const Index a = collides<T>(s.depth()) ? s.filters * spread_stride<T>(s.depth()) : 0;
  const Index copies = block_of<T>(s.n, source.copy_size()) * source.copy_size();
  return pixel_kernels<T>().scratch(s.depth(), s.kernel_size(), s.group_filters()) +
         static_cast<std::size_t>(a + copies) * sizeof(T);
}

template <class T>
std::size_t implicit_gemm_scratch(const ConvBackwardInput<T>*, const ConvShape& s) {
  if (s.flops() == 0) return 0;
  const std::vector<Phase> rows = row_phases(s), cols = col_phases(s);
  const Source<T> source = backward_source<T>(s, nullptr, rows, cols);
  const Index result_size = joins(s) ? s.channels * static_cast<Index>(rows.size() * cols.size()) * phase_size(s) : 0;
  const Index block = std::min(block_of<T>(s.n, source.copy_size()), block_of<T>(s.n, result_size));
  Index a = 0;
  for (const Phase& row : rows)
    for (const Phase& col : cols) {
      const Index count = static_cast<Index>(row.kernel_taps.size() * col.kernel_taps.size());
      if (count > 0 && s.kernel_size() > 1) a += s.channels * spread_stride<T>(s.group_filters() * count);
    }
  return pixel_kernels<T>().scratch(s.group_filters() * s.kernel_size(), s.kernel_size(), s.group_channels()) +
         static_cast<std::size_t>(a + block * (source.copy_size() + result_size)) * sizeof(T);
}

#define DLKIT_INSTANTIATE(T)                                                           \
  template void conv_implicit_gemm(const ConvForward<T>&, int);                        \
  template void conv_implicit_gemm(const ConvBackwardInput<T>&, int);                  \
  template bool takes_implicit_gemm<T>(const ConvShape&);                              \
  template std::size_t implicit_gemm_scratch(const ConvForward<T>*, const ConvShape&); \
  template std::size_t implicit_gemm_scratch(const ConvBackwardInput<T>*, const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
