#pragma once

#include "core.h"

namespace proxconnect::avx2 {

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
void unpack_weights(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                    float* weights);
bool pack_planes(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                 std::uint8_t* bits);
void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels);
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels);
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels);
bool w1a8(const W1A8& product, Range rows, Range panels);
void w1a32(const W1A32& product, Range rows, Range panels);

}  // namespace proxconnect::avx2
