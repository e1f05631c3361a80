// A table of the 32 signed sums of five inputs takes two registers; vpermi2ps looks up 16 outputs in it at once.

#include <utility>

#include "sets/avx512/w1a32_look_up.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::avx512 {
namespace {

static_assert(block == word_bits);
constexpr std::int64_t block_words = five;  // that the signs of a block take

// The bits of a five at the bottom of each lane, from the words of its block. Look-ups do not see what lies above them.
template <int index>
__m512i bits_of(const std::uint32_t* words) {
  constexpr int shift = index * five % word_bits;
  words += index * five / word_bits * panel_width;
  if constexpr (shift % 8 == 0) return _mm512_loadu_si512(reinterpret_cast<const char*>(words) + shift / 8);
  const __m512i low = _mm512_loadu_si512(words);
  if constexpr (shift + five <= word_bits) {
    return _mm512_srli_epi32(low, shift);
  } else {
    return _mm512_shrdi_epi32(low, _mm512_loadu_si512(words + panel_width), shift);
  }
}

// As gcc 12 would have it, the bits of many fives are taken ahead, and no registers are left for the sums.
void pin(__m512i& value) { asm volatile("" : "+v"(value)); }
void pin(__m512& value) { asm volatile("" : "+v"(value)); }

// The words of a block of some panels, which lie `stride` from each other.
struct BlockWords {
  const std::uint32_t* words;
  std::int64_t stride;
};

// Shifts are parts of instructions, so the fives of a block are written out.
template <int rows, int panels, int index>
[[gnu::always_inline]] inline void add_five(const float* tables, const BlockWords& b, __m512 (&sum)[panels][rows]) {
  __m512i entry[panels];
#pragma GCC unroll 8
  for (int p = 0; p < panels; ++p) pin(entry[p] = bits_of<index>(b.words + p * b.stride));
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const float* table = tables + (index * rows + r) * table_size;
    const __m512 low = _mm512_load_ps(table);
    const __m512 high = _mm512_load_ps(table + 16);
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) sum[p][r] = _mm512_add_ps(sum[p][r], look_up(entry[p], low, high));
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) pin(sum[p][r]);
  }
}

// All fives of a block, or the first `count`.
template <bool all, int rows, int panels, int... index>
[[gnu::always_inline]] inline void add_fives(std::integer_sequence<int, index...>, std::int64_t count,
                                             const float* tables, const BlockWords& b, __m512 (&sum)[panels][rows]) {
  static_cast<void>(((all || index < count ? add_five<rows, panels, index>(tables, b, sum), true : false) && ...));
}

template <int rows, int panels>
void tile(const Fives& fives, const std::uint32_t* panel, Floats* sums) {
  constexpr auto indices = std::make_integer_sequence<int, block>();
  const float* tables = fives.tables;
  BlockWords b{panel + fives.first / block * block_words * panel_width, fives.words * panel_width};
  for (std::int64_t left = fives.count; left > 0; left -= block) {
    __m512 sum[panels][rows];
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[p][r] = _mm512_setzero_ps();
    }
    if (left >= block) {
      add_fives<true>(indices, block, tables, b, sum);
    } else {
      // The last block may have fewer words.
      alignas(64) std::uint32_t words[panels][block_words * panel_width];
      const std::int64_t size = (fives.words - (b.words - panel) / panel_width) * panel_width;
      for (int p = 0; p < panels; ++p) own::copy_n(b.words + p * b.stride, size, words[p]);
      add_fives<false>(indices, left, tables, {words[0], block_words * panel_width}, sum);
    }
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sums[p * rows + r] += own::bit_cast<Floats>(sum[p][r]);
    }
    tables += block * rows * table_size;
    b.words += block_words * panel_width;
  }
}

template <int rows, int panels>
constexpr W1A32Tiles with{rows, panels, tile<rows, panels>, tile<rows, 1>};

constexpr W1A32Tiles tiles[] = {with<8, 2>, with<4, 4>, with<2, 4>, with<1, 8>};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  // Tables in registers are looked up as fast as those in memory, but take longer to make.
  constexpr std::int64_t few_panels = 32;
  constexpr std::int64_t many = 12;
  if (panels.end - panels.begin > few_panels) {
    w1a32_few_rows<table_size>(tiles, make_table, product, rows, panels);
  } else {
    w1a32_rows<table_size>(tiles, make_table, many, product, rows, panels);
  }
}

}  // namespace proxconnect::avx512
