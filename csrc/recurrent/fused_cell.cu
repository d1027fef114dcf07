// A cell in one kernel: all that a step does but its product. A thread takes one unit of one sequence, neighbours in a
// warp neighbouring units, so that each of its arrays is read and written in whole lines.
//
// Of a unit of an LSTM in training: 10 numbers read (4 of W x + b, 4 of U h' + b', h', c'), 9 written (4 gates, c' and
// h' to keep, h, c, y), 76 bytes in float32; about 15 FLOPs and 5 exponentials. Without fusion each of the dozen
// operations of the step would read and write its operands: three times the bytes, and a dozen launches. Bound: the
// launch, of some 2 us, up to 80,000 units a step; above, memory. (Appleyard et al. 2016, "Optimizing performance of
// recurrent neural networks on GPUs".)
#include <bit>

#include "layers/each_pack.h"
#include "recurrent/device_cell.h"

namespace dlkit::device {
namespace {

// This thread's unit of the step.
struct Place {
  int row, unit;
  bool inside;
  __device__ __forceinline__ Place(int rows, int hidden) {
    const unsigned i = blockIdx.x * kThreads + threadIdx.x, width = static_cast<unsigned>(hidden);
    row = static_cast<int>(i / width);
    unit = static_cast<int>(i - static_cast<unsigned>(row) * width);
    inside = row < rows;
  }
};

LaunchShape shape_of(Index elements) { return {static_cast<unsigned>(ceil_div<Index>(elements, kThreads)), kThreads}; }
LaunchShape shape_of(Index rows, Index hidden) { return shape_of(rows * hidden); }

template <Cell kCell, class T>
__global__ void __launch_bounds__(kThreads) cell_kernel(const CellStep<T> p) {
  const Place at(p.rows, p.hidden);
  if (!at.inside) return;
  T u[4];
#pragma unroll
  for (int g = 0; g < CellFacts<kCell>::kGates; ++g)
    u[g] =
        p.product == nullptr ? T(0) : p.product[at.row * p.product_stride + g * static_cast<Index>(p.hidden) + at.unit];
  step_unit<kCell>(p, at.row, at.unit, u);
}

template <class T>
__global__ void __launch_bounds__(kThreads) reset_kernel(const CellStep<T> p) {
  const Place place(p.rows, p.hidden);
  if (!place.inside) return;
  T u[2] = {T(0), T(0)};
  if (p.product != nullptr) {
    u[0] = p.product[place.row * p.product_stride + place.unit];
    u[1] = p.product[place.row * p.product_stride + p.hidden + place.unit];
  }
  p.reset[place.row * p.reset_stride + place.unit] = reset_unit(p, place.row, place.unit, u[0], u[1]);
}

template <Cell kCell, class T>
__global__ void __launch_bounds__(kThreads) cell_back_kernel(const CellStepBack<T> p) {
  const Place at(p.rows, p.hidden);
  if (at.inside) step_unit_back<kCell>(p, at.row, at.unit, p.through[at.row * static_cast<Index>(p.hidden) + at.unit]);
}

template <class T>
__global__ void __launch_bounds__(kThreads) reset_back_kernel(const CellStepBack<T> p) {
  const Place place(p.rows, p.hidden);
  if (!place.inside) return;
  reset_unit_back(p, place.row, place.unit, p.through[place.row * static_cast<Index>(p.hidden) + place.unit]);
}

template <class T>
__global__ void __launch_bounds__(kThreads) begin_kernel(const FirstStates<T> p) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= p.elements) return;
  const T h = p.h0 == nullptr ? T(0) : p.h0[i];
  p.h[i] = h;
  if (p.c != nullptr) p.c[i] = p.c0 == nullptr ? T(0) : p.c0[i];
  if (p.seen != nullptr) p.seen[i] = p.mask == nullptr ? h : h * p.mask[i];
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    add_through_kernel(const T* through, const T* mask, T* dh, const Index elements) {
  const Index i = static_cast<Index>(blockIdx.x) * kThreads + threadIdx.x;
  if (i < elements) dh[i] = fma(through[i], mask == nullptr ? T(1) : mask[i], dh[i]);
}

}  // namespace

template <class T>
void begin_states(Stream stream, const FirstStates<T>& p) {
  launch("begin states", begin_kernel<real<T>>, shape_of(p.elements), stream, std::bit_cast<FirstStates<real<T>>>(p));
}

template <class T>
void cell_step(Stream stream, const CellStep<T>& p) {
  with_cell(p.cell, [&]<Cell kCell>() {
    launch("fused cell", cell_kernel<kCell, real<T>>, shape_of(p.rows, p.hidden), stream,
           std::bit_cast<CellStep<real<T>>>(p));
  });
}

template <class T>
void reset_step(Stream stream, const CellStep<T>& p) {
  launch("reset", reset_kernel<real<T>>, shape_of(p.rows, p.hidden), stream, std::bit_cast<CellStep<real<T>>>(p));
}

template <class T>
void add_through(Stream stream, const T* through, const T* mask, T* dh, Index elements) {
  launch("add through", add_through_kernel<real<T>>, shape_of(elements), stream, reals(through), reals(mask), reals(dh),
         elements);
}

template <class T>
void cell_step_back(Stream stream, const CellStepBack<T>& p) {
  with_cell(p.cell, [&]<Cell kCell>() {
    launch("fused cell backward", cell_back_kernel<kCell, real<T>>, shape_of(p.rows, p.hidden), stream,
           std::bit_cast<CellStepBack<real<T>>>(p));
  });
}

template <class T>
void reset_step_back(Stream stream, const CellStepBack<T>& p) {
  launch("reset backward", reset_back_kernel<real<T>>, shape_of(p.rows, p.hidden), stream,
         std::bit_cast<CellStepBack<real<T>>>(p));
}

#define DLKIT_INSTANTIATE(T)                                        \
  template void begin_states(Stream, const FirstStates<T>&);        \
  template void cell_step(Stream, const CellStep<T>&);              \
  template void reset_step(Stream, const CellStep<T>&);             \
  template void add_through(Stream, const T*, const T*, T*, Index); \
  template void cell_step_back(Stream, const CellStepBack<T>&);     \
  template void reset_step_back(Stream, const CellStepBack<T>&);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
