#pragma once

#include "core.h"

namespace proxconnect::portable {

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
void unpack_weights(const PackedRows& packed, Range rows, float* weights);
void w1a1_sums(const W1A1<SumsOutput>& product, Range rows, Range panels);
void w1a1_affine(const W1A1<AffineOutput>& product, Range rows, Range panels);
void w1a1_signs(const W1A1<SignsOutput>& product, Range rows, Range panels);
bool w1a8(const W1A8& product, Range rows, Range panels);
void w1a32(const W1A32& product, Range rows, Range panels);
void w1a32_planes(const W1A32Conv& product, std::int64_t image, Range channels);
void w1a32_conv(const W1A32Conv& product, std::int64_t image, Range positions, Range panels);

}  // namespace proxconnect::portable
