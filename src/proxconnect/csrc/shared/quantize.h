// Rows of float32 quantized to 8 bits, in the order in which W1A8 tiles read them.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>

#include "shared/lanes.h"

namespace proxconnect {
namespace {

// The greatest |x|; NaN if there is one, infinity before any number. Magnitudes order as their bits do.
inline float greatest_magnitude(const float* x, std::int64_t count) {
  Integers greatest[4] = {};
  const auto take = [](Integers& most, const float* from, int width) {
    const Integers magnitude = load<Integers>(from, width) & 0x7fffffff;
    most = magnitude > most ? magnitude : most;
  };
  std::int64_t i = 0;
  for (; i + 4 * panel_width <= count; i += 4 * panel_width) {
    for (int part = 0; part < 4; ++part) take(greatest[part], x + i + part * panel_width, panel_width);
  }
  for (; i < count; i += panel_width) {
    take(greatest[0], x + i, static_cast<int>(count - i < panel_width ? count - i : panel_width));
  }
  std::int32_t most = 0;
  for (const Integers& part : greatest) {
    for (int lane = 0; lane < panel_width; ++lane) most = part[lane] > most ? part[lane] : most;
  }
  return std::bit_cast<float>(most);
}

inline std::uint32_t rounded_byte(float value) {
  // Adding 1.5 * 2^23 leaves the nearest integer, ties to even, in the low bits.
  return std::bit_cast<std::uint32_t>(value + 12582912.0f) & 0xffu;
}

// The 32 inputs of a word: byte i of integer b is input 8 i + b, where bit b of the word's byte i is its weight.
inline void quantize_word(const float* x, float inverse, std::uint32_t* q) {
  for (int b = 0; b < 8; ++b) {
    q[b] = rounded_byte(x[b] * inverse) | rounded_byte(x[8 + b] * inverse) << 8 |
           rounded_byte(x[16 + b] * inverse) << 16 | rounded_byte(x[24 + b] * inverse) << 24;
  }
}

// q[words_of(k) * 8], inputs past the end being zero. Returns the step, or NaN where x is not finite.
inline float quantize_row(const float* x, std::int64_t k, std::uint32_t* q) {
  const float greatest = greatest_magnitude(x, k);
  if (!(greatest <= std::numeric_limits<float>::max())) return std::numeric_limits<float>::quiet_NaN();
  const float step = greatest / 127.0f;
  const bool zero = step < std::numeric_limits<float>::min();
  const float inverse = zero ? 0.0f : 1.0f / step;
  std::int64_t i = 0;
  for (; i + word_bits <= k; i += word_bits, q += 8) quantize_word(x + i, inverse, q);
  if (i < k) {
    float rest[word_bits] = {};
    std::memcpy(rest, x + i, static_cast<std::size_t>(k - i) * sizeof(float));
    quantize_word(rest, inverse, q);
  }
  return zero ? 0.0f : step;
}

inline std::int32_t sum_of_bytes(const std::uint32_t* q, std::int64_t count) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    for (int shift = 0; shift < 32; shift += 8) sum += static_cast<std::int8_t>(q[i] >> shift);
  }
  return sum;
}

}  // namespace
}  // namespace proxconnect
