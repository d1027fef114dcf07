// Threads that wait stay awake for a while, since the next kernel of a network follows within microseconds and waking a
// sleeping thread costs five to fifty of them; on a virtual machine, whose host takes back a processor that sleeps,
// hundreds. Then they sleep.
#include "core/thread_pool.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/affinity.h"
#include "core/cpu.h"

namespace dlkit {
namespace {

constexpr int kMaxThreads = 1024;
constexpr std::uint64_t kClosed = 0x7fffffff;  // a next task past every count

inline void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// How long a thread that waits stays awake: for a tenth of a millisecond come what may, then for as long as no other
// thread wants its processor.
class Vigil {
 public:
  // A microsecond or so of waiting, less if `over`; false once it is time to sleep.
  template <class Over>
  bool lasts(const Over& over) {
    for (int i = 0; i < 64; ++i) {
      if (over()) return true;
      pause();
    }
    const auto now = Clock::now();
    if (now < start_ + kAlone) return true;
    if (now > start_ + kLongest) return false;
    std::this_thread::yield();
    return Clock::now() < now + kYielded;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr auto kAlone = std::chrono::microseconds(100), kLongest = std::chrono::microseconds(2000),
                        kYielded = std::chrono::microseconds(20);  // by then another thread has run

  Clock::time_point start_ = Clock::now();
};

// Returns once `value` is no longer `old`; whoever changes it notifies.
template <class T>
void wait_while(const std::atomic<T>& value, T old) {
  const auto changed = [&] { return value.load(std::memory_order_acquire) != old; };
  if (changed()) return;
  for (Vigil vigil; !changed();)
    if (!vigil.lasts(changed)) value.wait(old, std::memory_order_acquire);
}

// The next task of a part of a call's tasks (low half), with the call's number (high half), so that a worker that wakes
// late can never take a task of a call that it does not know.
struct alignas(64) Ticket {
  std::atomic<std::uint64_t> next{0};
};

// A call's tasks, in as many parts as it has threads: runs of tasks that follow each other. A thread takes those of its
// own part first, and then what others have left. So the one that made a part of an array is the one that reads it in
// the next call, and finds it in its cache.
struct Pool {
  std::mutex busy;  // held by the caller whose tasks are running
  std::vector<std::thread> workers;

  const std::unique_ptr<Ticket[]> tickets{new Ticket[kMaxThreads]};
  alignas(64) std::atomic<int> unfinished{0};
  alignas(64) std::atomic<std::uint32_t> generation{0};
  std::atomic<std::uint64_t> extent{0};  // tasks (high half) and parts
  std::atomic<int> allowed{0};           // workers that may help in this call
  void (*body)(void*, int) = nullptr;
  void* context = nullptr;

  std::mutex sleep_mutex;
  std::deque<Sleeper> beds;  // of each worker; under sleep_mutex
  std::condition_variable sleep_signal;
  std::atomic<int> sleepers{0};
  std::atomic<bool> stop{false};

  ~Pool() { join(); }

  void join() {
    {
      std::lock_guard lock(sleep_mutex);
      stop = true;
    }
    sleep_signal.notify_all();
    for (auto& worker : workers) worker.join();
    workers.clear();
    stop = false;
  }

  static std::uint64_t border(std::uint64_t tasks, std::uint64_t parts, std::uint64_t part) {
    return tasks * part / parts;
  }

  void take_tasks(std::uint32_t call, std::uint64_t rank) {
    const std::uint64_t seen = extent.load(std::memory_order_acquire);
    const std::uint64_t tasks = seen >> 32, parts = seen & 0xffffffffu;
    if (rank >= parts) return;  // those of another call
    for (std::uint64_t i = 0; i < parts; ++i) {
      const std::uint64_t part = rank + i < parts ? rank + i : rank + i - parts;
      if (!take_part(call, tickets[part].next, border(tasks, parts, part + 1))) return;
    }
  }

  // Takes what is left of a part. False if the call is over.
  bool take_part(std::uint32_t call, std::atomic<std::uint64_t>& next, std::uint64_t end) {
    std::uint64_t seen = next.load(std::memory_order_acquire);
    for (;;) {
      if (static_cast<std::uint32_t>(seen >> 32) != call) return false;
      const std::uint64_t task = seen & 0xffffffffu;
      if (task >= end) return true;
      if (!next.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) continue;
      body(context, static_cast<int>(task));
      if (unfinished.fetch_sub(1, std::memory_order_acq_rel) == 1) unfinished.notify_all();
      seen = next.load(std::memory_order_acquire);
    }
  }

  // `last` is the call before the worker was made: it must not miss the next one, however late it starts.
  void work(int index, std::uint32_t last) {
    for (;;) {
      std::uint32_t call = generation.load(std::memory_order_acquire);
      const auto called = [&] {
        call = generation.load(std::memory_order_acquire);
        return call != last || stop.load(std::memory_order_relaxed);
      };
      for (Vigil vigil; !called();) {
        if (vigil.lasts(called)) continue;
        std::unique_lock lock(sleep_mutex);
        Sleeper& self = beds[static_cast<std::size_t>(index)];
        self.lies_down();
        sleepers.fetch_add(1);
        sleep_signal.wait(lock, [&] { return generation.load() != last || stop.load(); });
        sleepers.fetch_sub(1);
        self.is_up();
      }
      if (stop.load(std::memory_order_relaxed)) return;
      last = call;
      if (index < allowed.load(std::memory_order_relaxed)) take_tasks(call, static_cast<std::uint64_t>(index) + 1);
    }
  }

  // Starts what is missing of so many threads, the caller's included, and returns how many there are.
  int grow(int threads) {
    while (static_cast<int>(workers.size()) < threads - 1) {
      const int index = static_cast<int>(workers.size());
      try {
        {
          std::lock_guard lock(sleep_mutex);
          if (beds.size() <= workers.size()) beds.emplace_back();
        }
        workers.emplace_back([this, index, last = generation.load()] { work(index, last); });
      } catch (const std::system_error&) {
        break;  // the system has no more threads to give: those that there are do the work
      }
    }
    return threads < static_cast<int>(workers.size()) + 1 ? threads : static_cast<int>(workers.size()) + 1;
  }

  void run(int count, int threads, void (*task_body)(void*, int), void* task_context) {
    grow(threads);
    const std::uint32_t call = generation.load(std::memory_order_relaxed) + 1;
    const std::uint64_t number = static_cast<std::uint64_t>(call) << 32, tasks = static_cast<std::uint64_t>(count),
                        parts = static_cast<std::uint64_t>(threads);
    // Closed first: a worker of the call before may be about to look, and would see tasks left where a part has grown.
    for (std::uint64_t part = 0; part < parts; ++part)
      tickets[part].next.store(number | kClosed, std::memory_order_relaxed);
    extent.store(tasks << 32 | parts, std::memory_order_release);
    body = task_body;
    context = task_context;
    allowed.store(threads - 1, std::memory_order_relaxed);
    unfinished.store(count, std::memory_order_relaxed);
    for (std::uint64_t part = 0; part < parts; ++part)
      tickets[part].next.store(number | border(tasks, parts, part), std::memory_order_release);
    generation.store(call);  // sequentially consistent, as is the sleepers check: no wake-up is lost
    if (sleepers.load() > 0) {
      std::lock_guard lock(sleep_mutex);
      for (Sleeper& worker : beds) worker.make_way();
      sleep_signal.notify_all();
    }
    take_tasks(call, 0);
    for (int left; (left = unfinished.load(std::memory_order_acquire)) > 0;) wait_while(unfinished, left);
  }
};

Pool* pool = nullptr;
std::atomic<int> requested_threads{0};
thread_local bool inside_task = false;

// After fork() the child has no workers: it starts with a pool of its own. The parent's is left as it was;
// its memory cannot be freed, since the threads that it speaks of do not exist here.
void start_pool() {
  static std::once_flag once;
  std::call_once(once, [] {
    pool = new Pool;
    pthread_atfork(nullptr, nullptr, [] { pool = new Pool; });
    std::atexit([] {
      // Static destructors of a process that exits while a daemon thread computes must not wait for it.
      if (pool->busy.try_lock()) pool->join();
    });
  });
}

int default_threads() {
  if (const char* text = std::getenv("DLKIT_NUM_THREADS"); text != nullptr && *text != '\0') {
    char* end = nullptr;
    const long count = std::strtol(text, &end, 10);
    if (*end != '\0' || count < 1 || count > kMaxThreads)
      throw std::invalid_argument("DLKIT_NUM_THREADS is '" + std::string(text) + "'; expected an integer from 1 to " +
                                  std::to_string(kMaxThreads));
    return static_cast<int>(count);
  }
  return usable_cpus();
}

}  // namespace

int num_threads() {
  static const int standard = default_threads();
  const int wanted = requested_threads.load(std::memory_order_relaxed);
  return wanted > 0 ? wanted : standard;
}

void set_num_threads(int count) {
  if (count < 1 || count > kMaxThreads)
    throw std::invalid_argument("set_num_threads: count is " + std::to_string(count) + "; expected 1 to " +
                                std::to_string(kMaxThreads));
  requested_threads = count;
}

namespace detail {

void run_parallel(int tasks, int threads, void (*body)(void*, int), void* context) {
  if (threads <= 0) threads = num_threads();
  if (threads > tasks) threads = tasks;
  start_pool();
  if (threads > 1 && !inside_task) {
    std::unique_lock lock(pool->busy, std::try_to_lock);
    if (lock.owns_lock()) {
      struct Call {
        void (*body)(void*, int);
        void* context;
        std::exception_ptr error;
        std::atomic<bool> failed{false};
      } call{body, context, nullptr};
      pool->run(
          tasks, threads,
          [](void* opaque, int task) {
            auto* inner = static_cast<Call*>(opaque);
            inside_task = true;
            try {
              inner->body(inner->context, task);
            } catch (...) {
              if (!inner->failed.exchange(true)) inner->error = std::current_exception();
            }
            inside_task = false;
          },
          &call);
      if (call.error) std::rethrow_exception(call.error);
      return;
    }
  }
  for (int task = 0; task < tasks; ++task) body(context, task);
}

void run_team(int threads, void (*body)(void*, int, int), void* context) {
  if (threads <= 0) threads = num_threads();
  start_pool();
  if (threads > 1 && !inside_task) {
    std::unique_lock lock(pool->busy, std::try_to_lock);
    // As many tasks as threads, none of which ends before all have begun: each thread gets one.
    if (const int size = lock.owns_lock() ? pool->grow(threads) : 1; size > 1) {
      struct Call {
        void (*body)(void*, int, int);
        void* context;
        int size;
        Barrier all_here;
      } call{body, context, size, {}};
      pool->run(
          size, size,
          [](void* opaque, int rank) {
            auto* inner = static_cast<Call*>(opaque);
            inside_task = true;
            inner->all_here.wait(inner->size);
            inner->body(inner->context, rank, inner->size);
            inside_task = false;
          },
          &call);
      return;
    }
  }
  body(context, 0, 1);
}

}  // namespace detail

void Barrier::wait(int size) {
  if (size == 1) return;
  const unsigned round = round_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size) {
    arrived_.store(0, std::memory_order_relaxed);
    round_.store(round + 1, std::memory_order_release);
    round_.notify_all();
    return;
  }
  wait_while(round_, round);
}

}  // namespace dlkit
