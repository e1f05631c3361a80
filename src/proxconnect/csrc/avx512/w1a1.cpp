// Falling-edge carry-save: the running parity o of the differing bits falls from 1 to 0 once for every two of
// them. Per two words, o1 = o ^ a0 ^ b0 and o2 = o1 ^ a1 ^ b1, the falls (o & ~o1) | (o1 & ~o2) exclude each other
// bit by bit, and the count of differing bits is 2 * sum popcount(falls) + popcount(last o).

#include <immintrin.h>


#include "avx512/kernels.h"
#include "shared/w1a1_loop.h"
#include "shared/words.h"

namespace proxconnect::avx512 {
namespace {

constexpr int most_rows = 8;
__m512i broadcast(std::uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }

// x ^ y ^ z. As an intrinsic, gcc 12 folds the load of a broadcast x into the operation and copies y for it.
__m512i parity(__m512i x, __m512i y, __m512i z) {
  asm("vpternlogd $0x96, %2, %1, %0" : "+v"(x) : "v"(y), "v"(z));
  return x;
}

// (x & ~y) | (y & ~z).
__m512i falling(__m512i x, __m512i y, __m512i z) { return _mm512_ternarylogic_epi32(x, y, z, 0x74); }

template <int rows>
void tile(const std::uint8_t* a, std::int64_t stride, const std::uint32_t* panel, std::int64_t k,
          Integers* sums) {
  const Words words(k);
  __m512i odd[rows], falls[rows];
#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) odd[r] = falls[r] = _mm512_setzero_si512();

  std::int64_t w = 0;
  for (; w + 2 <= words.full; w += 2) {
    const __m512i b0 = _mm512_loadu_si512(panel + w * panel_width);
    const __m512i b1 = _mm512_loadu_si512(panel + (w + 1) * panel_width);
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      const __m512i odd1 = parity(broadcast(word_at(a + r * stride, w)), odd[r], b0);
      const __m512i odd2 = parity(broadcast(word_at(a + r * stride, w + 1)), odd1, b1);
      falls[r] = _mm512_add_epi32(falls[r], _mm512_popcnt_epi32(falling(odd[r], odd1, odd2)));
      odd[r] = odd2;
    }
  }

#pragma GCC unroll 8
  for (int r = 0; r < rows; ++r) {
    const std::uint8_t* row = a + r * stride;
    __m512i differing = _mm512_add_epi32(_mm512_slli_epi32(falls[r], 1), _mm512_popcnt_epi32(odd[r]));
    const auto compare = [&](std::int64_t word, std::uint32_t signs) {
      const __m512i b = _mm512_loadu_si512(panel + word * panel_width);
      differing = _mm512_add_epi32(differing, _mm512_popcnt_epi32(_mm512_xor_si512(b, broadcast(signs))));
    };
    if (w < words.full) compare(w, word_at(row, w));
    if (words.rest) compare(words.full, words.last(row));
    // Equal signs add one, differing signs take one away.
    const __m512i all = _mm512_set1_epi32(static_cast<int>(k));
    _mm512_store_si512(sums + r, _mm512_sub_epi32(all, _mm512_slli_epi32(differing, 1)));
  }
}

constexpr W1A1Tile tiles[most_rows] = {tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>, tile<7>, tile<8>};

}  // namespace

void w1a1_sums(const W1A1<SumsOutput>& product, Range rows, Range panels) { w1a1_loop(tiles, product, rows, panels); }

void w1a1_affine(const W1A1<AffineOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

void w1a1_signs(const W1A1<SignsOutput>& product, Range rows, Range panels) {
  w1a1_loop(tiles, product, rows, panels);
}

}  // namespace proxconnect::avx512
