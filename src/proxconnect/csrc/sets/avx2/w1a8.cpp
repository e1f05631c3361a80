// The W1A8 micro-kernel of AVX2 multiplies signs as bytes by inputs as bytes (vpmaddubsw) and adds the pairs of
// products up in 16 bits for as long as they fit.

#include <immintrin.h>

#include "sets/avx2/w1a8_lut.h"
#include "sets/common/accumulate.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_lut_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::avx2 {
namespace {

constexpr int half_bytes = step_bytes / 2;  // weights in a register, those of eight outputs

constexpr std::int64_t steps_that_fit = 64;  // 16 bits: 64 * 2 * 255 < 2^15

__m256i load_half(const std::int8_t* weights) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights)); }

__m256i broadcast(const std::uint8_t* inputs) {
  std::int32_t value;
  std::memcpy(&value, inputs, sizeof value);
  return _mm256_set1_epi32(value);
}

template <int rows>
void micro_kernel(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights,
                  bool add, Integers* sums) {
  if (!add) own::fill_n(sums, rows, Integers{});
  __m256i sum[rows][2];
#pragma GCC unroll 6
  for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  const auto widen = [&]() __attribute__((always_inline)) {
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
  const auto multiply = [&](std::int64_t run, std::int64_t first, std::int64_t count) __attribute__((always_inline)) {
    const std::uint8_t* from = q + runs.offsets[run] + first * k_step;
    for (std::int64_t step = 0; step < count; ++step, from += k_step, weights += step_bytes) {
      const __m256i low = load_half(weights), high = load_half(weights + half_bytes);
#pragma GCC unroll 6
      for (int r = 0; r < rows; ++r) {
        const __m256i inputs = broadcast(from + r * stride);
        sum[r][0] = _mm256_add_epi16(sum[r][0], _mm256_maddubs_epi16(inputs, low));
        sum[r][1] = _mm256_add_epi16(sum[r][1], _mm256_maddubs_epi16(inputs, high));
      }
    }
  };
  accumulate<steps_that_fit>(runs.count, runs.k_steps, multiply, widen);
}

// Returns, in each lane, the number of bits that are set.
__m256i count_bits(__m256i word) {
  const __m256i of_nibble = _mm256_broadcastsi128_si256(
      _mm_set_epi8(4, 3, 3, 2, 3, 2, 2, 1, 3, 2, 2, 1, 2, 1, 1, 0));
  const __m256i nibble = _mm256_set1_epi8(0x0f);
  const __m256i low = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(word, nibble));
  const __m256i high = _mm256_shuffle_epi8(of_nibble, _mm256_and_si256(_mm256_srli_epi16(word, 4), nibble));
  const __m256i pairs = _mm256_maddubs_epi16(_mm256_add_epi8(low, high), _mm256_set1_epi8(1));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

Integers unpack_signs(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between, std::int8_t* weights) {
  const __m256i low = _mm256_set1_epi32(0x08040201), high = _mm256_slli_epi32(low, 4);
  const __m256i zero = _mm256_setzero_si256(), one = _mm256_set1_epi8(1);
  __m256i set[2] = {zero, zero};
  for (std::int64_t i = 0; i < k_steps; i += steps_of_word, words += panel_width) {
    const std::int64_t left = k_steps - i;
    for (int half = 0; half < 2; ++half) {
      const __m256i word = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words) + half);
      set[half] = _mm256_add_epi32(set[half], count_bits(word));
      auto* to = weights + i * between + half * half_bytes;
      const auto put = [&](__m256i mask, __m256i bits) {
        const __m256i clear = _mm256_cmpeq_epi8(_mm256_and_si256(bits, mask), zero);
        _mm256_store_si256(reinterpret_cast<__m256i*>(to), _mm256_or_si256(clear, one));
        to += between;
      };
      // Each lane holds one of its bytes four times.
      __m256i one_byte = _mm256_broadcastsi128_si256(_mm_set_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0));
#pragma GCC unroll 4
      for (std::int64_t step_of_word = 0; step_of_word < steps_of_word; step_of_word += 2) {
        const __m256i bits = _mm256_shuffle_epi8(word, one_byte);
        one_byte = _mm256_add_epi8(one_byte, one);
        if (step_of_word < left) put(low, bits);
        if (step_of_word + 1 < left) put(high, bits);
      }
    }
  }
  Integers total;
  std::memcpy(&total, set, sizeof total);
  return 2 * total - static_cast<std::int32_t>(k_steps * k_step);
}

constexpr W1A8MicroKernels<6, 1> micro_kernels{
    unpack_signs,
    {{micro_kernel<1>, micro_kernel<2>, micro_kernel<3>, micro_kernel<4>, micro_kernel<5>, micro_kernel<6>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  // Looking up takes fewer operations than multiplying bytes, but with two planes that many rows repay the unpacking.
  constexpr std::int64_t max_lut_rows_of_planes = 32;
  const bool look_up = product.b.planes == 1 || rows.end - rows.begin <= max_lut_rows_of_planes;
  if (product.b.k <= max_lut_inputs && look_up) return w1a8_lut(product, rows, panels);
  return w1a8_macro_kernel(micro_kernels, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
}

}  // namespace proxconnect::avx2
