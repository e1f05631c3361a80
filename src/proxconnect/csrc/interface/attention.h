// Attention of floats.
#pragma once

#include <cstdint>

namespace proxconnect {

// Rows of floats of some batches and heads: rows of a head are `row` apart, heads `head`, batches `batch`.
struct HeadsOfRows {
  const float* values;
  std::int64_t batch, head, row;
};

// out[b, i, h] = sum over keys j of softmax_j(scale query[b, h, i] . key[b, h, j]) value[b, h, j], where query and key
// have `features` numbers and value has `outputs`. `out` is dense: [batches, queries, heads, outputs].
//
// Numbers are quantized to integers, and sums of their products are exact:
// - scale times a query, and a key, by the greatest of a row, to at most a = min(4095, floor(sqrt((2^31 - 1) / features)))
//   in magnitude, and values by the greatest of a feature over all keys, to at most 4095;
// - the exponentials e of scores less the greatest of a query, times the least of 32767 and (2^19 - keys) / (sum of e).
// A weight of the softmax is such an integer over the sum of them all.
//
// In bfloat16, scale times a query, keys, values and the exponentials are rounded to it. Their products, and the
// exponentials themselves, are added up in single precision, in an order of the processor's.
struct Attention {
  std::int64_t batches, heads, queries, keys, features, outputs;
  HeadsOfRows query, key, value;
  float scale;
  float* out;
};

constexpr std::int64_t most_attention_keys = 1 << 14;
constexpr std::int64_t most_attention_features = 1 << 10;

}  // namespace proxconnect
