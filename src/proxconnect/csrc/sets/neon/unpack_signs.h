// Signs of a panel unpacked to bytes, for neon and neon_dot.
#pragma once

#include <arm_neon.h>

#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

constexpr int quarter_width = 4;               // outputs in a register
constexpr int quarters = 4;                    // of a panel
constexpr int quarter_bytes = step_bytes / quarters;

// An UnpackSigns (sets/common/w1a8_micro_kernel.h).
inline Integers unpack_signs(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between,
                             std::int8_t* weights) {
  const uint8x16_t low = vreinterpretq_u8_u32(vdupq_n_u32(0x08040201)), one = vdupq_n_u8(1);
  const std::uint32_t of_first_bytes[quarter_width] = {0x00000000, 0x04040404, 0x08080808, 0x0c0c0c0c};
  uint32x4_t set[quarters] = {vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0), vdupq_n_u32(0)};
  for (std::int64_t i = 0; i < k_steps; i += steps_of_word, words += panel_width) {
    const std::int64_t left = k_steps - i;
    for (int part = 0; part < quarters; ++part) {
      const uint8x16_t word = vreinterpretq_u8_u32(vld1q_u32(words + part * quarter_width));
      set[part] = vpadalq_u16(set[part], vpaddlq_u8(vcntq_u8(word)));
      std::int8_t* to = weights + i * between + part * quarter_bytes;
      const auto put = [&](uint8x16_t bits, uint8x16_t mask) {
        vst1q_s8(to, vreinterpretq_s8_u8(vorrq_u8(vceqzq_u8(vandq_u8(bits, mask)), one)));
        to += between;
      };
      // Each lane holds one of its bytes four times.
      uint8x16_t one_byte = vreinterpretq_u8_u32(vld1q_u32(of_first_bytes));
      for (std::int64_t step_of_word = 0; step_of_word < steps_of_word; step_of_word += 2) {
        const uint8x16_t bits = vqtbl1q_u8(word, one_byte);
        one_byte = vaddq_u8(one_byte, one);
        if (step_of_word < left) put(bits, low);
        if (step_of_word + 1 < left) put(bits, vshlq_n_u8(low, 4));
      }
    }
  }
  Integers total;
  std::memcpy(&total, set, sizeof total);
  return 2 * total - static_cast<std::int32_t>(k_steps * k_step);
}

inline int8x16_t inputs_at(const std::uint8_t* q) {
  std::uint32_t value;
  std::memcpy(&value, q, sizeof value);
  return vreinterpretq_s8_u32(vdupq_n_u32(value));
}

}  // namespace
}  // namespace proxconnect
