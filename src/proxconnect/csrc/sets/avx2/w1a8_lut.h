// W1A8 by look-up tables.
#pragma once

#include "interface/products.h"

namespace proxconnect::avx2 {

bool w1a8_lut(const W1A8& product, Range rows, Range panels);

}  // namespace proxconnect::avx2
