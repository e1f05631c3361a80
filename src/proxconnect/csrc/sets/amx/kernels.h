// The kernels in which the set amx differs from avx512. sets/avx512/set.cpp makes both tables.
#pragma once

#include "sets/kernel_set.h"

namespace proxconnect::amx {

bool w1a8(const W1A8& product, Range rows, Range panels);
void w1a8_conv(const W1A8Image& image, Range lines, Range panels);
bool bfloat16_attention(const Attention& of, Range heads);

}  // namespace proxconnect::amx
