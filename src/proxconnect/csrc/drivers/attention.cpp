// Attention of floats, split among threads by heads.

#include "drivers/attention.h"

#include <atomic>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {

bool attend(const Attention& attention, bool bfloat16, std::int64_t threads) {
  check_attention(attention);
  const KernelSet& kernels = active_kernels();
  const auto kernel = bfloat16 ? kernels.bfloat16_attention : kernels.attention;
  if (kernel == nullptr) return false;
  const std::int64_t heads = attention.batches * attention.heads;
  const std::int64_t work =
      heads * attention.queries * attention.keys * (attention.features + attention.outputs);
  std::atomic<bool> found{true};
  const auto part = [&](Range of_heads) {
    if (!kernel(attention, of_heads)) found.store(false, std::memory_order_relaxed);
  };
  parallel_ranges(heads, useful_threads(threads, work), part, 1);
  return found;
}

}  // namespace proxconnect
