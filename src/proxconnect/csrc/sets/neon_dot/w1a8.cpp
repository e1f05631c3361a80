// Signs as bytes times inputs as bytes, four at a time by SDOT.

#include "sets/neon_dot/w1a8.h"

#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"
#include "sets/neon/unpack_signs.h"

namespace proxconnect::neon_dot {
namespace {

template <int rows>
void tile(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights, Integers* sums) {
  int32x4_t sum[rows][quarters];
  std::memcpy(sum, sums, sizeof sum);
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t i = 0; i < runs.fours; ++i, from += four, weights += four_bytes) {
#pragma GCC unroll 6
      for (int r = 0; r < rows; ++r) {
        const int8x16_t inputs = inputs_at(from + r * stride);
#pragma GCC unroll 4
        for (int part = 0; part < quarters; ++part) {
          sum[r][part] = vdotq_s32(sum[r][part], vld1q_s8(weights + part * quarter_bytes), inputs);
        }
      }
    }
  }
  std::memcpy(sums, sum, sizeof sum);
}

constexpr W1A8Tiles<6, 1> tiles{spread, {{tile<1>, tile<2>, tile<3>, tile<4>, tile<5>, tile<6>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) { convolve_lines(tiles, image, lines, panels); }

}  // namespace proxconnect::neon_dot
