#include <immintrin.h>

#include <cmath>

#include "avx2/kernels.h"

namespace proxconnect::avx2 {
namespace {

// Eight signs; adds the NaNs among them to `nan`.
std::uint8_t signs(const float* x, int& nan) {
  const __m256 values = _mm256_loadu_ps(x);
  nan |= _mm256_movemask_ps(_mm256_cmp_ps(values, values, _CMP_UNORD_Q));
  return static_cast<std::uint8_t>(_mm256_movemask_ps(_mm256_cmp_ps(values, _mm256_setzero_ps(), _CMP_GE_OQ)));
}

}  // namespace

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits) {
  int nan = 0;
  for (std::int64_t row = 0; row < rows; ++row) {
    std::int64_t column = 0;
    for (; column + 8 <= columns; column += 8, x += 8) *bits++ = signs(x, nan);
    if (column < columns) {
      unsigned byte = 0;
      for (std::int64_t i = 0; i < columns - column; ++i, ++x) {
        nan |= std::isnan(*x);
        byte |= static_cast<unsigned>(*x >= 0.0f) << i;
      }
      *bits++ = static_cast<std::uint8_t>(byte);
    }
  }
  return nan != 0;
}

void unpack_weights(const std::uint8_t* bits, const float* scale, std::int64_t rows, std::int64_t columns,
                    float* weights) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  for (std::int64_t row = 0; row < rows; ++row, weights += columns) {
    // A cleared bit is the sign bit of a negated scale.
    const __m256 negative = _mm256_xor_ps(_mm256_set1_ps(scale[row]), _mm256_set1_ps(-0.0f));
    for (std::int64_t column = 0; column < columns; column += 8) {
      const __m256i byte = _mm256_set1_epi32(*bits++);
      const __m256i sign = _mm256_slli_epi32(_mm256_srlv_epi32(byte, lanes), 31);
      const __m256 values = _mm256_xor_ps(negative, _mm256_castsi256_ps(sign));
      if (column + 8 <= columns) {
        _mm256_storeu_ps(weights + column, values);
      } else {
        const __m256i left = _mm256_set1_epi32(static_cast<int>(columns - column));
        _mm256_maskstore_ps(weights + column, _mm256_cmpgt_epi32(left, lanes), values);
      }
    }
  }
}

}  // namespace proxconnect::avx2
