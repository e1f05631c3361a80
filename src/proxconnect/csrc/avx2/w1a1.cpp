// Carry-save as in avx512/w1a1.cpp, in steps of two operands; bytes are counted by halves, looked up with pshufb, and
// gathered in bytes for as long as those hold.

#include <immintrin.h>

#include "avx2/kernels.h"
#include "shared/w1a1_loop.h"

namespace proxconnect::avx2 {
namespace {

constexpr int half_width = 8;            // outputs in a register
constexpr std::int64_t bytes_hold = 31;  // times 8 bits

__m256i broadcast(std::uint32_t word) { return _mm256_set1_epi32(static_cast<int>(word)); }
__m256i load(const std::uint32_t* words) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)); }

__m256i popcount_bytes(__m256i x) {
  const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4,  //
                                          0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  return _mm256_add_epi8(_mm256_shuffle_epi8(counts, _mm256_and_si256(x, low)),
                         _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
}

__m256i sum_bytes(__m256i x) {
  return _mm256_madd_epi16(_mm256_maddubs_epi16(x, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
}

// The sums of one half of a panel.
template <int rows>
void half_tile(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel,
               const Integers* start, int half, Integers* sums) {
  panel += half * half_width;
  __m256i odd[rows], carries[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) odd[r] = carries[r] = _mm256_setzero_si256();

  for (std::int64_t run = 0; run < lines.runs; ++run) {
    const std::uint8_t* at = a + lines.offsets[run];
    std::int64_t w = 0;
    while (w + 2 <= lines.run_words) {
      const std::int64_t pairs = (lines.run_words - w) / 2 < bytes_hold ? (lines.run_words - w) / 2 : bytes_hold;
      __m256i bytes[rows];
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) bytes[r] = _mm256_setzero_si256();
      for (const std::int64_t end = w + 2 * pairs; w < end; w += 2, panel += 2 * panel_width) {
        const __m256i b0 = load(panel);
        const __m256i b1 = load(panel + panel_width);
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const __m256i x0 = _mm256_xor_si256(b0, broadcast(word_at(at + r * lines.row_stride, w)));
          const __m256i x1 = _mm256_xor_si256(b1, broadcast(word_at(at + r * lines.row_stride, w + 1)));
          const __m256i odd1 = _mm256_xor_si256(odd[r], x0);
          const __m256i carry = _mm256_or_si256(_mm256_andnot_si256(odd1, odd[r]), _mm256_and_si256(odd1, x1));
          bytes[r] = _mm256_add_epi8(bytes[r], popcount_bytes(carry));
          odd[r] = _mm256_xor_si256(odd1, x1);
        }
      }
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) carries[r] = _mm256_add_epi32(carries[r], sum_bytes(bytes[r]));
    }
    if (w < lines.run_words) {
      const __m256i b0 = load(panel);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m256i odd1 =
            _mm256_xor_si256(odd[r], _mm256_xor_si256(b0, broadcast(word_at(at + r * lines.row_stride, w))));
        const __m256i carry = _mm256_andnot_si256(odd1, odd[r]);
        carries[r] = _mm256_add_epi32(carries[r], sum_bytes(popcount_bytes(carry)));
        odd[r] = odd1;
      }
      panel += panel_width;
    }
  }

#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    const __m256i differing =
        _mm256_add_epi32(_mm256_slli_epi32(carries[r], 1), sum_bytes(popcount_bytes(odd[r])));
    // Equal signs add one, differing signs take one away.
    const __m256i all = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(start + r) + half);
    const __m256i sum = _mm256_sub_epi32(all, _mm256_slli_epi32(differing, 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r) + half, sum);
  }
}

struct Tile {
  static constexpr int most_rows = 4;

  template <int rows>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines,
                                          const std::uint32_t* panel, const Integers* start, Integers* sums) {
    half_tile<rows>(a, lines, panel, start, 0, sums);
    half_tile<rows>(a, lines, panel, start, 1, sums);
  }
};

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1_loop<Tile>(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1_loop<Tile>(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1_loop<Tile>(part, panels); }

}  // namespace proxconnect::avx2
