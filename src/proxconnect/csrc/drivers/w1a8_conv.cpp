// Convolutions of floats in 8 bits: each image is quantized into bytes with room for its padding, and its outputs are
// made of them.

#include <atomic>
#include <bit>
#include <limits>
#include <memory>

#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/useful_threads.h"

namespace proxconnect {
namespace {

float greatest_magnitude(const float* x, std::int64_t count, std::int64_t threads) {
  // Magnitudes order as their bits do, a NaN above all.
  std::atomic<std::int32_t> greatest{0};
  parallel_ranges(count, threads, [&](Range part) {
    const auto found =
        std::bit_cast<std::int32_t>(active_kernels().greatest_magnitude(x + part.begin, part.end - part.begin));
    std::int32_t known = greatest.load(std::memory_order_relaxed);
    while (known < found && !greatest.compare_exchange_weak(known, found, std::memory_order_relaxed)) {
    }
  });
  return std::bit_cast<float>(greatest.load());
}

// Returns whether the image is finite.
bool convolve_image(W1A8Image image, std::int64_t threads) {
  const W1A8Conv& conv = image.conv;
  const Geometry& at = conv.geometry;
  const std::int64_t inputs = conv.x.channels * at.y.size * at.x.size;
  const std::int64_t quantizing = useful_threads(threads, inputs);
  image.greatest = greatest_magnitude(conv.x.values + image.index * conv.x.image_stride, inputs, quantizing);
  if (!(image.greatest <= std::numeric_limits<float>::max())) return false;
  parallel_ranges(at.y.padded(), quantizing, [&](Range lines) { active_kernels().w1a8_pixels(image, lines); });

  // Lines where there are enough of them to repay unpacking the weights in every thread, panels otherwise.
  constexpr std::int64_t enough_rows = 64;
  const std::int64_t height = at.y.outputs();
  if (at.outputs() >= enough_rows * threads && height >= threads) {
    parallel_ranges(height, threads,
                    [&](Range lines) { active_kernels().w1a8_conv(image, lines, {0, conv.b.panels()}); });
  } else {
    parallel_ranges(conv.b.panels(), threads,
                    [&](Range panels) { active_kernels().w1a8_conv(image, {0, height}, panels); });
  }
  return true;
}

}  // namespace

bool convolve(const W1A8Conv& conv, std::int64_t threads) {
  check_convolution(conv, threads);
  const ConvPanels& b = conv.b;
  const std::int64_t outputs = conv.geometry.outputs();
  if (outputs == 0) return true;
  const std::int64_t useful = useful_threads(threads, conv.x.count * outputs * b.n * b.taps() * b.group_channels());
  const bool by_images = conv.x.count >= useful;
  std::atomic<bool> finite{true};
  parallel_ranges(conv.x.count, by_images ? useful : 1, [&](Range images) {
    const std::unique_ptr<std::uint8_t[]> q(
        new std::uint8_t[static_cast<std::size_t>(conv.geometry.y.padded() * conv.line_bytes())]);
    for (std::int64_t image = images.begin; image < images.end; ++image) {
      if (!convolve_image({conv, image, 0.0f, q.get()}, by_images ? 1 : useful)) {
        finite.store(false, std::memory_order_relaxed);
      }
    }
  });
  return finite;
}

}  // namespace proxconnect
