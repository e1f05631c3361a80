// What a decoder computes in floats for the token that it reads, between its products.
#pragma once

#include <cstdint>

namespace proxconnect {

// Rows of floats, `row` apart in heads that are `head` apart, in texts that are `text` apart.
struct CachedRows {
  float* values;
  std::int64_t text, head, row;
};

// Attention of one new token of each text to the `tokens` that a cache then holds, of which it is the last:
//
//   q = rotated(query), keys[last] = rotated(key), values[last] = value
//   out[h] = sum over tokens j of softmax_j(scale q[h] . keys[h / queries, j]) values[h / queries, j]
//
// where rotated(x) = x cos + (-second half of x, first half of x) sin. `queries` heads share a head of keys. Inputs and
// the output are dense: query and out are [texts, key_heads, queries, features], key and value [texts, key_heads,
// features], cos and sin are [features] for each text, `turn` apart. An output whose scores are not all finite is NaN.
struct TokenAttention {
  std::int64_t texts, key_heads, queries, tokens, features, turn;
  const float *query, *key, *value, *cos, *sin;
  CachedRows keys, values;
  float scale;
  float* out;
};

}  // namespace proxconnect
