// The elementwise maps of training, and the latent weights and activations that they are applied to.
#pragma once

#include <cstdint>

namespace proxconnect {

// Latent weights, or activations, with the scales of their rows.
struct Latents {
  const float* values;  // [rows, columns]
  std::int64_t rows;
  std::int64_t columns;
  const float* s;      // w is values / s; null for 1
  const float* alpha;  // multiplies what becomes of w; null for 1
  std::int64_t step;   // 1: a scale for each row, 0: one for all

  [[gnu::always_inline]] float s_of(std::int64_t row) const { return s ? s[row * step] : 1.0f; }
  [[gnu::always_inline]] float alpha_of(std::int64_t row) const { return alpha ? alpha[row * step] : 1.0f; }
};

// The elementwise maps of training; proxconnect/quantizers states each. Values and slopes stay within a few units in
// the last place of the torch forms; those made of comparisons, sums and products alone are equal to them.
enum class MapKind : std::int32_t {
  identity,
  sign,
  ramp,  // clip(max(mu, a) w, -1, 1)
  binary_relax,
  polynomial,
  tanh,
  sign_swish,
  monotone_sign_swish,
  reste,  // a = m, b = t
};

struct ElementwiseMap {
  MapKind kind;
  float mu;
  float a;
  float b;
};

}  // namespace proxconnect
