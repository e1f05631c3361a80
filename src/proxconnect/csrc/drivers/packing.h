// Bits made of floats and floats of bits, and weights laid out as panels. The results do not depend on the number of
// threads.
#pragma once

#include "interface/convolutions.h"

namespace proxconnect {

// Packs the signs of a matrix. Returns -1, or the flat index of the first NaN.
std::int64_t pack_signs(const float* x, std::int64_t rows, std::int64_t columns, std::uint8_t* bits,
                        std::int64_t threads);

// Packs the signs of images [count, channels, pixels] as bits [count, pixels, packed_width(channels)]. Returns whether
// there is a NaN.
bool pack_planes(const float* x, std::int64_t count, std::int64_t channels, std::int64_t pixels, std::uint8_t* bits,
                 std::int64_t threads);

void unpack_weights(const PackedRows& packed, std::int64_t rows, float* weights, std::int64_t threads);

// Returns whether the bits after column k are zero in every row, as the layout of docs/format.md has them.
bool padding_is_clear(const SignRows& rows, std::int64_t k);

// Lays dense rows of bits out as panels; `words` takes panels_of(m) * panel_width * words_of(k). Of a weight with several
// planes these are one plane's: the panels of the others lie between them.
void make_panels(const SignRows& rows, std::int64_t k, std::uint32_t* words, std::int64_t planes = 1);

// Lays out the weight of a convolution: n rows of signs in the order (channel of the group, y, x), `stride` bytes
// apart. `panels` has the sizes; `words` and `tap_sums` are the arrays of it that are written.
void make_conv_panels(const std::uint8_t* bits, std::int64_t stride, const ConvPanels& panels, std::uint32_t* words,
                      std::int32_t* tap_sums);

}  // namespace proxconnect
