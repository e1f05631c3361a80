// The parts of a call spread over threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>

#include "interface/products.h"

namespace proxconnect {

// Calls work(context, i) once for every i in 0 .. count, on this thread and up to threads - 1 others. These are torch's
// own: they spin for a while after an operator of torch's and would contend with any others for the processors. Where
// there is no OpenMP, in a forked child, and while another caller has the threads, this thread does all the work
// (README.md has what that costs).
void run_parallel(std::int64_t count, std::int64_t threads, void (*work)(void* context, std::int64_t i), void* context);

// Parts for each thread, so that one that is held up leaves the others its rest.
constexpr std::int64_t several_parts = 4;

// Calls work(range) for parts of 0 .. size on up to `threads` threads. Where work throws, one of its exceptions is
// thrown here after all parts are done.
template <typename Work>
void parallel_ranges(std::int64_t size, std::int64_t threads, Work&& work,
                     std::int64_t parts_of_thread = several_parts) {
  if (threads <= 1 || size <= 1) {
    work(Range{0, size});
    return;
  }
  struct Context {
    Work& work;
    std::int64_t size;
    std::int64_t parts;
    std::mutex failing;
    std::exception_ptr failure;
  } context{work, size, std::min(threads * parts_of_thread, size), {}, {}};
  run_parallel(
      context.parts, threads,
      [](void* address, std::int64_t i) noexcept {
        Context& c = *static_cast<Context*>(address);
        try {
          c.work(Range{c.size * i / c.parts, c.size * (i + 1) / c.parts});
        } catch (...) {
          const std::lock_guard lock(c.failing);
          c.failure = std::current_exception();
        }
      },
      &context);
  if (context.failure) std::rethrow_exception(context.failure);
}

}  // namespace proxconnect
