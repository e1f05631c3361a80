#pragma once

#include "neon/kernels.h"

namespace proxconnect::neon_dot {

bool w1a8(const W1A8& product, Range rows, Range panels);
void w1a8_conv(const W1A8Image& image, Range lines, Range panels);

extern const KernelSet kernels;

}  // namespace proxconnect::neon_dot
