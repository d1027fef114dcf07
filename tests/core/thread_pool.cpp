// What tests/core/test_thread_pool.py runs: threads of csrc/core/thread_pool.h by themselves. `thread_pool CASE` ends
// with 0, or with a line on what went wrong and 1.
#include "core/thread_pool.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using dlkit::Barrier;
using dlkit::parallel_for;
using dlkit::parallel_team;

namespace {

void expect(bool ok, const char* what) {
  if (ok) return;
  std::printf("expected that %s\n", what);
  std::exit(1);
}

// One team that adds, meets, reads what all have added, and meets again before the next round.
void rounds(int threads, int count) {
  Barrier barrier;
  std::vector<int> added(64, 0);  // no atomics: the barrier orders them
  std::vector<std::atomic<int>> seen(64);
  std::atomic<int> members{0}, wrong{0}, most{0};
  parallel_team(threads, [&](int rank, int size) noexcept {
    ++members;
    most = size;
    if (rank < 0 || rank >= size || size > threads || seen[static_cast<std::size_t>(rank)]++ != 0) ++wrong;
    for (int round = 1; round <= count; ++round) {
      added[static_cast<std::size_t>(rank)] += rank + round;
      barrier.wait(size);
      int sum = 0, expected = 0;
      for (int other = 0; other < size; ++other) {
        sum += added[static_cast<std::size_t>(other)];
        expected += round * other + round * (round + 1) / 2;
      }
      if (sum != expected) ++wrong;
      barrier.wait(size);
    }
  });
  expect(wrong == 0, "each rank is there once, and sees what the others wrote before the barrier");
  expect(members == most, "there are as many members as each is told");
}

void a_team() {
  for (int threads = 1; threads <= 4; ++threads)
    for (int i = 0; i < 20; ++i) rounds(threads, 5);
  bool here = false;
  const auto caller = std::this_thread::get_id();
  parallel_team(
      1, [&](int rank, int size) noexcept { here = rank == 0 && size == 1 && std::this_thread::get_id() == caller; });
  expect(here, "a team of one is the caller");
  int most = 0;
  parallel_team(4, [&](int rank, int size) noexcept {
    if (rank == 0) most = size;
  });
  expect(most == 4, "a team gets the threads that it asks for");
}

// The first thread waits in task 0, until `others` tasks have begun; returns the tasks in the order of their beginning.
std::vector<int> order(int tasks, int threads, int others) {
  std::vector<std::atomic<int>> begun(static_cast<std::size_t>(tasks));
  std::atomic<int> count{0};
  parallel_for(
      tasks,
      [&](int task) {
        if (task != 0) begun[static_cast<std::size_t>(count++)] = task;
        while (task == 0 && count < others) std::this_thread::yield();
      },
      threads);
  return {begun.begin(), begun.begin() + tasks - 1};
}

void parts() {
  for (int i = 0; i < 50; ++i) {
    expect(order(9, 2, 1)[0] == 4, "a thread begins with its own part");
    expect(order(9, 2, 8) == std::vector<int>{4, 5, 6, 7, 8, 1, 2, 3}, "a thread takes in turn what others have left");
    std::atomic<int> done{0};
    for (int tasks = 2; tasks < 12; ++tasks) parallel_for(tasks, [&](int) { ++done; }, 2 + tasks % 4);
    expect(done == 65, "all tasks are done, however many parts they are in");
  }
}

void more_members_than_processors() { rounds(24, 20); }

void nested() {
  std::atomic<int> wrong{0}, inner{0};
  Barrier barrier;
  parallel_team(3, [&](int, int size) noexcept {
    const auto here = std::this_thread::get_id();
    parallel_team(3, [&](int rank, int inner_size) noexcept {
      ++inner;
      if (rank != 0 || inner_size != 1 || std::this_thread::get_id() != here) ++wrong;
    });
    parallel_for(
        5,
        [&](int) {
          if (std::this_thread::get_id() != here) ++wrong;
        },
        3);
    barrier.wait(size);  // that of the outer team still holds
  });
  expect(inner == 3 && wrong == 0, "a team within a team is its caller alone");
  parallel_for(
      6,
      [&](int) {
        parallel_team(3, [&](int, int size) noexcept {
          if (size != 1) ++wrong;
        });
      },
      3);
  expect(wrong == 0, "a team within a task is its caller alone");
  rounds(3, 5);
}

void several_callers() {
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([] {
      for (int n = 0; n < 15; ++n) {
        rounds(3, 5);
        std::atomic<int> done{0};
        parallel_for(7, [&](int) { ++done; }, 3);
        expect(done == 7, "all tasks are done, whoever has the pool");
      }
    });
  for (auto& caller : callers) caller.join();
}

void exceptions() {
  for (int i = 0; i < 10; ++i) {
    std::atomic<int> ended{0};
    std::string text;
    try {
      parallel_for(
          20,
          [&](int task) {
            ++ended;
            if (task % 3 == 0) throw std::runtime_error("task");
          },
          3);
    } catch (const std::runtime_error& error) {
      text = error.what();
    }
    expect(text == "task", "an exception of a task arrives at the caller");
    expect(ended == 20, "all tasks have ended by then");
    rounds(3, 3);
  }
}

void forks() {
  rounds(4, 5);
  for (int i = 0; i < 3; ++i) {
    const pid_t child = fork();
    expect(child >= 0, "the process can be forked");
    if (child == 0) {
      alarm(60);
      for (int n = 0; n < 3; ++n) rounds(4, 5);
      int most = 0;
      parallel_team(4, [&](int rank, int size) noexcept {
        if (rank == 0) most = size;
      });
      expect(most == 4, "a child has a pool of its own");
      _exit(0);
    }
    rounds(4, 5);
    int status = 0;
    expect(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
           "a child ends as it should");
  }
  rounds(4, 5);
}

}  // namespace

int main(int count, char** arguments) {
  constexpr std::array<std::pair<const char*, void (*)()>, 7> kCases = {{
      {"a_team", a_team},
      {"parts", parts},
      {"more_members_than_processors", more_members_than_processors},
      {"nested", nested},
      {"several_callers", several_callers},
      {"exceptions", exceptions},
      {"forks", forks},
  }};
  for (const auto& [name, run] : kCases)
    if (count == 2 && std::string(arguments[1]) == name) {
      run();
      return 0;
    }
  std::printf("expected the name of a case\n");
  return 1;
}
