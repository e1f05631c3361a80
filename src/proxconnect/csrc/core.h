// What a set of kernels provides: plain functions over plain memory, knowing neither Python nor torch.
//
// Bit order, shared with docs/format.md: element i of a row is bit (i % 8) of byte i / 8, least significant
// bit first; +1 is 1, -1 is 0. Every row starts on a new byte, and the bits left over in its last byte are zero.
//
// Every set gives the same bits: sums of integers are exact, and the order of every float operation is stated.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>

namespace proxconnect {

struct Range {
  std::int64_t begin;
  std::int64_t end;
};

constexpr std::int64_t packed_width(std::int64_t columns) { return (columns + 7) / 8; }

// Weights are laid out anew once, for all sets: 16 output channels make a panel, in which their 32-bit words of
// signs alternate. Word w of output j is panel j / 16, element [w][j % 16]; bit i of it is input 32 w + i. Words
// are filled up with zero bits, the last panel with zero words.
constexpr std::int64_t panel_width = 16;
constexpr std::int64_t word_bits = 32;
constexpr std::int64_t words_of(std::int64_t k) { return (k + word_bits - 1) / word_bits; }
constexpr std::int64_t panels_of(std::int64_t n) { return (n + panel_width - 1) / panel_width; }

struct Panels {
  const std::uint32_t* words;
  std::int64_t n;  // outputs
  std::int64_t k;  // inputs

  std::int64_t panel_words() const { return words_of(k) * panel_width; }
  const std::uint32_t* panel(std::int64_t index) const { return words + index * panel_words(); }
};

// The activations of m rows of k: signs (stride in bytes), or float32 (stride in elements).
struct SignRows {
  const std::uint8_t* bits;
  std::int64_t stride;
  std::int64_t m;
};

struct FloatRows {
  const float* values;
  std::int64_t stride;
  std::int64_t m;
};

// Weights as docs/format.md stores them. Elements of a row share a scale by groups of `group`.
struct PackedRows {
  const std::uint8_t* signs;
  const std::uint8_t* nonzero;  // bits that are cleared where the weight is 0; null for none
  const float* scale;           // [rows, groups]
  std::int64_t columns;
  std::int64_t group;

  std::int64_t groups() const { return (columns + group - 1) / group; }
};

// What becomes of the sum s of row i and output j; every output is dense.

struct SumsOutput {
  std::int32_t* out;  // [m, n] = s
};

struct AffineOutput {
  float* out;             // [m, n] = prelu(float(s) * scale[j] + bias[j] + residual[i, j]), rounded at each step
  const float* scale;     // [n]
  const float* bias;      // [n]
  const float* residual;  // [m, n], or null for none
  const float* slope;     // [n], or null for none: y < 0 becomes slope[j] * y
};

struct SignsOutput {
  std::uint8_t* out;              // [m, packed_width(n)], bit j = (s >= threshold[j]) != flip[j]
  const std::int32_t* threshold;  // [n]
  const std::uint8_t* flip;       // packed_width(n)
};

// Signs times signs: s = sum over k of a[i, k] * b[j, k]. With `wrap` s is then kept in 8 bits:
// ((s + 128) mod 256) - 128. The padding bits of a must be zero.
template <typename Output>
struct W1A1 {
  SignRows a;
  Panels b;
  bool wrap;
  Output output;
};

// Signs times float32 rows quantized to 8 bits: step = max|x[i]| / 127 and q = x / step, rounded to even, by way
// of 1 / step; a row whose step is below the smallest normal number counts as zero. Inputs share a scale by
// groups of `group` (a multiple of 32; the last group may be shorter):
// out[i, j] = prelu((sum over g of float(s_g) * scale[g, j]) * step[i] + bias[j] + residual[i, j]).
struct W1A8 {
  FloatRows x;
  Panels b;
  std::int64_t group;
  AffineOutput output;  // its scale is [groups, n]
};
constexpr std::int64_t w1a8_most_inputs = std::int64_t{1} << 24;  // 127 k < 2^31

// Signs times float32. Inputs go by fives, ((+-x0 +- x1) +- x2) + (+-x3 +- x4) with zeros past the end; the sums of
// 32 fives make a block, and blocks are added; all in their order, beginning with zero. Summing by blocks keeps the
// rounding error below that of a plain float32 product.
struct W1A32 {
  FloatRows x;
  Panels b;
  AffineOutput output;
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
  const std::uint32_t* words;  // [panels, taps, channel words, 16]
  std::int64_t n;              // outputs
  std::int64_t channels;       // inputs
  std::int64_t kernel_y;
  std::int64_t kernel_x;
  std::int64_t groups;

  std::int64_t taps() const { return kernel_y * kernel_x; }
  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t channel_words() const { return words_of(group_channels()); }
  std::int64_t panel_words() const { return taps() * channel_words() * panel_width; }
  std::int64_t panels() const { return groups * panels_of(n / groups); }
};

// One axis of a convolution. Positions that a stride apart are neighbours in the outputs: those of one remainder make a
// phase, and each tap reads a single phase, `shift` further than the output is. A phase is as long as the outputs and
// shifts ask; what lies outside of the image is zero.
struct ConvAxis {
  std::int64_t input, output, taps, stride, padding, dilation;

  std::int64_t period() const { return stride / std::gcd(stride, dilation); }
  std::int64_t phases() const { return std::min(taps, period()); }
  std::int64_t phase(std::int64_t tap) const { return tap % period(); }
  std::int64_t shift(std::int64_t tap) const { return tap * dilation / stride; }
  std::int64_t length() const { return output + shift(taps - 1); }
  // Where in the image the first position of a phase lies.
  std::int64_t start(std::int64_t phase) const { return phase * dilation % stride - padding; }
};

// Signs times float32 images, as a product of the same order: the inputs of a tap go by fives of channels, taps follow
// each other in order, and blocks are of 32 fives of this sequence. Zero padding; outputs are rows (image, y, x).
struct W1A32Conv {
  Images x;
  ConvPanels b;
  ConvAxis vertical, horizontal;
  AffineOutput output;
  float* planes;              // of one image, plane_floats() of them
  const std::int64_t* taps;   // tap_offset(tap) of each tap

  // The phases of a channel of an image are planes whose rows follow each other without a gap, so that the inputs of
  // outputs in a row are in a row too; the outputs between one row's last and the next row's first are not used.
  std::int64_t pitch() const { return horizontal.length(); }
  std::int64_t plane() const { return vertical.length() * pitch(); }
  std::int64_t channel_floats() const { return vertical.phases() * horizontal.phases() * plane(); }
  // From an output's position to where in a channel's planes the tap's input for it is.
  std::int64_t tap_offset(std::int64_t tap) const {
    const std::int64_t y = tap / b.kernel_x;
    const std::int64_t x_tap = tap % b.kernel_x;
    return (vertical.phase(y) * horizontal.phases() + horizontal.phase(x_tap)) * plane() +
           vertical.shift(y) * pitch() + horizontal.shift(x_tap);
  }
  std::int64_t positions() const { return (vertical.output - 1) * pitch() + horizontal.output; }
  // One more than there are channels, of zeros, stands for those that fill up a five.
  std::int64_t plane_floats() const { return (b.channels + 1) * channel_floats() + panel_width; }
};

struct KernelSet {
  const char* name;

  bool (*runs_here)();

  // bits[rows, packed_width(columns)] = signs of x[rows, columns], both zeros counting as +1.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_signs)(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);

  // weights[r, c] = +-scale[r, c / group], the sign taken from the bits, or +0.
  void (*unpack_weights)(const PackedRows&, Range rows, float* weights);

  // Products, each for the given rows and panels alone.
  void (*w1a1_sums)(const W1A1<SumsOutput>&, Range rows, Range panels);
  void (*w1a1_affine)(const W1A1<AffineOutput>&, Range rows, Range panels);
  void (*w1a1_signs)(const W1A1<SignsOutput>&, Range rows, Range panels);
  // Returns whether every row is finite; the outputs of one that is not are unspecified.
  bool (*w1a8)(const W1A8&, Range rows, Range panels);
  void (*w1a32)(const W1A32&, Range rows, Range panels);

  // Convolutions of float32, image by image: first the planes of all channels, then the outputs at some positions, from
  // a multiple of 16 on.
  void (*w1a32_planes)(const W1A32Conv&, std::int64_t image, Range channels);
  void (*w1a32_conv)(const W1A32Conv&, std::int64_t image, Range positions, Range panels);
};

}  // namespace proxconnect
