// Signs as bytes times inputs as bytes, four products to a lane, by vpdpbusd.

#include <immintrin.h>

#include "sets/avx512/w1a8_lut.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_lut_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::avx512 {
namespace {

// sum += inputs (unsigned bytes) times weights. As an intrinsic, gcc 12 copies the sum at every step.
void multiply_add(__m512i& sum, __m512i inputs, __m512i weights) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(inputs), "v"(weights));
}

__m512i broadcast(const std::uint8_t* inputs) {
  std::int32_t value;
  std::memcpy(&value, inputs, sizeof value);
  return _mm512_set1_epi32(value);
}

// Where the inputs of the rows of a tile are: as far from one of a few pointers as an instruction's address can say.
// A pointer to each row would not fit the registers.
template <int rows>
struct RowPointers {
  static constexpr int together = 3;
  static constexpr int count = (rows + together - 1) / together;
  const std::uint8_t* first[count];
  std::int64_t stride;

  RowPointers(const std::uint8_t* q, std::int64_t row_stride) : stride(row_stride) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) first[i] = q + i * together * stride;
  }

  const std::uint8_t* operator[](int row) const { return first[row / together] + row % together * stride; }

  void advance(std::int64_t bytes) {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) first[i] += bytes;
    hide();
  }

  // From gcc 12 that some of them are the sum of others, or it keeps a pointer to each row after all.
  void hide() {
#pragma GCC unroll 4
    for (int i = 0; i < count; ++i) asm("" : "+r"(first[i]));
    asm("" : "+r"(stride));
  }
};

template <int rows, int panels>
void tile(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, Integers* sums) {
  constexpr int unrolled = 4;
  __m512i sum[rows][panels];
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) sum[r][p] = _mm512_load_si512(sums + r * panels + p);
  }
  for (std::int64_t run = 0; run < runs.count; ++run) {
    RowPointers<rows> from(q + runs.offsets[run], stride);
    const auto add = [&](int i) __attribute__((always_inline)) {
      __m512i signs[panels];
#pragma GCC unroll 2
      for (int p = 0; p < panels; ++p) signs[p] = _mm512_load_si512(weights + (i * panels + p) * four_bytes);
#pragma GCC unroll 12
      for (int r = 0; r < rows; ++r) {
        const __m512i inputs = broadcast(from[r] + i * four);
#pragma GCC unroll 2
        for (int p = 0; p < panels; ++p) multiply_add(sum[r][p], inputs, signs[p]);
      }
    };
    std::int64_t left = runs.fours;
    for (; left >= unrolled; left -= unrolled) {
#pragma GCC unroll 4
      for (int i = 0; i < unrolled; ++i) {
        add(i);
        from.hide();
      }
      from.advance(unrolled * four);
      weights += unrolled * panels * four_bytes;
    }
    for (; left > 0; --left) {
      add(0);
      from.advance(four);
      weights += panels * four_bytes;
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 2
    for (int p = 0; p < panels; ++p) _mm512_store_si512(sums + r * panels + p, sum[r][p]);
  }
}

Integers spread(const std::uint32_t* words, std::int64_t fours, std::int64_t between, std::int8_t* weights) {
  const __m512i plus = _mm512_set1_epi8(1), minus = _mm512_set1_epi8(-1);
  const __m512i masks[2] = {_mm512_set1_epi32(0x08040201), _mm512_set1_epi32(static_cast<int>(0x80402010))};
  __m512i set = _mm512_setzero_si512();
  for (std::int64_t i = 0; i < fours; i += fours_of_word, words += panel_width) {
    const __m512i word = _mm512_loadu_si512(words);
    set = _mm512_add_epi32(set, _mm512_popcnt_epi32(word));
    // In each lane, one of its bytes four times.
    __m512i one_byte = _mm512_set4_epi32(0x0c0c0c0c, 0x08080808, 0x04040404, 0);
    const int here = static_cast<int>(fours - i < fours_of_word ? fours - i : fours_of_word);
#pragma GCC unroll 8
    for (int f = 0; f < here; ++f, weights += between) {
      const __m512i bits = _mm512_shuffle_epi8(word, one_byte);
      if (f % 2 == 1) one_byte = _mm512_add_epi8(one_byte, plus);
      _mm512_store_si512(weights, _mm512_mask_blend_epi8(_mm512_test_epi8_mask(bits, masks[f % 2]), minus, plus));
    }
  }
  return 2 * own::bit_cast<Integers>(set) - static_cast<std::int32_t>(fours * four);
}

constexpr W1A8Tiles<12, 2> tiles{
    spread,
    {{tile<1, 1>, tile<2, 1>, tile<3, 1>, tile<4, 1>, tile<5, 1>, tile<6, 1>, tile<7, 1>, tile<8, 1>, tile<9, 1>,
      tile<10, 1>, tile<11, 1>, tile<12, 1>},
     {tile<1, 2>, tile<2, 2>, tile<3, 2>, tile<4, 2>, tile<5, 2>, tile<6, 2>, tile<7, 2>, tile<8, 2>, tile<9, 2>,
      tile<10, 2>, tile<11, 2>, tile<12, 2>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  // Few rows do not repay the spreading of signs; inputs of up to 7 bits are faster looked up in any case.
  constexpr std::int64_t few = 8;
  if (product.b.k <= most_looked_up && (rows.end - rows.begin <= few || product.greatest <= most_in_a_byte)) {
    return w1a8_look_up(product, rows, panels);
  }
  return w1a8_loop(tiles, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) { convolve_lines(tiles, image, lines, panels); }

}  // namespace proxconnect::avx512
