// Convolutions of whole batches by some number of threads. The results do not depend on it.
#pragma once

#include "interface/convolutions.h"

namespace proxconnect {

// Lays out a weight's bits, n rows of signs in the order (channel of the group, y, x), `stride` bytes apart. `panels`
// says the sizes; its arrays are `words` and `tap_sums`, which are written.
void make_conv_panels(const std::uint8_t* bits, std::int64_t stride, const ConvPanels& panels, std::uint32_t* words,
                      std::int32_t* tap_sums);

// How many places a kernel of so many taps takes along one axis of an image.
std::int64_t output_size(std::int64_t size, std::int64_t taps, std::int64_t stride, std::int64_t padding,
                         std::int64_t dilation);

// Signs of images [count, channels, pixels]: bits [count, pixels, packed_width(channels)]. Returns whether there is a
// NaN.
bool pack_planes(const float* x, std::int64_t count, std::int64_t channels, std::int64_t pixels, std::uint8_t* bits,
                 std::int64_t threads);

void convolve(const W1A1Conv<SumsOutput>& conv, std::int64_t threads);
void convolve(const W1A1Conv<AffineOutput>& conv, std::int64_t threads);
void convolve(const W1A1Conv<SignsOutput>& conv, std::int64_t threads);
// Returns whether every image is finite; otherwise the output is unspecified.
bool convolve(const W1A8Conv& conv, std::int64_t threads);
void convolve(const W1A32Conv& conv, std::int64_t threads);

}  // namespace proxconnect
