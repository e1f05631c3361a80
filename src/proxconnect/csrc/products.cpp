#include "products.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <vector>

#include "dispatch.h"
#include "pool.h"

namespace proxconnect {
namespace {

// Below this many products of a sign and an input, handing work to another thread costs more than it saves.
constexpr std::int64_t least_work = std::int64_t{1} << 20;

std::int64_t worthwhile(std::int64_t threads, std::int64_t work) {
  return std::clamp<std::int64_t>(work / least_work, 1, std::max<std::int64_t>(threads, 1));
}

// Calls part(rows, panels) for parts of an m-row product: of its rows where there are enough of them to keep every
// thread's tiles full, of its panels otherwise.
template <typename Part>
void split(std::int64_t m, const Panels& b, std::int64_t threads, const Part& part) {
  constexpr std::int64_t enough_rows = 16;
  const std::int64_t useful = worthwhile(threads, m * b.n * b.k);
  const std::int64_t panels = panels_of(b.n);
  if (m >= enough_rows * useful) {
    parallel_ranges(m, useful, [&](Range rows) { part(rows, Range{0, panels}); });
  } else {
    parallel_ranges(panels, useful, [&](Range some) { part(Range{0, m}, some); });
  }
}

}  // namespace

bool padding_is_clear(const SignRows& rows, std::int64_t k) {
  if (k % 8 == 0) return true;
  const std::uint8_t* last = rows.bits + k / 8;
  unsigned bits = 0;
  for (std::int64_t row = 0; row < rows.m; ++row) bits |= last[row * rows.stride];
  return bits >> (k % 8) == 0;
}

void make_panels(const SignRows& rows, std::int64_t k, std::uint32_t* words) {
  const std::int64_t panel_words = words_of(k) * panel_width;
  std::fill_n(words, panels_of(rows.m) * panel_words, 0u);
  for (std::int64_t row = 0; row < rows.m; ++row) {
    const std::uint8_t* bits = rows.bits + row * rows.stride;
    std::uint32_t* out = words + row / panel_width * panel_words + row % panel_width;
    for (std::int64_t byte = 0; byte < packed_width(k); ++byte) {
      out[byte / 4 * panel_width] |= static_cast<std::uint32_t>(bits[byte]) << (byte % 4 * 8);
    }
  }
}

std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits,
                        std::int64_t threads) {
  std::atomic<bool> nan{false};
  parallel_ranges(rows, worthwhile(threads, rows * columns), [&](Range part) {
    if (active_kernels().pack_signs(x + part.begin * columns, part.end - part.begin, columns,
                                    bits + part.begin * packed_width(columns))) {
      nan.store(true, std::memory_order_relaxed);
    }
  });
  return nan ? std::find_if(x, x + rows * columns, [](float value) { return std::isnan(value); }) - x : -1;
}

void unpack_weights(const PackedRows& packed, std::int64_t rows, float* weights, std::int64_t threads) {
  parallel_ranges(rows, worthwhile(threads, rows * packed.columns),
                  [&](Range part) { active_kernels().unpack_weights(packed, part, weights); });
}

void multiply(const W1A1<SumsOutput>& product, std::int64_t threads) {
  split(product.a.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a1_sums(product, rows, panels); });
}

void multiply(const W1A1<AffineOutput>& product, std::int64_t threads) {
  split(product.a.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a1_affine(product, rows, panels); });
}

void multiply(const W1A1<SignsOutput>& product, std::int64_t threads) {
  split(product.a.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a1_signs(product, rows, panels); });
}

bool multiply(const W1A8& product, std::int64_t threads) {
  std::atomic<bool> finite{true};
  split(product.x.m, product.b, threads, [&](Range rows, Range panels) {
    if (!active_kernels().w1a8(product, rows, panels)) finite.store(false, std::memory_order_relaxed);
  });
  return finite;
}

void multiply(const W1A32& product, std::int64_t threads) {
  split(product.x.m, product.b, threads,
        [&](Range rows, Range panels) { active_kernels().w1a32(product, rows, panels); });
}

void multiply(W1A32Conv product, std::int64_t threads) {
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
