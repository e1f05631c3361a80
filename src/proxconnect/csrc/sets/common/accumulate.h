// The loop that adds up in narrow accumulators.
#pragma once

#include <cstdint>

namespace proxconnect {
namespace {

// Goes through the steps of all runs in their order, in chunks whose sums fit narrow accumulators. Calls
// add(run, first, count) for a chunk's part of a run: steps first .. first + count of it. Calls widen(), which adds the
// narrow sums to wide ones and clears them, before they hold more than `fit` steps and at the end.
template <std::int64_t fit, typename Add, typename Widen>
[[gnu::always_inline]] inline void accumulate(std::int64_t runs, std::int64_t run_steps, const Add& add,
                                              const Widen& widen) {
  std::int64_t room = fit;
  for (std::int64_t run = 0; run < runs; ++run) {
    for (std::int64_t step = 0, count; step < run_steps; step += count) {
      if (room == 0) {
        widen();
        room = fit;
      }
      const std::int64_t left = run_steps - step;
      count = left < room ? left : room;
      room -= count;
      add(run, step, count);
    }
  }
  widen();
}

}  // namespace
}  // namespace proxconnect
