// Normalization by rows and attention of one token by heads, split among threads.

#include "drivers/decoding.h"

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {

void rms_norm(const float* x, std::int64_t rows, std::int64_t columns, const float* weight, float epsilon, float* out,
              std::int64_t threads) {
  constexpr std::int64_t least_elements = std::int64_t{1} << 15;  // for a thread
  check_matrix(rows, columns);
  const auto part = [&](Range of_rows) { active_kernels().rms_norm(x, columns, weight, epsilon, out, of_rows); };
  parallel_ranges(rows, useful_threads(threads, rows * columns, least_elements), part, 1);
}

void token_attention(const TokenAttention& of, std::int64_t threads) {
  constexpr std::int64_t least_products = std::int64_t{1} << 17;  // for a thread
  check_token_attention(of);
  const std::int64_t heads = of.texts * of.key_heads;
  const std::int64_t work = 2 * heads * of.queries * of.tokens * of.features;
  const auto part = [&](Range of_heads) { active_kernels().token_attention(of, of_heads); };
  parallel_ranges(heads, useful_threads(threads, work, least_products), part, 1);
}

}  // namespace proxconnect
