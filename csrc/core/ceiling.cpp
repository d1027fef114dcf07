#include "core/ceiling.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <vector>

#include "core/cpu.h"
#include "core/dispatch.h"
#include "core/peak.h"
#include "core/thread_pool.h"

namespace dlkit {

DLKIT_DECLARE_PER_ISA(PeakKernels, peak_table)

const PeakKernels& peak_kernels() {
  static const PeakKernels& table = DLKIT_SELECT(peak_table);
  return table;
}

namespace {

double seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Times the span in which all tasks run together; a barrier in front lets no thread start early.
template <class Body>
double timed_together(int threads, const Body& body) {
  std::atomic<int> waiting{threads};
  std::atomic<double> begin{0}, end{0};
  parallel_for(
      threads,
      [&](int task) {
        if (waiting.fetch_sub(1) == 1) begin = seconds();
        const double patience = seconds() + 0.05;  // a busy pool runs tasks one after another: do not hang
        while (waiting.load() > 0 && seconds() < patience) {
        }
        body(task);
        const double now = seconds();
        double seen = end.load();
        while (seen < now && !end.compare_exchange_weak(seen, now)) {
        }
      },
      threads);
  return end - begin;
}

}  // namespace

double measure_peak(int threads, bool float64) {
  const PeakKernel kernel = float64 ? peak_kernels().float64 : peak_kernels().float32;
  double best = 0;
  for (int repeat = 0; repeat < 12; ++repeat) {
    std::atomic<double> flops{0};
    const double elapsed = timed_together(threads, [&](int) {
      const double done = kernel(400000);
      double seen = flops.load();
      while (!flops.compare_exchange_weak(seen, seen + done)) {
      }
    });
    best = std::max(best, flops / elapsed);
  }
  return best;
}

double measure_bandwidth(int threads) {
  // Twice the last-level cache and at least 128 MiB, so that no pass finds its data cached.
  const std::size_t bytes = std::max<std::size_t>(2 * cache_sizes().l3, std::size_t{128} << 20);
  const std::size_t per_thread = bytes / sizeof(float) / static_cast<std::size_t>(threads) / 64 * 64;
  const std::unique_ptr<float[]> data(new float[per_thread * static_cast<std::size_t>(threads)]);
  parallel_for(
      threads,
      [&](int task) {
        std::memset(data.get() + per_thread * static_cast<std::size_t>(task), 0, per_thread * sizeof(float));
      },
      threads);
  double best = 0;
  for (int repeat = 0; repeat < 6; ++repeat) {
    std::vector<float> sums(static_cast<std::size_t>(threads));
    const double elapsed = timed_together(threads, [&](int task) {
      const auto index = static_cast<std::size_t>(task);
      sums[index] = peak_kernels().read(data.get() + per_thread * index, per_thread);
    });
    const double total = static_cast<double>(per_thread * sizeof(float)) * threads;
    best = std::max(best, total / elapsed);
  }
  return best;
}

}  // namespace dlkit
