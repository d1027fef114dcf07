// Batch normalisation of (n, channels, inner): sums of each channel, then one pass that applies them; forward with the
// sums of x - shift and its square, backward of grad and grad times the normalised x.
//
// The sums are in float64 and from the channel's first element, so that neither a mean far from zero nor one odd
// element cancels digits; an H100 adds 64 of them a cycle and multiprocessor, where memory brings 3.7 float32 elements
// (processors with few float64 units, sm_89, are bound by them instead). Work is cut by shape alone: groups of a
// channel's elements to blocks, whose sums a second kernel adds up in order.
//
// With inner 1, channels lie side by side: column_sums.h. Otherwise a slab of `inner` neighbouring elements, or 1024 of
// them, is a warp's; inner below 32 leaves lanes idle.
//
// Bytes: forward 3 elements (x twice), backward 5 (grad and x twice), of which the second-level cache has a part.
// FLOPs: 8 forward, 12 backward. Bound: memory.
// float32: 53 to 64 registers (sums), 52 (forward), 74 (backward): 768 to 1024 threads of a multiprocessor, with 64 to
// 128 bytes each on their way.
#include <algorithm>

#include "core/cuda/warp.h"
#include "layers/column_sums.h"
#include "layers/device.h"
#include "layers/naive_layers.h"

namespace dlkit::device {
namespace {

using D = real<double>;

template <int N, class T>
__device__ __forceinline__ Pack<T, N> pack_or(const T* from, Index i, T otherwise) {
  if (from != nullptr) return load_any<N>(from + i);
  Pack<T, N> pack;
#pragma unroll
  for (int k = 0; k < N; ++k) pack[k] = otherwise;
  return pack;
}

template <class Channel, int N>
struct Channels {
  Channel of[N];
};

struct Extents {
  Index n, channels, inner;
};

// Sums: what is added up. load<N>(i) fetches N elements from i on, add(first, second, loaded, k, channel) adds what the
// k-th of them contributes to the two sums of its channel; channels<N>(c) is what is known of N channels beforehand.

template <class T>
struct Moments {
  const T* x;
  Index inner;

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return load_pack<N>(x + i);
  }
  using Channel = D;
  // N above 1: only where inner is 1.
  template <int N>
  __device__ __forceinline__ Channels<Channel, N> channels(Index c) const {
    const Pack<T, N> first = load_any<N>(x + c * inner);
    Channels<Channel, N> channels;
#pragma unroll
    for (int k = 0; k < N; ++k) channels.of[k] = D(first[k]);
    return channels;
  }
  template <int N>
  __device__ __forceinline__ void add(D& sum, D& squares, const Loaded<N>& v, int k, Channel shift) const {
    const D off = D(v[k]) - shift;
    sum += off;
    squares = fma(off, off, squares);
  }
};

template <class T>
struct Gradients {
  const T *grad, *x, *mean, *rstd;

  template <int N>
  struct Loaded {
    Pack<T, N> grad, x;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return {load_pack<N>(grad + i), load_pack<N>(x + i)};
  }
  struct Channel {
    T mean, rstd;
  };
  template <int N>
  __device__ __forceinline__ Channels<Channel, N> channels(Index c) const {
    const Pack<T, N> m = load_any<N>(mean + c), r = load_any<N>(rstd + c);
    Channels<Channel, N> channels;
#pragma unroll
    for (int k = 0; k < N; ++k) channels.of[k] = {m[k], r[k]};
    return channels;
  }
  template <int N>
  __device__ __forceinline__ void add(D& sum, D& dot, const Loaded<N>& v, int k, Channel channel) const {
    sum += D(v.grad[k]);
    dot = fma(D(v.grad[k]), D((v.x[k] - channel.mean) * channel.rstd), dot);
  }
};

// Maps: what is done to each element afterwards. apply(loaded, k, channel) is the k-th element of `out`.

template <class T>
struct Normalise {
  const T *x, *weight, *bias, *mean;
  const T *rstd, *var;  // one of them
  T eps;
  T* out;

  template <int N>
  using Loaded = Pack<T, N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return load_pack<N>(x + i);
  }
  struct Channel {
    T mean, scale, bias;
  };
  template <int N>
  __device__ __forceinline__ Channels<Channel, N> channels(Index c) const {
    const Pack<T, N> m = load_any<N>(mean + c), s = load_any<N>((rstd != nullptr ? rstd : var) + c);
    const Pack<T, N> w = pack_or<N>(weight, c, T(1)), b = pack_or<N>(bias, c, T(0));
    Channels<Channel, N> channels;
#pragma unroll
    for (int k = 0; k < N; ++k)
      channels.of[k] = {m[k], (rstd != nullptr ? s[k] : T(1) / sqrt(s[k] + eps)) * w[k], b[k]};
    return channels;
  }
  template <int N>
  __device__ __forceinline__ T apply(const Loaded<N>& v, int k, const Channel& channel) const {
    return fma(v[k] - channel.mean, channel.scale, channel.bias);
  }
};

// dx = weight rstd (grad - mean(grad) - n mean(grad n)) with n = (x - mean) rstd
template <class T>
struct Differentiate {
  const T *grad, *x, *weight, *mean, *rstd;
  const D *mean_grad, *mean_dot;
  T* out;

  template <int N>
  struct Loaded {
    Pack<T, N> grad, x;
  };
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index i) const {
    return {load_pack<N>(grad + i), load_pack<N>(x + i)};
  }
  struct Channel {
    T mean, scale, mean_grad, slope;
  };
  template <int N>
  __device__ __forceinline__ Channels<Channel, N> channels(Index c) const {
    const Pack<T, N> m = load_any<N>(mean + c), r = load_any<N>(rstd + c), w = pack_or<N>(weight, c, T(1));
    const Pack<D, N> g = load_any<N>(mean_grad + c), d = load_any<N>(mean_dot + c);
    Channels<Channel, N> channels;
#pragma unroll
    for (int k = 0; k < N; ++k) channels.of[k] = {m[k], r[k] * w[k], static_cast<T>(g[k]), r[k] * static_cast<T>(d[k])};
    return channels;
  }
  template <int N>
  __device__ __forceinline__ T apply(const Loaded<N>& v, int k, const Channel& channel) const {
    return channel.scale * (v.grad[k] - channel.mean_grad - (v.x[k] - channel.mean) * channel.slope);
  }
};

// --- inner 1: channels side by side ------------------------------------------------------------------------------

template <class Sums>
struct ChannelColumns {
  using Sum = D;
  static constexpr int kSums = 2;

  Sums of;
  Index channels, groups;
  D* partial;  // [kSums][groups][channels]

  template <int N>
  using Columns = Channels<typename Sums::Channel, N>;
  template <int N>
  __device__ __forceinline__ Columns<N> columns(Index col) const {
    return of.template channels<N>(col);
  }
  template <int N>
  using Loaded = typename Sums::template Loaded<N>;
  template <int N>
  __device__ __forceinline__ Loaded<N> load(Index row, Index col) const {
    return of.template load<N>(row * channels + col);
  }
  template <int N>
  __device__ __forceinline__ void add(Pack<D, N> (&sums)[2], const Loaded<N>& v, const Columns<N>& columns) const {
#pragma unroll
    for (int k = 0; k < N; ++k) of.template add<N>(sums[0][k], sums[1][k], v, k, columns.of[k]);
  }
  template <int N>
  __device__ __forceinline__ void store(Index group, Index col, const Pack<D, N> (&sums)[2]) const {
#pragma unroll
    for (int s = 0; s < 2; ++s) store_any(partial + (s * groups + group) * channels + col, sums[s]);
  }
};

template <int N, class T, class Map>
__global__ void __launch_bounds__(kThreads)
    map_columns_kernel(const Map map, T* out, Index rows, Index cols, const ColumnPlan plan) {
  const int lane = threadIdx.x % plan.lanes, lines = kThreads / plan.lanes;
  const Index group = blockIdx.x / plan.strips, strip = blockIdx.x % plan.strips;
  const Index col = (strip * plan.lanes + lane) * N, first = group * plan.per_group;
  const Index last = first + plan.per_group < rows ? first + plan.per_group : rows;
  if (col >= cols) return;
  const Channels<typename Map::Channel, N> channels = map.template channels<N>(col);
  for (Index row = first + threadIdx.x / plan.lanes; row < last; row += kUnrolledRows * lines) {
    typename Map::template Loaded<N> loaded[kUnrolledRows];
#pragma unroll
    for (int j = 0; j < kUnrolledRows; ++j)
      if (row + j * lines < last) loaded[j] = map.template load<N>((row + j * lines) * cols + col);
#pragma unroll
    for (int j = 0; j < kUnrolledRows; ++j) {
      if (row + j * lines >= last) continue;
      Pack<T, N> v;
#pragma unroll
      for (int k = 0; k < N; ++k) v[k] = map.template apply<N>(loaded[j], k, channels.of[k]);
      store_pack(out + (row + j * lines) * cols + col, v);
    }
  }
}

// --- inner above 1: slabs of neighbouring elements ---------------------------------------------------------------

constexpr Index kPiece = 1024;  // elements that a warp takes at once
constexpr int kPiecePacks = 4;  // packs of a lane in flight

Index pieces_of(Index inner) { return ceil_div(inner, kPiece); }

// body(i, n) with the places i, from `begin` on, of kPiecePacks packs of this lane that are `apart` apart; n is where
// they end.
template <int N, class Body>
__device__ __forceinline__ void each_of_piece(Index begin, Index length, const Body& body) {
  const int lane = threadIdx.x % kWarp;
  for (Index at = static_cast<Index>(lane) * N; at < length; at += kWarp * N * kPiecePacks)
    body(begin + at, begin + length);
}

// Blocks: groups of each channel. per_group: pieces of one.
template <int N, class Sums>
__global__ void __launch_bounds__(kThreads)
    slab_sums_kernel(const Sums sums, const Extents extents, Index pieces, Index groups, Index per_group, D* partial) {
  constexpr Index kApart = kWarp * N;
  const Index c = blockIdx.x % extents.channels, group = blockIdx.x / extents.channels;
  const typename Sums::Channel channel = sums.template channels<1>(c).of[0];
  const Index all = extents.n * pieces, end = (group + 1) * per_group < all ? (group + 1) * per_group : all;
  D first(0), second(0);
  for (Index item = group * per_group + threadIdx.x / kWarp; item < end; item += kThreads / kWarp) {
    const Index piece = item % pieces * kPiece, left = extents.inner - piece;
    each_of_piece<N>((item / pieces * extents.channels + c) * extents.inner + piece, left < kPiece ? left : kPiece,
                     [&](Index i, Index last) {
                       typename Sums::template Loaded<N> loaded[kPiecePacks];
#pragma unroll
                       for (int j = 0; j < kPiecePacks; ++j)
                         if (i + j * kApart < last) loaded[j] = sums.template load<N>(i + j * kApart);
#pragma unroll
                       for (int j = 0; j < kPiecePacks; ++j)
                         if (i + j * kApart < last)
#pragma unroll
                           for (int k = 0; k < N; ++k) sums.template add<N>(first, second, loaded[j], k, channel);
                     });
  }
  first = block_sum(first);
  second = block_sum(second);
  if (threadIdx.x != 0) return;
  partial[group * extents.channels + c] = first;
  partial[(groups + group) * extents.channels + c] = second;
}

template <int N, class T, class Map>
__global__ void __launch_bounds__(kThreads)
    map_slabs_kernel(const Map map, T* out, const Extents extents, Index pieces) {
  constexpr Index kApart = kWarp * N;
  const Index items = extents.n * extents.channels * pieces, warps = kThreads / kWarp;
  for (Index item = blockIdx.x * warps + threadIdx.x / kWarp; item < items; item += gridDim.x * warps) {
    const Index slab = item / pieces, piece = item % pieces * kPiece, left = extents.inner - piece;
    const typename Map::Channel channel = map.template channels<1>(slab % extents.channels).of[0];
    each_of_piece<N>(slab * extents.inner + piece, left < kPiece ? left : kPiece, [&](Index i, Index last) {
      typename Map::template Loaded<N> loaded[kPiecePacks];
#pragma unroll
      for (int j = 0; j < kPiecePacks; ++j)
        if (i + j * kApart < last) loaded[j] = map.template load<N>(i + j * kApart);
#pragma unroll
      for (int j = 0; j < kPiecePacks; ++j) {
        if (i + j * kApart >= last) continue;
        Pack<T, N> v;
#pragma unroll
        for (int k = 0; k < N; ++k) v[k] = map.template apply<N>(loaded[j], k, channel);
        store_pack(out + i + j * kApart, v);
      }
    });
  }
}

// --- both --------------------------------------------------------------------------------------------------------

// The sums of a channel, by a warp: every lane gets them.
__device__ __forceinline__ void total(const D* partial, Index groups, Index channels, Index c, D& first, D& second) {
  first = second = D(0);
  for (Index group = threadIdx.x % kWarp; group < groups; group += kWarp) {
    first += partial[group * channels + c];
    second += partial[(groups + group) * channels + c];
  }
  first = warp_sum(first);
  second = warp_sum(second);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    statistics_kernel(const D* partial, Index groups, const T* x, const Extents extents, T eps, T* mean, T* rstd) {
  const Index c = static_cast<Index>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (c >= extents.channels) return;
  const Index elements = extents.n * extents.inner;
  const D count(elements);
  D sum, squares;
  total(partial, groups, extents.channels, c, sum, squares);
  if (threadIdx.x % kWarp != 0) return;
  const D off = sum / count, variance = squares / count - off * off;
  mean[c] = static_cast<T>(elements == 0 ? off : off + D(x[c * extents.inner]));
  rstd[c] = static_cast<T>(D(1) / sqrt((variance < D(0) ? D(0) : variance) + D(eps)));
}

// means: of grad, then of grad n.
template <class T>
__global__ void __launch_bounds__(kThreads)
    gradients_kernel(const D* partial, Index groups, const Extents extents, T* dweight, T* dbias, D* means) {
  const Index c = static_cast<Index>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (c >= extents.channels) return;
  const D count(extents.n * extents.inner);
  D sum, dot;
  total(partial, groups, extents.channels, c, sum, dot);
  if (threadIdx.x % kWarp != 0) return;
  if (dweight != nullptr) dweight[c] = static_cast<T>(dot);
  if (dbias != nullptr) dbias[c] = static_cast<T>(sum);
  means[c] = sum / count;
  means[extents.channels + c] = dot / count;
}

// Groups of a channel where its elements lie in slabs.
Index slab_groups(const Extents& e) {
  const Index items = e.n * pieces_of(e.inner), warps = kThreads / kWarp;
  const Index most = std::max<Index>(1024 / std::max<Index>(e.channels, 1), 1);
  return std::clamp<Index>(ceil_div<Index>(items, 2 * warps), 1, most);
}

template <class T>
Index groups_at_most(const Extents& e) {
  return e.inner == 1 ? most_groups<T>(e.n, e.channels) : slab_groups(e);
}

// The sums to `partial`; returns in how many groups.
template <class T, class Sums>
Index launch_sums(const char* name, Stream stream, const Sums& sums, const Extents& e, bool aligned, D* partial) {
  if (e.n * e.inner == 0) return 0;
  if (e.inner == 1) {
    const bool packed = aligned && e.channels % kPack<T> == 0;
    const ColumnPlan plan(e.n, e.channels, packed ? kPack<T> : 1);
    using Source = ChannelColumns<Sums>;
    launch(name, packed ? column_sums_kernel<kPack<T>, Source> : column_sums_kernel<1, Source>, plan.shape(), stream,
           Source{sums, e.channels, plan.groups, partial}, e.n, e.channels, plan);
    return plan.groups;
  }
  const Index pieces = pieces_of(e.inner), per_group = ceil_div(e.n * pieces, slab_groups(e));
  const Index groups = ceil_div(e.n * pieces, per_group);
  const bool packed = aligned && e.inner % kPack<T> == 0;
  launch(name, packed ? slab_sums_kernel<kPack<T>, Sums> : slab_sums_kernel<1, Sums>,
         {static_cast<unsigned>(e.channels * groups), kThreads}, stream, sums, e, pieces, groups, per_group, partial);
  return groups;
}

template <class T, class Map>
void launch_apply(const char* name, Stream stream, const Map& map, const Extents& e, bool aligned) {
  using R = real<T>;
  if (e.n * e.channels * e.inner == 0) return;
  if (e.inner == 1) {
    const bool packed = aligned && e.channels % kPack<T> == 0;
    const ColumnPlan plan(e.n, e.channels, packed ? kPack<T> : 1);
    launch(name, packed ? map_columns_kernel<kPack<T>, R, Map> : map_columns_kernel<1, R, Map>, plan.shape(), stream,
           map, map.out, e.n, e.channels, plan);
    return;
  }
  const Index pieces = pieces_of(e.inner);
  const bool packed = aligned && e.inner % kPack<T> == 0;
  const unsigned blocks = full_grid(ceil_div<Index>(e.n * e.channels * pieces, kThreads / kWarp), kThreads);
  launch(name, packed ? map_slabs_kernel<kPack<T>, R, Map> : map_slabs_kernel<1, R, Map>, {blocks, kThreads}, stream,
         map, map.out, e, pieces);
}

LaunchShape warp_each(Index channels) {
  return {static_cast<unsigned>(ceil_div<Index>(channels, kThreads / kWarp)), kThreads};
}

}  // namespace

// The sums of all groups, and two means of each channel.
template <class T>
std::size_t batch_norm_scratch(Index n, Index channels, Index inner) {
  const Extents e{n, channels, inner};
  return 2 * sizeof(double) * static_cast<std::size_t>((groups_at_most<T>(e) + 1) * channels);
}

template <class T>
void batch_norm(Stream stream, const T* x, const T* weight, const T* bias, T* out, T* mean, T* rstd, Index n,
                Index channels, Index inner, double eps, void* scratch, Rung rung) {
  using R = real<T>;
  if (channels == 0) return;
  if (rung == Rung::naive) return naive::batch_norm(stream, x, weight, bias, out, mean, rstd, n, channels, inner, eps);
  const Extents e{n, channels, inner};
  const R epsilon(static_cast<T>(eps));
  D* const partial = static_cast<D*>(scratch);
  const Index groups =
      launch_sums<T>("batch norm sums", stream, Moments<R>{reals(x), inner}, e, is_aligned<kPack<T>>(x), partial);
  launch("batch norm statistics", statistics_kernel<R>, warp_each(channels), stream, partial, groups, reals(x), e,
         epsilon, reals(mean), reals(rstd));
  const Normalise<R> map{reals(x), reals(weight), reals(bias), reals(mean), reals(rstd), nullptr, epsilon, reals(out)};
  launch_apply<T>("batch norm", stream, map, e, is_aligned<kPack<T>>(x) && is_aligned<kPack<T>>(out));
}

template <class T>
void batch_norm_apply(Stream stream, const T* x, const T* weight, const T* bias, const T* mean, const T* var, T* out,
                      Index n, Index channels, Index inner, double eps) {
  using R = real<T>;
  const Normalise<R> map{reals(x),   reals(weight),          reals(bias), reals(mean), nullptr,
                         reals(var), R(static_cast<T>(eps)), reals(out)};
  launch_apply<T>("batch norm", stream, map, Extents{n, channels, inner},
                  is_aligned<kPack<T>>(x) && is_aligned<kPack<T>>(out));
}

template <class T>
void batch_norm_backward(Stream stream, const T* grad, const T* x, const T* weight, const T* mean, const T* rstd, T* dx,
                         T* dweight, T* dbias, Index n, Index channels, Index inner, void* scratch, Rung rung) {
  using R = real<T>;
  if (channels == 0) return;
  if (rung == Rung::naive)
    return naive::batch_norm_backward(stream, grad, x, weight, mean, rstd, dx, dweight, dbias, n, channels, inner);
  const Extents e{n, channels, inner};
  D *const means = static_cast<D*>(scratch), *const partial = means + 2 * channels;
  const bool aligned = is_aligned<kPack<T>>(grad) && is_aligned<kPack<T>>(x);
  const Gradients<R> sums{reals(grad), reals(x), reals(mean), reals(rstd)};
  const Index groups = launch_sums<T>("batch norm backward sums", stream, sums, e, aligned, partial);
  launch("batch norm gradients", gradients_kernel<R>, warp_each(channels), stream, partial, groups, e, reals(dweight),
         reals(dbias), means);
  const Differentiate<R> map{reals(grad), reals(x), reals(weight),    reals(mean),
                             reals(rstd), means,    means + channels, reals(dx)};
  launch_apply<T>("batch norm backward", stream, map, e, aligned && is_aligned<kPack<T>>(dx));
}

#define DLKIT_INSTANTIATE(T)                                                                                        \
  template std::size_t batch_norm_scratch<T>(Index, Index, Index);                                                  \
  template void batch_norm(Stream, const T*, const T*, const T*, T*, T*, T*, Index, Index, Index, double, void*,    \
                           Rung);                                                                                   \
  template void batch_norm_apply(Stream, const T*, const T*, const T*, const T*, const T*, T*, Index, Index, Index, \
                                 double);                                                                           \
  template void batch_norm_backward(Stream, const T*, const T*, const T*, const T*, const T*, T*, T*, T*, Index,    \
                                    Index, Index, void*, Rung);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
