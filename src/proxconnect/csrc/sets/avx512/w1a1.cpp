// The W1A1 micro-kernel of AVX-512 counts differing bits by a carry-save adder. `odd` holds the parity of the differing
// bits so far. For two words of differences x0 and x1, odd1 = odd ^ x0 and odd2 = odd1 ^ x1. The carry is 1 where the
// parity fell from 1 to 0, which is odd where odd1 is 0 and x1 where odd1 is 1. Each carry stands for two differing
// bits, the last odd for one.

#include <immintrin.h>

#include "sets/common/kernels.h"
#include "sets/common/w1a1_macro_kernel.h"

namespace proxconnect::avx512 {
namespace {

__m512i broadcast(std::uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }

// Returns x ^ y ^ z. From the intrinsic, gcc 12 folds the load of a broadcast x into the operation and copies y for it.
__m512i parity(__m512i x, __m512i y, __m512i z) {
  asm("vpternlogd $0x96, %2, %1, %0" : "+v"(x) : "v"(y), "v"(z));
  return x;
}

// Returns (x & ~y) | (y & ~z).
__m512i falling(__m512i x, __m512i y, __m512i z) { return _mm512_ternarylogic_epi32(x, y, z, 0x74); }

// Adds weight, which is one byte, times the number of bits. From the intrinsic, gcc 12 copies the sum.
void add_bits(__m512i& sum, __m512i bits, __m512i weight) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(_mm512_popcnt_epi32(bits)), "v"(weight));
}

struct MicroKernel {
  static constexpr int max_rows = 8;
  static constexpr int max_panels = 1;

  template <int rows, int>
  [[gnu::always_inline]] static void sums(const std::uint8_t* a, const SignLines& lines, const std::uint32_t* panel,
                                          std::int64_t, const Integers* start, Integers* sums) {
    // Equal signs add one, differing signs take one away: a difference counts -2, a carry -4.
    const __m512i minus_2 = _mm512_set1_epi8(-2), minus_4 = _mm512_set1_epi8(-4);
    const std::int64_t stride = lines.row_stride;
    __m512i odd[rows], sum[rows];
#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      odd[r] = _mm512_setzero_si512();
      sum[r] = reinterpret_cast<const __m512i&>(start[r]);
    }

    for (std::int64_t run = 0; run < lines.runs; ++run) {
      const std::uint8_t* at = a + lines.offsets[run];
      const auto word = [&](int r, int next) { return broadcast(word_at(at + r * stride, next)); };
      for (std::int64_t pairs = lines.run_words / 2; pairs > 0; --pairs, at += 8, panel += 2 * panel_width) {
        const __m512i b0 = _mm512_loadu_si512(panel);
        const __m512i b1 = _mm512_loadu_si512(panel + panel_width);
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          const __m512i odd1 = parity(word(r, 0), odd[r], b0);
          const __m512i odd2 = parity(word(r, 1), odd1, b1);
          add_bits(sum[r], falling(odd[r], odd1, odd2), minus_4);
          odd[r] = odd2;
        }
      }
      if (lines.run_words % 2) {
        const __m512i b0 = _mm512_loadu_si512(panel);
#pragma GCC unroll 8
        for (int r = 0; r < rows; ++r) {
          const __m512i odd1 = parity(word(r, 0), odd[r], b0);
          add_bits(sum[r], _mm512_andnot_si512(odd1, odd[r]), minus_4);
          odd[r] = odd1;
        }
        panel += panel_width;
      }
    }

#pragma GCC unroll 8
    for (int r = 0; r < rows; ++r) {
      add_bits(sum[r], odd[r], minus_2);
      sums[r] = reinterpret_cast<Integers>(sum[r]);
    }
  }
};

}  // namespace

void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }
void w1a1_chain(const W1A1Part<ChainOutput>& part, Range panels) { w1a1_macro_kernel<MicroKernel>(part, panels); }

}  // namespace proxconnect::avx512
