// Chains over matrices of floats, split among threads by rows.

#include "drivers/chain.h"

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {

void chain(const FloatRows& x, std::int64_t n, const ChainOutput& output, std::int64_t threads) {
  check_matrix(x.m, n);
  parallel_ranges(x.m, useful_threads(threads, products_of_sign * x.m * n),
                  [&](Range rows) { active_kernels().chain_rows(x, n, output, rows); });
}

}  // namespace proxconnect
