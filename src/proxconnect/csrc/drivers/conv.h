// Convolutions of whole batches by some number of threads. The results do not depend on it.
#pragma once

#include "interface/chain.h"
#include "interface/convolutions.h"

namespace proxconnect {

void convolve(const W1A1Conv<SumsOutput>& conv, std::int64_t threads);
void convolve(const W1A1Conv<AffineOutput>& conv, std::int64_t threads);
void convolve(const W1A1Conv<SignsOutput>& conv, std::int64_t threads);
void convolve(const W1A1Conv<ChainOutput>& conv, std::int64_t threads);
// Returns whether every image is finite; otherwise the output is unspecified.
bool convolve(const W1A8Conv& conv, std::int64_t threads);
void convolve(const W1A32Conv& conv, std::int64_t threads);

}  // namespace proxconnect
