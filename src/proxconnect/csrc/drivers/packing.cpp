// Packing, unpacking and panels: work that precedes products and convolutions.

#include "drivers/packing.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>

#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {

std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits,
                        std::int64_t threads) {
  check_matrix(rows, columns);
  std::atomic<bool> nan{false};
  parallel_ranges(rows, useful_threads(threads, products_of_sign * rows * columns), [&](Range part) {
    if (active_kernels().pack_signs(x + part.begin * columns, part.end - part.begin, columns,
                                    bits + part.begin * packed_width(columns))) {
      nan.store(true, std::memory_order_relaxed);
    }
  });
  return nan ? std::find_if(x, x + rows * columns, [](float value) { return std::isnan(value); }) - x : -1;
}

bool pack_planes(const float* x, std::int64_t count, std::int64_t channels, std::int64_t pixels, std::uint8_t* bits,
                 std::int64_t threads) {
  check_planes(count, channels, pixels);
  constexpr std::int64_t block = 256;  // pixels
  const std::int64_t blocks = (pixels + block - 1) / block;
  const std::int64_t width = packed_width(channels);
  std::atomic<bool> nan{false};
  const std::int64_t useful = useful_threads(threads, products_of_sign * count * channels * pixels);
  parallel_ranges(count * blocks, useful, [&](Range part) {
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

void unpack_weights(const PackedRows& packed, std::int64_t rows, float* weights, std::int64_t threads) {
  check_matrix(rows, packed.columns);
  check_group(packed.columns, packed.group, 1);
  parallel_ranges(rows, useful_threads(threads, rows * packed.columns),
                  [&](Range part) { active_kernels().unpack_weights(packed, part, weights); });
}

bool padding_is_clear(const SignRows& rows, std::int64_t k) {
  check_matrix(rows.m, k);
  if (k % 8 == 0) return true;
  const std::uint8_t* last = rows.bits + k / 8;
  unsigned bits = 0;
  for (std::int64_t row = 0; row < rows.m; ++row) bits |= last[row * rows.stride];
  return bits >> (k % 8) == 0;
}

void make_panels(const SignRows& rows, std::int64_t k, std::uint32_t* words, std::int64_t planes) {
  check_planes(planes, rows.m, k);
  const std::int64_t panel_words = words_of(k) * panel_width;
  constexpr auto word_bytes = static_cast<std::int64_t>(sizeof *words);
  for (std::int64_t first = 0; first < rows.m; first += panel_width, words += planes * panel_words) {
    const std::int64_t width = std::min(panel_width, rows.m - first);
    if (width < panel_width) std::fill_n(words, panel_words, 0u);
    // Word by word, so that the words of a panel are written in the order in which they lie.
    for (std::int64_t word = 0; word < words_of(k); ++word) {
      const auto bytes = std::min(word_bytes, packed_width(k) - word * word_bytes);
      for (std::int64_t j = 0; j < width; ++j) {
        const std::uint8_t* const from = rows.bits + (first + j) * rows.stride + word * word_bytes;
        std::uint32_t value = 0;
        if (bytes == word_bytes) {
          std::memcpy(&value, from, sizeof value);
        } else {
          for (std::int64_t byte = 0; byte < bytes; ++byte) value |= std::uint32_t{from[byte]} << (8 * byte);
        }
        words[word * panel_width + j] = value;
      }
    }
  }
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

}  // namespace proxconnect
