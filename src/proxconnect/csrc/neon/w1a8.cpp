// Bit planes as in avx512/w1a8.cpp, with masks for weights: inputs whose weight is not set become zero, and pairs of
// bytes are added up in 16 bits for as long as those hold.

#include <arm_neon.h>

#include "neon/kernels.h"
#include "shared/w1a8_loop.h"

namespace proxconnect::neon {
namespace {

constexpr int most_rows = 4;
constexpr int quarter_width = 4;  // outputs in a register
constexpr int quarters = 4;       // of a panel

// Eight planes of 16 words, a pair of inputs of each: 8 * 16 * 2 * 127 < 2^15.
constexpr std::int64_t chunk = 16;

template <int rows>
void tile(const std::uint32_t* q, std::int64_t q_stride, const std::uint32_t* panel, std::int64_t,
          std::int64_t words, Integers* sums) {
  for (int r = 0; r < rows; ++r) sums[r] = Integers{};
  for (std::int64_t word = 0; word < words;) {
    int16x8_t pairs[rows][quarters];
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part) pairs[r][part] = vdupq_n_s16(0);
    }
    for (const std::int64_t end = words - word < chunk ? words : word + chunk; word < end; ++word) {
      for (int plane = 0; plane < 8; ++plane) {
        const uint8x16_t mask = vdupq_n_u8(static_cast<std::uint8_t>(1 << plane));
        uint8x16_t set[quarters];
#pragma GCC unroll 4
        for (int part = 0; part < quarters; ++part) {
          const std::uint32_t* weights = panel + word * panel_width + part * quarter_width;
          set[part] = vtstq_u8(vreinterpretq_u8_u32(vld1q_u32(weights)), mask);
        }
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const uint8x16_t inputs = vreinterpretq_u8_u32(vdupq_n_u32(q[r * q_stride + word * 8 + plane]));
#pragma GCC unroll 4
          for (int part = 0; part < quarters; ++part) {
            pairs[r][part] = vpadalq_s8(pairs[r][part], vreinterpretq_s8_u8(vandq_u8(set[part], inputs)));
          }
        }
      }
    }
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      auto* out = reinterpret_cast<std::int32_t*>(sums + r);
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part, out += quarter_width) {
        vst1q_s32(out, vpadalq_s16(vld1q_s32(out), pairs[r][part]));
      }
    }
  }
}

template <int rows>
constexpr W1A8Tiles with{1, tile<rows>, tile<rows>};

constexpr W1A8Tiles tiles[most_rows] = {with<1>, with<2>, with<3>, with<4>};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

}  // namespace proxconnect::neon
