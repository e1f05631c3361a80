// Quantizes images of float32 to bytes, with room around them.

#include <utility>

#include "sets/common/kernels.h"
#include "sets/common/quantize.h"
#include "sets/common/shuffle.h"
#include "sets/common/w1a8_micro_kernel.h"

namespace proxconnect::KERNEL_SET {
namespace {

// Quantizes the pixels of one line, whose channels are dense.
void quantize_dense_channels(const W1A8Conv& conv, const float* x, const QuantizationStep& step, std::uint8_t* q) {
  const std::int64_t channels = conv.b.group_channels(), bytes = conv.group_bytes(), groups = conv.b.groups;
  if (channels == bytes && conv.x.column_stride == conv.b.channels) {
    quantize(x, conv.geometry.x.size * conv.b.channels, step, zero_byte, conv.geometry.x.size * conv.b.channels, q);
    return;
  }
  for (std::int64_t pixel = 0; pixel < conv.geometry.x.size; ++pixel) {
    for (std::int64_t g = 0; g < groups; ++g, q += bytes) {
      quantize(x + pixel * conv.x.column_stride + g * channels, channels, step, zero_byte, bytes, q);
    }
  }
}

// Turns what four channels have at sixteen pixels into what sixteen pixels have in four channels.
template <int... i>
void interleave(const Bytes (&channels)[k_step], Bytes (&pixels)[k_step], std::integer_sequence<int, i...>) {
  constexpr int half = quantized_lanes / 2;
  // Bytes, or pairs of bytes, alternate between the two vectors.
  constexpr auto byte = [](int place) { return place % 2 * quantized_lanes + place / 2; };
  constexpr auto pair = [](int place) { return place / 2 % 2 * quantized_lanes + place / 4 * 2 + place % 2; };
  const Bytes low[2] = {shuffled<byte(i)...>(channels[0], channels[1]), shuffled<byte(i)...>(channels[2], channels[3])};
  const Bytes high[2] = {shuffled<half + byte(i)...>(channels[0], channels[1]),
                         shuffled<half + byte(i)...>(channels[2], channels[3])};
  pixels[0] = shuffled<pair(i)...>(low[0], low[1]);
  pixels[1] = shuffled<half + pair(i)...>(low[0], low[1]);
  pixels[2] = shuffled<pair(i)...>(high[0], high[1]);
  pixels[3] = shuffled<half + pair(i)...>(high[0], high[1]);
}

// Quantizes the pixels of one line, which are dense in each channel.
void quantize_dense_pixels(const W1A8Conv& conv, const float* x, const QuantizationStep& step, std::uint8_t* q) {
  const std::int64_t channels = conv.b.group_channels(), pixel_bytes = conv.pixel_bytes();
  const Bytes zeros = Bytes{} + static_cast<std::uint8_t>(zero_byte);
  for (std::int64_t first = 0; first < conv.geometry.x.size; first += quantized_lanes) {
    const std::int64_t left = conv.geometry.x.size - first;
    const int width = static_cast<int>(left < quantized_lanes ? left : quantized_lanes);
    for (std::int64_t g = 0; g < conv.b.groups; ++g) {
      for (std::int64_t c = 0; c < channels; c += k_step) {
        Bytes planes[k_step] = {zeros, zeros, zeros, zeros}, pixels[k_step];
        for (std::int64_t part = 0; part < k_step && c + part < channels; ++part) {
          const float* plane = x + (g * channels + c + part) * conv.x.channel_stride;
          planes[part] = quantized(plane + first, width, step, zero_byte);
        }
        interleave(planes, pixels, std::make_integer_sequence<int, quantized_lanes>());
        const auto* from = reinterpret_cast<const std::uint8_t*>(pixels);
        std::uint8_t* const to = q + first * pixel_bytes + g * conv.group_bytes() + c;
        for (int pixel = 0; pixel < width; ++pixel) {
          std::memcpy(to + pixel * pixel_bytes, from + pixel * k_step, k_step);
        }
      }
    }
  }
}

}  // namespace

float greatest_magnitude(const float* x, std::int64_t count) { return proxconnect::greatest_magnitude(x, count); }

void w1a8_pixels(const W1A8Image& image, Range lines) {
  const W1A8Conv& conv = image.conv;
  const QuantizationStep step(image.greatest, 127);
  const std::int64_t border = conv.geometry.x.padding * conv.pixel_bytes();
  const auto clear = [](std::uint8_t* from, std::int64_t count) {
    std::memset(from, zero_byte, static_cast<std::size_t>(count));
  };
  for (std::int64_t line = lines.begin; line < lines.end; ++line) {
    std::uint8_t* const q = image.q + line * conv.line_bytes();
    const std::int64_t y = line - conv.geometry.y.padding;
    if (y < 0 || y >= conv.geometry.y.size) {
      clear(q, conv.line_bytes());
      continue;
    }
    clear(q, border);
    clear(q + conv.line_bytes() - border, border);
    const float* x = conv.x.values + image.index * conv.x.image_stride + y * conv.x.row_stride;
    if (conv.x.channel_stride == 1) {
      quantize_dense_channels(conv, x, step, q + border);
    } else {
      quantize_dense_pixels(conv, x, step, q + border);
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
