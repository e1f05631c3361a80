#include "drivers/conv.h"

#include <algorithm>
#include <atomic>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/worthwhile.h"

namespace proxconnect {

std::int64_t output_size(std::int64_t size, std::int64_t taps, std::int64_t stride, std::int64_t padding,
                         std::int64_t dilation) {
  const std::int64_t reach = size + 2 * padding - dilation * (taps - 1) - 1;
  return reach < 0 ? 0 : reach / stride + 1;
}

void make_conv_panels(const std::uint8_t* bits, std::int64_t stride, const ConvPanels& panels, std::uint32_t* words,
                      std::int32_t* tap_sums) {
  check_weight(panels);
  const std::int64_t group_outputs = panels.n / panels.groups;
  const std::int64_t channel_words = panels.channel_words();
  std::fill_n(words, panels.panels() * panels.panel_words(), 0u);
  const std::int64_t line = panels.kernel_x + 1;
  std::fill_n(tap_sums, panels.panels() * (panels.kernel_y + 1) * line * panel_width, 0);
  for (std::int64_t j = 0; j < panels.n; ++j) {
    const std::int64_t in_group = j % group_outputs;
    const std::int64_t panel = j / group_outputs * panels_of(group_outputs) + in_group / panel_width;
    std::uint32_t* word = words + panel * panels.panel_words() + in_group % panel_width;
    std::int32_t* sum = tap_sums + panel * (panels.kernel_y + 1) * line * panel_width + in_group % panel_width;
    for (std::int64_t tap = 0; tap < panels.taps(); ++tap, word += channel_words * panel_width) {
      std::int32_t signs = 0;
      for (std::int64_t c = 0; c < panels.group_channels(); ++c) {
        const bool bit = bit_at(bits + j * stride, c * panels.taps() + tap);
        word[c / word_bits * panel_width] |= std::uint32_t{bit} << (c % word_bits);
        signs += bit ? 1 : -1;
      }
      const std::int64_t y = tap / panels.kernel_x, x = tap % panels.kernel_x;
      const auto before = [&](std::int64_t tap_y, std::int64_t tap_x) -> std::int32_t& {
        return sum[(tap_y * line + tap_x) * panel_width];
      };
      before(y + 1, x + 1) = signs + before(y, x + 1) + before(y + 1, x) - before(y, x);
    }
  }
}

bool pack_planes(const float* x, std::int64_t count, std::int64_t channels, std::int64_t pixels, std::uint8_t* bits,
                 std::int64_t threads) {
  check_planes(count, channels, pixels);
  constexpr std::int64_t block = 256;  // pixels
  const std::int64_t blocks = (pixels + block - 1) / block;
  const std::int64_t width = packed_width(channels);
  std::atomic<bool> nan{false};
  parallel_ranges(count * blocks, worthwhile(threads, products_of_sign * count * channels * pixels), [&](Range part) {
    for (std::int64_t i = part.begin; i < part.end; ++i) {
      const std::int64_t image = i / blocks, first = i % blocks * block;
      if (active_kernels().pack_planes(x + image * channels * pixels + first, pixels, channels,
                                       std::min(block, pixels - first), bits + (image * pixels + first) * width)) {
        nan.store(true, std::memory_order_relaxed);
      }
    }
  });
  return nan;
}

}  // namespace proxconnect
