// Packs signs, eight at a time.

#include <arm_neon.h>

#include <cstring>

#include "sets/common/kernels.h"

namespace proxconnect::neon {
namespace {

constexpr std::uint16_t bit_of_lane[8] = {1, 2, 4, 8, 16, 32, 64, 128};

// Returns eight signs, and clears lanes of `numbers` where there is a NaN.
std::uint8_t signs(const float* x, uint32x4_t& numbers) {
  const float32x4_t low = vld1q_f32(x);
  const float32x4_t high = vld1q_f32(x + 4);
  numbers = vandq_u32(numbers, vandq_u32(vceqq_f32(low, low), vceqq_f32(high, high)));
  const uint16x8_t positive = vcombine_u16(vmovn_u32(vcgezq_f32(low)), vmovn_u32(vcgezq_f32(high)));
  return static_cast<std::uint8_t>(vaddvq_u16(vandq_u16(positive, vld1q_u16(bit_of_lane))));
}

}  // namespace

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits) {
  uint32x4_t numbers = vdupq_n_u32(~0u);
  const auto rest = static_cast<std::size_t>(columns % 8);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column + 8 <= columns; column += 8, x += 8) *bits++ = signs(x, numbers);
    if (rest) {
      float last[8] = {-1, -1, -1, -1, -1, -1, -1, -1};
      std::memcpy(last, x, rest * sizeof(float));
      *bits++ = signs(last, numbers);
      x += rest;
    }
  }
  return vminvq_u32(numbers) == 0;
}

}  // namespace proxconnect::neon
