// Convolutions of whole batches by some number of threads. The results do not depend on it.
#pragma once

#include "core.h"

namespace proxconnect {

// Lays a weight's bits (n rows of group_channels * taps signs, input order (channel, y, x), `stride` bytes apart) out as
// panels, and adds up the signs of each tap. `panels` says the sizes; its arrays are written.
void make_conv_panels(const std::uint8_t* bits, std::int64_t stride, const ConvPanels& panels, std::uint32_t* words,
                      std::int32_t* tap_sums);

// How many places a kernel of so many taps takes along one axis of an image.
std::int64_t output_size(std::int64_t size, std::int64_t taps, std::int64_t stride, std::int64_t padding,
                         std::int64_t dilation);

}  // namespace proxconnect
