// The signed sums of three inputs fill a register of eight, those of two half of one; vpermps looks up 8 outputs.

#include <immintrin.h>

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::avx2 {
namespace {

constexpr int split_size = 16;  // of a table
constexpr int half_width = 8;  // outputs in a register

// x where bit `i` of the lane's number is set, -x elsewhere.
__m256 signed_input(float x, int i) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i set = _mm256_slli_epi32(_mm256_srli_epi32(lanes, i), 31);
  return _mm256_xor_ps(_mm256_set1_ps(-x), _mm256_castsi256_ps(set));
}

void make_table(const float* x, float* table) {
  const __m256 first_two = _mm256_add_ps(signed_input(x[0], 0), signed_input(x[1], 1));
  _mm256_store_ps(table, _mm256_add_ps(first_two, signed_input(x[2], 2)));
  // The look-up has three bits, this table two: both halves are alike.
  _mm256_store_ps(table + 8, _mm256_add_ps(signed_input(x[3], 0), signed_input(x[4], 1)));
}

// The bits of a five at the bottom of each lane; what lies above them, look-ups do not see.
__m256i bits_of(const std::uint32_t* panel, const FivePlace& place) {
  const auto load = [](const std::uint32_t* words) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  };
  const __m256i down = _mm256_set1_epi32(place.shift);
  const __m256i up = _mm256_set1_epi32(static_cast<int>(word_bits) - place.shift);  // by 32: nothing is left
  return _mm256_or_si256(_mm256_srlv_epi32(load(panel + place.word * panel_width), down),
                         _mm256_sllv_epi32(load(panel + place.next * panel_width), up));
}

template <int rows>
void tile(const Fives& fives, const std::uint32_t* panel, Floats* sums) {
  const float* table = fives.tables;
  for (std::int64_t f = 0; f < fives.count;) {
    __m256 sum[rows][2];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (const std::int64_t end = fives.block_end(f); f < end; ++f, table += rows * split_size) {
      const FivePlace place = fives.place(f);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m256i three = bits_of(panel + half * half_width, place);
        const __m256i two = _mm256_srli_epi32(three, 3);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const float* of_row = table + r * split_size;
          const __m256 chosen = _mm256_add_ps(_mm256_permutevar8x32_ps(_mm256_load_ps(of_row), three),
                                              _mm256_permutevar8x32_ps(_mm256_load_ps(of_row + 8), two));
          sum[r][half] = _mm256_add_ps(sum[r][half], chosen);
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      Floats block_sum;
      std::memcpy(&block_sum, sum[r], sizeof block_sum);
      sums[r] += block_sum;
    }
  }
}

template <int rows>
constexpr W1A32Tiles with{rows, 1, tile<rows>, tile<rows>};

constexpr W1A32Tiles tiles[] = {with<4>, with<2>, with<1>};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  constexpr std::int64_t many = 3;
  w1a32_rows<split_size>(tiles, make_table, many, product, rows, panels);
}

}  // namespace proxconnect::avx2
