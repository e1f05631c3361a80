// Quantization of float32 to bytes, in the order in which it lies in memory.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "sets/common/lanes.h"

namespace proxconnect {
namespace {

// Returns the greatest |x|; NaN if there is one, infinity before any number. Magnitudes order as their bits do.
inline float greatest_magnitude(const float* x, std::int64_t count) {
  Register most[4] = {};
  std::int64_t i = 0;
  for (; i + 4 * register_lanes <= count; i += 4 * register_lanes) {
    for (int part = 0; part < 4; ++part) {
      Register bits;
      std::memcpy(&bits, x + i + part * register_lanes, sizeof bits);
      bits &= 0x7fffffff;
      most[part] = bits > most[part] ? bits : most[part];
    }
  }
  for (int part = 1; part < 4; ++part) most[0] = most[part] > most[0] ? most[part] : most[0];
  std::int32_t greatest = 0;
  const auto take = [&](std::int32_t bits) { greatest = bits > greatest ? bits : greatest; };
  for (int lane = 0; lane < register_lanes; ++lane) take(most[0][lane]);
  for (; i < count; ++i) take(own::bit_cast<std::int32_t>(x[i]) & 0x7fffffff);
  return own::bit_cast<float>(greatest);
}

constexpr float greatest_float = std::numeric_limits<float>::max();
constexpr float smallest_normal = std::numeric_limits<float>::min();

// The number that inputs are divided by, and its inverse, which they are multiplied by instead. Both are zero where
// inputs are too small to be quantized.
struct QuantizationStep {
  float step;
  float inverse;
  bool finite;

  QuantizationStep(float greatest_input, std::int32_t greatest)
      : step(greatest_input / static_cast<float>(greatest)),
        inverse(0.0f),
        finite(greatest_input <= greatest_float) {
    if (step < smallest_normal) {
      step = 0.0f;
    } else {
      inverse = 1.0f / step;
    }
  }
};

constexpr int quantized_lanes = 16;
using Bytes = std::uint8_t __attribute__((vector_size(quantized_lanes)));

// Returns x / step, with `zero` standing for 0. Adding 1.5 * 2^23 leaves the nearest integer, ties to even, in the low
// bits.
inline Bytes quantized(const float* x, const QuantizationStep& step, int zero) {
  const float shift = 12582912.0f + static_cast<float>(zero);
#if defined(__AVX512F__)
  const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x), _mm512_set1_ps(step.inverse));
  const __m512i bits = _mm512_castps_si512(_mm512_add_ps(scaled, _mm512_set1_ps(shift)));
  return own::bit_cast<Bytes>(_mm512_cvtepi32_epi8(bits));
#elif defined(__AVX2__)
  const auto low_bytes = [&](const float* from) {
    const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(from), _mm256_set1_ps(step.inverse));
    const __m256i bits = _mm256_castps_si256(_mm256_add_ps(scaled, _mm256_set1_ps(shift)));
    return _mm256_and_si256(bits, _mm256_set1_epi32(0xff));
  };
  const __m256i pairs = _mm256_permute4x64_epi64(_mm256_packus_epi32(low_bytes(x), low_bytes(x + 8)), 0xd8);
  return own::bit_cast<Bytes>(_mm_packus_epi16(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1)));
#else
  Bytes bytes;
  for (int i = 0; i < quantized_lanes; ++i) {
    bytes[i] = static_cast<std::uint8_t>(own::bit_cast<std::uint32_t>(x[i] * step.inverse + shift));
  }
  return bytes;
#endif
}

// Quantizes the first `width` of x, and zeros after them.
inline Bytes quantized(const float* x, int width, const QuantizationStep& step, int zero) {
  if (width == quantized_lanes) return quantized(x, step, zero);
  float filled_up[quantized_lanes] = {};
  std::memcpy(filled_up, x, static_cast<std::size_t>(width) * sizeof(float));
  return quantized(filled_up, step, zero);
}

// Writes the bytes of `count` inputs, then zeros up to `filled`.
inline void quantize(const float* x, std::int64_t count, const QuantizationStep& step, int zero, std::int64_t filled,
                     std::uint8_t* q) {
  std::int64_t i = 0;
  for (; i + quantized_lanes <= count; i += quantized_lanes) {
    const Bytes bytes = quantized(x + i, step, zero);
    std::memcpy(q + i, &bytes, sizeof bytes);
  }
  if (i < count) {
    const Bytes bytes = quantized(x + i, static_cast<int>(count - i), step, zero);
    std::memcpy(q + i, &bytes, static_cast<std::size_t>(count - i));
  }
  std::memset(q + count, zero, static_cast<std::size_t>(filled - count));
}

}  // namespace
}  // namespace proxconnect
