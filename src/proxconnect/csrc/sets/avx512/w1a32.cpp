// The W1A32 micro-kernel of AVX-512: a table takes two registers, and vpermi2ps looks up 16 outputs in it at once.

#include <utility>

#include "sets/avx512/w1a32_look_up.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::avx512 {
namespace {

static_assert(k_block_tables == word_bits);
constexpr std::int64_t block_words = table_inputs;  // the words that the signs of a K-block take

// Returns the index of each output in a table of a K-block, from the block's words. Look-ups do not see what lies above
// it in a lane.
template <int index>
__m512i bits_of(const std::uint32_t* words) {
  constexpr int shift = index * table_inputs % word_bits;
  words += index * table_inputs / word_bits * panel_width;
  if constexpr (shift % 8 == 0) return _mm512_loadu_si512(reinterpret_cast<const char*>(words) + shift / 8);
  const __m512i low = _mm512_loadu_si512(words);
  if constexpr (shift + table_inputs <= word_bits) {
    return _mm512_srli_epi32(low, shift);
  } else {
    return _mm512_shrdi_epi32(low, _mm512_loadu_si512(words + panel_width), shift);
  }
}

// Holds gcc 12 back: it would take the indices of many tables ahead, and leave no registers for the sums.
void pin(__m512i& value) { asm volatile("" : "+v"(value)); }
void pin(__m512& value) { asm volatile("" : "+v"(value)); }

// The words of a K-block of panels that lie `stride` from each other.
struct BlockWords {
  const std::uint32_t* words;
  std::int64_t stride;
};

// Shifts are parts of instructions, so the tables of a K-block are unrolled.
template <int rows, int panels, int index>
[[gnu::always_inline]] inline void add_table(const float* tables, const BlockWords& b, __m512 (&sum)[panels][rows]) {
  __m512i entry[panels];
#pragma GCC unroll 8
  for (int p = 0; p < panels; ++p) pin(entry[p] = bits_of<index>(b.words + p * b.stride));
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const float* table = tables + (index * rows + r) * table_entries;
    const __m512 low = _mm512_load_ps(table);
    const __m512 high = _mm512_load_ps(table + 16);
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) sum[p][r] = _mm512_add_ps(sum[p][r], look_up(entry[p], low, high));
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) pin(sum[p][r]);
  }
}

// Adds the entries of all tables of a K-block if it is `whole`, of the first `count` otherwise.
template <bool whole, int rows, int panels, int... index>
[[gnu::always_inline]] inline void add_tables(std::integer_sequence<int, index...>, std::int64_t count,
                                             const float* tables, const BlockWords& b, __m512 (&sum)[panels][rows]) {
  static_cast<void>(((whole || index < count ? add_table<rows, panels, index>(tables, b, sum), true : false) && ...));
}

template <int rows, int panels>
void micro_kernel(const TableRun& run, const std::uint32_t* panel, Floats* sums) {
  constexpr auto indices = std::make_integer_sequence<int, k_block_tables>();
  const float* tables = run.tables;
  BlockWords b{panel, run.stride};
  for (std::int64_t left = run.count; left > 0; left -= k_block_tables) {
    __m512 sum[panels][rows];
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sum[p][r] = _mm512_setzero_ps();
    }
    if (left >= k_block_tables) {
      add_tables<true>(indices, k_block_tables, tables, b, sum);
    } else {
      // The last K-block may have fewer words.
      alignas(64) std::uint32_t words[panels][block_words * panel_width];
      const std::int64_t size = (run.words - (b.words - panel) / panel_width) * panel_width;
      for (int p = 0; p < panels; ++p) own::copy_n(b.words + p * b.stride, size, words[p]);
      add_tables<false>(indices, left, tables, {words[0], block_words * panel_width}, sum);
    }
#pragma GCC unroll 8
    for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) sums[p * rows + r] += own::bit_cast<Floats>(sum[p][r]);
    }
    tables += k_block_tables * rows * table_entries;
    b.words += block_words * panel_width;
  }
}

template <int rows, int panels>
constexpr GemvMicroKernels kernels_for{rows, panels, micro_kernel<rows, panels>, micro_kernel<rows, 1>};

constexpr GemvMicroKernels micro_kernels[] = {kernels_for<8, 2>, kernels_for<4, 4>, kernels_for<2, 4>,
                                              kernels_for<1, 8>};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  // Tables in registers are looked up as fast as those in memory, but take longer to make, which so many panels repay.
  constexpr std::int64_t max_gemm_panels = 32;
  constexpr std::int64_t min_gemm_rows = 12;
  if (panels.end - panels.begin > max_gemm_panels) {
    w1a32_gemv<table_entries>(micro_kernels, make_table, product, rows, panels);
  } else {
    w1a32_gemm_and_gemv<table_entries>(micro_kernels, make_table, min_gemm_rows, product, rows, panels);
  }
}

}  // namespace proxconnect::avx512
