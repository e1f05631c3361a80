// The macro-kernel of W1A8 convolutions: the loops around a W1A8 micro-kernel that reads the pixels of a quantized
// image where they lie.
#pragma once

#include "sets/common/quantize.h"
#include "sets/common/scratch.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect {
namespace {

template <int max_rows, int max_panels>
void w1a8_conv_macro_kernel(const W1A8MicroKernels<max_rows, max_panels>& micro_kernels, const W1A8Image& image,
                            Range lines, Range panels) {
  constexpr std::int64_t unpacked_steps = 6144;  // stay in the second-level cache
  const W1A8Conv& conv = image.conv;
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  const std::int64_t height = at.y.outputs(), width = at.x.outputs();
  const std::int64_t group_outputs = b.n / b.groups, group_panels = panels_of(group_outputs);
  const std::int64_t pixel = conv.pixel_bytes(), tap_steps = conv.group_bytes() / k_step;
  const std::int64_t panel_steps = b.taps() * tap_steps;
  const std::int64_t fitting = unpacked_steps / panel_steps / max_panels * max_panels;
  const std::int64_t block_panels = fitting > max_panels ? fitting : max_panels;

  // Taps side by side in memory make one run.
  const bool side_by_side = at.x.dilation == 1 && b.groups == 1;
  const std::int64_t line_runs = side_by_side ? 1 : b.kernel_x;
  const own::Array<std::int64_t> offsets(b.kernel_y * line_runs);
  for (std::int64_t run = 0; run < offsets.size(); ++run) {
    const std::int64_t y = run / line_runs, x = run % line_runs;
    offsets.data()[run] = y * at.y.dilation * conv.line_bytes() + x * at.x.dilation * pixel;
  }
  const Runs runs{offsets.data(), offsets.size(), tap_steps * (side_by_side ? b.kernel_x : 1)};

  auto* const weights = scratch<Scratch::weights, Integers>(block_panels * panel_steps);
  auto* const starts = scratch<Scratch::starts, Integers>(block_panels);
  const auto bytes_of = [&](std::int64_t panel) {
    return reinterpret_cast<std::int8_t*>(weights) + panel * panel_steps * step_bytes;
  };
  const QuantizationStep step(image.greatest, 127);
  const Parts tiles(width, max_rows);
  Integers sums[max_rows * max_panels];

  for (std::int64_t first = panels.begin; first < panels.end;) {
    // A block of panels lies in one group.
    const std::int64_t group = first / group_panels, group_end = (group + 1) * group_panels;
    const std::int64_t end = group_end < panels.end ? group_end : panels.end;
    const std::int64_t count = end - first < block_panels ? end - first : block_panels;
    const auto panels_at = [&](std::int64_t p) {
      return static_cast<int>(count - p < max_panels ? count - p : max_panels);
    };
    for (std::int64_t p = 0; p < count; ++p) {
      const std::int64_t in_tile = p % max_panels, tile_panels = panels_at(p - in_tile);
      Integers total = {};
      for (std::int64_t tap = 0; tap < b.taps(); ++tap) {
        total += micro_kernels.unpack_signs(
            b.words + (first + p) * b.panel_words() + tap * b.channel_words() * panel_width, tap_steps,
            tile_panels * step_bytes, bytes_of(p - in_tile) + (tap * tap_steps * tile_panels + in_tile) * step_bytes);
      }
      starts[p] = -zero_byte * total;
    }
    for (std::int64_t line = lines.begin; line < lines.end; ++line) {
      const std::uint8_t* const q = image.q + line * at.y.stride * conv.line_bytes() + group * conv.group_bytes();
      const std::int64_t line_row = (image.index * height + line) * width;
      for (std::int64_t tile = 0; tile < tiles.count(); ++tile) {
        const auto [x, x_end] = tiles[tile];
        const int rows = static_cast<int>(x_end - x);
        for (std::int64_t p = 0; p < count; p += max_panels) {
          const int tile_panels = panels_at(p);
          micro_kernels.kernels[tile_panels - 1][rows - 1](q + x * at.x.stride * pixel, at.x.stride * pixel, runs,
                                                           bytes_of(p), false, sums);
          for (int i = 0; i < tile_panels; ++i) {
            const std::int64_t in_group = (first + p + i - group * group_panels) * panel_width;
            const Place place(0, group * group_outputs + in_group, b.n, group_outputs - in_group);
            const auto scale = load<Floats>(conv.output.scale + place.j, place.width);
            const AffineWriter write(conv.output, place);
            const Integers start = starts[p + i];
            for (int r = 0; r < rows; ++r) {
              write.finish(line_row + x + r, to_floats(sums[r * tile_panels + i] + start) * scale * step.step);
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
