// Every part of every job is done once, whoever asks and however many ask at once: on the threads of an OpenMP, and in a
// forked child, which has none of them. The OpenMP is a small one made here, since sanitizers do not see into the real.

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <new>
#include <thread>
#include <vector>

#include "threads/parallel.h"

namespace {

constexpr int team = 5;
thread_local int number = 0;
std::atomic<int> teams{0};
std::atomic<int> failures{0};

}  // namespace

extern "C" {

[[gnu::visibility("default")]] void GOMP_parallel(void (*work)(void*), void* context, unsigned, unsigned) {
  ++teams;
  std::vector<std::thread> others;
  for (int i = 1; i < team; ++i) {
    others.emplace_back([=] {
      number = i;
      work(context);
    });
  }
  work(context);
  for (std::thread& other : others) other.join();
}

[[gnu::visibility("default")]] int omp_get_thread_num() { return number; }

}  // extern "C"

namespace {

void check_jobs(std::int64_t size, std::int64_t threads) {
  for (int job = 0; job < 50; ++job) {
    std::vector<int> done(static_cast<std::size_t>(size), 0);  // not atomic: parts must not overlap
    proxconnect::parallel_ranges(size, threads, [&](proxconnect::Range part) {
      for (std::int64_t i = part.begin; i < part.end; ++i) ++done[static_cast<std::size_t>(i)];
    });
    for (const int times : done) failures += times != 1;
  }
}

// What a part throws arrives after all parts are done.
void check_failures() {
  for (int job = 0; job < 50; ++job) {
    std::atomic<int> parts{0};
    bool caught = false;
    try {
      proxconnect::parallel_ranges(20, 3, [&](proxconnect::Range) {
        ++parts;
        throw std::bad_alloc();
      });
    } catch (const std::bad_alloc&) {
      caught = true;
    }
    failures += !caught || parts != 12;
  }
}

// A forked child asks no OpenMP.
void check_child() {
  const pid_t child = fork();
  if (child == 0) {
    failures = teams = 0;
    check_jobs(50, 3);
    _exit(failures == 0 && teams == 0 ? 0 : 1);
  }
  int status = 1;
  failures += waitpid(child, &status, 0) != child || status != 0;
}

}  // namespace

int main() {
  check_failures();
  for (const std::int64_t threads : {1, 2, 3, 7}) {
    for (const std::int64_t size : {1, 2, 5, 100}) check_jobs(size, threads);
  }
  failures += teams == 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back(check_jobs, 50, 3);
  for (std::thread& caller : callers) caller.join();
  check_child();
  std::printf("%d parts done other than once\n", failures.load());
  return failures == 0 ? 0 : 1;
}
