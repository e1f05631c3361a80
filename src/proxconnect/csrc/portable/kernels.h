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
void mean_magnitudes(const float* values, std::int64_t columns, float* mean, Range rows);
void quantize(const Latents& w, const ElementwiseMap& map, float* out, Range elements);
void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, Range elements);
void quantize_and_mark(const float* x, const ElementwiseMap& map, float mu, float* out, std::uint16_t* inside,
                       Range elements);
void scale_marked(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements);
void scale_outputs(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows);

}  // namespace proxconnect::portable
