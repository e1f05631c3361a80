// Convolutions of floats: by look-up tables of pixels, line by line, where the set has that and it pays, and otherwise
// on planes that each image is copied to.

#include <algorithm>
#include <memory>

#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {
namespace {

// Returns whether tables of pixels pay. Those that a line of outputs reads have to stay in a cache. They have to serve
// more than one tap each, unless outputs are too few to fill the lanes of the other way.
bool tables_pay(const W1A32Conv& conv) {
  constexpr std::int64_t max_tables = 1 << 14;  // of 128 bytes
  const Geometry& at = conv.geometry;
  const bool shared = conv.b.taps() > at.y.stride * at.x.stride;
  const bool lanes_stay_empty = at.outputs() < panel_width;
  return (shared || lanes_stay_empty) && conv.line_tables() <= max_tables;
}

void convolve_lines(const W1A32Conv& conv, std::int64_t threads) {
  const std::int64_t lines = conv.x.count * conv.geometry.y.outputs();
  const std::int64_t panels = conv.b.panels();
  if (lines >= 4 * threads) {
    const auto line_part = [&](Range part) { active_kernels().w1a32_lines(conv, part, Range{0, panels}); };
    parallel_ranges(lines, threads, line_part, 1);
  } else {
    const auto panel_part = [&](Range part) { active_kernels().w1a32_lines(conv, Range{0, lines}, part); };
    parallel_ranges(panels, threads, panel_part, 1);
  }
}

void convolve_planes(const W1A32Conv& conv, std::int64_t threads) {
  constexpr std::int64_t parts_of_lines = 2;
  const ConvPanels& b = conv.b;
  W1A32Image image(conv);
  const std::int64_t lines = conv.geometry.y.outputs(), columns = conv.geometry.x.outputs();
  const std::int64_t blocks = (columns + panel_width - 1) / panel_width;
  const std::int64_t useful = useful_threads(threads, lines * columns * b.n * b.taps() * b.group_channels());
  const std::int64_t copying = useful_threads(threads, image.plane_floats());
  const std::unique_ptr<float[]> planes(new float[static_cast<std::size_t>(image.plane_floats())]);
  std::fill_n(planes.get() + b.channels * image.channel_floats, image.channel_floats + 2 * panel_width, 0.0f);
  image.planes = planes.get();
  for (; image.index < conv.x.count; ++image.index) {
    parallel_ranges(b.channels, copying, [&](Range channels) { active_kernels().w1a32_planes(image, channels); });
    // Parts of lines make the tables of the lines between them twice, so there are few.
    if (lines >= 4 * useful) {
      parallel_ranges(lines, useful, [&](Range part) {
        active_kernels().w1a32_conv(image, part, Range{0, columns}, Range{0, b.panels()});
      }, parts_of_lines);
    } else if (lines == 1 && blocks >= 2 * useful) {
      parallel_ranges(blocks, useful, [&](Range part) {
        const Range at{part.begin * panel_width, std::min(part.end * panel_width, columns)};
        active_kernels().w1a32_conv(image, Range{0, lines}, at, Range{0, b.panels()});
      });
    } else {
      parallel_ranges(b.panels(), useful, [&](Range panels) {
        active_kernels().w1a32_conv(image, Range{0, lines}, Range{0, columns}, panels);
      });
    }
  }
}

}  // namespace

void convolve(const W1A32Conv& conv, std::int64_t threads) {
  check_convolution(conv);
  const ConvPanels& b = conv.b;
  const std::int64_t outputs = conv.geometry.outputs();
  if (outputs == 0) return;
  if (active_kernels().w1a32_lines != nullptr && tables_pay(conv)) {
    const std::int64_t work = conv.x.count * outputs * b.n * b.taps() * b.group_channels();
    convolve_lines(conv, useful_threads(threads, work));
  } else {
    convolve_planes(conv, threads);
  }
}

}  // namespace proxconnect
