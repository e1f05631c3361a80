// W1A8 convolutions of whole batches by some number of threads. The results do not depend on it.
#pragma once

#include "core.h"

namespace proxconnect {

// Returns whether every image is finite; otherwise the output is unspecified.
bool convolve(const W1A8Conv& conv, std::int64_t threads);

}  // namespace proxconnect
