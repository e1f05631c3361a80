#include <algorithm>
#include <memory>
#include <numeric>
#include <vector>

#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/worthwhile.h"

namespace proxconnect {
namespace {

// Whether tables of pixels, of which those that a line of outputs reads stay near, serve more than one tap each, or outputs
// are too few to be lanes.
bool pays(const W1A32Lines& lines) {
  constexpr std::int64_t most_tables = 1 << 14;  // of 128 bytes
  const Geometry& at = lines.conv.geometry;
  const bool shared = lines.conv.b.taps() > at.stride_y * at.stride_x;
  const bool few = lines.output_height * lines.output_width < panel_width;
  return (shared || few) && lines.tables() <= most_tables;
}

void convolve_lines(const W1A32Lines& all, std::int64_t threads) {
  const std::int64_t lines = all.conv.x.count * all.output_height;
  const std::int64_t panels = all.conv.b.panels();
  if (lines >= 4 * threads) {
    const auto some_lines = [&](Range some) { active_kernels().w1a32_lines(all, some, Range{0, panels}); };
    parallel_ranges(lines, threads, some_lines, 1);
  } else {
    const auto some_panels = [&](Range some) { active_kernels().w1a32_lines(all, Range{0, lines}, some); };
    parallel_ranges(panels, threads, some_panels, 1);
  }
}

void convolve_planes(const W1A32Conv& conv, const ConvAxis& vertical, const ConvAxis& horizontal, std::int64_t threads) {
  const ConvPanels& b = conv.b;
  W1A32Image image{conv, 0, vertical, horizontal, nullptr, nullptr};
  const std::int64_t positions = image.positions();
  const std::int64_t blocks = (positions + panel_width - 1) / panel_width;
  const std::int64_t useful = worthwhile(threads, positions * b.n * b.taps() * b.group_channels());
  const std::unique_ptr<float[]> planes(new float[static_cast<std::size_t>(image.plane_floats())]);
  std::vector<std::int64_t> taps(static_cast<std::size_t>(b.taps()));
  for (std::size_t tap = 0; tap < taps.size(); ++tap) {
    taps[tap] = image.tap_offset(static_cast<std::int64_t>(tap));
  }
  std::fill_n(planes.get() + b.channels * image.channel_floats(), image.channel_floats() + panel_width, 0.0f);
  image.planes = planes.get();
  image.taps = taps.data();
  for (; image.index < conv.x.count; ++image.index) {
    parallel_ranges(b.channels, worthwhile(threads, image.plane_floats()),
                    [&](Range channels) { active_kernels().w1a32_planes(image, channels); });
    if (blocks >= 2 * useful) {
      parallel_ranges(blocks, useful, [&](Range some) {
        const Range part{some.begin * panel_width, std::min(some.end * panel_width, positions)};
        active_kernels().w1a32_conv(image, part, Range{0, b.panels()});
      });
    } else {
      parallel_ranges(b.panels(), useful, [&](Range some) {
        active_kernels().w1a32_conv(image, Range{0, positions}, some);
      });
    }
  }
}

}  // namespace

void convolve(const W1A32Conv& conv, std::int64_t threads) {
  check_convolution(conv);
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  const auto axis = [](std::int64_t size, std::int64_t taps, std::int64_t stride, std::int64_t padding,
                       std::int64_t dilation) {
    return ConvAxis{output_size(size, taps, stride, padding, dilation), taps, stride, padding, dilation,
                    stride / std::gcd(stride, dilation)};
  };
  const ConvAxis vertical = axis(conv.x.height, b.kernel_y, at.stride_y, at.padding_y, at.dilation_y);
  const ConvAxis horizontal = axis(conv.x.width, b.kernel_x, at.stride_x, at.padding_x, at.dilation_x);
  if (vertical.output == 0 || horizontal.output == 0) return;
  const W1A32Lines lines{conv, vertical.output, horizontal.output};
  if (active_kernels().w1a32_lines != nullptr && pays(lines)) {
    const std::int64_t outputs = conv.x.count * lines.output_height * lines.output_width * b.n;
    convolve_lines(lines, worthwhile(threads, outputs * b.taps() * b.group_channels()));
  } else {
    convolve_planes(conv, vertical, horizontal, threads);
  }
}

}  // namespace proxconnect
