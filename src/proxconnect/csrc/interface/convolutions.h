// Images, and the convolutions of them that the kernels compute.
#pragma once

#include <cstdint>

#include "interface/products.h"

namespace proxconnect {

// Images [count, height, width, packed_width(channels)], dense.
struct SignImages {
  const std::uint8_t* bits;
  std::int64_t count;
  std::int64_t height;
  std::int64_t width;
};

// Images of float32, strides in elements.
struct Images {
  const float* values;
  std::int64_t count, channels, height, width;
  std::int64_t image_stride, channel_stride, row_stride, column_stride;
};

// Weights of a convolution: a panel's words run over the taps (y, x), and in each over the words of its channels. Every
// group of outputs begins a new panel.
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

// How a convolution moves over an image. Beyond the image lies `fill`: +1, -1, or 0, which adds nothing to a sum.
struct Geometry {
  std::int64_t stride_y, stride_x;
  std::int64_t padding_y, padding_x;
  std::int64_t dilation_y, dilation_x;
  std::int64_t fill;
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

// W1A8 of images, in 8 bits and each with a step of its own, with zeros around them; rows are (image, y, x).
struct W1A8Conv {
  Images x;  // pixels or channels dense
  ConvPanels b;
  Geometry geometry;
  AffineOutput output;

  [[gnu::always_inline]] std::int64_t padded_height() const { return x.height + 2 * geometry.padding_y; }
  [[gnu::always_inline]] std::int64_t padded_width() const { return x.width + 2 * geometry.padding_x; }
  // Of the quantized image: pixels of groups of bytes, filled up to a multiple of four.
  [[gnu::always_inline]] std::int64_t group_bytes() const { return (b.group_channels() + 3) / 4 * 4; }
  [[gnu::always_inline]] std::int64_t pixel_bytes() const { return b.groups * group_bytes(); }
  [[gnu::always_inline]] std::int64_t line_bytes() const { return padded_width() * pixel_bytes(); }
};

// One of its images, and where it is quantized to.
struct W1A8Image {
  const W1A8Conv& conv;
  std::int64_t index;
  float greatest;   // |x|
  std::uint8_t* q;  // [padded_height, padded_width, pixel_bytes]
  std::int64_t output_height, output_width;
};

// One axis of a convolution. Positions that a stride apart are neighbours in the outputs: those of one remainder make a
// phase, and each tap reads a single phase, `shift` further than the output is. A phase is as long as the outputs and
// shifts ask; what lies outside of the image is zero.
struct ConvAxis {
  std::int64_t output, taps, stride, padding, dilation;
  std::int64_t period;  // of the phases that taps read: stride / gcd(stride, dilation)

  [[gnu::always_inline]] std::int64_t phases() const { return taps < period ? taps : period; }
  [[gnu::always_inline]] std::int64_t phase(std::int64_t tap) const { return tap % period; }
  [[gnu::always_inline]] std::int64_t shift(std::int64_t tap) const { return tap * dilation / stride; }
  [[gnu::always_inline]] std::int64_t length() const { return output + shift(taps - 1); }
  // Where in the image the first position of a phase lies.
  [[gnu::always_inline]] std::int64_t start(std::int64_t phase) const { return phase * dilation % stride - padding; }
};

// W1A32 of images, with zeros around them, in the order of the product: the inputs of a tap go by fives of channels,
// taps follow each other in order, and blocks are of 32 fives of this sequence; rows are (image, y, x).
struct W1A32Conv {
  Images x;
  ConvPanels b;
  Geometry geometry;
  AffineOutput output;
};

// One of its images, and the planes that it is copied to.
struct W1A32Image {
  const W1A32Conv& conv;
  std::int64_t index;
  ConvAxis vertical, horizontal;
  float* planes;             // plane_floats() of them
  const std::int64_t* taps;  // tap_offset(tap) of each tap

  // The phases of a channel of an image are planes whose rows follow each other without a gap, so that the inputs of
  // outputs in a row are in a row too; the outputs between one row's last and the next row's first are not used.
  [[gnu::always_inline]] std::int64_t pitch() const { return horizontal.length(); }
  [[gnu::always_inline]] std::int64_t plane() const { return vertical.length() * pitch(); }
  [[gnu::always_inline]] std::int64_t channel_floats() const {
    return vertical.phases() * horizontal.phases() * plane();
  }
  // From an output's position to where in a channel's planes the tap's input for it is.
  [[gnu::always_inline]] std::int64_t tap_offset(std::int64_t tap) const {
    const std::int64_t y = tap / horizontal.taps;
    const std::int64_t x = tap % horizontal.taps;
    return (vertical.phase(y) * horizontal.phases() + horizontal.phase(x)) * plane() + vertical.shift(y) * pitch() +
           horizontal.shift(x);
  }
  [[gnu::always_inline]] std::int64_t positions() const { return (vertical.output - 1) * pitch() + horizontal.output; }
  // One more than there are channels, of zeros, stands for those that fill up a five.
  [[gnu::always_inline]] std::int64_t plane_floats() const {
    return (conv.b.channels + 1) * channel_floats() + panel_width;
  }
};

// The lines of its outputs, of one image after the other, as a set makes them that keeps tables of the pixels, five channels
// each, for all taps that read them.
struct W1A32Lines {
  const W1A32Conv& conv;
  std::int64_t output_height, output_width;

  [[gnu::always_inline]] std::int64_t padded_width() const { return conv.x.width + 2 * conv.geometry.padding_x; }
  // Those of the image that a line of outputs lies across.
  [[gnu::always_inline]] std::int64_t lines_read() const {
    return (conv.b.kernel_y - 1) * conv.geometry.dilation_y + 1;
  }
  // What it reads, of one group of channels.
  [[gnu::always_inline]] std::int64_t tables() const {
    return lines_read() * padded_width() * ((conv.b.group_channels() + 4) / 5);
  }
};

}  // namespace proxconnect
