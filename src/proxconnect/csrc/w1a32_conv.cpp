#include <algorithm>
#include <memory>
#include <vector>

#include "convolutions.h"
#include "dispatch.h"
#include "pool.h"
#include "worthwhile.h"

namespace proxconnect {

void convolve(W1A32Conv product, std::int64_t threads) {
  const ConvPanels& b = product.b;
  const std::int64_t positions = product.positions();
  const std::int64_t blocks = (positions + panel_width - 1) / panel_width;
  const std::int64_t useful = worthwhile(threads, positions * b.n * b.taps() * b.group_channels());
  const std::unique_ptr<float[]> planes(new float[static_cast<std::size_t>(product.plane_floats())]);
  std::vector<std::int64_t> taps(static_cast<std::size_t>(b.taps()));
  for (std::size_t tap = 0; tap < taps.size(); ++tap) {
    taps[tap] = product.tap_offset(static_cast<std::int64_t>(tap));
  }
  std::fill_n(planes.get() + b.channels * product.channel_floats(), product.channel_floats() + panel_width, 0.0f);
  product.planes = planes.get();
  product.taps = taps.data();
  for (std::int64_t image = 0; image < product.x.count; ++image) {
    parallel_ranges(b.channels, worthwhile(threads, product.plane_floats()),
                    [&](Range channels) { active_kernels().w1a32_planes(product, image, channels); });
    if (blocks >= 2 * useful) {
      parallel_ranges(blocks, useful, [&](Range some) {
        const Range part{some.begin * panel_width, std::min(some.end * panel_width, positions)};
        active_kernels().w1a32_conv(product, image, part, Range{0, b.panels()});
      });
    } else {
      parallel_ranges(b.panels(), useful, [&](Range some) {
        active_kernels().w1a32_conv(product, image, Range{0, positions}, some);
      });
    }
  }
}

}  // namespace proxconnect
