// The ladder on a GPU, by name, and what is chosen where no variant is named.
#include <algorithm>

#include "recurrent/device_sequence.h"
#include "recurrent/persistent.h"

namespace dlkit::device {
namespace {

bool takes_any(const RecurrentShape&) { return true; }

template <class T, RecurrentRung kRung>
std::size_t forward(Stream stream, const RecurrentForward<T>& p, Precision precision, void* scratch) {
  return forward_pass(kRung, stream, p, precision, scratch);
}
template <class T, RecurrentRung kRung>
std::size_t backward(Stream stream, const RecurrentBackward<T>& p, Precision precision, void* scratch) {
  return backward_pass(kRung, stream, p, precision, scratch);
}

}  // namespace

template <class T>
const std::vector<RecurrentVariant<T>>& recurrent_variants() {
  using enum RecurrentRung;
  static const std::vector<RecurrentVariant<T>> table = {
      {"naive", "products step by step, a thread for each of their elements; the cell, a thread for each unit", "",
       takes_any, forward<T, naive>, backward<T, naive>},
      {"stepwise", "the input's products of all steps as one; for each step a product and a fused cell", "", takes_any,
       forward<T, stepwise>, backward<T, stepwise>},
      {"persistent",
       "all steps in one launch; recurrent weights stay in shared memory, a barrier of the grid parts steps",
       "a cell other than gru_reset_first, at most 64 different batch sizes, and recurrent weights that fit in the "
       "shared "
       "memory of all multiprocessors",
       fits_persistent<T>, forward<T, persistent>, backward<T, persistent>},
  };
  return table;
}

template <class T>
const RecurrentVariant<T>& choose_recurrent(const RecurrentShape& s, Precision precision) {
  // Microseconds of an H100, estimated: a step is two launches, and reads U from the second-level cache or multiplies
  // at what small products reach of the peak; or a barrier, and multiplies at what persistent.cu says.
  const auto gates = static_cast<double>(s.gates()), hidden = static_cast<double>(s.hidden);
  const double weights = gates * hidden * hidden, steps = static_cast<double>(s.steps());
  const double flops = 2 * weights * static_cast<double>(s.rows()) / steps, slower = sizeof(T) / 4.0;
  const double rate = (precision == Precision::float32 ? 50e6 : 300e6) / slower;
  const double stepwise = steps * (6 + std::max(slower * 4 * weights / 5e6, flops / rate));
  const double persistent = 8 + slower * 4 * weights / 3e6 + steps * (2.5 + flops * slower / 40e6);
  const auto& table = recurrent_variants<T>();
  return persistent < stepwise && fits_persistent<T>(s) ? table.back() : *(table.end() - 2);
}

#define DLKIT_INSTANTIATE(T)                                             \
  template const std::vector<RecurrentVariant<T>>& recurrent_variants(); \
  template const RecurrentVariant<T>& choose_recurrent(const RecurrentShape&, Precision);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
