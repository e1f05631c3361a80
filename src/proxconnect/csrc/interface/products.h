// The layout of signs and floats in memory, and the products of matrices that the kernels compute.
//
// The bit order is that of docs/format.md: element i of a row is bit (i % 8) of byte i / 8, least significant
// bit first; +1 is 1, -1 is 0. Every row starts on a new byte, and the bits left over in its last byte are zero.
//
// Every set gives the same bits: sums of integers are exact, and the order of every float operation is stated.
//
// Sets and their callers share the functions of this header. They are always inlined, without optimization too:
// otherwise the linker would keep one copy for all, with the instructions of whichever set it came from.
#pragma once

#include <bit>
#include <cstdint>

namespace proxconnect {

static_assert(std::endian::native == std::endian::little, "words of signs are read from bytes, the lowest first");

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

[[gnu::always_inline]] constexpr std::int64_t packed_width(std::int64_t columns) { return (columns + 7) / 8; }
[[gnu::always_inline]] inline bool bit_at(const std::uint8_t* row, std::int64_t i) {
  return row[i / 8] >> (i % 8) & 1;
}

// Weights are packed into panels once, in one layout for all sets. A panel is 16 outputs, whose 32-bit words of signs
// alternate: word w of output j is panel j / 16, element [w][j % 16], and bit i of it is input 32 w + i. Words are
// filled up with zero bits, the last panel with zero words.
constexpr std::int64_t panel_width = 16;
constexpr std::int64_t word_bits = 32;
[[gnu::always_inline]] constexpr std::int64_t words_of(std::int64_t k) { return (k + word_bits - 1) / word_bits; }
[[gnu::always_inline]] constexpr std::int64_t panels_of(std::int64_t n) { return (n + panel_width - 1) / panel_width; }

// Weights of -1, 0 and 1 are half the sum of two signs, which differ where the weight is 0: such a weight has two planes
// of signs, and a panel of the second plane follows each panel of the first.
struct Panels {
  const std::uint32_t* words;
  std::int64_t n;  // outputs
  std::int64_t k;  // inputs
  std::int64_t planes = 1;

  // The words of a panel of one plane, and the first plane of a panel.
  [[gnu::always_inline]] std::int64_t panel_words() const { return words_of(k) * panel_width; }
  [[gnu::always_inline]] const std::uint32_t* panel(std::int64_t index) const {
    return words + index * planes * panel_words();
  }
};

// The activations of a product, m rows of k: signs (stride in bytes), or float32 (stride in elements).
struct SignRows {
  const std::uint8_t* bits;
  std::int64_t stride;
  std::int64_t m;
};

struct FloatRows {
  const float* values;
  std::int64_t stride;
  std::int64_t m;
};

// Weights as docs/format.md stores them. Elements of a row share a scale by groups of `group`.
struct PackedRows {
  const std::uint8_t* signs;
  const std::uint8_t* nonzero;  // bits that are cleared where the weight is 0; null for none
  const float* scale;           // [rows, groups]
  std::int64_t columns;
  std::int64_t group;

  [[gnu::always_inline]] std::int64_t groups() const { return (columns + group - 1) / group; }
};

// The outputs of a product say what becomes of the sum s of row i and output j. Every output is dense.

struct SumsOutput {
  std::int32_t* out;  // [m, n] = s
};

struct AffineOutput {
  float* out;             // [m, n] = prelu(float(s) * scale[j] + bias[j] + residual[i, j]), rounded at each step
  const float* scale;     // [n]
  const float* bias;      // [n]
  const float* residual;  // [m, n], or null for none
  const float* slope;     // [n], or null for none: y < 0 becomes slope[j] * y, and 0 where the slope is 0 (ReLU)
};

// The scales of groups of inputs, as half-precision or single-precision floats. Those of a panel lie together:
// [panels, groups, 16]. With one group, that of all inputs, nothing has to follow the scale of the last output.
struct GroupScales {
  const void* values;
  bool half;
};

struct GroupsOutput {
  float* out;             // [m, n] = prelu(y + bias[j] + residual[i, j]), rounded at each step, of a scaled sum y
  GroupScales scale;
  const float* bias;      // [n]
  const float* residual;  // [m, n], or null for none
  const float* slope;     // [n], or null for none, as above
};

struct SignsOutput {
  std::uint8_t* out;              // [m, packed_width(n)], bit j = (s >= threshold[j]) != flip[j]
  const std::int32_t* threshold;  // [n]
  const std::uint8_t* flip;       // packed_width(n)
};

// Signs times signs: s = sum over k of a[i, k] * b[j, k]. With `wrap` s is then kept in 8 bits:
// ((s + 128) mod 256) - 128. The padding bits of a must be zero.
template <typename Output>
struct W1A1 {
  SignRows a;
  Panels b;
  bool wrap;
  Output output;
};

// Inputs share a scale by groups of `group`, a multiple of 32; the last group may be shorter.
[[gnu::always_inline]] constexpr std::int64_t groups_of(std::int64_t k, std::int64_t group) {
  return k > group ? (k + group - 1) / group : 1;
}

constexpr std::int64_t w1a8_most_inputs = std::int64_t{1} << 24;

// Signs times float32 rows quantized to integers of at most `greatest`, 2^(bits - 1) - 1 for 2 to 8 bits:
// step = max|x[i]| / greatest and q = x / step, rounded to even, by way of 1 / step; a row whose step is below the
// smallest normal number counts as zero. With a scale for each group of inputs:
// out[i, j] = prelu((sum over g of float(s_g) * scale[g, j]) * step[i] + bias[j] + residual[i, j]).
// There are at most w1a8_most_inputs inputs, so that 127 k fits 32 bits.
struct W1A8 {
  FloatRows x;
  Panels b;
  std::int64_t group;
  GroupsOutput output;
  std::int32_t greatest = 127;
};

// Signs times float32. Inputs are taken five at a time, one look-up table each, as ((+-x0 +- x1) +- x2) + (+-x3 +- x4)
// with zeros past the end. 32 tables make a K-block, whose sum begins with zero; the sums of K-blocks are added to
// zero, in their order. Adding K-blocks keeps the rounding error below that of a plain float32 product. Inputs share a
// scale by groups as those of a W1A8 do, and tables and K-blocks begin anew with each group:
// out[i, j] = prelu((sum over g of s_g * scale[g, j]) + bias[j] + residual[i, j]).
struct W1A32 {
  FloatRows x;
  Panels b;
  std::int64_t group;
  GroupsOutput output;
};

}  // namespace proxconnect
