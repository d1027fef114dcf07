// A layer over all steps of a packed batch.
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

bool is_persistent(RecurrentRung rung) { return rung == RecurrentRung::persistent || rung == RecurrentRung::streamed; }

// What the steps of a forward pass are given: places in scratch memory, and what no step changes.
template <class T>
struct ForwardPlan {
  CellStep<T> cell = {};
  std::vector<Step> steps;
  T *gates, *product, *exchange, *rest, *reset;

  ForwardPlan(Parts& parts, RecurrentRung rung, const RecurrentForward<T>& p, Index capacity, Index rest_size)
      : steps(steps_of(p.shape)) {
    const RecurrentShape& s = p.shape;
    const Index hidden = s.hidden, width = s.gates() * hidden, batch = s.batch();
    const bool keep = p.reserve != nullptr, persistent = is_persistent(rung);
    const bool reset_first = s.cell == Cell::gru_reset_first;
    cell.cell = s.cell;
    cell.new_z = s.new_z;
    cell.keep = keep;
    cell.hidden = static_cast<int>(hidden);
    cell.gates_stride = keep ? s.slots() * hidden : width;
    gates = keep ? p.reserve : parts.take<T>(capacity * width);
    product = persistent ? nullptr : parts.take<T>(batch * width);
    exchange = persistent ? parts.take<T>((reset_first ? 3 : 2) * batch * persistent_pitch<T>(hidden)) : nullptr;
    rest = rest_size > 0 ? parts.take<T>(rest_size) : nullptr;
    reset = reset_first && !keep && !persistent ? parts.take<T>(batch * hidden) : nullptr;
    cell.seen = p.mask != nullptr && !persistent ? parts.take<T>(batch * hidden) : nullptr;
    cell.seen_stride = hidden;
    cell.peepholes = p.weights.peepholes;
    cell.mask = p.mask;
    cell.h = p.hn;
    cell.c = p.cn;
    cell.y_stride = p.y_stride;
  }

  // W x + b of steps [begin, end), whose rows are neighbours. Returns the first row; theirs is `prepared`.
  Index prepare(Products<T>& products, const RecurrentForward<T>& p, std::size_t begin, std::size_t end, Index count) {
    const RecurrentShape& s = p.shape;
    const RecurrentWeights<T>& w = p.weights;
    const Index first = std::min(steps[begin].first, steps[end - 1].first);
    prepared = cell.keep ? gates + first * cell.gates_stride : gates;
    products({p.x + first * p.x_stride, count, s.inputs, p.x_stride, 1},
             {w.ih, s.inputs, s.gates() * s.hidden, 1, s.inputs}, prepared, cell.gates_stride, w.ih_bias, false);
    return first;
  }

  T* prepared = nullptr;
};

template <class T>
std::size_t forward_at_once(RecurrentRung rung, Stream stream, const RecurrentForward<T>* passes, int directions,
                            Precision precision, void* scratch) {
  const RecurrentShape& s = passes[0].shape;
  const bool launches = scratch != nullptr, streams = rung == RecurrentRung::streamed;
  const Index width = s.gates() * s.hidden, batch = s.batch(), rows = s.rows();
  const Index rest = streams ? persistent_facts<T>(s, directions, false, true).rest : 0;
  const Index capacity =
      passes[0].reserve != nullptr ? rows : std::min(rows, std::max(batch, kPrepared / width / directions));
  Parts parts(scratch);
  std::vector<ForwardPlan<T>> plans;
  for (int d = 0; d < directions; ++d) plans.emplace_back(parts, rung, passes[d], capacity, rest);
  Products<T> products(stream, precision, false, launches);
  products.work_in(parts.take<char>(0));
  if (launches)
    for (int d = 0; d < directions; ++d)
      begin_states<T>(stream,
                      {passes[d].h0, passes[d].c0, nullptr, passes[d].hn, passes[d].cn, nullptr, batch * s.hidden});
  const std::size_t steps = plans[0].steps.size();
  for (std::size_t begin = 0, end = 0; begin < steps; begin = end) {
    // As many steps as fit for each direction.
    Index count[2] = {0, 0};
    const auto fits = [&](int d) { return count[d] + plans[static_cast<std::size_t>(d)].steps[end].rows <= capacity; };
    while (end < steps && fits(0) && fits(directions - 1)) {
      for (int d = 0; d < directions; ++d) count[d] += plans[static_cast<std::size_t>(d)].steps[end].rows;
      ++end;
    }
    Persistent<T> launched[2] = {};
    for (int d = 0; d < directions; ++d) {
      ForwardPlan<T>& plan = plans[static_cast<std::size_t>(d)];
      const RecurrentForward<T>& p = passes[d];
      const Index first = plan.prepare(products, p, begin, end, count[d]);
      launched[d] = {plan.cell,
                     p.weights.hh,
                     p.weights.hh_bias,
                     plan.exchange,
                     plan.rest,
                     static_cast<int>(batch),
                     runs_of(plan.steps, begin, end, false, p.shape.reverse, count[d])};
      launched[d].cell.gates = plan.prepared;
      launched[d].cell.y = p.y + first * p.y_stride;
    }
    if (launches) (streams ? streamed_forward<T> : persistent_forward<T>)(stream, s, launched, directions);
  }
  return parts.bytes() + products.bytes();
}

template <class T>
std::size_t forward_step_by_step(RecurrentRung rung, Stream stream, const RecurrentForward<T>& p, Precision precision,
                                 void* scratch) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, width = s.gates() * hidden, batch = s.batch(), rows = s.rows();
  const bool launches = scratch != nullptr, keep = p.reserve != nullptr, naive = rung == RecurrentRung::naive;
  const bool reset_first = s.cell == Cell::gru_reset_first;
  const Index capacity = naive ? batch : keep ? rows : std::min(rows, std::max(batch, kPrepared / width));
  Parts parts(scratch);
  ForwardPlan<T> plan(parts, rung, p, capacity, 0);
  CellStep<T>& cell = plan.cell;
  const std::vector<Step>& steps = plan.steps;
  const T* const seen = cell.seen != nullptr ? cell.seen : p.hn;
  Products<T> products(stream, precision, naive, launches);
  products.work_in(parts.take<char>(0));

  if (launches) begin_states<T>(stream, {p.h0, p.c0, p.mask, p.hn, p.cn, cell.seen, batch * hidden});
  for (std::size_t begin = 0, end = 0; begin < steps.size(); begin = end) {
    // As many steps as fit.
    Index count = 0;
    while (end < steps.size() && count + steps[end].rows <= capacity) count += steps[end++].rows;
    const Index first = plan.prepare(products, p, begin, end, count);
    for (std::size_t i = begin; i < end; ++i) {
      const Step& step = steps[i];
      cell.rows = static_cast<int>(step.rows);
      cell.gates = plan.prepared + (step.first - first) * cell.gates_stride;
      cell.y = p.y + step.first * p.y_stride;
      // U h' + b' of some of the gates. Before the first step h' may be 0: then it is b', in every row.
      const auto multiply = [&](Index from, Index cols, const T* state, Index stride) {
        const T* const bias = w.hh_bias == nullptr ? nullptr : w.hh_bias + from;
        products({state, step.rows, hidden, stride, 1}, {w.hh + from * hidden, hidden, cols, 1, hidden},
                 plan.product + from, width, bias, false);
      };
      const bool zero = i == 0 && p.h0 == nullptr;
      cell.product = zero ? w.hh_bias : plan.product;
      cell.product_stride = zero ? 0 : width;
      if (!zero) multiply(0, reset_first ? 2 * hidden : width, seen, hidden);
      if (reset_first) {
        cell.reset = keep ? cell.gates + 3 * hidden : plan.reset;
        cell.reset_stride = keep ? cell.gates_stride : hidden;
        if (launches) reset_step(stream, cell);
        if (!zero) multiply(2 * hidden, hidden, cell.reset, cell.reset_stride);
      }
      if (launches) cell_step(stream, cell);
    }
  }
  return parts.bytes() + products.bytes();
}

// What the steps of a backward pass are given.
template <class T>
struct BackwardPlan {
  CellStepBack<T> cell = {};
  std::vector<Step> steps;
  T *through, *exchange, *rest, *by_reset;

  BackwardPlan(Parts& parts, RecurrentRung rung, const RecurrentBackward<T>& p, Index rest_size)
      : steps(steps_of(p.shape)) {
    const RecurrentShape& s = p.shape;
    const bool has_c = traits(s.cell).has_c, persistent = is_persistent(rung);
    const Index hidden = s.hidden, states = s.batch() * hidden;
    cell.cell = s.cell;
    cell.new_z = s.new_z;
    cell.hidden = static_cast<int>(hidden);
    cell.kept_stride = s.slots() * hidden;
    cell.y_stride = p.y_stride;
    cell.dy_stride = p.dy_stride;
    cell.dh = p.dh0 != nullptr ? p.dh0 : parts.take<T>(states);
    cell.dc = !has_c ? nullptr : p.dc0 != nullptr ? p.dc0 : parts.take<T>(states);
    cell.peepholes = p.weights.peepholes;
    cell.dpeepholes = p.dpeepholes != nullptr ? parts.take<T>(3 * states) : nullptr;
    cell.mask = p.mask;
    through = persistent ? nullptr : parts.take<T>(states);
    exchange = persistent ? parts.take<T>(2 * s.batch() * s.gates() * persistent_pitch<T>(hidden)) : nullptr;
    rest = rest_size > 0 ? parts.take<T>(rest_size) : nullptr;
    by_reset = s.cell == Cell::gru_reset_first && !persistent ? parts.take<T>(states) : nullptr;
  }

  void begin(Stream stream, const RecurrentBackward<T>& p) const {
    const Index states = p.shape.batch() * p.shape.hidden;
    begin_states<T>(stream, {p.dhn, p.dcn, nullptr, cell.dh, cell.dc, nullptr, states});
    if (through != nullptr) begin_states<T>(stream, {nullptr, nullptr, nullptr, through, nullptr, nullptr, states});
    if (cell.dpeepholes != nullptr)
      begin_states<T>(stream, {nullptr, nullptr, nullptr, cell.dpeepholes, nullptr, nullptr, 3 * states});
  }
};

// Of all steps, from the gradients by the pre-activations in the reserve.
template <class T>
void gradients_by_weights(Products<T>& products, const RecurrentBackward<T>& p, const T* dpeepholes) {
  const RecurrentShape& s = p.shape;
  const Index hidden = s.hidden, width = s.gates() * hidden, stride = s.slots() * hidden, inputs = s.inputs;
  const Index rows = s.rows();
  const bool reset_first = s.cell == Cell::gru_reset_first;
  if (p.dpeepholes != nullptr)
    products.column_sum(dpeepholes, 3 * hidden, s.batch(), 3 * hidden, p.dpeepholes, p.accumulate);
  // Of the columns [from, to) of the gradients by the pre-activations, in the reserve from `slot` on.
  const T* const d = p.reserve;
  const auto by_input = [&](Index from, Index to, Index at, bool first) {
    const Matrix<const T> part{d + at, rows, to - from, stride, 1};
    if (p.dx != nullptr)
      products(part, {p.weights.ih + from * inputs, to - from, inputs, inputs, 1}, p.dx, p.dx_stride, nullptr,
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
}

template <class T>
std::size_t backward_at_once(RecurrentRung rung, Stream stream, const RecurrentBackward<T>* passes, int directions,
                             Precision precision, void* scratch) {
  const RecurrentShape& s = passes[0].shape;
  const bool launches = scratch != nullptr, streams = rung == RecurrentRung::streamed;
  const Index rest = streams ? persistent_facts<T>(s, directions, true, true).rest : 0;
  Parts parts(scratch);
  std::vector<BackwardPlan<T>> plans;
  for (int d = 0; d < directions; ++d) plans.emplace_back(parts, rung, passes[d], rest);
  Products<T> products(stream, precision, false, launches);
  products.work_in(parts.take<char>(0));
  PersistentBack<T> launched[2] = {};
  for (int d = 0; d < directions; ++d) {
    BackwardPlan<T>& plan = plans[static_cast<std::size_t>(d)];
    const RecurrentBackward<T>& p = passes[d];
    if (launches) plan.begin(stream, p);
    plan.cell.kept = p.reserve;
    plan.cell.y = p.y;
    plan.cell.dy = p.dy;
    launched[d] = {plan.cell,
                   p.weights.hh,
                   plan.exchange,
                   plan.rest,
                   static_cast<int>(s.batch()),
                   p.dh0 != nullptr,
                   runs_of(plan.steps, 0, plan.steps.size(), true, !p.shape.reverse, s.rows())};
  }
  if (launches) (streams ? streamed_backward<T> : persistent_backward<T>)(stream, s, launched, directions);
  for (int d = 0; d < directions; ++d)
    gradients_by_weights(products, passes[d], plans[static_cast<std::size_t>(d)].cell.dpeepholes);
  return parts.bytes() + products.bytes();
}

template <class T>
std::size_t backward_step_by_step(RecurrentRung rung, Stream stream, const RecurrentBackward<T>& p, Precision precision,
                                  void* scratch) {
  const RecurrentShape& s = p.shape;
  const RecurrentWeights<T>& w = p.weights;
  const Index hidden = s.hidden, width = s.gates() * hidden, stride = s.slots() * hidden;
  const bool launches = scratch != nullptr, reset_first = s.cell == Cell::gru_reset_first;
  Parts parts(scratch);
  BackwardPlan<T> plan(parts, rung, p, 0);
  CellStepBack<T>& cell = plan.cell;
  Products<T> products(stream, precision, rung == RecurrentRung::naive, launches);
  products.work_in(parts.take<char>(0));
  if (launches) plan.begin(stream, p);
  for (std::size_t i = plan.steps.size(); i-- > 0;) {
    const Step& step = plan.steps[i];
    cell.rows = static_cast<int>(step.rows);
    cell.kept = p.reserve + step.first * stride;
    cell.y = p.y + step.first * p.y_stride;
    cell.dy = p.dy == nullptr ? nullptr : p.dy + step.first * p.dy_stride;
    cell.through = plan.through;
    if (launches) cell_step_back(stream, cell);
    if (reset_first) {  // n saw r h'
      products({cell.kept + 2 * hidden, step.rows, hidden, stride, 1},
               {w.hh + 2 * hidden * hidden, hidden, hidden, hidden, 1}, plan.by_reset, hidden, nullptr, false);
      cell.through = plan.by_reset;
      if (launches) reset_step_back(stream, cell);
    }
    // Rows that have no step before this one keep what came through U of their last.
    const Index depth = reset_first ? 2 * hidden : width;
    if (i > 0 || p.dh0 != nullptr)
      products({cell.kept, step.rows, depth, stride, 1}, {w.hh, depth, hidden, hidden, 1}, plan.through, hidden,
               nullptr, false);
  }
  if (launches && p.dh0 != nullptr) add_through<T>(stream, plan.through, p.mask, p.dh0, s.batch() * hidden);
  gradients_by_weights(products, p, cell.dpeepholes);
  return parts.bytes() + products.bytes();
}

}  // namespace

template <class T>
bool at_once(RecurrentRung rung, const RecurrentShape& s, bool backward) {
  if (!is_persistent(rung)) return false;
  const bool streams = rung == RecurrentRung::streamed;
  const PersistentFacts both = persistent_facts<T>(s, 2, backward, streams);
  if (!both.fits || !streams) return both.fits;
  // Two directions that keep half as much each read more in a step, but wait for each other half as often.
  const Index more = both.streamed - persistent_facts<T>(s, 1, backward, true).streamed;
  return static_cast<double>(more) * 2 * sizeof(T) < kBarrierMicroseconds * kCacheBytesPerMicrosecond;
}

template <class T>
std::size_t forward_pass(RecurrentRung rung, Stream stream, const RecurrentForward<T>* passes, int directions,
                         Precision precision, void* scratch) {
  if (is_persistent(rung) && (directions == 1 || at_once<T>(rung, passes[0].shape, false)))
    return forward_at_once(rung, stream, passes, directions, precision, scratch);
  std::size_t bytes = 0;
  for (int d = 0; d < directions; ++d)
    bytes = std::max(bytes, is_persistent(rung) ? forward_at_once(rung, stream, passes + d, 1, precision, scratch)
                                                : forward_step_by_step(rung, stream, passes[d], precision, scratch));
  return bytes;
}

template <class T>
std::size_t backward_pass(RecurrentRung rung, Stream stream, const RecurrentBackward<T>* passes, int directions,
                          Precision precision, void* scratch) {
  if (is_persistent(rung) && (directions == 1 || at_once<T>(rung, passes[0].shape, true)))
    return backward_at_once(rung, stream, passes, directions, precision, scratch);
  std::size_t bytes = 0;
  for (int d = 0; d < directions; ++d)
    bytes = std::max(bytes, is_persistent(rung) ? backward_at_once(rung, stream, passes + d, 1, precision, scratch)
                                                : backward_step_by_step(rung, stream, passes[d], precision, scratch));
  return bytes;
}

#define DLKIT_INSTANTIATE(T)                                                                                   \
  template bool at_once<T>(RecurrentRung, const RecurrentShape&, bool);                                        \
  template std::size_t forward_pass(RecurrentRung, Stream, const RecurrentForward<T>*, int, Precision, void*); \
  template std::size_t backward_pass(RecurrentRung, Stream, const RecurrentBackward<T>*, int, Precision, void*);
DLKIT_INSTANTIATE(float)
DLKIT_INSTANTIATE(double)
#undef DLKIT_INSTANTIATE

}  // namespace dlkit::device
