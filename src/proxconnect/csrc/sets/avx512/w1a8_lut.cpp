// The W1A8 look-up tables of AVX-512: four signs are an index into a table of what four inputs then add up to, so that
// one vpermb and one vpdpbusd do 256 products. An entry of inputs of 7 bits fits a byte; for 8 bits, a second table
// holds its lowest bit.

#include "sets/avx512/w1a8_lut.h"

#include <immintrin.h>

#include "sets/common/w1a8_lut_macro_kernel.h"

namespace proxconnect::avx512 {
namespace {

constexpr std::int64_t table_bytes = 64;  // four tables of 16, for one half of each byte of a word

// Tables of a word: [half][plane][4][16].
constexpr std::int64_t tables_of_word(int planes) { return 2 * planes * table_bytes; }

// Makes an index vector whose byte l is index(l).
template <typename Index>
__m512i indices(const Index& index) {
  alignas(64) std::uint8_t bytes[64];
  for (int l = 0; l < 64; ++l) bytes[l] = static_cast<std::uint8_t>(index(l));
  return _mm512_load_si512(bytes);
}

// Computes sums[r][p] = starts[r] + 2 E of a group of words, with tables [words][rows].
template <int rows, int panels, int planes>
[[gnu::always_inline]] inline void sums_of_group(const std::uint8_t* tables, const std::uint32_t* panel,
                                                 std::int64_t panel_stride, std::int64_t words,
                                                 const std::int32_t* starts, Integers* sums) {
  const __m512i low_half = _mm512_set1_epi8(0x0f), table_of_byte = _mm512_set1_epi32(0x30201000);
  const __m512i factors[2] = {_mm512_set1_epi8(2 * planes), _mm512_set1_epi8(2)};
  constexpr int parts = 2 * planes;
  constexpr int chains = rows * panels * parts <= 16 ? parts : 1;  // few sums would wait for their last addition
  __m512i sum[rows][panels][chains];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 4
      for (int c = 0; c < chains; ++c) sum[r][p][c] = _mm512_set1_epi32(c == 0 ? starts[r] : 0);
    }
  }
  for (std::int64_t word = 0; word < words; ++word, panel += panel_width, tables += rows * tables_of_word(planes)) {
    __m512i index[2][panels];
#pragma GCC unroll 4
    for (int p = 0; p < panels; ++p) {
      const __m512i signs = _mm512_loadu_si512(panel + p * panel_stride);
      index[0][p] = _mm512_ternarylogic_epi32(signs, low_half, table_of_byte, 0xea);
      index[1][p] = _mm512_ternarylogic_epi32(_mm512_srli_epi32(signs, 4), low_half, table_of_byte, 0xea);
    }
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < parts; ++part) {
        const __m512i table = _mm512_load_si512(tables + r * tables_of_word(planes) + part * table_bytes);
#pragma GCC unroll 4
        for (int p = 0; p < panels; ++p) {
          const __m512i entries = _mm512_permutexvar_epi8(index[part / planes][p], table);
          __m512i& to = sum[r][p][part % chains];
          to = _mm512_dpbusd_epi32(to, entries, factors[part % planes]);
        }
      }
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 4
      for (int c = 1; c < chains; ++c) sum[r][p][0] = _mm512_add_epi32(sum[r][p][0], sum[r][p][c]);
      _mm512_store_si512(sums + r * panels + p, sum[r][p][0]);
    }
  }
}

// Computes sums[g][r][p] = starts[g][r] + 2 E with tables [words][rows].
template <int rows, int panels, int planes>
void micro_kernel(const std::uint8_t* tables, const std::uint32_t* panel, std::int64_t panel_stride, std::int64_t words,
                  std::int64_t group_words, const std::int32_t* starts, Integers* sums) {
  do {
    const std::int64_t here = own::min(words, group_words);
    sums_of_group<rows, panels, planes>(tables, panel, panel_stride, here, starts, sums);
    tables += here * rows * tables_of_word(planes);
    panel += here * panel_width;
    starts += rows;
    sums += rows * panels;
    words -= here;
  } while (words > 0);
}

template <int planes>
class Tables {
 public:
  static constexpr std::int64_t of_word = tables_of_word(planes);
  static constexpr LutMicroKernel micro_kernels[2][8] = {
      {micro_kernel<1, 1, planes>, micro_kernel<2, 1, planes>, micro_kernel<3, 1, planes>, micro_kernel<4, 1, planes>,
       micro_kernel<5, 1, planes>, micro_kernel<6, 1, planes>, micro_kernel<7, 1, planes>, micro_kernel<8, 1, planes>},
      {micro_kernel<1, 2, planes>, micro_kernel<2, 2, planes>, micro_kernel<3, 2, planes>, micro_kernel<4, 2, planes>,
       micro_kernel<5, 2, planes>, micro_kernel<6, 2, planes>, micro_kernel<7, 2, planes>, micro_kernel<8, 2, planes>}};

  Tables() {
    for (int i = 0; i < 2; ++i) {
      // Entry e of pair p takes input 2 p + i where its bit is set, otherwise its negative.
      of_pair_[i] = indices([&](int l) { return l / 4 * 2 + i + (l >> i & 1 ? 0 : 32); });
      // Entry e of table 2 f + half takes entries of its two pairs.
      for (int half = 0; half < 2; ++half) {
        of_table_[half][i] = indices([&](int l) { return ((l / 16 * 2 + half) * 2 + i) * 4 + (l >> 2 * i & 3); });
      }
    }
  }

  std::int32_t operator()(const std::uint8_t* q, std::int64_t words, std::int64_t between, std::uint8_t* tables) const {
    __m512i magnitudes = _mm512_setzero_si512();
    for (std::int64_t word = 0; word < words; ++word) {
      magnitudes = _mm512_add_epi32(magnitudes, make(q + word * word_bits, tables + word * between));
    }
    return _mm512_reduce_add_epi32(magnitudes);
  }

 private:
  // Makes the tables of a word. Returns, in 16 parts, the sum of the magnitudes of its inputs.
  __m512i make(const std::uint8_t* q, std::uint8_t* tables) const {
    const __m256i inputs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(q));
    const __m256i negative = _mm256_sub_epi8(_mm256_setzero_si256(), inputs);
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(inputs), negative, 1);
    const __m512i parts = _mm512_max_epi8(both, _mm512_setzero_si512());
    const __m512i pairs =
        _mm512_add_epi8(_mm512_permutexvar_epi8(of_pair_[0], parts), _mm512_permutexvar_epi8(of_pair_[1], parts));
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512i a = _mm512_permutexvar_epi8(of_table_[half][0], pairs);
      const __m512i b = _mm512_permutexvar_epi8(of_table_[half][1], pairs);
      if constexpr (planes == 1) {
        _mm512_store_si512(tables, _mm512_add_epi8(a, b));
      } else {
        const __m512i odd = _mm512_and_si512(_mm512_xor_si512(a, b), _mm512_set1_epi8(1));
        _mm512_store_si512(tables, _mm512_sub_epi8(_mm512_avg_epu8(a, b), odd));
        _mm512_store_si512(tables + table_bytes, odd);
      }
      tables += planes * table_bytes;
    }
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), parts, _mm512_set1_epi8(1));
  }

  __m512i of_pair_[2];
  __m512i of_table_[2][2];
};

}  // namespace

bool w1a8_lut(const W1A8& product, Range rows, Range panels) {
  return product.greatest <= max_in_a_byte ? w1a8_lut_macro_kernel<Tables<1>>(product, rows, panels)
                                           : w1a8_lut_macro_kernel<Tables<2>>(product, rows, panels);
}

}  // namespace proxconnect::avx512
