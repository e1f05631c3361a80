// Products of whole matrices by some number of threads. The results do not depend on it.
#pragma once

#include "interface/chain.h"
#include "interface/products.h"

namespace proxconnect {

void gemm(const W1A1<SumsOutput>& product, std::int64_t threads);
void gemm(const W1A1<AffineOutput>& product, std::int64_t threads);
void gemm(const W1A1<SignsOutput>& product, std::int64_t threads);
void gemm(const W1A1<ChainOutput>& product, std::int64_t threads);
// Returns whether every input is finite; otherwise the output is unspecified.
bool gemm(const W1A8& product, std::int64_t threads);
void gemm(const W1A32& product, std::int64_t threads);

}  // namespace proxconnect
