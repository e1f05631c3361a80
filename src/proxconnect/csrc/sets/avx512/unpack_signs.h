// Signs of a panel unpacked to bytes, for avx512 and amx.
#pragma once

#include <immintrin.h>

#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

// An UnpackSigns (sets/common/w1a8_micro_kernel.h).
inline Integers unpack_signs(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between, std::int8_t* weights) {
  const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
  const __m512i masks[2] = {_mm512_set1_epi32(0x08040201), _mm512_set1_epi32(static_cast<int>(0x80402010))};
  __m512i set = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < k_steps; i += steps_of_word, words += panel_width) {
    const __m512i word = _mm512_loadu_si512(words);
    set = _mm512_add_epi32(set, _mm512_popcnt_epi32(word));
    // Each lane holds one of its bytes four times.
    __m512i one_byte = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const int here = static_cast<int>(k_steps - i < steps_of_word ? k_steps - i : steps_of_word);
#pragma GCC unroll 8
    for (int f = 0; f < here; ++f, weights += between) {
      const __m512i bits = _mm512_shuffle_epi8(word, one_byte);
      if (f % 2 == 1) one_byte = _mm512_add_epi8(one_byte, plus);
      _mm512_store_si512(weights, _mm512_mask_blend_epi8(_mm512_test_epi8_mask(bits, masks[f % 2]), minus, plus));
    }
  }
  return 2 * own::bit_cast<Integers>(set) - static_cast<std::int32_t>(k_steps * k_step);
}

}  // namespace
}  // namespace proxconnect
