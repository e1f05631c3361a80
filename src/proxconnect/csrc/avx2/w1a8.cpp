// Bit planes as in avx512/w1a8.cpp. Without vpdpbusd, products go to 16 bits first; by halves of a byte, weights
// are at most 8 and the sums of some words fit there.

#include <immintrin.h>

#include "avx2/kernels.h"
#include "shared/w1a8_loop.h"

namespace proxconnect::avx2 {
namespace {

constexpr int most_rows = 4;
constexpr int half_width = 8;  // outputs in a register

// Of a plane of weight 8, pairs of products of 16 words add up to 16 * 2 * 8 * 127 < 2^15; halved, they leave
// room for the plane of weight 4, and so on.
constexpr std::int64_t chunk = 16;

template <bool high>
__m256i half_bytes(const std::uint32_t* words) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  return high ? _mm256_srli_epi16(bytes, 4) : bytes;
}

// Adds one half of every weight byte, times its inputs, to the sums of half a panel.
template <int rows, bool high>
void add_half(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t words,
              Integers* sums) {
  __m256i sum[rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  for (int plane = 3; plane >= 0; --plane) {
    const __m256i mask = _mm256_set1_epi8(static_cast<char>(1 << plane));
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      sum[r][0] = _mm256_srai_epi16(sum[r][0], 1);
      sum[r][1] = _mm256_srai_epi16(sum[r][1], 1);
    }
    const std::uint32_t* inputs_of_plane = q + plane + (high ? 4 : 0);
    for (std::int64_t word = 0; word < words; ++word) {
      const __m256i left = _mm256_and_si256(mask, half_bytes<high>(panel + word * panel_width));
      const __m256i right = _mm256_and_si256(mask, half_bytes<high>(panel + word * panel_width + half_width));
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m256i inputs = _mm256_set1_epi32(static_cast<int>(inputs_of_plane[r * q_stride + word * 8]));
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(left, inputs));
        sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(right, inputs));
      }
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    for (int half = 0; half < 2; ++half) {
      auto* out = reinterpret_cast<__m256i*>(sums + r) + half;
      const __m256i pairs = _mm256_madd_epi16(sum[r][half], _mm256_set1_epi16(1));
      _mm256_storeu_si256(out, _mm256_add_epi32(_mm256_loadu_si256(out), pairs));
    }
  }
}

template <int rows>
void tile(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t,
          std::int64_t words, Integers* sums) {
  for (int r = 0; r < rows; ++r) sums[r] = Integers{};
  for (std::int64_t first = 0; first < words; first += chunk) {
    const std::int64_t count = words - first < chunk ? words - first : chunk;
    add_half<rows, false>(q + first * 8, q_stride, panel + first * panel_width, count, sums);
    add_half<rows, true>(q + first * 8, q_stride, panel + first * panel_width, count, sums);
  }
}

template <int rows>
constexpr W1A8Tiles with{1, tile<rows>, tile<rows>};

constexpr W1A8Tiles tiles[most_rows] = {with<1>, with<2>, with<3>, with<4>};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

}  // namespace proxconnect::avx2
