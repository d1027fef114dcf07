// One pool of threads for every kernel.
#pragma once

#include <atomic>
#include <type_traits>

namespace dlkit {

// How many threads kernels may use, the caller's included: the last set_num_threads, else DLKIT_NUM_THREADS,
// else the processors in the affinity mask.
int num_threads();

// count >= 1. Takes effect at the next kernel call. Throws std::invalid_argument otherwise.
void set_num_threads(int count);

namespace detail {
void run_parallel(int tasks, int threads, void (*body)(void* context, int task), void* context);
void run_team(int threads, void (*body)(void* context, int rank, int size), void* context);
}  // namespace detail

// Runs body(task) for every task in [0, tasks), on at most `threads` threads (0: num_threads()), and returns
// when all are done. Each thread begins with its share of the tasks, the same ones in every call of as many tasks;
// which thread runs which is open, since those that are done take what others have left. A call from inside a task, or
// while another Python thread holds the pool, runs all tasks on the caller's thread. Where bodies throw, the first
// exception is rethrown here once all tasks have ended.
template <class Body>
void parallel_for(int tasks, const Body& body, int threads = 0) {
  if (tasks <= 1 || threads == 1) {
    for (int task = 0; task < tasks; ++task) body(task);
    return;
  }
  detail::run_parallel(
      tasks, threads, [](void* context, int task) { (*static_cast<const Body*>(context))(task); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// Where the members of a team wait for each other. They spin, since steps of microseconds lie between two meetings, and
// sleep where that takes long.
class Barrier {
 public:
  // Returns once all `size` members have called it as often as this one. What they wrote before is seen after.
  void wait(int size);

 private:
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<unsigned> round_{0};
};

// Runs body(rank, size) at the same time on `size` threads, ranks 0 to size - 1, so that they may wait for each other.
// The size is at most `threads`; it is 1 inside a task, or while another Python thread holds the pool. body must not
// throw: the others would wait for ever.
template <class Body>
void parallel_team(int threads, const Body& body) {
  static_assert(noexcept(body(0, 1)));
  if (threads == 1) {
    body(0, 1);
    return;
  }
  detail::run_team(
      threads, [](void* context, int rank, int size) { (*static_cast<const Body*>(context))(rank, size); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

}  // namespace dlkit
