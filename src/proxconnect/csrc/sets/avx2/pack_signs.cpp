// Packs signs, eight at a time.

#include <immintrin.h>

#include "sets/common/kernels.h"

namespace proxconnect::avx2 {
namespace {

// Returns eight signs, and adds the NaNs among them to `nan`.
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
        nan |= *x != *x;
        byte |= static_cast<unsigned>(*x >= 0.0f) << i;
      }
      *bits++ = static_cast<std::uint8_t>(byte);
    }
  }
  return nan != 0;
}

}  // namespace proxconnect::avx2
