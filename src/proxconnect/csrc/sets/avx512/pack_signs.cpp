// Packs signs, 64 at a time.

#include <immintrin.h>

#include "sets/common/kernels.h"

namespace proxconnect::avx512 {
namespace {

// Returns a mask of the first `count` lanes, or of all.
__mmask16 lanes(std::int64_t count) { return static_cast<__mmask16>(count < 16 ? (1u << count) - 1 : 0xffffu); }

// Returns sixteen signs, and adds the NaNs among them to `nan`.
unsigned signs(const float* x, __mmask16 there, __mmask16& nan) {
  const __m512 values = _mm512_maskz_loadu_ps(there, x);
  nan |= _mm512_cmp_ps_mask(values, values, _CMP_UNORD_Q);
  return _mm512_mask_cmp_ps_mask(there, values, _mm512_setzero_ps(), _CMP_GE_OQ);
}

void store_bits(std::uint8_t* bits, unsigned word, std::int64_t count) {
  bits[0] = static_cast<std::uint8_t>(word);
  if (count > 8) bits[1] = static_cast<std::uint8_t>(word >> 8);
}

}  // namespace

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits) {
  // Rows that end on a byte follow each other without a seam.
  if (columns % 8 == 0) {
    columns *= rows;
    rows = 1;
  }
  __mmask16 nan = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int64_t column = 0;
    for (; column + 64 <= columns; column += 64, x += 64, bits += 8) {
      std::uint64_t word = 0;
      for (int part = 0; part < 4; ++part) {
        word |= static_cast<std::uint64_t>(signs(x + part * 16, 0xffff, nan)) << part * 16;
      }
      _mm_storel_epi64(reinterpret_cast<__m128i*>(bits), _mm_cvtsi64_si128(static_cast<long long>(word)));
    }
    for (; column < columns; column += 16) {
      const std::int64_t count = columns - column < 16 ? columns - column : 16;
      store_bits(bits, signs(x, lanes(count), nan), count);
      x += count;
      bits += packed_width(count);
    }
  }
  return nan != 0;
}

}  // namespace proxconnect::avx512
