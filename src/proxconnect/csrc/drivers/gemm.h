// The kernels in use, applied to whole matrices by some number of threads. The results do not depend on it.
#pragma once

#include "interface/products.h"

namespace proxconnect {

// Whether the bits after column k are zero in every row, as the layout of docs/format.md has them.
bool padding_is_clear(const SignRows& rows, std::int64_t k);

// Lays dense rows of bits out as panels; `words` takes panels_of(m) * panel_width * words_of(k).
void make_panels(const SignRows& rows, std::int64_t k, std::uint32_t* words);

// Returns -1, or the flat index of the first NaN.
std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits,
                        std::int64_t threads);
void unpack_weights(const PackedRows& packed, std::int64_t rows, float* weights, std::int64_t threads);

void multiply(const W1A1<SumsOutput>& product, std::int64_t threads);
void multiply(const W1A1<AffineOutput>& product, std::int64_t threads);
void multiply(const W1A1<SignsOutput>& product, std::int64_t threads);
// Returns whether every input is finite; otherwise the output is unspecified.
bool multiply(const W1A8& product, std::int64_t threads);
void multiply(const W1A32& product, std::int64_t threads);

}  // namespace proxconnect
