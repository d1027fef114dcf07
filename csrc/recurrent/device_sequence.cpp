// A layer in one direction over all steps of a packed batch.
//
// Forward: W x + b of all steps as one product, straight into the gates' places of what training keeps; then for each
// step U h' + b' and a fused cell. Backward: for each step, from the last, a fused cell, which turns the gates into
// gradients in place, and their product with U; then the gradients by x, W, U, b and b' of all steps as products and
// sums over all rows. The naive rung is the same with a thread for each element of a product, and W x step by step.
//
// Of a step 2 B G H^2 FLOPs, for which U's G H^2 numbers come from memory or, up to some 50 MB, from the second-level
// cache: B / 2 FLOPs a byte in float32, where an H100 has 12 to a byte of that cache. Bound: reading U, at the batches
// of 20 to 64 that are usual; below H = 500 or so the two launches of a step. (Appleyard et al. 2016.)
#include "recurrent/device_sequence.h"

#include <algorithm>
#include <cstdint>

#include "core/cuda/error.h"
#include "layers/device.h"
#include "recurrent/persistent.h"

namespace dlkit::device {
namespace {

// Scratch memory, cut into parts. Without memory the parts' places are counted all the same.
class Parts {
 public:
  explicit Parts(void* scratch) : base_(scratch == nullptr ? kAlignment : reinterpret_cast<std::uintptr_t>(scratch)) {}
  template <class T>
  T* take(Index count) {
    T* const part = reinterpret_cast<T*>(base_ + bytes_);
    bytes_ += (static_cast<std::size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    return part;
  }
  std::size_t bytes() const { return bytes_; }

 private:
  static constexpr std::size_t kAlignment = 256;
  std::uintptr_t base_;
  std::size_t bytes_ = 0;
};

// The products and sums of a pass, which work in the same memory one after another. The choice of a kernel for a shape
// is made once.
template <class T>
class Products {
 public:
  Products(Stream stream, Precision precision, bool naive, bool launches)
      : stream_(stream), precision_(sizeof(T) == 4 ? precision : Precision::float32), naive_(naive),
        launches_(launches) {}

  void work_in(void* workspace) { workspace_ = workspace; }
  std::size_t bytes() const { return bytes_; }

  // C (+)= A B + bias
  void operator()(const Matrix<const T>& a, const Matrix<const T>& b, T* c, Index c_row, const T* bias,
                  bool accumulate) {
    DeviceMatmul p = {};
    p.type = p.out_type = sizeof(T) == 4 ? DeviceType::float32 : DeviceType::float64;
    p.precision = precision_;
    p.m = a.rows;
    p.n = b.cols;
    p.k = a.cols;
    p.batch = 1;
    p.a = a.data;
    p.a_row = a.row_stride;
    p.a_col = a.col_stride;
    p.b = b.data;
    p.b_row = b.row_stride;
    p.b_col = b.col_stride;
    p.c = c;
    p.c_row = c_row;
    p.bias = bias;
    p.activation = Activation::none;
    p.accumulate = accumulate;
    p.stream = stream_;
    const Choice& choice = choice_for(p);
    bytes_ = std::max(bytes_, choice.bytes);
    if (!launches_) return;
    p.workspace = workspace_;
    p.workspace_bytes = choice.bytes;
    device_matmul(p, *choice.variant);
  }

  void column_sum(const T* x, Index row_stride, Index rows, Index cols, T* out, bool accumulate) {
    bytes_ = std::max(bytes_, column_sum_scratch<T>(rows, cols));
    if (launches_)
      device::column_sum<T>(stream_, x, row_stride, rows, cols, out, accumulate, workspace_,
                            naive_ ? Rung::naive : Rung::fused);
  }

 private:
  struct Choice {
    Index m, n, k, a_row, b_row;
    bool accumulate;
    const DeviceMatmulVariant* variant;
    std::size_t bytes;
  };

  const Choice& choice_for(const DeviceMatmul& p) {
    for (const Choice& c : choices_)
      if (c.m == p.m && c.n == p.n && c.k == p.k && c.a_row == p.a_row && c.b_row == p.b_row &&
          c.accumulate == p.accumulate)
        return c;
    constexpr std::size_t kMost = 64;
    if (choices_.size() == kMost) choices_.clear();
    const DeviceMatmulVariant& variant = naive_ ? device_matmul_variants().front() : choose_device_matmul(p);
    choices_.push_back({p.m, p.n, p.k, p.a_row, p.b_row, p.accumulate, &variant, device_matmul_workspace(p, variant)});
    return choices_.back();
  }

  Stream stream_;
  Precision precision_;
  bool naive_, launches_;
  void* workspace_ = nullptr;
  std::size_t bytes_ = 0;
  std::vector<Choice> choices_;
};

struct Step {
  Index first, rows;
};

// In the order in which the forward pass takes them.
std::vector<Step> steps_of(const RecurrentShape& s) {
  std::vector<Step> steps;
  steps.reserve(s.batch_sizes.size());
  Index row = 0;
  for (const Index rows : s.batch_sizes) {
    steps.push_back({row, rows});
    row += rows;
  }
  if (s.reverse) std::reverse(steps.begin(), steps.end());
  return steps;
}

// Steps [begin, end), in the order of a pass; `rows` in all.
StepRuns runs_of(const std::vector<Step>& steps, std::size_t begin, std::size_t end, bool backward, bool from_end,
                 Index rows) {
  StepRuns runs = {};
  runs.from_end = from_end;
  runs.all_rows = rows;
  for (std::size_t i = begin; i < end; ++i) {
    const auto count = static_cast<int>(steps[backward ? end - 1 - (i - begin) : i].rows);
    if (runs.count == 0 || runs.rows[runs.count - 1] != count) runs.rows[runs.count++] = count;
    runs.until[runs.count - 1] = static_cast<int>(i - begin) + 1;
  }
  return runs;
}

// Inference keeps nothing: it prepares W x + b of so many numbers at a time.
constexpr Index kPrepared = Index{1} << 24;

}  // namespace

template <class T>
std::size_t forward_pass(RecurrentRung rung, Stream stream, const RecurrentForward<T>& p, Precision precision,
                         void* scratch) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, width = s.gates() * hidden, batch = s.batch(), rows = s.rows();
  const bool launches = scratch != nullptr, keep = p.reserve != nullptr;
  const bool naive = rung == RecurrentRung::naive, persistent = rung == RecurrentRung::persistent;
  const bool reset_first = s.cell == Cell::gru_reset_first;
  const std::vector<Step> steps = steps_of(s);
  const Index capacity = naive ? batch : keep ? rows : std::min(rows, std::max(batch, kPrepared / width));

  Parts parts(scratch);
  CellStep<T> cell = {};
  cell.cell = s.cell;
  cell.new_z = s.new_z;
  cell.keep = keep;
  cell.hidden = static_cast<int>(hidden);
  cell.gates_stride = keep ? s.slots() * hidden : width;
  T* const gates = keep ? p.reserve : parts.take<T>(capacity * width);
  T* const product = persistent ? nullptr : parts.take<T>(batch * width);
  T* const exchange = persistent ? parts.take<T>(2 * batch * persistent_pitch<T>(hidden)) : nullptr;
  T* const reset = reset_first && !keep ? parts.take<T>(batch * hidden) : nullptr;
  cell.seen = p.mask != nullptr && !persistent ? parts.take<T>(batch * hidden) : nullptr;
  cell.seen_stride = hidden;
  cell.peepholes = w.peepholes;
  cell.mask = p.mask;
  cell.h = p.hn;
  cell.c = p.cn;
  cell.y_stride = p.y_stride;
  const T* const seen = cell.seen != nullptr ? cell.seen : p.hn;
  Products<T> products(stream, precision, naive, launches);
  products.work_in(parts.take<char>(0));

  if (launches) begin_states<T>(stream, {p.h0, p.c0, p.mask, p.hn, p.cn, cell.seen, batch * hidden});
  for (std::size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
    // As many steps as fit: their rows are neighbours.
    Index count = 0;
    while (end < steps.size() && count + steps[end].rows <= capacity) count += steps[end++].rows;
    const Index first = std::min(steps[begin].first, steps[end - 1].first);
    T* const prepared = keep ? gates + first * cell.gates_stride : gates;
    products({p.x + first * p.x_stride, count, s.inputs, p.x_stride, 1}, {w.ih, s.inputs, width, 1, s.inputs}, prepared,
             cell.gates_stride, w.ih_bias, false);
    if (persistent) {
      cell.gates = prepared;
      cell.y = p.y + first * p.y_stride;
      const StepRuns runs = runs_of(steps, begin, end, false, s.reverse, count);
      if (launches) persistent_forward<T>(stream, {cell, w.hh, w.hh_bias, exchange, static_cast<int>(batch), runs});
      continue;
    }
    for (std::size_t i = begin; i < end; ++i) {
      const Step& step = steps[i];
      cell.rows = static_cast<int>(step.rows);
      cell.gates = prepared + (step.first - first) * cell.gates_stride;
      cell.y = p.y + step.first * p.y_stride;
      // U h' + b' of some of the gates. Before the first step h' may be 0: then it is b', in every row.
      const auto multiply = [&](Index from, Index cols, const T* state, Index stride) {
        const T* const bias = w.hh_bias == nullptr ? nullptr : w.hh_bias + from;
        products({state, step.rows, hidden, stride, 1}, {w.hh + from * hidden, hidden, cols, 1, hidden}, product + from,
                 width, bias, false);
      };
      const bool zero = i == 0 && p.h0 == nullptr;
      cell.product = zero ? w.hh_bias : product;
      cell.product_stride = zero ? 0 : width;
      if (!zero) multiply(0, reset_first ? 2 * hidden : width, seen, hidden);
      if (reset_first) {
        cell.reset = keep ? cell.gates + 3 * hidden : reset;
        cell.reset_stride = keep ? cell.gates_stride : hidden;
        if (launches) reset_step(stream, cell);
        if (!zero) multiply(2 * hidden, hidden, cell.reset, cell.reset_stride);
      }
      if (launches) cell_step(stream, cell);
    }
  }
  return parts.bytes() + products.bytes();
}

template <class T>
std::size_t backward_pass(RecurrentRung rung, Stream stream, const RecurrentBackward<T>& p, Precision precision,
                          void* scratch) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, width = s.gates() * hidden, stride = s.slots() * hidden, inputs = s.inputs;
  const Index batch = s.batch(), rows = s.rows(), states = batch * hidden;
  const bool launches = scratch != nullptr, has_c = traits(s.cell).has_c;
  const bool persistent = rung == RecurrentRung::persistent;
  const bool reset_first = s.cell == Cell::gru_reset_first;
  const std::vector<Step> steps = steps_of(s);

  Parts parts(scratch);
  CellStepBack<T> cell = {};
  cell.cell = s.cell;
  cell.new_z = s.new_z;
  cell.hidden = static_cast<int>(hidden);
  cell.kept_stride = stride;
  cell.y_stride = p.y_stride;
  cell.dy_stride = p.dy_stride;
  cell.dh = p.dh0 != nullptr ? p.dh0 : parts.take<T>(states);
  cell.dc = !has_c ? nullptr : p.dc0 != nullptr ? p.dc0 : parts.take<T>(states);
  cell.peepholes = w.peepholes;
  cell.dpeepholes = p.dpeepholes != nullptr ? parts.take<T>(3 * states) : nullptr;
  cell.mask = p.mask;
  T* const through = persistent ? nullptr : parts.take<T>(states);
  T* const exchange = persistent ? parts.take<T>(2 * batch * persistent_pitch<T>(width)) : nullptr;
  T* const by_reset = reset_first ? parts.take<T>(states) : nullptr;
  Products<T> products(stream, precision, rung == RecurrentRung::naive, launches);
  products.work_in(parts.take<char>(0));

  if (launches) {
    begin_states<T>(stream, {p.dhn, p.dcn, nullptr, cell.dh, cell.dc, nullptr, states});
    if (through != nullptr) begin_states<T>(stream, {nullptr, nullptr, nullptr, through, nullptr, nullptr, states});
    if (cell.dpeepholes != nullptr)
      begin_states<T>(stream, {nullptr, nullptr, nullptr, cell.dpeepholes, nullptr, nullptr, 3 * states});
  }
  if (persistent) {
    cell.kept = p.reserve;
    cell.y = p.y;
    cell.dy = p.dy;
    const StepRuns runs = runs_of(steps, 0, steps.size(), true, !s.reverse, rows);
    if (launches)
      persistent_backward<T>(stream, {cell, w.hh, exchange, static_cast<int>(batch), p.dh0 != nullptr, runs});
  }
  for (std::size_t i = persistent ? 0 : steps.size(); i-- > 0;) {
    const Step& step = steps[i];
    cell.rows = static_cast<int>(step.rows);
    cell.kept = p.reserve + step.first * stride;
    cell.y = p.y + step.first * p.y_stride;
    cell.dy = p.dy == nullptr ? nullptr : p.dy + step.first * p.dy_stride;
    cell.through = through;
    if (launches) cell_step_back(stream, cell);
    if (reset_first) {  // n saw r h'
      products({cell.kept + 2 * hidden, step.rows, hidden, stride, 1},
               {w.hh + 2 * hidden * hidden, hidden, hidden, hidden, 1}, by_reset, hidden, nullptr, false);
      cell.through = by_reset;
      if (launches) reset_step_back(stream, cell);
    }
    // Rows that have no step before this one keep what came through U of their last.
    const Index depth = reset_first ? 2 * hidden : width;
    if (i > 0 || p.dh0 != nullptr)
      products({cell.kept, step.rows, depth, stride, 1}, {w.hh, depth, hidden, hidden, 1}, through, hidden, nullptr,
               false);
  }
  if (launches && p.dh0 != nullptr && !persistent) add_through<T>(stream, through, p.mask, p.dh0, states);
  if (p.dpeepholes != nullptr)
    products.column_sum(cell.dpeepholes, 3 * hidden, batch, 3 * hidden, p.dpeepholes, p.accumulate);

  // Of the columns [from, to) of the gradients by the pre-activations, in the reserve from `slot` on.
  const T* const d = p.reserve;
  const auto by_input = [&](Index from, Index to, Index at, bool first) {
    const Matrix<const T> part{d + at, rows, to - from, stride, 1};
    if (p.dx != nullptr)
      products(part, {w.ih + from * inputs, to - from, inputs, inputs, 1}, p.dx, p.dx_stride, nullptr,
               p.add_to_dx || !first);
    if (p.dih != nullptr)
      products(part.transposed(), {p.x, rows, inputs, p.x_stride, 1}, p.dih + from * inputs, inputs, nullptr,
               p.accumulate);
    if (p.dih_bias != nullptr) products.column_sum(d + at, stride, rows, to - from, p.dih_bias + from, p.accumulate);
  };
  const auto by_state = [&](Index from, Index to, Index slot) {
    if (p.dhh != nullptr)
      products(Matrix<const T>{d + from, rows, to - from, stride, 1}.transposed(),
               {d + slot * hidden, rows, hidden, stride, 1}, p.dhh + from * hidden, hidden, nullptr, p.accumulate);
  };
  if (s.cell == Cell::gru) {  // n's share by W stands after that by U
    by_input(0, 2 * hidden, 0, true);
    by_input(2 * hidden, width, 3 * hidden, false);
  } else {
    by_input(0, width, 0, true);
  }
  by_state(0, reset_first ? 2 * hidden : width, s.slots() - 1);
  if (reset_first) by_state(2 * hidden, width, 3);
  if (p.dhh_bias != nullptr) products.column_sum(d, stride, rows, width, p.dhh_bias, p.accumulate);
  return parts.bytes() + products.bytes();
}

#define DLKIT_INSTANTIATE(T)                                                                              \
  template std::size_t forward_pass(RecurrentRung, Stream, const RecurrentForward<T>&, Precision, void*); \
  template std::size_t backward_pass(RecurrentRung, Stream, const RecurrentBackward<T>&, Precision, void*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
