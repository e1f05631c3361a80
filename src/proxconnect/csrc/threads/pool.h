// Threads of our own that wait for work: spinning for a while, then asleep.
#pragma once

#include <cstdint>

namespace proxconnect {

// run_parallel (parallel.h) on these threads. What no other thread has begun, the caller does itself: a processor that
// is busy elsewhere delays nothing but the part that it is at. While another thread is in here, the caller does
// everything. A forked child starts with threads of its own.
void run_in_pool(std::int64_t count, std::int64_t threads, void (*work)(void* context, std::int64_t i), void* context);

}  // namespace proxconnect
