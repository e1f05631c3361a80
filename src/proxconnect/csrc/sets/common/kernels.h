// Declares the kernels of one set, in the namespace KERNEL_SET. KernelSet (sets/kernel_set.h) documents each function.
//
// KERNEL_SET is the name of the set that a source is compiled for. CMakeLists.txt defines it on the command line of
// every source of a set, and nothing else ever defines it. sets/common/ is compiled once for each set: its sources
// define their functions in `namespace proxconnect::KERNEL_SET`, so that the sets have different symbols. A source of
// sets/<isa>/ belongs to one set and writes out its namespace; a wrong KERNEL_SET would not link.
#pragma once

#ifndef KERNEL_SET
#error "KERNEL_SET is not defined: compile this source as part of a kernel set (CMakeLists.txt)"
#endif

#include "sets/kernel_set.h"

namespace proxconnect::KERNEL_SET {

bool pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits);
bool pack_planes(const float* x, std::int64_t stride, std::int64_t channels, std::int64_t pixels,
                 std::uint8_t* bits);
void unpack_weights(const PackedRows& packed, Range rows, float* weights);
void w1a1_sums(const W1A1Part<SumsOutput>& part, Range panels);
void w1a1_affine(const W1A1Part<AffineOutput>& part, Range panels);
void w1a1_signs(const W1A1Part<SignsOutput>& part, Range panels);
void w1a1_chain(const W1A1Part<ChainOutput>& part, Range panels);
bool w1a8(const W1A8& product, Range rows, Range panels);
float greatest_magnitude(const float* x, std::int64_t count);
void w1a8_pixels(const W1A8Image& image, Range lines);
void w1a8_conv(const W1A8Image& image, Range lines, Range panels);
void w1a32(const W1A32& product, Range rows, Range panels);
void w1a32_planes(const W1A32Image& image, Range channels);
void w1a32_conv(const W1A32Image& image, Range lines, Range columns, Range panels);
void mean_magnitudes(const float* values, std::int64_t columns, float* mean, Range rows);
void quantize(const Latents& w, const ElementwiseMap& map, float* out, float* codes, Range elements);
void scale_gradient(const Latents& w, const ElementwiseMap& map, const float* g, float* out, Range elements);
void quantize_and_mark(const float* x, const ElementwiseMap& map, float mu, float* out, std::uint16_t* inside,
                       Range elements);
void scale_marked(const std::uint16_t* inside, float mu, const float* g, float* out, Range elements);
void scale_outputs(float* y, std::int64_t columns, const float* scale, const float* bias, Range rows);
void chain_rows(const FloatRows& x, std::int64_t n, const ChainOutput& output, Range rows);
void activate(const float* x, Activation activation, float* out, Range elements);
bool attention(const Attention& of, Range heads);
void rms_norm(const float* x, std::int64_t columns, const float* weight, float epsilon, float* out, Range rows);
void token_attention(const TokenAttention& of, Range heads);

// Only avx512 has this one.
void w1a32_lines(const W1A32Conv& conv, Range lines, Range panels);

// The table of a set that has the kernels above and no others.
constexpr KernelSet table_of_kernels(const char* name, bool (*runs_here)()) {
  return {name,
          runs_here,
          pack_signs,
          pack_planes,
          unpack_weights,
          w1a1_sums,
          w1a1_affine,
          w1a1_signs,
          w1a1_chain,
          w1a8,
          greatest_magnitude,
          w1a8_pixels,
          w1a8_conv,
          w1a32,
          w1a32_planes,
          w1a32_conv,
          mean_magnitudes,
          quantize,
          scale_gradient,
          quantize_and_mark,
          scale_marked,
          scale_outputs,
          chain_rows,
          activate,
          attention,
          rms_norm,
          token_attention};
}

}  // namespace proxconnect::KERNEL_SET
