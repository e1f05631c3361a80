// The W1A8 micro-kernel of ARM processors with the dot-product extension multiplies signs as bytes by inputs as bytes,
// four to a lane (SDOT).

#include "sets/neon_dot/w1a8.h"

#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"
#include "sets/neon/unpack_signs.h"

namespace proxconnect::neon_dot {
namespace {

template <int rows>
void micro_kernel(const std::uint8_t* q, std::int64_t stride, const Runs& runs, const std::int8_t* weights,
                  bool add, Integers* sums) {
  int32x4_t sum[rows][quarters] = {};
  if (add) std::memcpy(sum, sums, sizeof sum);
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t step = 0; step < runs.k_steps; ++step, from += k_step, weights += step_bytes) {
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

constexpr W1A8MicroKernels<6, 1> micro_kernels{
    unpack_signs,
    {{micro_kernel<1>, micro_kernel<2>, micro_kernel<3>, micro_kernel<4>, micro_kernel<5>, micro_kernel<6>}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  return w1a8_macro_kernel(micro_kernels, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
}

}  // namespace proxconnect::neon_dot
