// Falling-edge carry-save as in avx512/w1a1.cpp, in steps of two operands; bytes are counted by halves, looked up
// with pshufb, and gathered in bytes for as long as those hold.

#include <immintrin.h>

#include "avx2/kernels.h"
#include "shared/w1a1_loop.h"
#include "shared/words.h"

namespace proxconnect::avx2 {
namespace {

constexpr int most_rows = 4;
constexpr int half_width = 8;           // outputs in a register
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
void half_tile(const std::uint8_t* a, std::int64_t stride, const std::uint32_t* panel, std::int64_t k, int half,
               Integers* sums) {
  const Words words(k);
  panel += half * half_width;
  __m256i odd[rows], falls[rows];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) odd[r] = falls[r] = _mm256_setzero_si256();

  std::int64_t w = 0;
  while (w + 2 <= words.full) {
    const std::int64_t pairs = (words.full - w) / 2 < bytes_hold ? (words.full - w) / 2 : bytes_hold;
    __m256i bytes[rows];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) bytes[r] = _mm256_setzero_si256();
    for (const std::int64_t end = w + 2 * pairs; w < end; w += 2) {
      const __m256i b0 = load(panel + w * panel_width);
      const __m256i b1 = load(panel + (w + 1) * panel_width);
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const __m256i a0 = broadcast(word_at(a + r * stride, w));
        const __m256i a1 = broadcast(word_at(a + r * stride, w + 1));
        const __m256i odd1 = _mm256_xor_si256(odd[r], _mm256_xor_si256(a0, b0));
        const __m256i odd2 = _mm256_xor_si256(odd1, _mm256_xor_si256(a1, b1));
        const __m256i fall =
            _mm256_or_si256(_mm256_andnot_si256(odd1, odd[r]), _mm256_andnot_si256(odd2, odd1));
        bytes[r] = _mm256_add_epi8(bytes[r], popcount_bytes(fall));
        odd[r] = odd2;
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) falls[r] = _mm256_add_epi32(falls[r], sum_bytes(bytes[r]));
  }

#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    const std::uint8_t* row = a + r * stride;
    __m256i differing = _mm256_add_epi32(_mm256_slli_epi32(falls[r], 1), sum_bytes(popcount_bytes(odd[r])));
    const auto compare = [&](std::int64_t word, std::uint32_t signs) {
      const __m256i difference = _mm256_xor_si256(load(panel + word * panel_width), broadcast(signs));
      differing = _mm256_add_epi32(differing, sum_bytes(popcount_bytes(difference)));
    };
    if (w < words.full) compare(w, word_at(row, w));
    if (words.rest) compare(words.full, words.last(row));
    const __m256i all = _mm256_set1_epi32(static_cast<int>(k));
    const __m256i sum = _mm256_sub_epi32(all, _mm256_slli_epi32(differing, 1));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r) + half, sum);
  }
}

template <int rows>
void tile(const std::uint8_t* a, std::int64_t stride, const std::uint32_t* panel, std::int64_t k,
          Integers* sums) {
  half_tile<rows>(a, stride, panel, k, 0, sums);
  half_tile<rows>(a, stride, panel, k, 1, sums);
}

constexpr W1A1Tile tiles[most_rows] = {tile<1>, tile<2>, tile<3>, tile<4>};

}  // namespace

void w1a1_sums(const W1A1<SumsOutput>& product, Range rows, Range panels) { w1a1_loop(tiles, product, rows, panels); }

void w1a1_affine(const W1A1<AffineOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

void w1a1_signs(const W1A1<SignsOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

}  // namespace proxconnect::avx2
