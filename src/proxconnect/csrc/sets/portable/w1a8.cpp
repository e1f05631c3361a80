// The W1A8 micro-kernel of the portable set.

#include "sets/common/kernels.h"
#include "sets/common/w1a8_conv_macro_kernel.h"
#include "sets/common/w1a8_macro_kernel.h"

namespace proxconnect::portable {
namespace {

void micro_kernel(const std::uint8_t* q, std::int64_t, const Runs& runs, const std::int8_t* weights, bool add,
                  Integers* sums) {
  Integers sum = add ? *sums : Integers{};
  for (std::int64_t run = 0; run < runs.count; ++run) {
    const std::uint8_t* from = q + runs.offsets[run];
    for (std::int64_t step = 0; step < runs.k_steps; ++step, from += k_step, weights += step_bytes) {
      for (int j = 0; j < panel_width; ++j) {
        for (int i = 0; i < k_step; ++i) {
          sum[j] += static_cast<std::int8_t>(from[i]) * weights[j * k_step + i];
        }
      }
    }
  }
  *sums = sum;
}

Integers unpack_signs(const std::uint32_t* words, std::int64_t k_steps, std::int64_t between, std::int8_t* weights) {
  Integers total = {};
  for (std::int64_t step = 0; step < k_steps; ++step, weights += between) {
    const std::uint32_t* word = words + step / steps_of_word * panel_width;
    const std::int64_t first = step % steps_of_word * k_step;
    for (int byte = 0; byte < step_bytes; ++byte) {
      weights[byte] = word[byte / k_step] >> (first + byte % k_step) & 1u ? 1 : -1;
      total[byte / k_step] += weights[byte];
    }
  }
  return total;
}

constexpr W1A8MicroKernels<1, 1> micro_kernels{unpack_signs, {{micro_kernel}}};

}  // namespace

bool w1a8(const W1A8& product, Range rows, Range panels) {
  return w1a8_macro_kernel(micro_kernels, product, rows, panels);
}

void w1a8_conv(const W1A8Image& image, Range lines, Range panels) {
  w1a8_conv_macro_kernel(micro_kernels, image, lines, panels);
}

}  // namespace proxconnect::portable
