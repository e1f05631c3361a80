// The loop around a W1A8 tile that reads the pixels of a quantized image where they are.
#pragma once

#include "sets/common/quantize.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

template <int most_rows, int most_panels>
void convolve_lines(const W1A8Tiles<most_rows, most_panels>& with, const W1A8Image& image, Range lines, Range panels) {
  constexpr std::int64_t spread_fours = 6144;  // stay in the second-level cache
  const W1A8Conv& conv = image.conv;
  const ConvPanels& b = conv.b;
  const Geometry& geometry = conv.geometry;
  const std::int64_t group_outputs = b.n / b.groups, group_panels = panels_of(group_outputs);
  const std::int64_t pixel = conv.pixel_bytes(), tap_fours = conv.group_bytes() / four;
  const std::int64_t panel_fours = b.taps() * tap_fours;
  const std::int64_t fitting = spread_fours / panel_fours / most_panels * most_panels;
  const std::int64_t together = fitting > most_panels ? fitting : most_panels;

  // Taps side by side in memory make one run.
  const bool side_by_side = geometry.dilation_x == 1 && b.groups == 1;
  const std::int64_t line_runs = side_by_side ? 1 : b.kernel_x;
  const own::Array<std::int64_t> offsets(b.kernel_y * line_runs);
  for (std::int64_t run = 0; run < offsets.size(); ++run) {
    const std::int64_t y = run / line_runs, x = run % line_runs;
    offsets.data()[run] = y * geometry.dilation_y * conv.line_bytes() + x * geometry.dilation_x * pixel;
  }
  const Runs runs{offsets.data(), offsets.size(), tap_fours * (side_by_side ? b.kernel_x : 1)};

  auto* const weights = scratch<Scratch::weights, Integers>(together * panel_fours);
  auto* const starts = scratch<Scratch::starts, Integers>(together);
  const auto bytes_of = [&](std::int64_t panel) {
    return reinterpret_cast<std::int8_t*>(weights) + panel * panel_fours * four_bytes;
  };
  const Step by(image.greatest, 127);
  const Parts tiles(image.output_width, most_rows);
  Integers sums[most_rows * most_panels];

  for (std::int64_t first = panels.begin; first < panels.end;) {
    // Some panels of one group.
    const std::int64_t group = first / group_panels, group_end = (group + 1) * group_panels;
    const std::int64_t end = group_end < panels.end ? group_end : panels.end;
    const std::int64_t count = end - first < together ? end - first : together;
    const auto width_at = [&](std::int64_t p) {
      return static_cast<int>(count - p < most_panels ? count - p : most_panels);
    };
    for (std::int64_t p = 0; p < count; ++p) {
      const std::int64_t in_tile = p % most_panels, width = width_at(p - in_tile);
      Integers total = {};
      for (std::int64_t tap = 0; tap < b.taps(); ++tap) {
        total += with.spread(b.words + (first + p) * b.panel_words() + tap * b.channel_words() * panel_width,
                             tap_fours, width * four_bytes,
                             bytes_of(p - in_tile) + (tap * tap_fours * width + in_tile) * four_bytes);
      }
      starts[p] = -zero_byte * total;
    }
    for (std::int64_t line = lines.begin; line < lines.end; ++line) {
      const std::uint8_t* const q =
          image.q + line * geometry.stride_y * conv.line_bytes() + group * conv.group_bytes();
      const std::int64_t line_row = (image.index * image.output_height + line) * image.output_width;
      for (std::int64_t tile = 0; tile < tiles.count(); ++tile) {
        const auto [x, x_end] = tiles[tile];
        const int rows = static_cast<int>(x_end - x);
        for (std::int64_t p = 0; p < count; p += most_panels) {
          const int width = width_at(p);
          for (int i = 0; i < rows * width; ++i) sums[i] = starts[p + i % width];
          with.tiles[width - 1][rows - 1](q + x * geometry.stride_x * pixel, geometry.stride_x * pixel, runs,
                                          bytes_of(p), sums);
          for (int i = 0; i < width; ++i) {
            const std::int64_t in_group = (first + p + i - group * group_panels) * panel_width;
            const Place at(0, group * group_outputs + in_group, b.n, group_outputs - in_group);
            const auto scale = load<Floats>(conv.output.scale + at.j, at.width);
            const AffineWriter write(conv.output, at);
            for (int r = 0; r < rows; ++r) {
              write.finish(line_row + x + r, to_floats(sums[r * width + i]) * scale * by.step);
            }
          }
        }
      }
    }
    first += count;
  }
}

}  // namespace
}  // namespace proxconnect
