// Attention of floats by some number of threads. The results do not depend on it.
#pragma once

#include <cstdint>

#include "interface/attention.h"

namespace proxconnect {

// Returns whether all numbers are of a size that can be multiplied, and with `bfloat16`, whether there is a kernel for
// that; otherwise the output is unspecified.
bool attend(const Attention& attention, bool bfloat16, std::int64_t threads);

}  // namespace proxconnect
