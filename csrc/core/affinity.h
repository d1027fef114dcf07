// Which processor a thread runs on (Linux; elsewhere nothing is known and nothing is done).
#pragma once

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

namespace dlkit {

// A thread that sleeps now and then, as seen by the one that wakes it.
//
// Linux wakes a thread where it last ran if it takes the machine to be busy, even where its waker is running there and
// another processor idles: two threads then share one processor for some milliseconds. So the waker looks first.
class Sleeper {
 public:
  // By the thread itself, before it sleeps and after it woke.
  void lies_down() {
#ifdef __linux__
    thread_ = gettid();
    cpu_ = sched_getcpu();
#endif
  }
  void is_up() {
#ifdef __linux__
    if (moved_) sched_setaffinity(0, sizeof mask_, &mask_);
    moved_ = false;
    cpu_ = -1;
#endif
  }

  // By the waker, while the thread sleeps: if it would wake on the waker's processor, lets it wake on any other.
  void make_way() {
#ifdef __linux__
    const int here = sched_getcpu();
    if (moved_ || cpu_ != here || here < 0 || here >= CPU_SETSIZE) return;
    if (sched_getaffinity(thread_, sizeof mask_, &mask_) != 0) return;
    cpu_set_t others = mask_;
    CPU_CLR(here, &others);
    moved_ = CPU_COUNT(&others) > 0 && sched_setaffinity(thread_, sizeof others, &others) == 0;
#endif
  }

 private:
#ifdef __linux__
  pid_t thread_ = 0;
  int cpu_ = -1;  // where it lay down; -1 while it is up
  bool moved_ = false;
  cpu_set_t mask_{};  // what the thread may run on
#endif
};

}  // namespace dlkit
