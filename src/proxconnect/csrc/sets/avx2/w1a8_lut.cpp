// The W1A8 look-up tables of AVX2: two signs are an index into a table of what two inputs then add up to, which fits a
// byte. The four bytes of a word share a register of 16 entries, so that one vpshufb and one vpmaddubsw do 64 products.

#include "sets/avx2/w1a8_lut.h"

#include <immintrin.h>

#include "sets/common/accumulate.h"
#include "sets/common/w1a8_lut_macro_kernel.h"

namespace proxconnect::avx2 {
namespace {

constexpr int tables_of_word = 4;  // table t is of bits 2 t and 2 t + 1 of each of its bytes
constexpr int table_bytes = 16;
constexpr std::int64_t word_bytes = tables_of_word * table_bytes;

// An index is two signs and the number of their byte, in the order in which they lie in their half of a byte: even
// tables have the signs below, odd ones above.
__m256i sign_bits(int table) { return _mm256_set1_epi8(table % 2 ? 0x0c : 0x03); }
__m256i byte_bits(int table) { return _mm256_set1_epi32(table % 2 ? 0x03020100 : 0x0c080400); }

constexpr std::int64_t words_that_fit = 16;  // 16 bits: 16 * 4 * 2 * 254 < 2^15

// Adds 16-bit integers. From the intrinsic, gcc 12 adds those of all tables to each other first, and keeps them in
// memory.
void add(__m256i& sum, __m256i more) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(more)); }

// Computes sums[g][r] = starts[g][r] + 2 E with tables [words][rows].
template <int rows>
void micro_kernel(const std::uint8_t* tables, const std::uint32_t* panel, std::int64_t, std::int64_t words,
                  std::int64_t group_words, const std::int32_t* starts, Integers* sums) {
  const __m256i one_byte = _mm256_set1_epi8(1), two = _mm256_set1_epi16(2);
  __m256i total[rows][2];
  __m256i sum[rows][2];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_si256();
  const auto widen = [&]() __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        total[r][half] = _mm256_add_epi32(total[r][half], _mm256_madd_epi16(sum[r][half], two));
        sum[r][half] = _mm256_setzero_si256();
      }
    }
  };
  const auto add_words = [&](std::int64_t, std::int64_t, std::int64_t count) __attribute__((always_inline)) {
    for (std::int64_t word = 0; word < count; ++word, panel += panel_width, tables += rows * word_bytes) {
      prefetch_signs(panel);
      __m256i signs[2];
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        signs[half] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(panel) + half);
      }
#pragma GCC unroll 4
      for (int t = 0; t < tables_of_word; ++t) {
        __m256i index[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
          if (t == 2) signs[half] = _mm256_srli_epi32(signs[half], 4);
          index[half] = _mm256_or_si256(_mm256_and_si256(signs[half], sign_bits(t)), byte_bits(t));
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const __m256i table = _mm256_broadcastsi128_si256(
              _mm_load_si128(reinterpret_cast<const __m128i*>(tables + r * word_bytes) + t));
#pragma GCC unroll 2
          for (int half = 0; half < 2; ++half) {
            add(sum[r][half], _mm256_maddubs_epi16(_mm256_shuffle_epi8(table, index[half]), one_byte));
          }
        }
      }
    }
  };
  do {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) total[r][0] = total[r][1] = _mm256_set1_epi32(starts[r]);
    const std::int64_t here = own::min(words, group_words);
    accumulate<words_that_fit>(1, here, add_words, widen);
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        _mm256_store_si256(reinterpret_cast<__m256i*>(sums + r) + half, total[r][half]);
      }
    }
    starts += rows;
    sums += rows;
    words -= here;
  } while (words > 0);
}

// Makes the tables of the inputs of words, 8 inputs to each byte of a word.
class Tables {
 public:
  static constexpr std::int64_t of_word = word_bytes;
  static constexpr LutMicroKernel micro_kernels[1][4] = {
      {micro_kernel<1>, micro_kernel<2>, micro_kernel<3>, micro_kernel<4>}};

  Tables() {
    for (int l = 0; l < 32; ++l) {
      const int odd = l / 16, entry = l % 16;
      const int byte = odd ? entry % 4 : entry / 4, signs = odd ? entry / 4 : entry % 4;
      for (int i = 0; i < 2; ++i) {
        const int input = byte * 8 + odd * 2 + i;
        for (int half = 0; half < 2; ++half) inputs_[half][i][l] = input / 16 == half ? input % 16 : nowhere;
        signs_[i][l] = signs >> i & 1 ? 1 : -1;
      }
    }
  }

  std::int32_t operator()(const std::uint8_t* q, std::int64_t words, std::int64_t between, std::uint8_t* tables) const {
    const __m256i zero = _mm256_setzero_si256();
    __m256i magnitudes = zero;
    for (std::int64_t word = 0; word < words; ++word, q += word_bits, tables += between) {
      const auto* inputs = reinterpret_cast<const __m128i*>(q);
      __m256i halves[2];
      for (int half = 0; half < 2; ++half) halves[half] = _mm256_broadcastsi128_si256(_mm_loadu_si128(inputs + half));
      const __m256i whole = _mm256_blend_epi32(halves[0], halves[1], 0xf0);
      magnitudes = _mm256_add_epi64(magnitudes, _mm256_sad_epu8(_mm256_abs_epi8(whole), zero));
      for (int t = 0; t < tables_of_word; t += 2) {  // an even table, and the odd one that follows it
        __m256i entries = zero;
        for (int i = 0; i < 2; ++i) {
          const __m256i input = _mm256_or_si256(_mm256_shuffle_epi8(halves[0], load(inputs_[0][i])),
                                                _mm256_shuffle_epi8(halves[1], load(inputs_[1][i])));
          entries = _mm256_add_epi8(entries, _mm256_max_epi8(_mm256_sign_epi8(input, load(signs_[i])), zero));
        }
        _mm256_store_si256(reinterpret_cast<__m256i*>(tables + t * table_bytes), entries);
        for (__m256i& half : halves) half = _mm256_srli_si256(half, 4);
      }
    }
    const __m128i sum = _mm_add_epi64(_mm256_castsi256_si128(magnitudes), _mm256_extracti128_si256(magnitudes, 1));
    return static_cast<std::int32_t>(_mm_extract_epi64(sum, 0) + _mm_extract_epi64(sum, 1));
  }

 private:
  static constexpr std::uint8_t nowhere = 0x80;

  static __m256i load(const void* bytes) { return _mm256_load_si256(static_cast<const __m256i*>(bytes)); }

  // The places of the inputs of each byte of two tables in either half of a word, and their signs.
  alignas(32) std::uint8_t inputs_[2][2][32];
  alignas(32) std::int8_t signs_[2][32];
};

}  // namespace

bool w1a8_lut(const W1A8& product, Range rows, Range panels) {
  return w1a8_lut_macro_kernel<Tables>(product, rows, panels);
}

}  // namespace proxconnect::avx2
