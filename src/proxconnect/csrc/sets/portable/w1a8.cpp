#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::portable {
namespace {

void tile(const std::uint8_t* q, std::int64_t, const Runs& runs, const std::int8_t* weights, Integers* sums) {
  Integers sum = *sums;
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t i = 0; i < runs.fours; ++i, from += four, weights += four_bytes) {
      for (int j = 0; j < panel_width; ++j) {
        for (int part = 0; part < four; ++part) {
          sum[j] += static_cast<std::int8_t>(from[part]) * weights[j * four + part];
        }
      }
    }
  }
  *sums = sum;
}

constexpr W1A8Tiles<1, 1> tiles{spread_signs, {{tile}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) { return w1a8_loop(tiles, product, rows, panels); }

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) { convolve_lines(tiles, image, lines, panels); }

}  // namespace proxconnect::portable
