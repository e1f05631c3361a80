// What a decoder computes between products, by some number of threads. The results do not depend on it.
#pragma once

#include <cstdint>

#include "interface/decoding.h"

namespace proxconnect {

// out[i] = weight * (x[i] / sqrt(mean of squares of x[i] + epsilon)) for each row i. `out` may be x itself.
void rms_norm(const float* x, std::int64_t rows, std::int64_t columns, const float* weight, float epsilon, float* out,
              std::int64_t threads);

void token_attention(const TokenAttention& attention, std::int64_t threads);

}  // namespace proxconnect
