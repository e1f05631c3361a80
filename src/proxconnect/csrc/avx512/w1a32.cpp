// A table of the 32 signed sums of five inputs takes two registers; vpermi2ps looks up 16 outputs in it at once.

#include <immintrin.h>

#include <array>
#include <utility>

#include "avx512/kernels.h"
#include "shared/w1a32_few.h"

namespace proxconnect::avx512 {
namespace {

// 1 where bit `i` of the lane's number is set, -1 elsewhere: multiplying by it is exact.
template <int i>
__m512 signs() {
  alignas(64) static constexpr auto values = [] {
    std::array<float, 16> lanes{};
    for (std::size_t lane = 0; lane < 16; ++lane) lanes[lane] = lane >> i & 1u ? 1.0f : -1.0f;
    return lanes;
  }();
  return _mm512_load_ps(values.data());
}

void make_table(const float* x, float* table) {
  const __m512 two = _mm512_fmadd_ps(signs<1>(), _mm512_set1_ps(x[1]), _mm512_mul_ps(signs<0>(), _mm512_set1_ps(x[0])));
  const __m512 three = _mm512_fmadd_ps(signs<2>(), _mm512_set1_ps(x[2]), two);
  const __m512 fourth = _mm512_set1_ps(x[3]);
  const __m512 fifth = _mm512_set1_ps(x[4]);
  _mm512_store_ps(table, _mm512_add_ps(three, _mm512_fmsub_ps(signs<3>(), fourth, fifth)));
  _mm512_store_ps(table + 16, _mm512_add_ps(three, _mm512_fmadd_ps(signs<3>(), fourth, fifth)));
}

// As an intrinsic, gcc 12 reads the table from memory for every look-up.
__m512 look_up(__m512i entry, __m512 low, __m512 high) {
  __m512 found = _mm512_castsi512_ps(entry);
  asm("vpermi2ps %2, %1, %0" : "+v"(found) : "v"(low), "v"(high));
  return found;
}

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
      for (int p = 0; p < panels; ++p) std::copy_n(b.words + p * b.stride, size, words[p]);
      add_fives<false>(indices, left, tables, {words[0], block_words * panel_width}, sum);
    }
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sums[p * rows + r] += std::bit_cast<Floats>(sum[p][r]);
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
