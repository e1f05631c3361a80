// The W1A8 micro-kernel of NEON multiplies signs as bytes by inputs as bytes and adds the pairs of products up in 16
// bits for as long as they fit.

#include "sets/common/accumulate.h"
#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"
#include "sets/neon/unpack_signs.h"

namespace proxconnect::neon {
namespace {

constexpr std::int64_t steps_that_fit = 128;  // 16 bits: 128 * 2 * 127 < 2^15

template <int rows>
void micro_kernel(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights,
                  bool add, Integers* sums) {
  if (!add) own::fill_n(sums, rows, Integers{});
  int16x8_t sum[rows][quarters];
#pragma GCC unroll 4
  for (int r = 0; r < rows; ++r) {
#pragma GCC unroll 4
    for (int part = 0; part < quarters; ++part) sum[r][part] = vdupq_n_s16(0);
  }
  const auto widen = [&]() __attribute__((always_inline)) {
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
  const auto multiply = [&](std::int64_t run, std::int64_t first, std::int64_t count) __attribute__((always_inline)) {
    const std::uint8_t* from = q + runs.offsets[run] + first * k_step;
    for (std::int64_t step = 0; step < count; ++step, from += k_step, weights += step_bytes) {
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
  };
  accumulate<steps_that_fit>(runs.count, runs.k_steps, multiply, widen);
}

constexpr W1A8MicroKernels<4, 1> micro_kernels{
    unpack_signs, {{micro_kernel<1>, micro_kernel<2>, micro_kernel<3>, micro_kernel<4>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  return w1a8_macro_kernel(micro_kernels, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
}

}  // namespace proxconnect::neon
