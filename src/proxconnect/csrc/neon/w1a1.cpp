// Differing signs are counted in bytes, as CNT does, and gathered in bytes for as long as those hold; a carry-save
// adder, as the AVX sets have it, would take more instructions than it saves.

#include <arm_neon.h>

#include "neon/kernels.h"
#include "shared/w1a1_loop.h"
#include "shared/words.h"

namespace proxconnect::neon {
namespace {

constexpr int most_rows = 4;
constexpr int quarter_width = 4;         // outputs in a register
constexpr int quarters = 4;              // of a panel
constexpr std::int64_t bytes_hold = 31;  // times 8 bits

uint32x4_t sum_bytes(uint8x16_t bytes) { return vpaddlq_u16(vpaddlq_u8(bytes)); }

uint8x16_t differing_bits(const std::uint32_t* words, std::uint32_t signs) {
  return vcntq_u8(vreinterpretq_u8_u32(veorq_u32(vld1q_u32(words), vdupq_n_u32(signs))));
}

template <int rows>
void tile(const std::uint8_t* a, std::int64_t stride, const std::uint32_t* panel, std::int64_t k, Integers* sums) {
  const Words words(k);
  uint32x4_t differing[rows][quarters];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) {
      differing[r][part] = vdupq_n_u32(0);
      if (words.rest == 0) continue;
      const std::uint32_t* last = panel + words.full * panel_width + part * quarter_width;
      differing[r][part] = sum_bytes(differing_bits(last, words.last(a + r * stride)));
    }
  }

  for (std::int64_t w = 0; w < words.full;) {
    uint8x16_t bytes[rows][quarters];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) bytes[r][part] = vdupq_n_u8(0);
    }
    for (const std::int64_t end = words.full - w < bytes_hold ? words.full : w + bytes_hold; w < end; ++w) {
#pragma GCC unroll 4
      for (int r = 0; r < rows; ++r) {
        const std::uint32_t signs = word_at(a + r * stride, w);
#pragma GCC unroll 4
        for (int part = 0; part < quarters; ++part) {
          const std::uint32_t* of_part = panel + w * panel_width + part * quarter_width;
          bytes[r][part] = vaddq_u8(bytes[r][part], differing_bits(of_part, signs));
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) {
        differing[r][part] = vaddq_u32(differing[r][part], sum_bytes(bytes[r][part]));
      }
    }
  }

  // Equal signs add one, differing signs take one away.
  const int32x4_t all = vdupq_n_s32(static_cast<std::int32_t>(k));
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
    auto* out = reinterpret_cast<std::int32_t*>(sums + r);
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) {
      const int32x4_t twice = vreinterpretq_s32_u32(vshlq_n_u32(differing[r][part], 1));
      vst1q_s32(out + part * quarter_width, vsubq_s32(all, twice));
    }
  }
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

}  // namespace proxconnect::neon
