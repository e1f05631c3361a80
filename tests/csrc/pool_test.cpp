// Threads that share the pool: every part of every job is done once, whoever asks and however many ask at once.

#include <atomic>
#include <cstdio>
#include <new>
#include <thread>
#include <vector>

#include "threads/parallel.h"

namespace {

std::atomic<int> failures{0};

void check_jobs(std::int64_t size, std::int64_t threads) {
  for (int job = 0; job < 200; ++job) {
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

}  // namespace

int main() {
  check_failures();
  for (const std::int64_t threads : {1, 2, 3, 7}) {
    for (const std::int64_t size : {1, 2, 5, 100}) check_jobs(size, threads);
  }
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) callers.emplace_back(check_jobs, 50, 3);
  for (std::thread& caller : callers) caller.join();
  std::printf("%d parts done other than once\n", failures.load());
  return failures == 0 ? 0 : 1;
}
