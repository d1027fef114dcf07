// One pool of threads for every kernel.
#pragma once

#include <type_traits>

namespace dlkit {

// How many threads kernels may use, the caller's included: the last set_num_threads, else DLKIT_NUM_THREADS,
// else the processors in the affinity mask.
int num_threads();

// count >= 1. Takes effect at the next kernel call. Throws std::invalid_argument otherwise.
void set_num_threads(int count);

namespace detail { void run_parallel(int tasks, int threads, void (*body)(void* context, int task), void* context); }

// Runs body(task) for every task in [0, tasks), on at most `threads` threads (0: num_threads()), and returns
// when all are done. Which thread runs which task is open. A call from inside a task, or while another Python
// thread holds the pool, runs all tasks on the caller's thread. Where bodies throw, the first exception is rethrown
// here once all tasks have ended.
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

}  // namespace dlkit
