// Signs as bytes times inputs as bytes by vpmaddubsw, whose pairs of products are added up in 16 bits for as long as
// those hold.

#include <immintrin.h>

#include "sets/avx2/w1a8_lut.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_lut_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::avx2 {
namespace {

constexpr int half_bytes = four_bytes / 2;  // weights in a register, those of eight outputs

// Steps whose sums fit 16 bits: 64 * 2 * 255 < 2^15.
constexpr std::int64_t sums_hold = 64;

__m256i load_half(const std::int8_t* weights) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights)); }

__m256i broadcast(const std::uint8_t* inputs) {
  std::int32_t value;
  std::memcpy(&value, inputs, sizeof value);
  return _mm256_set1_epi32(value);
}

template <int rows>
void tile(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, Integers* sums) {
  __m256i sum[rows][2];
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  const auto widen = [&] {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 6
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        auto* out = reinterpret_cast<__m256i*>(sums + r) + half;
        _mm256_store_si256(out, _mm256_add_epi32(_mm256_load_si256(out), _mm256_madd_epi16(sum[r][half], ones)));
        sum[r][half] = _mm256_setzero_si256();
      }
    }
  };
  std::int64_t held = 0;
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t i = 0; i < runs.fours;) {
      if (held == sums_hold) {
        widen();
        held = 0;
      }
      const std::int64_t left = runs.fours - i, room = sums_hold - held;
      const std::int64_t steps = left < room ? left : room;
      i += steps;
      held += steps;
      for (std::int64_t step = 0; step < steps; ++step, from += four, weights += four_bytes) {
        const __m256i low = load_half(weights), high = load_half(weights + half_bytes);
#pragma GCC unroll 6
        for (int r = 0; r < rows; ++r) {
          const __m256i inputs = broadcast(from + r * stride);
          sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(inputs, low));
          sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(inputs, high));
        }
      }
    }
  }
  widen();
}

// In each lane, the number of bits that are set.
__m256i count_bits(__m256i word) {
  const __m256i of_nibble = _mm256_broadcastsi128_si256(
      _mm_set_epi8(4, 3, 3, 2, 3, 2, 2, 1, 3, 2, 2, 1, 2, 1, 1, 0));
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  const __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(word, nibble));
  const __m256i high = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(word, 4), nibble));
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

Integers spread(const std::uint32_t* words, std::int64_t fours, std::int64_t between, std::int8_t* weights) {
  const __m256i low = _mm256_set1_epi32(0x08040201), high = _mm256_slli_epi32(low, 4);
  const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
  __m256i set[2] = {zero, zero};
  for (std::int64_t i = 0; i < fours; i += fours_of_word, words += panel_width) {
    const std::int64_t left = fours - i;
    for (int half = 0; half < 2; ++half) {
      const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words) + half);
      set[half] = _mm256_add_epi32(set[half], count_bits(word));
      auto* to = weights + i * between + half * half_bytes;
      const auto put = [&](__m256i mask, __m256i bits) {
        const __m256i clear = _mm256_cmpeq_epi8(_mm256_and_si256(bits, mask), zero);
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_or_si256(clear, one));
        to += between;
      };
      // In each lane, one of its bytes four times.
      __m256i one_byte = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
#pragma GCC unroll 4
      for (std::int64_t four_of_word = 0; four_of_word < fours_of_word; four_of_word += 2) {
        const __m256i bits = _mm256_shuffle_epi8(word, one_byte);
        one_byte = _mm256_add_epi8(one_byte, one);
        if (four_of_word < left) put(low, bits);
        if (four_of_word + 1 < left) put(high, bits);
      }
    }
  }
  Integers total;
  std::memcpy(&total, set, sizeof total);
  return 2 * total - static_cast<std::int32_t>(fours * four);
}

constexpr W1A8Tiles<6, 1> tiles{spread, {{tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  // To look up takes fewer operations than to multiply bytes.
  if (product.b.k <= most_looked_up) return w1a8_look_up(product, rows, panels);
  return w1a8_loop(tiles, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) { convolve_lines(tiles, image, lines, panels); }

}  // namespace proxconnect::avx2
