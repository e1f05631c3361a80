// Signs as bytes times inputs as bytes; pairs of products are added up in 16 bits for as long as those hold.

#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"
#include "sets/neon/unpack_signs.h"

namespace proxconnect::neon {
namespace {

// Steps whose sums fit 16 bits: 128 * 2 * 127 < 2^15.
constexpr std::int64_t sums_hold = 128;

template <int rows>
void tile(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, Integers* sums) {
  int16x8_t sum[rows][quarters];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) sum[r][part] = vdupq_n_s16(0);
  }
  const auto widen = [&] {
#pragma GCC unroll 4
    for (int r = 0; r < rows; ++r) {
      auto* out = reinterpret_cast<std::int32_t*>(sums + r);
#pragma GCC unroll 4
      for (int part = 0; part < quarters; ++part, out += quarter_width) {
        vst1q_s32(out, vpadalq_s16(vld1q_s32(out), sum[r][part]));
        sum[r][part] = vdupq_n_s16(0);
      }
    }
  };
  std::int64_t held = 0;
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t i = 0; i < runs.fours;) {
      if (held == sums_hold) {
        widen();
        held = 0;
      }
      const std::int64_t left = runs.fours - i, room = sums_hold - held;
      const std::int64_t steps = left < room ? left : room;
      i += steps;
      held += steps;
      for (std::int64_t step = 0; step < steps; ++step, from += four, weights += four_bytes) {
#pragma GCC unroll 4
        for (int r = 0; r < rows; ++r) {
          const int8x16_t inputs = inputs_at(from + r * stride);
#pragma GCC unroll 4
          for (int part = 0; part < quarters; ++part) {
            const int8x16_t signs = vld1q_s8(weights + part * quarter_bytes);
            sum[r][part] = vpadalq_s8(sum[r][part], vmulq_s8(signs, inputs));
          }
        }
      }
    }
  }
  widen();
}

constexpr W1A8Tiles<4, 1> tiles{spread, {{tile<1>, tile<2>, tile<3>, tile<4>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) { convolve_lines(tiles, image, lines, panels); }

}  // namespace proxconnect::neon
