#pragma once

#include "core.h"

namespace proxconnect::portable {

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
void unpack_weights(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                    float* weights);
void w1a1_sums(const W1A1<SumsOutput>& product, Range rows, Range panels);
void w1a1_affine(const W1A1<AffineOutput>& product, Range rows, Range panels);
void w1a1_signs(const W1A1<SignsOutput>& product, Range rows, Range panels);
bool w1a8(const W1A8& product, Range rows, Range panels);
void w1a32(const W1A32& product, Range rows, Range panels);
float greatest_magnitude(const float* x, std::int64_t count);
void w1a8_pixels(const W1A8Image& image, Range lines);
void w1a8_conv(const W1A8Image& image, Range lines, Range panels);

}  // namespace proxconnect::portable
