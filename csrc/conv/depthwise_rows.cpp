// Depthwise convolution of small planes where they lie: a row of a plane in a register, or as many as fit, or a part of
// a wide one; no copy, no padding, no transposition.
//
//   for each plane, for each register of outputs:
//     for each row u of the kernel:  x = the rows that it reads, a masked load;  z[v] += weight[u, v] x, all columns v
//     y = sum over v of z[v], moved along its lanes to where column v of the kernel puts it
//
// So the columns of the kernel cost a shuffle each for each result, and not for each tap; a stride is a part of the
// shuffle, as are the edges on the left and right. Above and below, rows are left out. The gradient by x is the same,
// from the gradient's rows, for each row of dx with the taps u that meet it; of a stride, the shuffle spreads the lanes.
// For that by the weights, a register of the gradient is moved to the columns that tap v reads and multiplied with the
// rows of x where they lie: K x K sums in registers, of a few images, channel after channel.
//
// For 3 x 3 on 7 x 7: 36 multiply-adds, 12 loads, 12 shuffles and 4 stores for a plane of 49 elements, two rows to a
// register. Bytes: each array once, in order. Bound: memory; where the planes are in the cache, the multipliers.
#include "conv/depthwise.h"
#include "conv/lane_moves.h"
#include "conv/weight_unit.h"
#include "core/scratch.h"

namespace dlkit::DLKIT_TARGET {
namespace {

constexpr int kMostK = 5;
constexpr Index kAhead = 512;  // elements of what is read, that are prefetched

// The lanes [begin, end) of a register, which may lie outside of it.
template <class T>
DLKIT_INLINE typename Vec<T>::Mask lanes_between(Index begin, Index end) {
  using M = typename Vec<T>::Mask;
  const M before = Vec<T>::first(begin), until = Vec<T>::first(end);
#if defined(DLKIT_TARGET_AVX512)
  return static_cast<M>(until & ~before);
#else
  return {until.bits & ~before.bits};
#endif
}

// What a register, or two, of one array is read for: rows of its planes, which row of the kernel meets them.
template <class T>
struct Source {
  Index at, tap_row;
  typename Vec<T>::Mask mask[2];
};

// A register, or two, of outputs: what it reads are sources [first, first + count).
template <class T>
struct Step {
  Index first, count, out;
  typename Vec<T>::Mask mask[2];
};

// How planes of (height, width) are read for planes of (out_h, out_w); made once for all planes.
template <class T>
struct Plan {
  Step<T>* steps;
  Source<T>* sources;
  Index count;                // of steps
  Index out_gap = Vec<T>::lanes;  // from the first register of outputs to the second
  Moves<T> moves[2][kMostK];  // from the lanes of a sum to those of output register 0 or 1, for each column of the kernel
};

struct Extents {
  Index height, width, out_h, out_w;
};

DLKIT_INLINE Index floor_div(Index a, Index b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

// The parts of a row that steps have: `cols` outputs, from column `col`, read from column `left` on.
template <class T>
struct Tiling {
  Index rows, cols;       // of outputs in a step
  bool whole;             // rows are read from column 0 on, whatever is beside them
  int in_regs, out_regs;
};

template <class T>
DLKIT_INLINE Tiling<T> tiling_forward(const Extents& e, Index K, Index stride) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index longest = e.width > e.out_w ? e.width : e.out_w;
  if (stride == 1) {
    if (longest <= kLanes) return {smaller(kLanes / longest, e.out_h), e.out_w, true, 1, 1};
    return {1, kLanes - K + 1, false, 1, 1};
  }
  if (e.out_w <= kLanes && e.width <= kLanes) return {1, e.out_w, true, 1, 1};
  if (e.out_w <= kLanes && e.width <= 2 * kLanes) return {1, e.out_w, true, 2, 1};
  return {1, (2 * kLanes - K) / 2 + 1, false, 2, 1};
}

template <class T, class Forward>
DLKIT_INLINE void set_moves(Plan<T>& plan, int regs, Index K, const Forward& from) {
  constexpr Index kLanes = Vec<T>::lanes;
  for (int r = 0; r < regs; ++r)
    for (Index v = 0; v < K; ++v) {
      Index lane[kLanes];
      for (Index i = 0; i < kLanes; ++i) lane[i] = from(r * kLanes + i, v);
      plan.moves[r][v].set(lane);
    }
}

template <class T>
DLKIT_INLINE void take_memory(Plan<T>& plan, Index steps, Index K) {
  const auto first = static_cast<std::size_t>(divide_up(steps * static_cast<Index>(sizeof(Step<T>)), 64) * 64);
  char* const memory = static_cast<char*>(
      scratch_bytes(Slot::pack_b, first + static_cast<std::size_t>(steps * K) * sizeof(Source<T>)));
  plan.steps = reinterpret_cast<Step<T>*>(memory);
  plan.sources = reinterpret_cast<Source<T>*>(memory + first);
  plan.count = 0;
}

// Rows [row, row + rows) of planes of `height` rows of `width` elements, from column `left` on: where they are, as a
// source. False, and no lanes, where none is there.
template <class T>
DLKIT_INLINE bool source_of(Source<T>& to, Index row, Index rows, Index height, Index width, Index left, bool whole) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index begin = row < 0 ? -row : 0, end = row + rows > height ? height - row : rows;
  if (begin >= end) {
    to.at = 0;
    to.mask[0] = to.mask[1] = Vec<T>::first(0);
    return false;
  }
  to.at = row * width + left;
  for (int r = 0; r < 2; ++r)
    to.mask[r] = whole ? lanes_between<T>(begin * width - r * kLanes, end * width - r * kLanes)
                       : lanes_between<T>(-left - r * kLanes, width - left - r * kLanes);
  return true;
}

// y from x: output row i reads rows i stride + u - pad_top.
template <class T>
DLKIT_INLINE Tiling<T> plan_forward(Plan<T>& plan, const Extents& e, Index K, Index stride, Index pad_top,
                                    Index pad_left) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Tiling<T> t = tiling_forward<T>(e, K, stride);
  take_memory(plan, divide_up(e.out_h, t.rows) * divide_up(e.out_w, t.cols), K);
  Index used = 0;
  for (Index i = 0; i < e.out_h; i += t.rows)
    for (Index j = 0; j < e.out_w; j += t.cols) {
      const Index rows = smaller(t.rows, e.out_h - i), cols = smaller(t.cols, e.out_w - j);
      Step<T>& step = plan.steps[plan.count++];
      step.first = used;
      step.out = i * e.out_w + j;
      step.mask[0] = Vec<T>::first(rows * cols);
      for (Index u = 0; u < K; ++u) {
        Source<T>& source = plan.sources[used];
        source.tap_row = u;
        used += source_of(source, i * stride + u - pad_top, rows, e.height, e.width,
                          t.whole ? 0 : j * stride - pad_left, t.whole) ||
                stride == 1;
      }
      step.count = used - step.first;
    }
  set_moves(plan, 1, K, [&](Index lane, Index v) {
    if (!t.whole) return lane * stride + v < t.in_regs * kLanes ? lane * stride + v : -1;
    const Index row = lane / e.out_w, col = lane % e.out_w * stride + v - pad_left;
    return row < t.rows && col >= 0 && col < e.width ? row * e.width + col : -1;
  });
  return t;
}

// dx from grad: row h of dx has rows (h + pad_top - u) / stride of grad where that divides. Of a stride of 2, two rows
// of grad may be in a register, for rows h and h + 2 of dx, a register each.
template <class T>
DLKIT_INLINE Tiling<T> plan_backward(Plan<T>& plan, const Extents& grad, Index K, Index stride, Index pad_top,
                                     Index pad_left) {
  constexpr Index kLanes = Vec<T>::lanes;
  const Index longest = grad.width > grad.out_w ? grad.width : grad.out_w;
  Tiling<T> t = {1, 0, false, 1, 1};
  bool two_rows = false;
  // Of a tile from column c on (even, where the stride is 2), the first column of grad that it meets is c / stride +
  // ahead; the last must be in the same register.
  const Index ahead = -floor_div(K - 1 - pad_left, stride);
  if (stride == 1 && longest <= kLanes) {
    t = {smaller(kLanes / longest, grad.out_h), grad.out_w, true, 1, 1};
  } else if (stride == 1) {
    t.cols = kLanes - K + 1;
  } else if (2 * grad.width <= kLanes && grad.out_w <= kLanes) {
    t = {2, grad.out_w, true, 1, 2};
    two_rows = true;
    plan.out_gap = 2 * grad.out_w;
  } else if (grad.width <= kLanes && grad.out_w <= 2 * kLanes) {
    t = {1, grad.out_w, true, 1, grad.out_w <= kLanes ? 1 : 2};
  } else {
    t.cols = 2 * kLanes;
    while (floor_div(t.cols - 1 + pad_left, stride) - ahead >= kLanes) t.cols -= 2;
    t.out_regs = 2;
  }
  take_memory(plan, (divide_up(grad.out_h, t.rows) + 1) * divide_up(grad.out_w, t.cols), K);
  Index used = 0;
  const auto add_step = [&](Index h, Index w, Index rows) __attribute__((always_inline)) {
    Step<T>& step = plan.steps[plan.count++];
    step.first = used;
    step.out = h * grad.out_w + w;
    const Index cols = smaller(t.cols, grad.out_w - w);
    for (int r = 0; r < 2; ++r)
      step.mask[r] = Vec<T>::first(two_rows ? (r < rows ? cols : 0) : rows * cols - r * kLanes);
    for (Index u = 0; u < K; ++u) {
      const Index at = h + pad_top - u;
      if (floor_div(at, stride) * stride != at) continue;
      Source<T>& source = plan.sources[used];
      source.tap_row = u;
      used += source_of(source, floor_div(at, stride), rows, grad.height, grad.width, t.whole ? 0 : w / stride + ahead,
                        t.whole) ||
              stride == 1;
    }
    step.count = used - step.first;
  };
  if (two_rows) {
    for (Index h = 0; h < grad.out_h; h += 4)
      for (Index first = h; first < h + 2 && first < grad.out_h; ++first) add_step(first, 0, first + 2 < grad.out_h ? 2 : 1);
  } else {
    for (Index h = 0; h < grad.out_h; h += t.rows)
      for (Index w = 0; w < grad.out_w; w += t.cols) add_step(h, w, smaller(t.rows, grad.out_h - h));
  }
  set_moves(plan, t.out_regs, K, [&](Index lane, Index v) {
    if (two_rows && lane % kLanes >= grad.out_w) return Index{-1};
    const Index row = two_rows ? lane / kLanes : t.whole ? lane / grad.out_w : 0;
    const Index at = lane - row * (two_rows ? kLanes : grad.out_w) + pad_left - v;
    const Index col = floor_div(at, stride);
    if (row >= t.rows || col * stride != at) return Index{-1};
    if (!t.whole) return col - ahead >= 0 && col - ahead < kLanes ? col - ahead : -1;
    return col >= 0 && col < grad.width ? row * grad.width + col : -1;
  });
  return t;
}

// The lines of a plane to come, for reading or writing.
template <int kWrite, class T>
DLKIT_INLINE void prefetch_plane(const T* plane, Index size) {
  for (Index i = 0; i < size; i += 64 / static_cast<Index>(sizeof(T))) __builtin_prefetch(plane + i, kWrite);
}

// A kernel of K rows that are all there, on two steps at once: their weights are loaded once.
template <class T, int K, int Steps>
DLKIT_INLINE void sum_full(const Plan<T>& plan, const Step<T>* step, const T* from, const T* weight,
                           Vec<T> (&z)[Steps][K]) {
  using V = Vec<T>;
  const Source<T>* const source = plan.sources + step->first;
#pragma GCC unroll 8
  for (int u = 0; u < K; ++u) {
    V x[Steps];
#pragma GCC unroll 2
    for (int i = 0; i < Steps; ++i) x[i] = V::load(from + source[i * K + u].at, source[i * K + u].mask[0]);
#pragma GCC unroll 8
    for (int v = 0; v < K; ++v) {
      V w = V::broadcast(weight[u * K + v]);
      if constexpr (Steps > 1) hold(w);
#pragma GCC unroll 2
      for (int i = 0; i < Steps; ++i) z[i][v] = u == 0 ? w * x[i] : V::fma(w, x[i], z[i][v]);
    }
  }
}

template <class T, int K, int InRegs, int OutRegs, bool Full>
void run_planes(const ConvShape& s, const Plan<T>& plan, const T* in, Index in_size, const T* weights, const T* bias,
                bool relu, T* out, Index out_size, Index begin, Index end) {
  using V = Vec<T>;
  const Index most = in_size > out_size ? in_size : out_size;
  const Index ahead = kAhead / most > 1 ? kAhead / most : 1, steps = plan.count, gap = plan.out_gap;
  Moves<T> moves[OutRegs][K];
  for (int r = 0; r < OutRegs; ++r)
    for (int v = 0; v < K; ++v) moves[r][v] = plan.moves[r][v];
  Index channel = begin % s.channels;
  for (Index plane = begin; plane < end; ++plane) {
    const T* const from = in + plane * in_size;
    T* const to = out + plane * out_size;
    const T* const weight = weights + channel * K * K;
    const V start = bias != nullptr ? V::broadcast(bias[channel]) : V::zero();
    if (++channel == s.channels) channel = 0;
    if (plane + ahead < end) {
      prefetch_plane<0>(from + ahead * in_size, in_size);
      prefetch_plane<1>(to + ahead * out_size, out_size);
    }
    const auto finish = [&](const V(&z)[InRegs][K], const Step<T>& step) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int r = 0; r < OutRegs; ++r) {
        V sum = start;
#pragma GCC unroll 8
        for (int v = 0; v < K; ++v) {
          if constexpr (InRegs == 2)
            sum = sum + moves[r][v].of(z[0][v], z[1][v]);
          else
            sum = sum + moves[r][v].of(z[0][v]);
        }
        if (relu) sum = V::max(V::zero(), sum);
        sum.store(to + step.out + r * gap, step.mask[r]);
      }
    };
    const Step<T>* step = plan.steps;
    const Step<T>* const last = step + steps;
    if constexpr (Full) {
      if constexpr (K > 3 && V::registers >= 32) {
        for (; step + 2 <= last; step += 2) {
          V z[2][K];
          sum_full<T, K, 2>(plan, step, from, weight, z);
          const V one[1][K] = {{z[0][0], z[0][1], z[0][2], z[0][3], z[0][4]}};
          const V two[1][K] = {{z[1][0], z[1][1], z[1][2], z[1][3], z[1][4]}};
          finish(one, step[0]);
          finish(two, step[1]);
        }
      }
      for (; step < last; ++step) {
        V z[1][K];
        sum_full<T, K, 1>(plan, step, from, weight, z);
        finish(z, *step);
      }
      continue;
    }
    for (; step < last; ++step) {
      V z[InRegs][K];
#pragma GCC unroll 2
      for (int r = 0; r < InRegs; ++r)
#pragma GCC unroll 8
        for (int v = 0; v < K; ++v) z[r][v] = V::zero();
      const Source<T>* source = plan.sources + step->first;
      for (Index n = 0; n < step->count; ++n, ++source) {
        const T* const w = weight + source->tap_row * K;
#pragma GCC unroll 2
        for (int r = 0; r < InRegs; ++r) {
          const V x = V::load(from + source->at + r * V::lanes, source->mask[r]);
#pragma GCC unroll 8
          for (int v = 0; v < K; ++v) z[r][v] = V::fma(V::broadcast(w[v]), x, z[r][v]);
        }
      }
      finish(z, *step);
    }
  }
}

template <class T>
DLKIT_INLINE auto runner(const ConvShape& s, const Tiling<T>& t) {
  const bool three = s.kernel_h == 3;
  if (s.stride_h == 1) return three ? run_planes<T, 3, 1, 1, true> : run_planes<T, 5, 1, 1, true>;
  if (t.in_regs == 2) return three ? run_planes<T, 3, 2, 1, false> : run_planes<T, 5, 2, 1, false>;
  if (t.out_regs == 2) return three ? run_planes<T, 3, 1, 2, false> : run_planes<T, 5, 1, 2, false>;
  return three ? run_planes<T, 3, 1, 1, false> : run_planes<T, 5, 1, 1, false>;
}

template <class T>
void forward(const ConvForward<T>& p, Index begin, Index end) {
  const ConvShape& s = p.shape;
  Plan<T> plan;
  const Tiling<T> t = plan_forward(plan, Extents{s.height, s.width, s.out_h, s.out_w}, s.kernel_h, s.stride_h,
                                   s.pad_top, s.pad_left);
  runner(s, t)(s, plan, p.x, s.in_size(), p.weight, p.bias, p.relu, p.y, s.out_size(), begin, end);
}

template <class T>
void backward_input(const ConvBackwardInput<T>& p, Index begin, Index end) {
  const ConvShape& s = p.shape;
  Plan<T> plan;
  const Tiling<T> t = plan_backward(plan, Extents{s.out_h, s.out_w, s.height, s.width}, s.kernel_h, s.stride_h,
                                    s.pad_top, s.pad_left);
  runner(s, t)(s, plan, p.grad, s.out_size(), p.weight, nullptr, false, p.dx, s.in_size(), begin, end);
}

// One plane: sums[u K + v] += grad moved to column v, times the rows that u reads; the bias's sum comes last.
template <class T, int K, int Regs>
DLKIT_INLINE void add_plane(const Plan<T>& plan, const T* x, const T* grad, Vec<T> (&sum)[K * K], Vec<T>& bias) {
  using V = Vec<T>;
  for (Index k = 0; k < plan.count; ++k) {
    const Step<T>& step = plan.steps[k];
    const V g = V::load(grad + step.out, step.mask[0]);
    bias = bias + g;
#pragma GCC unroll 2
    for (int r = 0; r < Regs; ++r) {
      V moved[K];
#pragma GCC unroll 8
      for (int v = 0; v < K; ++v) moved[v] = plan.moves[r][v].of(g);
#pragma GCC unroll 8
      for (int u = 0; u < K; ++u) {
        const Source<T>& source = plan.sources[k * K + u];
        const V rows = V::load(x + source.at + r * V::lanes, source.mask[r]);
#pragma GCC unroll 8
        for (int v = 0; v < K; ++v) sum[u * K + v] = V::fma(moved[v], rows, sum[u * K + v]);
      }
    }
  }
}

template <class T, int K, int Regs>
void add_planes(const ConvBackwardWeight<T>& p, const Plan<T>& plan, Index begin, Index end) {
  using V = Vec<T>;
  constexpr Index kImages = 8;  // whose planes of a channel are read one after another
  const ConvShape& s = p.shape;
  const Index size = (K * K + 1) * V::lanes;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>((end - begin) * size));
  for (Index first = 0; first < s.n; first += kImages) {
    const Index last = smaller(first + kImages, s.n);
    for (Index c = begin; c < end; ++c) {
      T* const to = sums + (c - begin) * size;
      V sum[K * K], bias;
#pragma GCC unroll 32
      for (int t = 0; t < K * K; ++t) sum[t] = first == 0 ? V::zero() : V::load(to + t * V::lanes);
      bias = first == 0 ? V::zero() : V::load(to + K * K * V::lanes);
      for (Index n = first; n < last; ++n) {
        const Index plane = n * s.channels + c;
        if (c + 1 < end) {
          prefetch_plane<0>(p.x + (plane + 1) * s.in_size(), s.in_size());
          prefetch_plane<0>(p.grad + (plane + 1) * s.out_size(), s.out_size());
        }
        add_plane<T, K, Regs>(plan, p.x + plane * s.in_size(), p.grad + plane * s.out_size(), sum, bias);
      }
#pragma GCC unroll 32
      for (int t = 0; t < K * K; ++t) sum[t].store(to + t * V::lanes);
      bias.store(to + K * K * V::lanes);
    }
  }
  for (Index c = begin; c < end; ++c) {
    const T* const from = sums + (c - begin) * size;
    T* const to = p.dweight + c * K * K;
    for (int t = 0; t < K * K; ++t) {
      const T sum = V::load(from + t * V::lanes).sum();
      to[t] = p.accumulate ? to[t] + sum : sum;
    }
    if (p.dbias == nullptr) continue;
    const T sum = V::load(from + K * K * V::lanes).sum();
    p.dbias[c] = p.accumulate ? p.dbias[c] + sum : sum;
  }
}

template <class T>
void backward_weight(const ConvBackwardWeight<T>& p, Index begin, Index end) {
  constexpr Index kLanes = Vec<T>::lanes;
  const ConvShape& s = p.shape;
  const Index K = s.kernel_h, stride = s.stride_h;
  const Extents e = {s.height, s.width, s.out_h, s.out_w};
  const Tiling<T> t = tiling_forward<T>(e, K, stride);
  Plan<T> plan;
  take_memory(plan, divide_up(e.out_h, t.rows) * divide_up(e.out_w, t.cols), K);
  for (Index i = 0; i < e.out_h; i += t.rows)
    for (Index j = 0; j < e.out_w; j += t.cols) {
      const Index rows = smaller(t.rows, e.out_h - i), cols = smaller(t.cols, e.out_w - j);
      Source<T>* const source = plan.sources + plan.count * K;
      Step<T>& step = plan.steps[plan.count++];
      step.out = i * e.out_w + j;
      step.mask[0] = Vec<T>::first(rows * cols);
      for (Index u = 0; u < K; ++u)
        source_of(source[u], i * stride + u - s.pad_top, rows, e.height, e.width, t.whole ? 0 : j * stride - s.pad_left,
                  t.whole);
    }
  // Lane of what a tap reads, from that of the gradient.
  set_moves(plan, t.in_regs, K, [&](Index lane, Index v) {
    const Index row = t.whole ? lane / e.width : 0;
    const Index at = lane - row * e.width - v + (t.whole ? s.pad_left : 0), col = floor_div(at, stride);
    if (row >= t.rows || col * stride != at || col < 0 || col >= t.cols) return Index{-1};
    const Index from = row * e.out_w + col;
    return from < kLanes ? from : -1;
  });
  if (t.in_regs == 2)
    (K == 3 ? add_planes<T, 3, 2> : add_planes<T, 5, 2>)(p, plan, begin, end);
  else
    (K == 3 ? add_planes<T, 3, 1> : add_planes<T, 5, 1>)(p, plan, begin, end);
}

}  // namespace

extern const DepthwiseTable depthwise_rows_table;
const DepthwiseTable depthwise_rows_table = {{forward<float>, backward_input<float>, backward_weight<float>},
                                             {forward<double>, backward_input<double>, backward_weight<double>}};

}  // namespace dlkit::DLKIT_TARGET
