#include <arm_neon.h>

#include <cstring>

#include "neon/kernels.h"

namespace proxconnect::neon {
namespace {

constexpr std::uint16_t bit_of_lane[8] = {1, 2, 4, 8, 16, 32, 64, 128};

// Eight signs; clears lanes of `numbers` where there is a NaN.
std::uint8_t signs(const float* x, uint32x4_t& numbers) {
  const float32x4_t low = vld1q_f32(x);
  const float32x4_t high = vld1q_f32(x + 4);
  numbers = vandq_u32(numbers, vandq_u32(vceqq_f32(low, low), vceqq_f32(high, high)));
  const uint16x8_t positive = vcombine_u16(vmovn_u32(vcgezq_f32(low)), vmovn_u32(vcgezq_f32(high)));
  return static_cast<std::uint8_t>(vaddvq_u16(vandq_u16(positive, vld1q_u16(bit_of_lane))));
}

// The scale where the byte has lane's bit, -scale elsewhere, for eight lanes.
void weights_of(std::uint8_t byte, float scale, float* weights) {
  const uint16x8_t set = vtstq_u16(vdupq_n_u16(byte), vld1q_u16(bit_of_lane));
  const float32x4_t plus = vdupq_n_f32(scale);
  const float32x4_t minus = vdupq_n_f32(-scale);
  const auto choose = [&](uint16x4_t lanes) {
    return vbslq_f32(vreinterpretq_u32_s32(vmovl_s16(vreinterpret_s16_u16(lanes))), plus, minus);
  };
  vst1q_f32(weights, choose(vget_low_u16(set)));
  vst1q_f32(weights + 4, choose(vget_high_u16(set)));
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

void unpack_weights(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                    float* weights) {
  const auto rest = static_cast<std::size_t>(columns % 8);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column + 8 <= columns; column += 8, weights += 8) {
      weights_of(*bits++, scale[row], weights);
    }
    if (rest) {
      float last[8];
      weights_of(*bits++, scale[row], last);
      std::memcpy(weights, last, rest * sizeof(float));
      weights += rest;
    }
  }
}

}  // namespace proxconnect::neon
