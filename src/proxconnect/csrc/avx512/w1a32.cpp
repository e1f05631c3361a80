// A table of the 32 signed sums of five inputs takes two registers; vpermi2ps looks up 16 outputs in it at once.

#include <immintrin.h>

#include <array>
#include <utility>

#include "avx512/kernels.h"
#include "shared/w1a32_few.h"

namespace proxconnect::avx512 {
namespace {

// x where bit `i` of the lane's number is set, -x elsewhere.
template <int i>
__m512 signed_input(float x) {
  alignas(64) static constexpr auto flips = [] {
    std::array<std::uint32_t, 16> signs{};
    for (std::uint32_t lane = 0; lane < 16; ++lane) signs[lane] = lane >> i & 1u ? 0u : 0x80000000u;
    return signs;
  }();
  return _mm512_xor_ps(_mm512_set1_ps(x), _mm512_load_ps(flips.data()));
}

void make_table(const float* x, float* table) {
  const __m512 three =
      _mm512_add_ps(_mm512_add_ps(signed_input<0>(x[0]), signed_input<1>(x[1])), signed_input<2>(x[2]));
  const __m512 fourth = signed_input<3>(x[3]);
  const __m512 fifth = _mm512_set1_ps(x[4]);
  _mm512_store_ps(table, _mm512_add_ps(three, _mm512_sub_ps(fourth, fifth)));
  _mm512_store_ps(table + 16, _mm512_add_ps(three, _mm512_add_ps(fourth, fifth)));
}

// As an intrinsic, gcc 12 reads the table from memory for every look-up.
__m512 look_up(__m512i entry, __m512 low, __m512 high) {
  __m512 found = _mm512_castsi512_ps(entry);
  asm("vpermi2ps %2, %1, %0" : "+v"(found) : "v"(low), "v"(high));
  return found;
}

// Fives whose signs take five words: some blocks.
constexpr std::int64_t period = 32;

template <int first, int... number>
constexpr auto numbers_from(std::integer_sequence<int, number...>) {
  return std::integer_sequence<int, (first + number)...>();
}

// Where the words of a period lie in a panel. The last of all may have fewer: the last word stands for those that are
// not there.
struct PeriodWords {
  std::int64_t offset[5];

  PeriodWords(std::int64_t first_five, std::int64_t words) {
    for (std::int64_t w = 0; w < 5; ++w) {
      const std::int64_t word = first_five * five / word_bits + w;
      offset[w] = (word < words ? word : words - 1) * panel_width;
    }
  }
};

// The bits of a five of a period at the bottom of each lane; what lies above them, look-ups do not see.
template <int index>
__m512i bits_of(const std::uint32_t* panel, const PeriodWords& words) {
  constexpr int word = index * five / word_bits;
  constexpr int shift = index * five % word_bits;
  const __m512i low = _mm512_loadu_si512(panel + words.offset[word]);
  if constexpr (shift + five <= word_bits) {
    return _mm512_srli_epi32(low, shift);
  } else {
    return _mm512_shrdi_epi32(low, _mm512_loadu_si512(panel + words.offset[word + 1]), shift);
  }
}

template <int rows, int panels>
void tile(const Fives& fives, const std::uint32_t* panel, Floats* sums) {
  for (std::int64_t first = 0; first < fives.count; first += period) {
    const std::int64_t count = std::min(fives.count - first, period);
    const float* tables = fives.tables + first * rows * table_size;
    const PeriodWords place(fives.first + first, fives.words);
    __m512 sum[panels][rows];
    // Shifts are parts of instructions, so the fives of a period are written out; false after the last.
    const auto add = [&]<int index>() __attribute__((always_inline)) {
      if (index >= count) return false;
      __m512i entry[panels];
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p) entry[p] = bits_of<index>(panel + p * fives.words * panel_width, place);
#pragma GCC unroll 8
      for (int r = 0; r < rows; ++r) {
        const float* table = tables + (index * rows + r) * table_size;
        const __m512 low = _mm512_load_ps(table);
        const __m512 high = _mm512_load_ps(table + 16);
#pragma GCC unroll 8
        for (int p = 0; p < panels; ++p) sum[p][r] = _mm512_add_ps(sum[p][r], look_up(entry[p], low, high));
      }
      return true;
    };
    const auto add_block = [&]<int... index>(std::integer_sequence<int, index...>) __attribute__((always_inline)) {
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) sum[p][r] = _mm512_setzero_ps();
      }
      const bool whole = (add.template operator()<index>() && ...);
#pragma GCC unroll 8
      for (int p = 0; p < panels; ++p) {
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) sums[p * rows + r] += reinterpret_cast<const Floats&>(sum[p][r]);
      }
      return whole;
    };
    [&]<int... number>(std::integer_sequence<int, number...>) __attribute__((always_inline)) {
      static_cast<void>((add_block(numbers_from<number * block>(std::make_integer_sequence<int, block>())) && ...));
    }(std::make_integer_sequence<int, period / block>());
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
