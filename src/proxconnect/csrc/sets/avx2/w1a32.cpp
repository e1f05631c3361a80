// The W1A32 micro-kernel of AVX2 splits a table in two: the signed sums of three inputs fill a register of eight, those
// of the other two half of one. vpermps looks up 8 outputs.

#include <immintrin.h>

#include "sets/common/kernels.h"
#include "sets/common/w1a32_gemv.h"

namespace proxconnect::avx2 {
namespace {

constexpr int split_floats = 16;  // of a table in two parts
constexpr int half_width = 8;     // outputs in a register

// Returns x where bit `i` of the lane's number is set, -x elsewhere.
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

// Returns the index of each output at the bottom of its lane. Look-ups do not see what lies above it.
__m256i bits_of(const std::uint32_t* panel, const TableIndex& index) {
  const auto load = [](const std::uint32_t* words) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words));
  };
  const __m256i down = _mm256_set1_epi32(index.shift);
  const __m256i up = _mm256_set1_epi32(static_cast<int>(word_bits) - index.shift);  // by 32: nothing is left
  return _mm256_or_si256(_mm256_srlv_epi32(load(panel + index.word * panel_width), down),
                         _mm256_sllv_epi32(load(panel + index.next * panel_width), up));
}

template <int rows>
void micro_kernel(const TableRun& run, const std::uint32_t* panel, Floats* sums) {
  const float* table = run.tables;
  for (std::int64_t t = 0; t < run.count;) {
    __m256 sum[rows][2];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (const std::int64_t end = run.block_end(t); t < end; ++t, table += rows * split_floats) {
      const TableIndex index = run.index(t);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m256i three = bits_of(panel + half * half_width, index);
        const __m256i two = _mm256_srli_epi32(three, 3);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const float* of_row = table + r * split_floats;
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
constexpr GemvMicroKernels kernels_for{rows, 1, micro_kernel<rows>, micro_kernel<rows>};

constexpr GemvMicroKernels micro_kernels[] = {kernels_for<4>, kernels_for<2>, kernels_for<1>};

}  // namespace

void w1a32(const W1A32& product, Range rows, Range panels) {
  constexpr std::int64_t min_gemm_rows = 3;
  w1a32_gemm_and_gemv<split_floats>(micro_kernels, make_table, min_gemm_rows, product, rows, panels);
}

}  // namespace proxconnect::avx2
