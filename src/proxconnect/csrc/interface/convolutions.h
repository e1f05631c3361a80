// Images, and the convolutions of them that the kernels compute.
#pragma once

#include <cstdint>

#include "interface/products.h"

namespace proxconnect {

// One axis of a convolution: the taps of a kernel as they move along a line of pixels. Tap t of output i reads pixel
// i * stride + t * dilation - padding of the image.
//
// Pixels a stride apart are read by neighbouring outputs. Those of one remainder make a phase. Each tap reads a single
// phase, `shift` places further than the output is.
struct ConvAxis {
  std::int64_t size;  // pixels of the image
  std::int64_t taps;  // of the kernel
  std::int64_t stride;
  std::int64_t padding;
  std::int64_t dilation;

  [[gnu::always_inline]] constexpr std::int64_t padded() const { return size + 2 * padding; }
  // Pixels from the first tap to the last.
  [[gnu::always_inline]] constexpr std::int64_t reach() const { return dilation * (taps - 1) + 1; }
  [[gnu::always_inline]] constexpr std::int64_t outputs() const {
    return padded() < reach() ? 0 : (padded() - reach()) / stride + 1;
  }

  // Taps a period apart read the same phase: stride / gcd(stride, dilation).
  [[gnu::always_inline]] constexpr std::int64_t period() const {
    std::int64_t divisor = stride, rest = dilation;
    while (rest != 0) {
      const std::int64_t remainder = divisor % rest;
      divisor = rest;
      rest = remainder;
    }
    return stride / divisor;
  }
  [[gnu::always_inline]] constexpr std::int64_t phases() const { return taps < period() ? taps : period(); }
  [[gnu::always_inline]] constexpr std::int64_t phase(std::int64_t tap) const { return tap % period(); }
  [[gnu::always_inline]] constexpr std::int64_t shift(std::int64_t tap) const { return tap * dilation / stride; }
  // Places of a phase that outputs read.
  [[gnu::always_inline]] constexpr std::int64_t phase_length() const { return outputs() + shift(taps - 1); }
  // The pixel of the image at which a phase begins; negative in the padding.
  [[gnu::always_inline]] constexpr std::int64_t phase_start(std::int64_t phase) const {
    return phase * dilation % stride - padding;
  }
};

// The movement of a convolution over an image. Beyond the image lies `fill`: +1, -1, or 0, which adds nothing to a sum.
struct Geometry {
  ConvAxis y, x;
  std::int64_t fill;

  [[gnu::always_inline]] constexpr std::int64_t outputs() const { return y.outputs() * x.outputs(); }
};

// Images of signs [count, y.size, x.size, packed_width(channels)], dense.
struct SignImages {
  const std::uint8_t* bits;
  std::int64_t count;
};

// Images of float32, strides in elements.
struct Images {
  const float* values;
  std::int64_t count, channels;
  std::int64_t image_stride, channel_stride, row_stride, column_stride;
};

// Weights of a convolution. A panel's words run over the taps (y, x), and in each tap over the words of its channels.
// Every group of outputs begins a new panel.
struct ConvPanels {
  const std::uint32_t* words;    // [panels, taps, channel words, 16]
  const std::int32_t* tap_sums;  // [panels, kernel_y + 1, kernel_x + 1, 16]: signs of all taps above and left, added up
  std::int64_t n;                // outputs
  std::int64_t channels;         // inputs
  std::int64_t kernel_y;
  std::int64_t kernel_x;
  std::int64_t groups;

  [[gnu::always_inline]] std::int64_t taps() const { return kernel_y * kernel_x; }
  [[gnu::always_inline]] std::int64_t group_channels() const { return channels / groups; }
  [[gnu::always_inline]] std::int64_t channel_words() const { return words_of(group_channels()); }
  [[gnu::always_inline]] std::int64_t panel_words() const { return taps() * channel_words() * panel_width; }
  [[gnu::always_inline]] std::int64_t panels() const { return groups * panels_of(n / groups); }
};

// W1A1 with the pixels of images for rows: row (image, y, x) of the output is a pixel of its image.
template <typename Output>
struct W1A1Conv {
  SignImages a;
  ConvPanels b;
  Geometry geometry;
  bool wrap;
  Output output;
};

// W1A8 of images, in 8 bits, with zeros around them. Each image has a quantization step of its own. Rows are
// (image, y, x).
struct W1A8Conv {
  Images x;  // pixels or channels dense
  ConvPanels b;
  Geometry geometry;
  AffineOutput output;

  // Sizes of the quantized image: a pixel is a run of bytes for each group, filled up to a multiple of four.
  [[gnu::always_inline]] std::int64_t group_bytes() const { return (b.group_channels() + 3) / 4 * 4; }
  [[gnu::always_inline]] std::int64_t pixel_bytes() const { return b.groups * group_bytes(); }
  [[gnu::always_inline]] std::int64_t line_bytes() const { return geometry.x.padded() * pixel_bytes(); }
};

// One image of a W1A8Conv, and where it is quantized to.
struct W1A8Image {
  const W1A8Conv& conv;
  std::int64_t index;
  float greatest;   // |x|
  std::uint8_t* q;  // [y.padded(), x.padded(), pixel_bytes()]
};

// W1A32 of images, with zeros around them. Channels are taken five at a time, with zeros past the last. Five channels
// at a tap are added as five inputs of a W1A32 are, from one look-up table. All taps of five channels follow each other in
// their order, and then those of the next five. max(1, 32 / taps) fives with all their taps make a K-block, whose sum
// begins with zero; the sums of K-blocks are added to zero, in their order. Rows are (image, y, x).
struct W1A32Conv {
  Images x;
  ConvPanels b;
  Geometry geometry;
  AffineOutput output;

  // The look-up tables of the pixels that a line of outputs reads, of one group of channels.
  [[gnu::always_inline]] std::int64_t line_tables() const {
    return geometry.y.reach() * geometry.x.padded() * ((b.group_channels() + 4) / 5);
  }
};

// One image of a W1A32Conv, and the planes that it is copied to. The phases of a channel are planes whose rows follow
// each other without a gap, so that the inputs of neighbouring outputs are neighbours too. The positions between one
// row's last output and the next row's first are computed and not used.
struct W1A32Image {
  const W1A32Conv& conv;
  std::int64_t pitch;           // positions of a row of a plane
  std::int64_t plane;           // positions of a phase
  std::int64_t channel_floats;  // positions of all phases
  std::int64_t index = 0;
  float* planes = nullptr;             // plane_floats() of them

  [[gnu::always_inline]] explicit W1A32Image(const W1A32Conv& of_conv)
      : conv(of_conv),
        pitch(conv.geometry.x.phase_length()),
        plane(conv.geometry.y.phase_length() * pitch),
        channel_floats(conv.geometry.y.phases() * conv.geometry.x.phases() * plane) {}

  // A channel of zeros follows the last. It stands for the channels that the last five lack. Vectors of positions may
  // reach beyond the last of all.
  [[gnu::always_inline]] std::int64_t plane_floats() const {
    return (conv.b.channels + 1) * channel_floats + 2 * panel_width;
  }
};

}  // namespace proxconnect
