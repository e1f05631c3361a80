// Activations of whole tensors by some number of threads. The results do not depend on it.
#pragma once

#include <cstdint>

#include "interface/activations.h"

namespace proxconnect {

// out[i] = activation(x[i]). `out` may be x itself.
void activate(const float* x, std::int64_t size, Activation activation, float* out, std::int64_t threads);

}  // namespace proxconnect
