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
  table,  // a T(mu w) + b, with T the function of the cells; value and slope are the same
};

// A function T of floats as cubics. A cell holds four floats a, b, c, d and stands for the floats whose bits are equal
// but for the lowest `shift`: T is a + b t + c t^2 + d t^3, where t goes from -1/2 to 1/2 as these bits grow. The root cells
// have a shift of table_root_shift, and the other bits are their number. A cell whose a is NaN is split: the bits of b
// are the number of the first of 2^table_split_bits cells, whose shift is less by table_split_bits. If b is 0, T is NaN.
constexpr int table_root_shift = 18;  // sign, exponent and five bits of the mantissa
constexpr int table_split_bits = 6;   // three times: then each float has a cell

struct ElementwiseMap {
  MapKind kind;
  float mu;
  float a;
  float b;
  const float* cells;  // of a table
};

}  // namespace proxconnect
