// From images of float32 to bytes, with room around them.

#include "shared/kernels.h"
#include "shared/quantize.h"
#include "shared/w1a8_tiles.h"

namespace proxconnect::KERNEL_SET {
namespace {

// Pixels of one line, whose channels are dense.
void quantize_dense_channels(const W1A8Conv& conv, const float* x, const Step& by, std::uint8_t* q) {
  const std::int64_t channels = conv.b.group_channels(), bytes = conv.group_bytes(), groups = conv.b.groups;
  if (channels == bytes && conv.x.column_stride == conv.b.channels) {
    quantize(x, conv.x.width * conv.b.channels, by, zero_byte, conv.x.width * conv.b.channels, q);
    return;
  }
  for (std::int64_t pixel = 0; pixel < conv.x.width; ++pixel) {
    for (std::int64_t g = 0; g < groups; ++g, q += bytes) {
      quantize(x + pixel * conv.x.column_stride + g * channels, channels, by, zero_byte, bytes, q);
    }
  }
}

// The inputs that four channels have at sixteen pixels, pixel by pixel.
void interleave(const Bytes (&channels)[four], Bytes (&pixels)[four]) {
  constexpr Bytes low = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23};
  constexpr Bytes low_pairs = {0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23};
  for (int half = 0; half < 2; ++half) {
    const Bytes from = low + static_cast<std::uint8_t>(8 * half);
    const Bytes first = __builtin_shuffle(channels[0], channels[1], from);
    const Bytes second = __builtin_shuffle(channels[2], channels[3], from);
    pixels[2 * half] = __builtin_shuffle(first, second, low_pairs);
    pixels[2 * half + 1] = __builtin_shuffle(first, second, low_pairs + std::uint8_t{8});
  }
}

// Pixels of one line, which are dense in each channel.
void quantize_dense_pixels(const W1A8Conv& conv, const float* x, const Step& by, std::uint8_t* q) {
  const std::int64_t channels = conv.b.group_channels(), pixel_bytes = conv.pixel_bytes();
  const Bytes zeros = Bytes{} + static_cast<std::uint8_t>(zero_byte);
  for (std::int64_t first = 0; first < conv.x.width; first += quantized_together) {
    const std::int64_t left = conv.x.width - first;
    const int width = static_cast<int>(left < quantized_together ? left : quantized_together);
    for (std::int64_t g = 0; g < conv.b.groups; ++g) {
      for (std::int64_t c = 0; c < channels; c += four) {
        Bytes planes[four] = {zeros, zeros, zeros, zeros}, pixels[four];
        for (std::int64_t part = 0; part < four && c + part < channels; ++part) {
          planes[part] = quantized(x + (g * channels + c + part) * conv.x.channel_stride + first, width, by, zero_byte);
        }
        interleave(planes, pixels);
        const auto* from = reinterpret_cast<const std::uint8_t*>(pixels);
        std::uint8_t* const to = q + first * pixel_bytes + g * conv.group_bytes() + c;
        for (int pixel = 0; pixel < width; ++pixel) std::memcpy(to + pixel * pixel_bytes, from + pixel * four, four);
      }
    }
  }
}

}  // namespace

float greatest_magnitude(const float* x, std::int64_t count) { return proxconnect::greatest_magnitude(x, count); }

void w1a8_pixels(const W1A8Image& image, Range lines) {
  const W1A8Conv& conv = image.conv;
  const Step by(image.greatest, 127);
  const std::int64_t border = conv.geometry.padding_x * conv.pixel_bytes();
  const auto clear = [](std::uint8_t* from, std::int64_t count) {
    std::memset(from, zero_byte, static_cast<std::size_t>(count));
  };
  for (std::int64_t line = lines.begin; line < lines.end; ++line) {
    std::uint8_t* const q = image.q + line * conv.line_bytes();
    const std::int64_t y = line - conv.geometry.padding_y;
    if (y < 0 || y >= conv.x.height) {
      clear(q, conv.line_bytes());
      continue;
    }
    clear(q, border);
    clear(q + conv.line_bytes() - border, border);
    const float* x = conv.x.values + image.index * conv.x.image_stride + y * conv.x.row_stride;
    if (conv.x.channel_stride == 1) {
      quantize_dense_channels(conv, x, by, q + border);
    } else {
      quantize_dense_pixels(conv, x, by, q + border);
    }
  }
}

}  // namespace proxconnect::KERNEL_SET
