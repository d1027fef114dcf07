// Direct convolution in a channel-blocked layout (oneDNN's NCHW16c), made and unmade within the call.
//
// The definition's loops, ordered for registers: a block of the input, some rows of an image, is turned so that a
// vector's worth of channels of a pixel lie side by side; the weight so that two vectors of filters do. Then a tile of
// 14 pixels of a row by two vectors of filters is a sum over channel blocks, taps and channels, whose operands follow
// each other in memory: no matrix of patches, and a pixel is read by all of its taps from the first-level cache. With a
// stride the tile's pixels are that much further apart. See direct_block.cpp for the micro-kernel and its costs.
//
// The gradient by x is the same with filters and channels exchanged, and the taps turned round. With a stride, the
// pixels of dx with the same remainders (a phase) are reached by the same taps: they are tiles with these taps alone,
// whose results are written that far apart.
//
// Source: Georganas et al. 2018 (Anatomy of high-performance deep learning convolutions on SIMD architectures); Zhang,
// Franchetti & Low 2018 (High performance zero-memory overhead direct convolutions).
#include "conv/direct.h"

#include <algorithm>
#include <limits>
#include <type_traits>
#include <vector>

#include "core/dispatch.h"
#include "core/scratch.h"
#include "core/thread_pool.h"
#include "matmul/split.h"

namespace dlkit {

DLKIT_DECLARE_PER_ISA(DirectKernels<float>, direct_float)
DLKIT_DECLARE_PER_ISA(DirectKernels<double>, direct_double)

namespace {

template <class T>
const DirectKernels<T>& kernels() {
  static const DirectKernels<T>& table = []() -> const DirectKernels<T>& {
    if constexpr (sizeof(T) == sizeof(float))
      return DLKIT_SELECT(direct_float);
    else
      return DLKIT_SELECT(direct_double);
  }();
  return table;
}

// A block's input takes about a quarter of a second-level cache, half of it where that need not be written, beside the
// weight that streams past it.
constexpr Index kInputBytes = Index{1} << 18;
// A block's output of one panel, before it is turned back.
constexpr Index kOutputBytes = Index{1} << 16;
// What one tile may read: dilation may spread its taps far apart.
constexpr Index kMostBytes = Index{1} << 23;

// An axis and the memory of its phases.
struct AxisPlan {
  DirectAxis axis{};
  std::vector<DirectPhase> phases;
  std::vector<DirectTap> taps;

  AxisPlan() = default;
  AxisPlan(const AxisPlan&) = delete;
  AxisPlan& operator=(const AxisPlan&) = delete;

  void set_forward(Index inputs, Index outputs, Index kernel, Index stride, Index dilation, Index pad) {
    set(inputs, outputs, stride, 1);
    for (Index u = 0; u < kernel; ++u) taps.push_back({u * dilation - pad, u});
    phases.push_back({0, nullptr, kernel});
    settle();
  }

  void set_backward(Index inputs, Index outputs, Index kernel, Index stride, Index dilation, Index pad) {
    set(inputs, outputs, 1, std::min(stride, outputs));  // no more phases than outputs
    for (Index r = 0; r < axis.out_step; ++r) {
      const std::size_t before = taps.size();
      for (Index u = 0; u < kernel; ++u)
        if (const Index at = r + pad - u * dilation; at % stride == 0) taps.push_back({at / stride, u});
      phases.push_back({r, nullptr, static_cast<Index>(taps.size() - before)});
    }
    settle();
  }

  // Inputs that `count` neighbouring outputs read, at most.
  Index reach(Index count) const {
    return (divide_up(count, axis.out_step) - 1) * axis.in_step + axis.most - axis.least + 1;
  }
  // Whether no tap reads outside.
  bool inside() const {
    return axis.least >= 0 && (axis.outputs - 1) / axis.out_step * axis.in_step + axis.most < axis.inputs;
  }
  void cut(Index block) {
    axis.block = block;
    axis.blocks = divide_up(axis.outputs, block);
  }

 private:
  void set(Index inputs, Index outputs, Index in_step, Index out_step) {
    axis.inputs = inputs;
    axis.outputs = outputs;
    axis.in_step = in_step;
    axis.out_step = out_step;
  }

  void settle() {
    const DirectTap* first = taps.data();
    for (DirectPhase& phase : phases) {
      phase.taps = first;
      first += phase.tap_count;
    }
    axis.phases = phases.data();
    axis.least = taps.empty() ? 0 : taps.front().shift;
    axis.most = axis.least;
    for (const DirectTap& tap : taps) {
      axis.least = std::min(axis.least, tap.shift);
      axis.most = std::max(axis.most, tap.shift);
    }
  }
};

// A kernel of 1 x 1 that reads each pixel as it is: rows follow each other without an end.
bool flat(const ConvShape& s) {
  return s.kernel_size() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0 &&
         s.out_h == s.height && s.out_w == s.width;
}

// Whether channels lie so far apart that the same pixels of all of them share few sets of a second-level cache, of
// which a way is 128 KB.
template <class T>
bool collides(Index channels, Index plane) {
  constexpr Index kWay = Index{1} << 17, kMostWays = 4;
  const Index bytes = plane * static_cast<Index>(sizeof(T)), apart = std::min(bytes & -bytes, kWay);
  return static_cast<double>(channels) * static_cast<double>(apart) > static_cast<double>(kMostWays * kWay);
}

// A problem, the memory of its axes, and how it is cut.
template <class T>
struct Plan {
  AxisPlan rows, cols;
  DirectConv<T> conv{};

  Plan(const ConvForward<T>*, const ConvShape& s) {
    if (flat(s)) {
      rows.set_forward(1, 1, 1, 1, 1, 0);
      cols.set_forward(s.in_size(), s.out_size(), 1, 1, 1, 0);
    } else {
      rows.set_forward(s.height, s.out_h, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top);
      cols.set_forward(s.width, s.out_w, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left);
    }
    set(s, s.group_channels(), s.group_filters(), s.in_size(), s.out_size());
    conv.weight_filter = s.depth();
    conv.weight_channel = s.kernel_size();
  }

  Plan(const ConvBackwardInput<T>*, const ConvShape& s) {
    if (flat(s)) {
      rows.set_backward(1, 1, 1, 1, 1, 0);
      cols.set_backward(s.out_size(), s.in_size(), 1, 1, 1, 0);
    } else {
      rows.set_backward(s.out_h, s.height, s.kernel_h, s.stride_h, s.dilation_h, s.pad_top);
      cols.set_backward(s.out_w, s.width, s.kernel_w, s.stride_w, s.dilation_w, s.pad_left);
    }
    set(s, s.group_filters(), s.group_channels(), s.out_size(), s.in_size());
    conv.weight_filter = s.kernel_size();
    conv.weight_channel = s.depth();
  }

  Index packed_elements() const { return conv.groups * conv.packed_group; }
  std::size_t packed_size() const { return static_cast<std::size_t>(packed_elements()); }
  std::size_t scratch_bytes() const {
    return (packed_size() + static_cast<std::size_t>(conv.input_size + conv.out_size)) * sizeof(T) +
           static_cast<std::size_t>(conv.taps) * sizeof(DirectStep);
  }

  void run(int threads) {
    const auto& k = kernels<T>();
    conv.packed = scratch<T>(Slot::pack_a, packed_size());
    const Index packs = conv.groups * conv.panels;
    const int packers = packed_size() > (1u << 15) ? static_cast<int>(std::min<Index>(packs, 4 * threads)) : 1;
    parallel_for(
        packers,
        [&](int task) {
          for (Index i = packs * task / packers; i < packs * (task + 1) / packers; ++i)
            k.pack(conv, i / conv.panels, i % conv.panels);
        },
        threads);

    // Threads share out units, or where these are few the panels of each.
    constexpr double kCyclesPerThread = 8000;
    const Index units = conv.units();
    const double cycles = static_cast<double>(conv.images * conv.groups * conv.rows.outputs * conv.cols.outputs) *
                          static_cast<double>(conv.channels * conv.filters) * static_cast<double>(conv.taps) /
                          static_cast<double>(conv.rows.out_step * conv.cols.out_step * 2 * k.lanes);
    const int useful = static_cast<int>(std::clamp(cycles / kCyclesPerThread, 1.0, static_cast<double>(threads)));
    const Index shares = useful == 1 ? 1 : std::min(conv.panels, divide_up(4 * useful, units));
    const Index total = units * shares;
    const int tasks = static_cast<int>(useful == 1 ? 1 : std::min<Index>(total, 8 * useful));
    parallel_for(
        tasks,
        [&](int task) {
          const Index begin = total * task / tasks, end = total * (task + 1) / tasks;
          if (shares == 1) return k.run(conv, begin, end, 0, conv.panels);
          for (Index i = begin; i < end; ++i) {
            const Index share = i % shares;
            k.run(conv, i / shares, i / shares + 1, conv.panels * share / shares, conv.panels * (share + 1) / shares);
          }
        },
        useful);
  }

  // Cycles that a row's tiles of that many vectors of filters take with each step, beside one for each multiply-add: in
  // each tile, and where a panel of one vector has a load for each of its multiply-adds.
  double losses(Index panel_vectors) const {
    const auto& k = kernels<T>();
    const double step = k.pixels(2) > 8 ? 2 : 0.5, load = 0.3;
    const Index phases = cols.axis.out_step, vectors = divide_up(conv.filters, k.lanes);
    const Index tiles = phases * divide_up(divide_up(cols.axis.outputs, phases), k.pixels(panel_vectors));
    const EvenSplit panels(vectors, panel_vectors);
    const double single =
        panels.small == 1 ? static_cast<double>((panels.parts - panels.larger) * cols.axis.outputs) : 0;
    return step * static_cast<double>(panels.parts * tiles) + load * single;
  }

 private:
  void set(const ConvShape& s, Index channels, Index filters, Index x_channel, Index y_filter) {
    conv.images = s.n;
    conv.groups = s.groups;
    conv.channels = channels;
    conv.filters = filters;
    conv.kernel_w = s.kernel_w;
    conv.taps = s.kernel_size();
    // Tiles of few pixels read little of each line of a channel that they touch.
    conv.in_place = conv.taps == 1 && kernels<T>().pixels(2) > 8 && rows.inside() && cols.inside() &&
                    !collides<T>(channels, x_channel);
    conv.x_channel = x_channel;
    conv.x_group = channels * x_channel;
    conv.x_image = s.groups * conv.x_group;
    conv.weight_group = s.group_filters() * s.depth();
    conv.y_filter = y_filter;
    conv.y_group = filters * y_filter;
    conv.y_image = s.groups * conv.y_group;
    cut();
  }

  void cut() {
    const auto& k = kernels<T>();
    conv.panel_vectors = losses(3) < losses(2) ? 3 : 2;
    const Index vectors = divide_up(conv.filters, k.lanes), pixels = k.pixels(conv.panel_vectors);
    const Index item = sizeof(T), panel = conv.panel_vectors * k.lanes;
    const auto input_size = [&](Index height, Index width) {
      return divide_up(conv.channels, k.lanes) * k.lanes * std::min(rows.reach(height), rows.axis.inputs) *
             cols.reach(width);
    };
    const auto fits = [&](Index height, Index width) {
      return input_size(height, width) * item <= (conv.in_place ? 2 : 1) * kInputBytes &&
             height * width * panel * item <= kOutputBytes;
    };
    // Whole rows if one of them fits, else tiles of one, as even as whole tiles are.
    const Index tile = pixels * cols.axis.out_step, step = rows.axis.out_step;
    Index width = cols.axis.outputs;
    if (!fits(step, width)) {
      Index tiles = 1;
      while (tiles * tile < width && fits(step, (tiles + 1) * tile)) ++tiles;
      width = std::min(width, EvenSplit(divide_up(width, tile), tiles).size(0) * tile);
    }
    cols.cut(width);
    const Index most = divide_up(rows.axis.outputs, step);
    Index steps = 1;
    while (steps < most && fits((steps + 1) * step, width)) ++steps;
    rows.cut(std::min(rows.axis.outputs, EvenSplit(most, steps).size(0) * step));

    conv.rows = rows.axis;
    conv.cols = cols.axis;
    conv.panels = divide_up(vectors, conv.panel_vectors);
    conv.packed_group = conv.channels * conv.taps * vectors * k.lanes;
    conv.input_size = conv.in_place ? 0 : input_size(rows.axis.block, width);
    conv.out_size = (rows.axis.block * width + k.lanes) * panel;
  }
};

}  // namespace

bool takes_direct(const ConvShape& s) {
  constexpr double kMostPixels = 16, kMostLanes = 16;
  const double deep = static_cast<double>(std::max(s.group_channels(), s.group_filters())) + kMostLanes;
  const double height = std::min(static_cast<double>(s.dilation_h) * static_cast<double>(s.kernel_h - 1) + 1,
                                 static_cast<double>(std::max(s.height, s.out_h)));
  const double width = static_cast<double>(s.dilation_w) * static_cast<double>(s.kernel_w - 1) +
                       kMostPixels * static_cast<double>(s.stride_w);
  return deep * height * width * sizeof(double) <= static_cast<double>(kMostBytes);
}

template <class T>
void conv_direct(const ConvForward<T>& p, int threads) {
  Plan<T> plan(&p, p.shape);
  plan.conv.x = p.x;
  plan.conv.weight = p.weight;
  plan.conv.bias = p.bias;
  plan.conv.relu = p.relu;
  plan.conv.y = p.y;
  plan.run(threads);
}

template <class T>
void conv_direct(const ConvBackwardInput<T>& p, int threads) {
  Plan<T> plan(&p, p.shape);
  plan.conv.x = p.grad;
  plan.conv.weight = p.weight;
  plan.conv.y = p.dx;
  plan.run(threads);
}

template <class T>
std::size_t direct_scratch(const ConvForward<T>* problem, const ConvShape& s) {
  return s.flops() == 0 ? 0 : Plan<T>(problem, s).scratch_bytes();
}

template <class T>
std::size_t direct_scratch(const ConvBackwardInput<T>* problem, const ConvShape& s) {
  return s.flops() == 0 ? 0 : Plan<T>(problem, s).scratch_bytes();
}

// A tile begins and ends, and vectors of the input, the output and the weight are turned.
template <class T, class Problem>
double direct_cycles(const Problem* problem, const ConvShape& s) {
  if (s.flops() == 0) return 0;
  constexpr double kTile = 60, kTurn = 7;
  const double weight_turn = std::is_same_v<Problem, ConvForward<T>> ? 20 : s.kernel_size() == 1 ? 8 : 64;
  const Plan<T> plan(problem, s);
  const DirectConv<T>& c = plan.conv;
  const auto& k = kernels<T>();
  const bool many_registers = k.pixels(2) > 8;
  const Index bytes = k.lanes * static_cast<Index>(sizeof(T));
  if (bytes < 32 || (!many_registers && flat(s))) return std::numeric_limits<double>::infinity();
  const auto real = [](Index i) { return static_cast<double>(i); };
  const double vectors = real(divide_up(c.filters, k.lanes)), panels = real(c.panels);
  const double rows = real(c.images * c.groups * c.rows.outputs), pixels = real(c.cols.outputs);
  const double tiles =
      real(c.cols.out_step * divide_up(divide_up(c.cols.outputs, c.cols.out_step), k.pixels(c.panel_vectors)));
  const double steps = real(c.channels) * real(c.taps) / real(c.rows.out_step * c.cols.out_step);
  const double channel_vectors = c.in_place ? 0 : real(divide_up(c.channels, k.lanes));
  const double inputs = real(c.images * c.groups * c.rows.inputs) * real(c.cols.inputs);
  return rows * (steps * (vectors * pixels + plan.losses(c.panel_vectors)) + kTile * panels * tiles) +
         kTurn * (rows * pixels * vectors + inputs * channel_vectors) +
         weight_turn * real(plan.packed_elements()) / real(k.lanes);
}

#define DLKIT_INSTANTIATE(T)                                                          \
  template void conv_direct(const ConvForward<T>&, int);                              \
  template void conv_direct(const ConvBackwardInput<T>&, int);                        \
  template std::size_t direct_scratch(const ConvForward<T>*, const ConvShape&);       \
  template std::size_t direct_scratch(const ConvBackwardInput<T>*, const ConvShape&); \
  template double direct_cycles<T>(const ConvForward<T>*, const ConvShape&);          \
  template double direct_cycles<T>(const ConvBackwardInput<T>*, const ConvShape&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
