#include "shared/latents.h"

#include "portable/kernels.h"

namespace proxconnect::portable {

void mean_magnitudes(const float* values, std::int64_t columns, float* mean, Range rows) {
  mean_magnitudes_of(values, columns, mean, rows);
}

void quantize(const Latents& w, const ElementwiseMap& map, float* out, Range elements) {
  with_map(map, [&](const auto& chosen) { quantize_by(chosen, w, out, elements); });
}

void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, Range elements) {
  with_map(map, [&](const auto& chosen) { scale_gradient_by(chosen, w, g, out, elements); });
}

void quantize_and_mark(const float* x, const ElementwiseMap& map, float mu, float* out, std::uint16_t* inside,
                       Range elements) {
  with_map(map, [&](const auto& chosen) { quantize_and_mark_by(chosen, x, mu, out, inside, elements); });
}

void scale_marked(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements) {
  scale_marked_of(inside, mu, g, out, elements);
}

void scale_outputs(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows) {
  scale_outputs_of(y, columns, scale, bias, rows);
}

}  // namespace proxconnect::portable
