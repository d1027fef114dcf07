#include "core/cpu.h"
#include "core/thread_pool.h"
#include "recurrent/kernels.h"
#include "recurrent/sequence.h"

namespace dlkit {

DLKIT_DECLARE_PER_ISA(RecurrentKernels<float>, recurrent_float)
DLKIT_DECLARE_PER_ISA(RecurrentKernels<double>, recurrent_double)

template <>
const RecurrentKernels<float>& recurrent_kernels() {
  static const auto& table = DLKIT_SELECT(recurrent_float);
  return table;
}

template <>
const RecurrentKernels<double>& recurrent_kernels() {
  static const auto& table = DLKIT_SELECT(recurrent_double);
  return table;
}

namespace {

SequenceOptions options(bool whole_input, bool packed) {
  return {whole_input, packed, static_cast<Index>(cache_sizes().l2) / 2};
}

template <class T, bool kWhole, bool kPacked>
void forward(const RecurrentForward<T>& p, int threads) {
  sequence_forward(p, options(kWhole, kPacked), threads);
}

template <class T, bool kWhole, bool kPacked>
void backward(const RecurrentBackward<T>& p, int threads) {
  sequence_backward(p, options(kWhole, kPacked), threads);
}

// Packing U costs about as much as so many rows of its product: below that it is left as it is.
constexpr Index kPackingRows = 12;

template <class T>
const RecurrentVariant<T>& choice(const RecurrentShape& s) {
  return *(recurrent_variants<T>().end() - (s.rows() >= kPackingRows ? 1 : 2));
}

}  // namespace

template <class T>
const std::vector<RecurrentVariant<T>>& recurrent_variants() {
  static const std::vector<RecurrentVariant<T>> table = {
      {"naive", "the definition, number by number", "",
       [](const RecurrentForward<T>& p, int) { naive::recurrent_forward(p); },
       [](const RecurrentBackward<T>& p, int) { naive::recurrent_backward(p); }},
      {"cell", "a product of matrices for each step's input and state; the cell in vectors", "",
       forward<T, false, false>, backward<T, true, false>},
      {"sequence", "the input's products of all steps as one", "", forward<T, true, false>, backward<T, true, false>},
      {"packed",
       "recurrent weights packed once and kept in cache by thread; each group of units from its products "
       "straight to its states",
       "", forward<T, true, true>, backward<T, true, true>},
  };
  return table;
}

template <class T>
void recurrent(const RecurrentForward<T>& p, const RecurrentVariant<T>* variant, int threads) {
  (variant != nullptr ? *variant : choice<T>(p.shape)).forward(p, threads);
}

template <class T>
void recurrent_backward(const RecurrentBackward<T>& p, const RecurrentVariant<T>* variant, int threads) {
  (variant != nullptr ? *variant : choice<T>(p.shape)).backward(p, threads);
}

namespace {

// A direction has a thread of its own where there are two or three. More of them share the units of one direction after
// the other: there one thread each would leave the rest idle. The definition stays on the caller's thread.
template <class T>
bool side_by_side(const RecurrentVariant<T>* variant, int threads) {
  return (threads == 2 || threads == 3) && variant != &recurrent_variants<T>().front();
}

}  // namespace

template <class T>
void recurrent_pair(const RecurrentForward<T> (&p)[2], const RecurrentVariant<T>* variant, int threads) {
  const bool together = side_by_side(variant, threads);
  parallel_for(2, [&](int i) { recurrent(p[i], variant, together ? 1 : threads); }, together ? 2 : 1);
}

template <class T>
void recurrent_pair_backward(const RecurrentBackward<T> (&p)[2], const RecurrentVariant<T>* variant, int threads) {
  if (!side_by_side(variant, threads)) {
    for (const auto& one : p) recurrent_backward(one, variant, threads);
    return;
  }
  RecurrentBackward<T> alone[2] = {p[0], p[1]};
  for (auto& one : alone) one.dx = nullptr;
  parallel_for(2, [&](int i) { recurrent_backward(alone[i], variant, 1); }, 2);
  for (const auto& one : p) input_gradient(one, threads);
}

#define DLKIT_INSTANTIATE(T)                                                                      \
  template const std::vector<RecurrentVariant<T>>& recurrent_variants();                          \
  template void recurrent(const RecurrentForward<T>&, const RecurrentVariant<T>*, int);           \
  template void recurrent_backward(const RecurrentBackward<T>&, const RecurrentVariant<T>*, int); \
  template void recurrent_pair(const RecurrentForward<T>(&)[2], const RecurrentVariant<T>*, int); \
  template void recurrent_pair_backward(const RecurrentBackward<T>(&)[2], const RecurrentVariant<T>*, int);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)

}  // namespace dlkit
