// The table of functions that a kernel set provides. They work on plain memory and know neither Python nor torch. Each
// does a part of a call's work on one thread.
#pragma once

#include <cstdint>

#include "interface/activations.h"
#include "interface/attention.h"
#include "interface/chain.h"
#include "interface/convolutions.h"
#include "interface/decoding.h"
#include "interface/maps.h"
#include "interface/products.h"

namespace proxconnect {

// Rows of signs, made of whole words: `lines` of `width` rows each, of a matrix or of a padded image.
struct SignLines {
  const std::uint8_t* bits;
  std::int64_t lines;
  std::int64_t width;
  std::int64_t line_stride;   // these three in bytes
  std::int64_t row_stride;
  std::int64_t group_stride;
  // The words that meet a panel's lie in `runs` runs of `run_words` words, each at an offset in bytes from the row.
  const std::int64_t* offsets;
  std::int64_t runs;
  std::int64_t run_words;
};

// The taps that lie within an image whose padding adds nothing: those of row x of line y are y_inside[y] by
// x_inside[x]. All taps do where y is in whole_y and x in whole_x.
struct Borders {
  const std::int32_t* tap_sums;  // as in ConvPanels, or null where padding counts as -1
  std::int64_t kernel_y;
  std::int64_t kernel_x;
  const Range* y_inside;
  const Range* x_inside;
  Range whole_y;
  Range whole_x;
};

// A part of a W1A1 or a W1A1Conv: all outputs of some of their rows.
template <typename Output>
struct W1A1Part {
  SignLines a;
  const std::uint32_t* words;  // panels from first_panel on, panel_words each
  std::int64_t panel_words;
  std::int64_t n;
  std::int64_t k;
  std::int64_t groups;
  bool wrap;
  Output output;
  std::int64_t first_row;  // the output's row that belongs to the first
  Borders borders;
  std::int64_t first_panel = 0;

  [[gnu::always_inline]] std::int64_t group_panels() const { return panels_of(n / groups); }
};

struct KernelSet {
  const char* name;

  bool (*runs_here)();

  // Signs and weights in bits.

  // Packs bits[rows, packed_width(columns)] = signs of x[rows, columns]; both zeros count as +1.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_signs)(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
  // Packs bits[pixels, packed_width(channels)] = signs of x[channels, pixels], whose channels are `stride` apart.
  // Returns whether there is a NaN; the content of `bits` is then unspecified.
  bool (*pack_planes)(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                      std::uint8_t* bits);
  // Unpacks weights[r, c] = +-scale[r, c / group], with the sign of the bit, or +0 where it is not among `nonzero`.
  void (*unpack_weights)(const PackedRows&, Range rows, float* weights);

  // Signs times signs, for the given panels.

  void (*w1a1_sums)(const W1A1Part<SumsOutput>&, Range panels);
  void (*w1a1_affine)(const W1A1Part<AffineOutput>&, Range panels);
  void (*w1a1_signs)(const W1A1Part<SignsOutput>&, Range panels);
  void (*w1a1_chain)(const W1A1Part<ChainOutput>&, Range panels);

  // Signs times quantized floats.

  // Computes a product. Returns whether every row is finite; the outputs of a row that is not are unspecified.
  bool (*w1a8)(const W1A8&, Range rows, Range panels);
  // Returns the greatest |x|; NaN if there is one.
  float (*greatest_magnitude)(const float* x, std::int64_t count);
  // Quantizes lines of the padded image.
  void (*w1a8_pixels)(const W1A8Image&, Range lines);
  // Computes lines of outputs from the quantized image.
  void (*w1a8_conv)(const W1A8Image&, Range lines, Range panels);

  // Signs times floats.

  void (*w1a32)(const W1A32&, Range rows, Range panels);
  // Copies channels of an image to their planes.
  void (*w1a32_planes)(const W1A32Image&, Range channels);
  // Computes the outputs of lines and columns from the planes of all channels.
  void (*w1a32_conv)(const W1A32Image&, Range lines, Range columns, Range panels);

  // The functions of drivers/latents.h, for the given rows, or for elements that begin at a multiple of 16.

  void (*mean_magnitudes)(const float* values, std::int64_t columns, float* mean, Range rows);
  void (*quantize)(const Latents&, const ElementwiseMap&, float* out, float* codes, Range elements);
  void (*scale_gradient)(const Latents&, const ElementwiseMap&, const float* g, float* out, Range elements);
  void (*quantize_and_mark)(const float* x, const ElementwiseMap&, float mu, float* out, std::uint16_t* inside,
                            Range elements);
  void (*scale_marked)(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements);
  void (*scale_outputs)(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows);

  // Takes rows of n floats through a chain.
  void (*chain_rows)(const FloatRows& x, std::int64_t n, const ChainOutput&, Range rows);

  // Computes elements of an activation, which begin at a multiple of 16.
  void (*activate)(const float* x, Activation activation, float* out, Range elements);

  // Computes attention for heads, counted over one batch after the other. Returns whether all numbers are of a size that
  // can be quantized; the outputs are unspecified otherwise.
  bool (*attention)(const Attention&, Range heads);

  // Normalizes rows (drivers/decoding.h), and computes attention of one token for heads of keys, counted over one text
  // after the other.
  void (*rms_norm)(const float* x, std::int64_t columns, const float* weight, float epsilon, float* out, Range rows);
  void (*token_attention)(const TokenAttention&, Range heads);

  // Functions that a set may lack.

  // Computes lines of a W1A32Conv from tables of its pixels, counted over one image after the other.
  void (*w1a32_lines)(const W1A32Conv&, Range lines, Range panels) = nullptr;
  // Computes attention in bfloat16 (interface/attention.h), otherwise as `attention` does.
  bool (*bfloat16_attention)(const Attention&, Range heads) = nullptr;
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
namespace amx {
extern const KernelSet kernels;
}
namespace neon {
extern const KernelSet kernels;
}
namespace neon_dot {
extern const KernelSet kernels;
}

}  // namespace proxconnect
