#include <atomic>
#include <bit>
#include <limits>
#include <memory>

#include "drivers/conv.h"
#include "drivers/sizes.h"
#include "sets/dispatch.h"
#include "threads/parallel.h"
#include "threads/worthwhile.h"

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

bool convolve_image(W1A8Image image, std::int64_t threads) {
  const W1A8Conv& conv = image.conv;
  const std::int64_t inputs = conv.x.channels * conv.x.height * conv.x.width;
  const std::int64_t some = worthwhile(threads, inputs);
  image.greatest = greatest_magnitude(conv.x.values + image.index * conv.x.image_stride, inputs, some);
  if (!(image.greatest <= std::numeric_limits<float>::max())) return false;
  parallel_ranges(conv.padded_height(), some, [&](Range lines) { active_kernels().w1a8_pixels(image, lines); });

  // Lines where there are enough of them to repay spreading the weights in every thread, panels otherwise.
  constexpr std::int64_t enough_rows = 64;
  const std::int64_t rows = image.output_height * image.output_width;
  if (rows >= enough_rows * threads && image.output_height >= threads) {
    parallel_ranges(image.output_height, threads,
                    [&](Range lines) { active_kernels().w1a8_conv(image, lines, {0, conv.b.panels()}); });
  } else {
    parallel_ranges(conv.b.panels(), threads,
                    [&](Range panels) { active_kernels().w1a8_conv(image, {0, image.output_height}, panels); });
  }
  return true;
}

}  // namespace

bool convolve(const W1A8Conv& conv, std::int64_t threads) {
  check_convolution(conv, threads);
  const ConvPanels& b = conv.b;
  const Geometry& at = conv.geometry;
  const std::int64_t height = output_size(conv.x.height, b.kernel_y, at.stride_y, at.padding_y, at.dilation_y);
  const std::int64_t width = output_size(conv.x.width, b.kernel_x, at.stride_x, at.padding_x, at.dilation_x);
  if (height == 0 || width == 0) return true;
  const std::int64_t useful =
      worthwhile(threads, conv.x.count * height * width * b.n * b.taps() * b.group_channels());
  const bool by_images = conv.x.count >= useful;
  std::atomic<bool> finite{true};
  parallel_ranges(conv.x.count, by_images ? useful : 1, [&](Range images) {
    const std::unique_ptr<std::uint8_t[]> q(
        new std::uint8_t[static_cast<std::size_t>(conv.padded_height() * conv.line_bytes())]);
    for (std::int64_t image = images.begin; image < images.end; ++image) {
      if (!convolve_image({conv, image, 0.0f, q.get(), height, width}, by_images ? 1 : useful)) {
        finite.store(false, std::memory_order_relaxed);
      }
    }
  });
  return finite;
}

}  // namespace proxconnect
