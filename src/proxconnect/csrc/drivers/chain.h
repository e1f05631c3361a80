// Chains over whole matrices by some number of threads. The results do not depend on it.
#pragma once

#include "interface/chain.h"
#include "interface/products.h"

namespace proxconnect {

// Takes rows of n floats through a chain. `output.floats` may be x itself where its rows are dense.
void chain(const FloatRows& x, std::int64_t n, const ChainOutput& output, std::int64_t threads);

}  // namespace proxconnect
