// The gradient by x as im2col has it, in pieces that stay in the cache:
//
//   shares[c, t, p] = sum over f of weight[f, c, t] grad[f, p],   dx[c, q] = sum over the taps t that read q for some p
//                                                                            of shares[c, t, p]
//
// The product has a row for each channel and tap, so that even one channel fills the micro-kernel's tiles, and no
// multiplication is spent on padding: where the output is smaller than the image, as of a 5 x 5 kernel without padding
// on 12 x 12, the implicit product of the turned convolution spends more than half on it. The price: each share is
// stored, and loaded and added once, for F multiply-adds. An image (or a strip of its rows, or some of its channels) at
// a time, so that the shares stay in the second-level cache; a strip adds to the rows that it has in common with the
// one before. 2 FLOPs for each multiplication of the definition and one more for each share. Bound by the multiply-adds
// from some 32 filters on, below that by the stores of shares.
//
// Source: the "col2im" of Caffe (Jia et al. 2014), turned from a scatter into a sum.
#include "conv/tap_sums.h"

#include <algorithm>
#include <vector>

#include "conv/pixels.h"
#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {
namespace {

// How a group's work is cut: channels, output rows and images whose shares are in the cache together.
struct Blocks {
  Index channels, rows, images;
  Index share;  // elements from the shares of one tap to those of the next
};

template <class T>
Blocks blocks_of(const ConvShape& s, int threads) {
  constexpr Index kElements = (Index{1} << 18) / static_cast<Index>(sizeof(T));  // a quarter of a second-level cache
  constexpr Index kRows = 192;  // of the product: enough that forming the panels of grad costs little
  const Index taps = s.kernel_size();
  Blocks b;
  b.channels = std::clamp<Index>(divide_up(kRows, taps), 1, s.group_channels());
  if (s.n * s.groups < threads) b.channels = std::min(b.channels, divide_up(s.group_channels(), threads));
  const Index row = b.channels * taps * s.out_w;
  b.rows = std::clamp<Index>(kElements / row, 1, s.out_h);
  b.share = b.rows * s.out_w;
  b.images = b.rows < s.out_h ? 1 : std::clamp<Index>(kElements / (row * s.out_h), 1, divide_up(s.n, threads));
  // Shares a power of two apart would evict each other.
  b.share = divide_up(b.share, 16) * 16 + 16;
  return b;
}

// A column of taps of a remainder of the input's columns.
struct ColPhase {
  std::vector<TapCol> cols;
  Index count;  // inputs with the remainder
};

std::vector<ColPhase> col_phases(const ConvShape& s, Index share) {
  std::vector<ColPhase> phases(static_cast<std::size_t>(std::min(s.stride_w, s.width)));
  for (Index r = 0; r < static_cast<Index>(phases.size()); ++r) {
    ColPhase& phase = phases[static_cast<std::size_t>(r)];
    phase.count = divide_up(s.width - r, s.stride_w);
    for (Index v = 0; v < s.kernel_w; ++v) {
      const Index at = r + s.pad_left - v * s.dilation_w;
      if (at % s.stride_w != 0) continue;
      const Index shift = at / s.stride_w;  // input i has its share from output i + shift
      const Index begin = std::clamp<Index>(-shift, 0, phase.count);
      phase.cols.push_back({v * share + shift, begin, std::clamp<Index>(s.out_w - shift, begin, phase.count)});
    }
  }
  return phases;
}

// The input rows that have sums over the output rows [first, end): from `begin` on, those below `done` some of rows
// before already; and for each, where a channel's shares have its rows of taps.
struct InputRows {
  Index begin, end, done;
  std::vector<Index> starts;  // of a row's part of `offsets`, and the end of the last
  std::vector<Index> offsets;

  InputRows(const ConvShape& s, Index share, Index first, Index last, Index filled) : done(filled) {
    const Index reach = (s.kernel_h - 1) * s.dilation_h + 1;
    begin = std::min(done, std::max<Index>(first * s.stride_h - s.pad_top, 0));
    end = last == s.out_h ? s.height : std::min(s.height, (last - 1) * s.stride_h - s.pad_top + reach);
    end = std::max(begin, end);
    starts.push_back(0);
    for (Index h = begin; h < end; ++h) {
      for (Index u = 0; u < s.kernel_h; ++u) {
        const Index at = h + s.pad_top - u * s.dilation_h, i = at / s.stride_h;
        if (at % s.stride_h == 0 && i >= first && i < last)
          offsets.push_back(u * s.kernel_w * share + (i - first) * s.out_w);
      }
      starts.push_back(static_cast<Index>(offsets.size()));
    }
  }
};

// The sums of a channel.
template <class T>
void add_channel(const ConvShape& s, const std::vector<ColPhase>& phases, const InputRows& rows, const T* shares,
                 T* lines, T* dx) {
  const auto& kernels = pixel_kernels<T>();
  std::vector<const T*> parts(phases.size());
  const Index line = divide_up(s.width, 16) * 16 + 16;
  for (Index h = rows.begin; h < rows.end; ++h) {
    const Index start = rows.starts[static_cast<std::size_t>(h - rows.begin)];
    const Index count = rows.starts[static_cast<std::size_t>(h - rows.begin + 1)] - start;
    const bool adds = h < rows.done;
    if (count == 0 && adds) continue;
    T* const row = dx + h * s.width;
    T* const target = adds ? lines : row;
    const auto gather = [&](const ColPhase& phase, T* to) {
      kernels.gather(shares, rows.offsets.data() + start, count, phase.cols.data(),
                     static_cast<Index>(phase.cols.size()), phase.count, to);
    };
    if (phases.size() == 1) {
      gather(phases.front(), target);
    } else {
      for (std::size_t r = 0; r < phases.size(); ++r) {
        T* const part = lines + static_cast<Index>(r + 1) * line;
        gather(phases[r], part);
        parts[r] = part;
      }
      kernels.join(parts.data(), s.stride_w, s.width, target);
    }
    if (adds) kernels.add(lines, s.width, row);
  }
}

// Lines that add_channel works in.
Index lines_size(const ConvShape& s) {
  return (std::min(s.stride_w, s.width) + 1) * (divide_up(s.width, 16) * 16 + 16);
}

}  // namespace

template <class T>
void conv_tap_sums(const ConvBackwardInput<T>& p, int threads) {
  const ConvShape& s = p.shape;
  const auto& kernels = pixel_kernels<T>();
  const Blocks b = blocks_of<T>(s, threads);
  const Index taps = s.kernel_size(), depth = s.depth(), filters = s.group_filters(), channels = s.group_channels();
  const std::vector<ColPhase> phases = col_phases(s, b.share);
  const Index image_blocks = divide_up(s.n, b.images), channel_blocks = divide_up(channels, b.channels);
  const Index total = image_blocks * s.groups * channel_blocks;
  const Index shares_size = b.images * b.channels * taps * b.share;

  const auto run = [&](Index block) {
    const Index channel = block % channel_blocks * b.channels, group = block / channel_blocks % s.groups;
    const Index image = block / channel_blocks / s.groups * b.images;
    const Index images = std::min(b.images, s.n - image), count = std::min(b.channels, channels - channel);
    T* const shares = scratch<T>(Slot::columns, static_cast<std::size_t>(shares_size + lines_size(s)));
    T* const lines = shares + shares_size;
    Index done = 0;
    for (Index first = 0; first < s.out_h; first += b.rows) {
      const Index rows = std::min(b.rows, s.out_h - first);
      const TapLine row_line = {0, rows, 0}, col_line = {0, s.out_w, 0};
      PixelProblem<T> product;
      product.images = images;
      product.channels = filters;
      product.filters = count * taps;
      product.out_h = rows;
      product.out_w = s.out_w;
      product.source = p.grad + (image * s.filters + group * filters) * s.out_size() + first * s.out_w;
      product.image_stride = s.filters * s.out_size();
      product.channel_stride = s.out_size();
      product.row_stride = s.out_w;
      product.rows = &row_line;
      product.cols = &col_line;
      product.row_count = product.col_count = 1;
      product.a = p.weight + group * filters * depth + channel * taps;
      product.a_stride = 1;
      product.a_step = depth;
      product.bias = nullptr;
      product.relu = false;
      product.y = shares;
      product.y_image_stride = count * taps * b.share;
      product.y_filter_stride = b.share;
      kernels.run(product, 0, kernels.panels(product.pixels()), 0, product.filters);
      const InputRows input(s, b.share, first, first + rows, done);
      for (Index i = 0; i < images; ++i)
        for (Index c = 0; c < count; ++c)
          add_channel(s, phases, input, shares + (i * count + c) * taps * b.share, lines,
                      p.dx + ((image + i) * s.channels + group * channels + channel + c) * s.in_size());
      done = std::max(done, input.end);
    }
  };
  const double cycles = s.flops() / static_cast<double>(4 * kernels.lanes);
  constexpr double kCyclesPerThread = 8000;
  const int useful = static_cast<int>(std::clamp(cycles / kCyclesPerThread, 1.0, static_cast<double>(threads)));
  const int tasks = static_cast<int>(std::min<Index>(total, 4 * useful));
  parallel_for(
      tasks,
      [&](int task) {
        for (Index block = total * task / tasks; block < total * (task + 1) / tasks; ++block) run(block);
      },
      useful);
}

template <class T>
std::size_t tap_sums_scratch(const ConvShape& s) {
  if (s.flops() == 0) return 0;
  const Blocks b = blocks_of<T>(s, 1);
  return pixel_kernels<T>().scratch(s.group_filters(), 1, b.channels * s.kernel_size()) +
         static_cast<std::size_t>(b.images * b.channels * s.kernel_size() * b.share + lines_size(s)) * sizeof(T);
}

template void conv_tap_sums(const ConvBackwardInput<float>&, int);
template void conv_tap_sums(const ConvBackwardInput<double>&, int);
template std::size_t tap_sums_scratch<float>(const ConvShape&);
template std::size_t tap_sums_scratch<double>(const ConvShape&);

}  // namespace dlkit
