// Depthwise convolution of small planes where they lie: a row of a plane in a register, or as many as fit, or a part of
// a wide one; no copy, no padding, no transposition.
//
//   for each plane, for each register of outputs:
//     for each row u of the kernel:  x = the rows that it reads, a masked load;  z[v] += weight[u, v] x, all columns v
//     y = sum over v of z[v], moved along its lanes to where column v of the kernel puts it
//
// So the columns of the kernel cost a shuffle each for each result, and not for each tap; a stride is a part of the
// shuffle, as are the edges on the left and right. Above and below, rows are left out. The gradient by x is the same,
// from the gradient's rows, for each row of dx with the taps u that meet it; of a stride, the shuffle spreads the
// lanes. For that by the weights, a register of the gradient is moved to the columns that tap v reads and multiplied
// with the rows of x where they lie: K x K sums in registers, of a few images, channel after channel.
//
// For 3 x 3 on 7 x 7: 36 multiply-adds, 12 loads, 12 shuffles and 4 stores for a plane of 49 elements, two rows to a
// register. Bytes: each array once, in order. Bound: memory; where the planes are in the cache, the multipliers.
#include "conv/depthwise.h"

#if defined(DLKIT_TARGET_AVX512)
#include "conv/row_plan.h"
#endif

namespace dlkit::DLKIT_TARGET {
#if defined(DLKIT_TARGET_AVX512)
namespace {

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
  const Tiling<T> t =
      plan_forward(plan, Extents{s.height, s.width, s.out_h, s.out_w}, s.kernel_h, s.stride_h, s.pad_top, s.pad_left);
  runner(s, t)(s, plan, p.x, s.in_size(), p.weight, p.bias, p.relu, p.y, s.out_size(), begin, end);
}

template <class T>
void backward_input(const ConvBackwardInput<T>& p, Index begin, Index end) {
  const ConvShape& s = p.shape;
  Plan<T> plan;
  const Tiling<T> t =
      plan_backward(plan, Extents{s.out_h, s.out_w, s.height, s.width}, s.kernel_h, s.stride_h, s.pad_top, s.pad_left);
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
  const ConvShape& s = p.shape;
  // Images whose planes of a channel are read one after another: of planes so small that their sums' way to memory and
  // back counts; other arrays are read in order.
  constexpr Index kSmall = 128;
  const Index images = s.in_size() <= kSmall ? 8 : 1;
  const Index ahead = images == 1 && kAhead / s.in_size() > 1 ? kAhead / s.in_size() : 1;
  const Index size = (K * K + 1) * V::lanes;
  T* const sums = scratch<T>(Slot::result, static_cast<std::size_t>((end - begin) * size));
  for (Index first = 0; first < s.n; first += images) {
    const Index last = smaller(first + images, s.n);
    for (Index c = begin; c < end; ++c) {
      T* const to = sums + (c - begin) * size;
      V sum[K * K], bias;
#pragma GCC unroll 32
      for (int t = 0; t < K * K; ++t) sum[t] = first == 0 ? V::zero() : V::load(to + t * V::lanes);
      bias = first == 0 ? V::zero() : V::load(to + K * K * V::lanes);
      for (Index n = first; n < last; ++n) {
        const Index plane = n * s.channels + c;
        if (c + ahead < end) {
          prefetch_plane<0>(p.x + (plane + ahead) * s.in_size(), s.in_size());
          prefetch_plane<0>(p.grad + (plane + ahead) * s.out_size(), s.out_size());
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
                                             {}};  // small code
#else
extern const DepthwiseTable depthwise_rows_table;
const DepthwiseTable depthwise_rows_table = {};
#endif

}  // namespace dlkit::DLKIT_TARGET
