// Threads that wait for work: spinning for a while, then asleep.
#pragma once

#include <cstdint>
#include <utility>

#include "core.h"

namespace proxconnect {

// Calls work(context, i) once for every i in 0 .. count, on this thread and on count - 1 others. What no other
// thread has begun, this one does itself: a processor that is busy elsewhere delays nothing but its own share.
// While another thread is in here, the caller does everything. A forked child starts with threads of its own.
void run_parallel(std::int64_t count, void (*work)(void* context, std::int64_t i), void* context);

// Calls work(range) for the parts of 0 .. size, at most `threads` of them.
template <typename Work>
void parallel_ranges(std::int64_t size, std::int64_t threads, Work&& work) {
  const std::int64_t parts = threads < size ? threads : size;
  if (parts <= 1) {
    work(Range{0, size});
    return;
  }
  struct Context {
    Work& work;
    std::int64_t size;
    std::int64_t parts;
  } context{work, size, parts};
  run_parallel(
      parts,
      [](void* address, std::int64_t i) noexcept {
        const Context& c = *static_cast<Context*>(address);
        c.work(Range{c.size * i / c.parts, c.size * (i + 1) / c.parts});
      },
      &context);
}

}  // namespace proxconnect
