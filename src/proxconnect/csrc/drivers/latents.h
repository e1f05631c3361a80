// Passes of a training step over latent weights, activations and outputs: each reads and writes them once. The results
// do not depend on the number of threads.
#pragma once

#include <cstdint>

#include "interface/maps.h"

namespace proxconnect {

// mean[r] = mean of |values[r, columns]|, settled as settle_means does. Sums of every sixty-fourth element are added in
// a fixed order.
void mean_magnitudes(const float* values, std::int64_t rows, std::int64_t columns, float* mean, std::int64_t threads);

// Sets mean[r] = |values[r, 0]| where all |values[r, columns]| are equal: rounding must not move a mean away from them.
void settle_means(const float* values, std::int64_t rows, std::int64_t columns, float* mean);

// out = alpha F(w / s), and codes = F(w / s) unless they are null.
void quantize(const Latents& w, const ElementwiseMap& map, float* out, float* codes, std::int64_t threads);

// Writes the means of |w| to alpha and quantizes with them, as quantize does. s has one number for each row.
void quantize_by_means(const Latents& w, const ElementwiseMap& map, float* alpha, float* out, float* codes,
                       std::int64_t threads);

// out = B(w / s) g (alpha / s), with B the map's slope.
void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, std::int64_t threads);

// out = F(x). Bit i % 16 of inside[i / 16] is set where |mu x[i]| <= 1, and past the last element.
void quantize_and_mark(const float* x, std::int64_t size, const ElementwiseMap& map, float mu, float* out,
                       std::uint16_t* inside, std::int64_t threads);

// out = mu g where the bit is set, 0 elsewhere.
void scale_marked(const std::uint16_t* inside, std::int64_t size, float mu, const float* g, float* out,
                  std::int64_t threads);

// y[r, j] = y[r, j] * scale[j] + bias[j], rounded at each step; a null bias is 0.
void scale_outputs(float* y, std::int64_t rows, std::int64_t columns, const float* scale, const float* bias,
                   std::int64_t threads);

}  // namespace proxconnect
