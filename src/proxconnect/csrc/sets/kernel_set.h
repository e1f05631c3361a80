// What a set of kernels provides: plain functions over plain memory, knowing neither Python nor torch. Each does a
// part of the work of one thread.
#pragma once

#include <cstdint>

#include "interface/convolutions.h"
#include "interface/maps.h"
#include "interface/products.h"

namespace proxconnect {

// Rows of signs, made of whole words: `lines` of `width` rows each, of a matrix or of an image with its padding.
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

// What a set computes of a W1A1 or a W1A1Conv: all outputs of some of their rows.
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

  [[gnu::always_inline]] std::int64_t group_panels() const { return panels_of(n / groups); }
};

struct KernelSet {
  const char* name;

  bool (*runs_here)();

  // Signs and weights in bits.

  // bits[rows, packed_width(columns)] = signs of x[rows, columns], both zeros counting as +1.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_signs)(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
  // bits[pixels, packed_width(channels)] = signs of x[channels, pixels], whose channels are `stride` apart.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_planes)(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                      std::uint8_t* bits);
  // weights[r, c] = +-scale[r, c / group], the sign taken from the bits, or +0.
  void (*unpack_weights)(const PackedRows&, Range rows, float* weights);

  // Signs times signs, for the given panels alone.

  void (*w1a1_sums)(const W1A1Part<SumsOutput>&, Range panels);
  void (*w1a1_affine)(const W1A1Part<AffineOutput>&, Range panels);
  void (*w1a1_signs)(const W1A1Part<SignsOutput>&, Range panels);

  // Signs times quantized floats.

  // Returns whether every row is finite; the outputs of one that is not are unspecified.
  bool (*w1a8)(const W1A8&, Range rows, Range panels);
  // The greatest |x|; NaN if there is one.
  float (*greatest_magnitude)(const float* x, std::int64_t count);
  // Lines of the padded image are quantized, then lines of its convolution made of them.
  void (*w1a8_pixels)(const W1A8Image&, Range lines);
  void (*w1a8_conv)(const W1A8Image&, Range lines, Range panels);

  // Signs times floats.

  void (*w1a32)(const W1A32&, Range rows, Range panels);
  // The planes of some channels of an image are made, then, of those of all channels, the outputs at some positions,
  // which begin at a multiple of 16.
  void (*w1a32_planes)(const W1A32Image&, Range channels);
  void (*w1a32_conv)(const W1A32Image&, Range positions, Range panels);

  // The functions of latents.h, for the given rows, or for elements that begin at a multiple of 16, alone.

  void (*mean_magnitudes)(const float* values, std::int64_t columns, float* mean, Range rows);
  void (*quantize)(const Latents&, const ElementwiseMap&, float* out, float* codes, Range elements);
  void (*scale_gradient)(const Latents&, const ElementwiseMap&, const float* g, float* out, Range elements);
  void (*quantize_and_mark)(const float* x, const ElementwiseMap&, float mu, float* out, std::uint16_t* inside,
                            Range elements);
  void (*scale_marked)(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements);
  void (*scale_outputs)(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows);

  // What not every set has.

  // Lines of a W1A32Conv, where tables of pixels are looked up faster than w1a32_conv does its work.
  void (*w1a32_lines)(const W1A32Lines&, Range lines, Range panels) = nullptr;
};

// The table of each set. CMakeLists.txt decides which sets are built, and dispatch.cpp lists them.
namespace portable {
extern const KernelSet kernels;
}
namespace avx2 {
extern const KernelSet kernels;
}
namespace avx512 {
extern const KernelSet kernels;
}
namespace neon {
extern const KernelSet kernels;
}
namespace neon_dot {
extern const KernelSet kernels;
}

}  // namespace proxconnect
