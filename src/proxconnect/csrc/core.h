// What a set of kernels provides: plain functions over plain memory, knowing neither Python nor torch.
//
// Bit order, shared with docs/format.md: element i of a row is bit (i % 8) of byte i / 8, least significant
// bit first; +1 is 1, -1 is 0. Every row starts on a new byte, and the bits left over in its last byte are zero.
//
// Every set gives the same bits: sums of integers are exact, and the order of every float operation is stated.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <numeric>

namespace proxconnect {

static_assert(std::endian::native == std::endian::little, "words of signs are read from bytes, the lowest first");

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

  std::int64_t taps() const { return kernel_y * kernel_x; }
  std::int64_t group_channels() const { return channels / groups; }
  std::int64_t channel_words() const { return words_of(group_channels()); }
  std::int64_t panel_words() const { return taps() * channel_words() * panel_width; }
  std::int64_t panels() const { return groups * panels_of(n / groups); }
};

// How a convolution moves over an image. Beyond the image lies `fill`: +1, -1, or 0, which adds nothing to a sum.
struct Geometry {
  std::int64_t stride_y, stride_x;
  std::int64_t padding_y, padding_x;
  std::int64_t dilation_y, dilation_x;
  std::int64_t fill;
};

// Images [count, height, width, packed_width(channels)], dense.
struct SignImages {
  const std::uint8_t* bits;
  std::int64_t count;
  std::int64_t height;
  std::int64_t width;
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

// The same with the pixels of images for rows: row (image, y, x) of the output is a pixel of its image.
template <typename Output>
struct W1A1Conv {
  SignImages a;
  ConvPanels b;
  Geometry geometry;
  bool wrap;
  Output output;
};

// What a set computes of either: `lines` times `width` rows, made of whole words.
struct SignLines {
  const std::uint8_t* bits;
  std::int64_t lines;
  std::int64_t width;
  std::int64_t line_stride;   // these three in bytes
  std::int64_t row_stride;
  std::int64_t group_stride;
  // The words that meet a panel's: runs of so many words, each from this many bytes of the row on.
  const std::int64_t* offsets;
  std::int64_t runs;
  std::int64_t run_words;
};

// Rows near the border of an image whose padding adds nothing: of row x of line y the taps y_inside[y], x_inside[x] lie
// within. All of them do where y is in whole_y and x in whole_x.
struct Borders {
  const std::int32_t* tap_sums;  // as in ConvPanels, or null where padding counts as -1
  std::int64_t kernel_y;
  std::int64_t kernel_x;
  const Range* y_inside;
  const Range* x_inside;
  Range whole_y;
  Range whole_x;
};

template <typename Output>
struct W1A1Part {
  SignLines a;
  const std::uint32_t* words;  // panels from first_panel on, of panel_words each
  std::int64_t panel_words;
  std::int64_t n;
  std::int64_t k;
  std::int64_t groups;
  bool wrap;
  Output output;
  std::int64_t first_row;  // where the first row goes
  Borders borders;
  std::int64_t first_panel = 0;

  std::int64_t group_panels() const { return panels_of(n / groups); }
};

// Signs times float32 rows quantized to integers of at most `greatest`, 2^(bits - 1) - 1 for 2 to 8 bits:
// step = max|x[i]| / greatest and q = x / step, rounded to even, by way of 1 / step; a row whose step is below the
// smallest normal number counts as zero. Inputs share a scale by groups of `group` (a multiple of 32; the last group
// may be shorter):
// out[i, j] = prelu((sum over g of float(s_g) * scale[g, j]) * step[i] + bias[j] + residual[i, j]).
struct W1A8 {
  FloatRows x;
  Panels b;
  std::int64_t group;
  AffineOutput output;  // its scale is [groups, n]
  std::int32_t greatest = 127;
};
constexpr std::int64_t w1a8_most_inputs = std::int64_t{1} << 24;  // 127 k < 2^31

// The same for images, of 8 bits and each with a step of its own, and zeros around them; rows are (image, y, x).
struct W1A8Conv {
  Images x;  // pixels or channels dense
  ConvPanels b;
  Geometry geometry;
  AffineOutput output;

  std::int64_t padded_height() const { return x.height + 2 * geometry.padding_y; }
  std::int64_t padded_width() const { return x.width + 2 * geometry.padding_x; }
  // Of the quantized image: pixels of groups of bytes, filled up to a multiple of four.
  std::int64_t group_bytes() const { return (b.group_channels() + 3) / 4 * 4; }
  std::int64_t pixel_bytes() const { return b.groups * group_bytes(); }
  std::int64_t line_bytes() const { return padded_width() * pixel_bytes(); }
};

// One image of them, and where it is quantized to.
struct W1A8Image {
  const W1A8Conv& conv;
  std::int64_t index;
  float greatest;   // |x|
  std::uint8_t* q;  // [padded_height, padded_width, pixel_bytes]
  std::int64_t output_height, output_width;
};

// Signs times float32. Inputs go by fives, ((+-x0 +- x1) +- x2) + (+-x3 +- x4) with zeros past the end; the sums of
// 32 fives make a block, and blocks are added; all in their order, beginning with zero. Summing by blocks keeps the
// rounding error below that of a plain float32 product.
struct W1A32 {
  FloatRows x;
  Panels b;
  AffineOutput output;
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

// Latent weights, or activations, with the scales of their rows.
struct Latents {
  const float* values;  // [rows, columns]
  std::int64_t rows;
  std::int64_t columns;
  const float* s;      // w is values / s; null for 1
  const float* alpha;  // multiplies what becomes of w; null for 1
  std::int64_t step;   // 1: a scale for each row, 0: one for all

  float s_of(std::int64_t row) const { return s ? s[row * step] : 1.0f; }
  float alpha_of(std::int64_t row) const { return alpha ? alpha[row * step] : 1.0f; }
};

// The elementwise maps of training; proxconnect/quantizers states each. Values and slopes stay within a few units in
// the last place of the torch forms; those made of comparisons, sums and products alone are equal to them.
enum class MapKind : std::int32_t {
  identity,
  sign,
  ramp,  // clip(max(mu, a) w, -1, 1)
  binary_relax,
  polynomial,
  tanh,
  sign_swish,
  monotone_sign_swish,
  reste,  // a = m, b = t
};

struct ElementwiseMap {
  MapKind kind;
  float mu;
  float a;
  float b;
};

struct KernelSet {
  const char* name;

  bool (*runs_here)();

  // bits[rows, packed_width(columns)] = signs of x[rows, columns], both zeros counting as +1.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_signs)(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);

  // weights[r, c] = +-scale[r, c / group], the sign taken from the bits, or +0.
  void (*unpack_weights)(const PackedRows&, Range rows, float* weights);

  // bits[pixels, packed_width(channels)] = signs of x[channels, pixels], whose channels are `stride` apart.
  // Returns whether there is a NaN.
  bool (*pack_planes)(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                      std::uint8_t* bits);

  // Products, each for the given rows and panels alone.
  void (*w1a1_sums)(const W1A1Part<SumsOutput>&, Range panels);
  void (*w1a1_affine)(const W1A1Part<AffineOutput>&, Range panels);
  void (*w1a1_signs)(const W1A1Part<SignsOutput>&, Range panels);
  // Returns whether every row is finite; the outputs of one that is not are unspecified.
  bool (*w1a8)(const W1A8&, Range rows, Range panels);
  void (*w1a32)(const W1A32&, Range rows, Range panels);

  // Convolutions of float32, image by image: first the planes of all channels, then the outputs at some positions, from
  // a multiple of 16 on.
  void (*w1a32_planes)(const W1A32Conv&, std::int64_t image, Range channels);
  void (*w1a32_conv)(const W1A32Conv&, std::int64_t image, Range positions, Range panels);
  // The greatest |x|; NaN if there is one.
  float (*greatest_magnitude)(const float* x, std::int64_t count);
  // Lines of a padded image are quantized, then lines of its convolution made of them.
  void (*w1a8_pixels)(const W1A8Image&, Range lines);
  void (*w1a8_conv)(const W1A8Image&, Range lines, Range panels);
  // Of latents.h: for the given elements, which begin at a multiple of 16, or rows alone.
  void (*mean_magnitudes)(const float* values, std::int64_t columns, float* mean, Range rows);
  void (*quantize)(const Latents&, const ElementwiseMap&, float* out, Range elements);
  void (*scale_gradient)(const Latents&, const ElementwiseMap&, const float* g, float* out, Range elements);
  void (*quantize_and_mark)(const float* x, const ElementwiseMap&, float mu, float* out, std::uint16_t* inside,
                            Range elements);
  void (*scale_marked)(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements);
  void (*scale_outputs)(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows);
};

}  // namespace proxconnect
